package shot

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"virtlab/harness/result"
)

// port is the way from a guest's serial port to the console.
type port interface {
	// read copies what comes to c. The channel is closed when all has come.
	read(c *console) <-chan struct{}
	// close gives the port up where no VMM was started.
	close()
}

// openPort makes what the Spec's console needs and connects cmd to it.
func openPort(spec Spec, cmd *exec.Cmd) (port, error) {
	switch spec.Console {
	case PTY:
		return newTerminal(cmd)
	case Socket:
		return socket(spec.ConsolePath), nil
	default:
		return newPipe(cmd)
	}
}

// drain is how long the end of a console may take to come after the VMM's death.
const drain = time.Second

// copying copies r to c, which ends when the VMM does, or soon after.
func copying(r interface {
	io.ReadCloser
	SetReadDeadline(time.Time) error
}, c *console) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(c, r) // a terminal ends with EIO
	}()
	go func() {
		<-c.ended
		// Something that the VMM left behind may hold the other end.
		_ = r.SetReadDeadline(time.Now().Add(drain))
		<-done
		r.Close()
	}()
	return done
}

// pipe is a VMM that prints the console on its standard output.
type pipe struct{ ours, theirs *os.File }

func newPipe(cmd *exec.Cmd) (port, error) {
	ours, theirs, err := os.Pipe()
	if err != nil {
		return nil, result.Errorf(result.Host, "a pipe for the console: %w", err)
	}
	cmd.Stdout = theirs
	return pipe{ours, theirs}, nil
}

func (p pipe) read(c *console) <-chan struct{} {
	p.theirs.Close() // so that the console ends with the VMM
	return copying(p.ours, c)
}

func (p pipe) close() { p.ours.Close(); p.theirs.Close() }

// newTerminal is a pseudo-terminal (pty(7)) that is the VMM's standard input and
// output.
func newTerminal(cmd *exec.Cmd) (port, error) {
	mountDevPTS()
	master, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, result.Errorf(result.Host, "a terminal for the console: %w", err)
	}
	slave, err := openSlave(master)
	if err != nil {
		master.Close()
		return nil, result.Errorf(result.Host, "a terminal for the console: %w", err)
	}
	cmd.Stdin, cmd.Stdout = slave, slave
	return pipe{master, slave}, nil
}

// openSlave opens the other end of a terminal and makes it raw: what the guest
// prints is to come as it was printed, and what we print is not to come back.
func openSlave(master *os.File) (*os.File, error) {
	var n int
	err := control(master, func(fd int) (err error) {
		if err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err == nil {
			n, err = unix.IoctlGetInt(fd, unix.TIOCGPTN)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	if _, err := term.MakeRaw(int(slave.Fd())); err != nil {
		slave.Close()
		return nil, err
	}
	return slave, nil
}

// control calls f with the file's descriptor. File.Fd would make it blocking, and
// a blocked read has no deadline.
func control(file *os.File, f func(fd int) error) error {
	raw, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := raw.Control(func(fd uintptr) { inner = f(int(fd)) }); err != nil {
		return err
	}
	return inner
}

// socket is the path of a unix socket on which the VMM listens.
type socket string

// redial is how long a VMM's socket is left alone between two attempts. What the
// guest prints before the first connection is lost on some VMMs.
const redial = time.Millisecond

func (s socket) read(c *console) <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if conn := dialRetry(string(s), c.ended); conn != nil {
			<-copying(conn, c)
		}
	}()
	return done
}

func (socket) close() {}

// dialRetry dials a socket that a VMM is about to make; nil: it ended before.
func dialRetry(path string, ended <-chan struct{}) *net.UnixConn {
	for {
		var d net.Dialer
		if conn, err := d.DialContext(context.Background(), "unix", path); err == nil {
			return conn.(*net.UnixConn)
		}
		select {
		case <-ended:
			return nil
		case <-time.After(redial):
		}
	}
}
