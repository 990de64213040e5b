// Package machine is the idea the house stands on: a Machine is anything that
// can run a program, take files and open a connection to a socket inside it.
// The host is one, and so is a booted guest; that is why guests nest.
package machine

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
)

// Machine runs programs, holds files and has unix sockets.
type Machine interface {
	// Name is for messages: "host", "L1".
	Name() string
	// Start starts a program. It ends when ctx ends, when it is killed, or
	// when this process dies, whichever comes first.
	Start(ctx context.Context, cmd Cmd) (Process, error)
	// Dial connects to the unix socket at path on the machine.
	Dial(ctx context.Context, path string) (net.Conn, error)
	// WriteFile creates or replaces the file at path with what r holds.
	WriteFile(ctx context.Context, path string, r io.Reader, mode fs.FileMode) error
	// ReadFile reads the whole file at path.
	ReadFile(ctx context.Context, path string) ([]byte, error)
	// TempDir makes a private directory with a path short enough for unix
	// sockets (sun_path holds 108 bytes). RemoveAll takes it away.
	TempDir(ctx context.Context) (string, error)
	RemoveAll(ctx context.Context, path string) error
}

// Cmd is a program to run. Args[0] is looked up in the machine's PATH unless it
// holds a slash.
type Cmd struct {
	Args   []string
	Env    []string // "K=V", added to the machine's environment
	Dir    string
	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer
}

// Process is a running program.
type Process interface {
	// Wait waits for the end. A status other than 0, or a signal, is an *ExitError.
	Wait() error
	// Kill ends the program and all it started (SIGKILL to its process group).
	Kill() error
}

// ExitError is how a program ended when it did not end well.
type ExitError struct {
	Status int    // exit status, -1 where a signal ended it
	Signal string // "killed", "segmentation fault", or empty
	Stderr string // last lines, where Run captured them
}

func (e *ExitError) Error() string {
	s := fmt.Sprintf("exit status %d", e.Status)
	if e.Signal != "" {
		s = "ended by signal: " + e.Signal
	}
	if e.Stderr != "" {
		s += ": " + e.Stderr
	}
	return s
}

// Run runs a program on m to its end and returns what it printed on stdout.
// What it printed on stderr is in the error where it fails.
func Run(ctx context.Context, m Machine, args ...string) (string, error) {
	return RunCmd(ctx, m, Cmd{Args: args})
}

// RunCmd is Run for a Cmd whose Stdout is free.
func RunCmd(ctx context.Context, m Machine, cmd Cmd) (string, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout = &stdout
	if cmd.Stderr == nil {
		cmd.Stderr = &stderr
	}
	p, err := m.Start(ctx, cmd)
	if err == nil {
		err = p.Wait()
	}
	if err == nil {
		return stdout.String(), nil
	}
	var exit *ExitError
	if errors.As(err, &exit) {
		exit.Stderr = lastLines(stderr.String(), 10)
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("%w (%w)", context.Cause(ctx), err)
	}
	return stdout.String(), fmt.Errorf("%s: %s: %w", m.Name(), strings.Join(cmd.Args, " "), err)
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// Copy copies a file of the host with its permissions.
func Copy(dst, src string) error { return Upload(context.Background(), Host, src, dst) }

// Upload copies the host's file src to dst on m.
func Upload(ctx context.Context, m Machine, src, dst string) error {
	f, err := os.Open(src)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if err := m.WriteFile(ctx, dst, f, st.Mode().Perm()); err != nil {
		return fmt.Errorf("copying %s to %s:%s: %w", filepath.Base(src), m.Name(), dst, err)
	}
	return nil
}
