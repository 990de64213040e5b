package guest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"virtlab/harness/machine"
)

// Start runs a program in the guest.
func (g *Guest) Start(ctx context.Context, cmd machine.Cmd) (machine.Process, error) {
	if len(cmd.Args) == 0 {
		return nil, errors.New("no program to run")
	}
	return within(ctx, g, func() (machine.Process, error) { return g.exec(ctx, cmd) })
}

// within waits for a request to the guest as long as ctx lasts. A guest that
// hangs never answers; the request then ends with the connection.
func within[T any](ctx context.Context, g *Guest, request func() (T, error)) (T, error) {
	type answer struct {
		value T
		err   error
	}
	answers := make(chan answer, 1)
	go func() {
		v, err := request()
		answers <- answer{v, err}
	}()
	select {
	case a := <-answers:
		return a.value, g.blame(a.err)
	case <-ctx.Done():
		var none T
		return none, g.blame(fmt.Errorf("no answer: %w", context.Cause(ctx)))
	}
}

// exec opens a session and starts the program in it.
func (g *Guest) exec(ctx context.Context, cmd machine.Cmd) (machine.Process, error) {
	s, err := g.ssh.NewSession()
	if err != nil {
		return nil, fmt.Errorf("starting %s: %w", cmd.Args[0], err)
	}
	s.Stdout, s.Stderr = cmd.Stdout, cmd.Stderr
	if s.Stdout != nil && s.Stdout == s.Stderr {
		// As os/exec does: one writer for both never hears two at once.
		one := &oneAtATime{w: cmd.Stdout}
		s.Stdout, s.Stderr = one, one
	}
	for _, kv := range cmd.Env {
		k, v, _ := strings.Cut(kv, "=")
		if err := s.Setenv(k, v); err != nil {
			s.Close()
			return nil, fmt.Errorf("setting %s: %w", k, err)
		}
	}
	// PID 1 splits at NUL: words arrive as they are, no shell between.
	line := cmd.Dir + "\x00" + strings.Join(cmd.Args, "\x00")
	if err := startFed(s, line, cmd.Stdin); err != nil {
		s.Close()
		return nil, fmt.Errorf("starting %s: %w", cmd.Args[0], err)
	}
	p := &process{guest: g, session: s, done: make(chan struct{}), killed: make(chan struct{})}
	go p.reap(ctx)
	return p, nil
}

// oneAtATime lets two goroutines share a writer.
type oneAtATime struct {
	mu sync.Mutex
	w  io.Writer
}

func (o *oneAtATime) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.w.Write(p)
}

// startFed starts line and copies stdin to it. As s.Stdin it would make Wait
// fail where a program ends without reading all of it.
func startFed(s *ssh.Session, line string, stdin io.Reader) error {
	if stdin == nil {
		return s.Start(line)
	}
	in, err := s.StdinPipe()
	if err != nil {
		return err
	}
	if err := s.Start(line); err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(in, stdin)
		in.Close()
	}()
	return nil
}

// killGrace is how long a killed program may take to report its death.
const killGrace = 2 * time.Second

type process struct {
	guest   *Guest
	session *ssh.Session
	done    chan struct{} // closed at the end, when err is set
	err     error
	kill    sync.Once
	killed  chan struct{}
}

// reap waits for the program's end. When ctx ends, or on Kill, the program is
// killed; a guest that does not even report that is given up.
func (p *process) reap(ctx context.Context) {
	defer close(p.done)
	ended := make(chan error, 1)
	go func() { ended <- p.session.Wait() }()
	select {
	case err := <-ended:
		p.err = p.ending(err)
		return
	case <-ctx.Done():
	case <-p.killed:
	}
	_ = p.session.Signal(ssh.SIGKILL)
	select {
	case err := <-ended:
		p.err = p.ending(err)
	case <-time.After(killGrace):
		_ = p.session.Close() // kills as well, but loses how the program ended
		p.err = p.guest.blame(fmt.Errorf("the program was killed, and the guest has not answered for %s", killGrace))
	}
}

// ending is the program's end as a Machine reports it.
func (p *process) ending(err error) error {
	var exit *ssh.ExitError
	switch {
	case errors.As(err, &exit) && exit.Signal() != "":
		return &machine.ExitError{Status: -1, Signal: signalText(exit.Signal())}
	case errors.As(err, &exit):
		return &machine.ExitError{Status: exit.ExitStatus()}
	default:
		return p.guest.blame(err)
	}
}

// signalText gives the words that the host has for a signal ("killed"), of
// which SSH sends the name ("KILL").
func signalText(name string) string {
	if n := unix.SignalNum("SIG" + name); n != 0 {
		return n.String()
	}
	return name
}

func (p *process) Wait() error {
	<-p.done
	return p.err
}

func (p *process) Kill() error {
	p.kill.Do(func() { close(p.killed) })
	return nil
}

// Dial connects to a unix socket in the guest.
func (g *Guest) Dial(ctx context.Context, path string) (net.Conn, error) {
	if err := machine.CheckSocketPath(path); err != nil {
		return nil, err
	}
	conn, err := g.ssh.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", g.name, path, err)
	}
	return conn, nil
}

// files is the guest's file transfer, opened at first use.
type files struct {
	ssh  *ssh.Client
	once sync.Once
	sftp *sftp.Client
	err  error
}

func (f *files) client() (*sftp.Client, error) {
	f.once.Do(func() { f.sftp, f.err = sftp.NewClient(f.ssh) })
	return f.sftp, f.err
}

// onFiles makes a request of the guest's file transfer; path is for errors.
func onFiles[T any](ctx context.Context, g *Guest, path string, request func(*sftp.Client) (T, error)) (T, error) {
	return within(ctx, g, func() (v T, err error) {
		c, err := g.files.client()
		if err == nil {
			v, err = request(c)
		}
		if err != nil {
			err = fmt.Errorf("%s: %w", path, err)
		}
		return v, err
	})
}

// WriteFile creates or replaces a file in the guest.
func (g *Guest) WriteFile(ctx context.Context, path string, r io.Reader, mode fs.FileMode) error {
	_, err := onFiles(ctx, g, path, func(c *sftp.Client) (none struct{}, err error) {
		f, err := c.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
		if err != nil {
			return none, err
		}
		if _, err := f.ReadFrom(r); err != nil {
			f.Close()
			return none, err
		}
		return none, errors.Join(f.Chmod(mode), f.Close())
	})
	return err
}

// ReadFile reads a file in the guest.
func (g *Guest) ReadFile(ctx context.Context, path string) ([]byte, error) {
	return onFiles(ctx, g, path, func(c *sftp.Client) ([]byte, error) {
		f, err := c.Open(path)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		// Files in /proc and /sys have no size; they are read to their end.
		return io.ReadAll(f)
	})
}

// TempDir makes a private directory in the guest.
func (g *Guest) TempDir(ctx context.Context) (string, error) {
	dir := "/tmp/vl" + rand.Text()[:8]
	return onFiles(ctx, g, dir, func(c *sftp.Client) (string, error) { return dir, c.Mkdir(dir) })
}

// RemoveAll removes a file or directory in the guest.
func (g *Guest) RemoveAll(ctx context.Context, path string) error {
	_, err := onFiles(ctx, g, path, func(c *sftp.Client) (none struct{}, err error) {
		// As os.RemoveAll does, take a path that is not there for removed.
		if err := c.RemoveAll(path); !errors.Is(err, fs.ErrNotExist) {
			return none, err
		}
		return none, nil
	})
	return err
}
