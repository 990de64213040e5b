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
	s, err := g.ssh.NewSession()
	if err != nil {
		return nil, g.blame(fmt.Errorf("starting %s: %w", cmd.Args[0], err))
	}
	s.Stdout, s.Stderr = cmd.Stdout, cmd.Stderr
	for _, kv := range cmd.Env {
		k, v, _ := strings.Cut(kv, "=")
		if err := s.Setenv(k, v); err != nil {
			s.Close()
			return nil, g.blame(fmt.Errorf("setting %s: %w", k, err))
		}
	}
	// PID 1 splits at NUL: words arrive as they are, no shell between.
	line := cmd.Dir + "\x00" + strings.Join(cmd.Args, "\x00")
	if err := startFed(s, line, cmd.Stdin); err != nil {
		s.Close()
		return nil, g.blame(fmt.Errorf("starting %s: %w", cmd.Args[0], err))
	}
	p := &process{guest: g, session: s, done: make(chan struct{})}
	go p.reap()
	go func() {
		select {
		case <-ctx.Done():
			_ = p.Kill()
		case <-p.done:
		}
	}()
	return p, nil
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
	done    chan struct{}
	err     error
}

func (p *process) reap() {
	defer close(p.done)
	err := p.session.Wait()
	var exit *ssh.ExitError
	switch {
	case errors.As(err, &exit) && exit.Signal() != "":
		p.err = &machine.ExitError{Status: -1, Signal: signalText(exit.Signal())}
	case errors.As(err, &exit):
		p.err = &machine.ExitError{Status: exit.ExitStatus()}
	case err != nil:
		p.err = p.guest.blame(err)
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
	select {
	case <-p.done:
		return nil
	default:
	}
	if err := p.session.Signal(ssh.SIGKILL); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	// Closing the session kills as well, but loses how the program ended:
	// that is for a guest that does not answer.
	go func() {
		select {
		case <-p.done:
		case <-time.After(killGrace):
			_ = p.session.Close()
		}
	}()
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

// WriteFile creates or replaces a file in the guest.
func (g *Guest) WriteFile(_ context.Context, path string, r io.Reader, mode fs.FileMode) error {
	c, err := g.files.client()
	if err != nil {
		return g.blame(err)
	}
	f, err := c.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return g.blame(fmt.Errorf("%s: %w", path, err))
	}
	if _, err := f.ReadFrom(r); err != nil {
		f.Close()
		return g.blame(fmt.Errorf("%s: %w", path, err))
	}
	return g.blame(errors.Join(f.Chmod(mode), f.Close()))
}

// ReadFile reads a file in the guest.
func (g *Guest) ReadFile(_ context.Context, path string) ([]byte, error) {
	c, err := g.files.client()
	if err != nil {
		return nil, g.blame(err)
	}
	f, err := c.Open(path)
	if err != nil {
		return nil, g.blame(fmt.Errorf("%s: %w", path, err))
	}
	defer f.Close()
	// Files in /proc and /sys have no size; they are read to their end.
	b, err := io.ReadAll(f)
	if err != nil {
		return nil, g.blame(fmt.Errorf("%s: %w", path, err))
	}
	return b, nil
}

// TempDir makes a private directory in the guest.
func (g *Guest) TempDir(context.Context) (string, error) {
	c, err := g.files.client()
	if err != nil {
		return "", g.blame(err)
	}
	dir := "/tmp/vl" + rand.Text()[:8]
	if err := c.Mkdir(dir); err != nil {
		return "", g.blame(fmt.Errorf("%s: %w", dir, err))
	}
	return dir, nil
}

// RemoveAll removes a file or directory in the guest.
func (g *Guest) RemoveAll(_ context.Context, path string) error {
	c, err := g.files.client()
	if err != nil {
		return g.blame(err)
	}
	// As os.RemoveAll does, take a path that is not there for removed.
	if err := c.RemoveAll(path); !errors.Is(err, fs.ErrNotExist) {
		return g.blame(err)
	}
	return nil
}
