package machine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"virtlab/harness/result"
)

// Host is the machine this process runs on.
var Host Machine = host{}

type host struct{}

func (host) Name() string { return "host" }

// Start starts a program in its own process group. The kernel sends it SIGKILL
// when this process dies, however it dies.
func (host) Start(ctx context.Context, cmd Cmd) (Process, error) {
	if len(cmd.Args) == 0 {
		return nil, errors.New("no program to run")
	}
	c := exec.Command(cmd.Args[0], cmd.Args[1:]...)
	c.Env = append(os.Environ(), cmd.Env...)
	c.Dir, c.Stdin, c.Stdout, c.Stderr = cmd.Dir, cmd.Stdin, cmd.Stdout, cmd.Stderr
	return Spawn(ctx, c)
}

// Spawn starts c as Host starts a program, for those that need more than a Cmd
// says: open files, a cgroup. It adds to c.SysProcAttr.
func Spawn(ctx context.Context, c *exec.Cmd) (Process, error) {
	if err := feed(c); err != nil {
		return nil, result.Errorf(result.Host, "starting %s: %w", c.Args[0], err)
	}
	if c.SysProcAttr == nil {
		c.SysProcAttr = &syscall.SysProcAttr{}
	}
	c.SysProcAttr.Setpgid, c.SysProcAttr.Pdeathsig = true, syscall.SIGKILL
	// A grandchild that keeps the pipes open must not hold up Wait for ever.
	c.WaitDelay = 2 * time.Second
	if err := onImmortalThread(c.Start); err != nil {
		return nil, result.Errorf(result.Host, "starting %s: %w", c.Args[0], err)
	}
	p := &hostProcess{cmd: c, done: make(chan struct{})}
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

// feed copies c's standard input to it. A reader that never ends must not hold
// up Wait, which would wait for it if it were c.Stdin.
func feed(c *exec.Cmd) error {
	stdin := c.Stdin
	c.Stdin = nil
	if f, ok := stdin.(*os.File); ok || stdin == nil {
		if f != nil {
			c.Stdin = f
		}
		return nil
	}
	in, err := c.StdinPipe()
	if err != nil {
		return err
	}
	go func() {
		_, _ = io.Copy(in, stdin)
		in.Close()
	}()
	return nil
}

type hostProcess struct {
	cmd  *exec.Cmd
	done chan struct{}
	err  error
}

func (p *hostProcess) reap() {
	p.killLeftovers()
	p.err = exitError(p.cmd.Wait())
	close(p.done)
}

// killLeftovers waits for the end of the program and kills what it left in its
// group. The program stays a zombie meanwhile, so that the group's number
// cannot belong to anybody else.
func (p *hostProcess) killLeftovers() {
	pid := p.cmd.Process.Pid
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			break
		}
	}
	_ = syscall.Kill(-pid, syscall.SIGKILL)
}

func (p *hostProcess) Wait() error {
	<-p.done
	return p.err
}

func (p *hostProcess) Kill() error {
	select {
	case <-p.done:
		return nil // the group's number may belong to somebody else by now
	default:
		return syscall.Kill(-p.cmd.Process.Pid, syscall.SIGKILL)
	}
}

func exitError(err error) error {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return err
	}
	ws := exit.Sys().(syscall.WaitStatus)
	if ws.Signaled() {
		return &ExitError{Status: -1, Signal: ws.Signal().String()}
	}
	return &ExitError{Status: ws.ExitStatus()}
}

// Pid is the process id where p runs on the host, and 0 elsewhere. Of a sandbox it
// is the outermost process's; the program is among its descendants.
func Pid(p Process) int {
	if hp, ok := p.(interface{ Pid() int }); ok {
		return hp.Pid()
	}
	return 0
}

func (p *hostProcess) Pid() int { return p.cmd.Process.Pid }

// onImmortalThread runs f on an operating system thread that lives as long as
// this process. A child's parent-death signal comes when the *thread* that
// forked it ends (prctl(2), PR_SET_PDEATHSIG), and the Go runtime ends threads.
func onImmortalThread(f func() error) error {
	spawnerOnce.Do(func() {
		go func() {
			runtime.LockOSThread()
			for call := range spawner {
				call()
			}
		}()
	})
	errs := make(chan error)
	spawner <- func() { errs <- f() }
	return <-errs
}

var (
	spawner     = make(chan func())
	spawnerOnce sync.Once
)

func (host) Dial(ctx context.Context, path string) (net.Conn, error) {
	if err := CheckSocketPath(path); err != nil {
		return nil, err
	}
	var d net.Dialer
	return d.DialContext(ctx, "unix", path)
}

// sunPath is the size of sockaddr_un.sun_path with its final NUL (unix(7)).
const sunPath = 108

// CheckSocketPath refuses a path that does not fit a unix socket's address,
// where the kernel or QEMU would only say "invalid argument".
func CheckSocketPath(path string) error {
	if len(path) < sunPath {
		return nil
	}
	return result.Errorf(result.Host, "the socket path %s has %d bytes, the limit is %d", path, len(path), sunPath-1).
		WithHint("set TMPDIR to a short path such as /tmp")
}

func (host) WriteFile(_ context.Context, path string, r io.Reader, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return err
	}
	if _, err := io.Copy(f, r); err != nil {
		f.Close()
		return err
	}
	return errors.Join(f.Chmod(mode), f.Close())
}

func (host) ReadFile(_ context.Context, path string) ([]byte, error) { return os.ReadFile(path) }

func (host) RemoveAll(_ context.Context, path string) error {
	if err := os.RemoveAll(path); err != nil {
		return fmt.Errorf("removing %s: %w", path, err)
	}
	return leaveScratch(path)
}
