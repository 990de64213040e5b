package qmp

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"syscall"
)

// ErrVMMClosed ends every call that waits when the VMM goes away. It wraps
// io.EOF.
var ErrVMMClosed = fmt.Errorf("the VMM closed its monitor: %w", io.EOF)

// ErrReplyTooLong ends the connection when a message exceeds Options.MaxReply.
var ErrReplyTooLong = errors.New("a message of the VMM exceeds the limit")

var (
	errDisconnected = fmt.Errorf("the monitor was disconnected: %w", net.ErrClosed)
	errNotQMP       = errors.New("the VMM sent what is not QMP (is this a human monitor?)")
)

// Error is an error reply of the VMM.
type Error struct {
	Class   string // GenericError, CommandNotFound, DeviceNotFound, ...
	Desc    string // for people; empty with StratoVirt
	Command string // the command that failed
}

// Error names the command, the class, and the description if there is one.
func (e *Error) Error() string {
	class, desc := e.Class, e.Desc
	if class == "" {
		class = "error of no class"
	}
	if desc == "" {
		desc = "no description given"
	}
	return fmt.Sprintf("qmp: %s: the VMM refused: %s: %s", e.Command, class, desc)
}

// HMPError is a failed command of the human monitor, which reports errors as
// text like any other output.
type HMPError struct {
	Line string // the command line
	Text string // what the monitor answered
}

// Error quotes the monitor.
func (e *HMPError) Error() string {
	return fmt.Sprintf("human monitor: %s: %s", e.Line, e.Text)
}

// hangups are the errors by which a connection tells that its other end is
// gone.
var hangups = []error{io.EOF, io.ErrUnexpectedEOF, io.ErrClosedPipe, syscall.ECONNRESET, syscall.EPIPE}

// explain turns an error of the connection into one that says whose doing it
// was.
func explain(err error) error {
	if errors.Is(err, errNotQMP) {
		return err
	}
	if err == io.EOF {
		return ErrVMMClosed
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w in the middle of a message", ErrVMMClosed)
	}
	for _, hangup := range hangups {
		if errors.Is(err, hangup) {
			return fmt.Errorf("%w (%w)", ErrVMMClosed, err)
		}
	}
	var syntax *json.SyntaxError
	if errors.As(err, &syntax) {
		return fmt.Errorf("%w: %w", errNotQMP, err)
	}
	return fmt.Errorf("the connection to the monitor failed: %w", err)
}

// ended is the error of a context that has ended, with its cause where that
// says more.
func ended(ctx context.Context) error {
	err := ctx.Err()
	if cause := context.Cause(ctx); cause != err {
		return fmt.Errorf("%w: %w", err, cause)
	}
	return err
}
