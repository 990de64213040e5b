package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// PID 1 inherits every orphan, and wait4(-1) takes whatever ended, so one
// reaper waits for all and hands each status to whoever started the process.
var children = struct {
	sync.Mutex
	waiting map[int]chan syscall.WaitStatus
}{waiting: map[int]chan syscall.WaitStatus{}}

func reap(ended <-chan os.Signal) {
	for range ended {
		children.Lock()
		for {
			var ws syscall.WaitStatus
			pid, err := syscall.Wait4(-1, &ws, syscall.WNOHANG, nil)
			if err == syscall.EINTR {
				continue
			}
			if err != nil || pid <= 0 {
				break
			}
			if c := children.waiting[pid]; c != nil {
				delete(children.waiting, pid)
				c <- ws
			}
		}
		children.Unlock()
	}
}

// terminated hears SIGTERM, which poweroff sends to PID 1.
var terminated = make(chan os.Signal, 1)

// hearSignals has PID 1 hear of the ends of programs and of poweroff. The first
// program starts it: before that nothing ends and nobody sends a signal, and
// os/signal would delay the first answer of every boot: 230 more blocks of code
// that an emulator has to translate.
var hearSignals = sync.OnceFunc(func() {
	signal.Notify(terminated, unix.SIGTERM)
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, unix.SIGCHLD)
	go reap(ended)
})

// process is a program that PID 1 started for a client.
type process struct {
	pid    int
	ended  chan syscall.WaitStatus
	copied sync.WaitGroup
	stdin  *os.File
}

// start runs argv in a process group of its own with its output copied to
// stdout and stderr.
func start(argv, env []string, dir string, stdin io.Reader, stdout, stderr io.Writer) (*process, error) {
	path, err := lookUp(argv[0])
	if err != nil {
		return nil, err
	}
	inR, inW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	outR, outW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	errR, errW, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	hearSignals()
	p := &process{ended: make(chan syscall.WaitStatus, 1), stdin: inW}
	// Under the lock, so that a quick end is not reaped before it is known.
	children.Lock()
	p.pid, err = syscall.ForkExec(path, argv, &syscall.ProcAttr{
		Dir: dir, Env: environment(env, dir),
		Files: []uintptr{inR.Fd(), outW.Fd(), errW.Fd()},
		Sys:   &syscall.SysProcAttr{Setpgid: true},
	})
	if err == nil {
		children.waiting[p.pid] = p.ended
	}
	children.Unlock()
	for _, f := range []*os.File{inR, outW, errW} {
		f.Close()
	}
	if err != nil {
		for _, f := range []*os.File{inW, outR, errR} {
			f.Close()
		}
		return nil, fmt.Errorf("starting %s: %w", path, err)
	}
	p.pump(stdin, outR, stdout, errR, stderr)
	return p, nil
}

// lookUp finds a program in PATH; one with a slash in its name is found by the
// kernel, below the program's own working directory.
func lookUp(name string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	return exec.LookPath(name)
}

// environment is this process's own with env on top: where a name stands twice,
// getenv(3) would find the first, so each stands once.
func environment(env []string, dir string) []string {
	c := exec.Cmd{Env: append(os.Environ(), env...), Dir: dir}
	return c.Environ()
}

func (p *process) pump(stdin io.Reader, outR *os.File, stdout io.Writer, errR *os.File, stderr io.Writer) {
	go func() {
		_, _ = io.Copy(p.stdin, stdin)
		p.stdin.Close()
	}()
	p.copied.Add(2)
	for _, c := range []struct {
		r *os.File
		w io.Writer
	}{{outR, stdout}, {errR, stderr}} {
		go func() {
			defer p.copied.Done()
			defer c.r.Close()
			_, _ = io.Copy(c.w, c.r)
		}()
	}
}

// wait waits for the end of the program and of what it printed.
func (p *process) wait() syscall.WaitStatus {
	ws := <-p.ended
	// Whatever it left in its group goes with it, or its pipes stay open.
	p.signal(syscall.SIGKILL)
	done := make(chan struct{})
	go func() {
		p.copied.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(pipeDelay): // a daemon of its own session has the pipes
	}
	return ws
}

// pipeDelay is how long the output of a program that has ended is waited for.
const pipeDelay = 2 * time.Second

func (p *process) signal(sig syscall.Signal) { _ = syscall.Kill(-p.pid, sig) }
