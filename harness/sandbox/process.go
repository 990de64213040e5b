package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"virtlab/harness/machine"
	"virtlab/harness/result"
)

// process is a sandbox with a program in it.
type process struct {
	machine.Process // bubblewrap's, outside of the walls
	limits          Limits
	writable        []string
	group           *group // nil where there are no cgroups

	started chan struct{} // closed when Process is set
	ended   chan struct{}
	err     error
	over    atomic.Pointer[LimitError] // the first limit that was exceeded
	printed atomic.Int64               // bytes
	said    head                       // the beginning of standard error
}

// launch starts c, which is bubblewrap, with what it reads and writes besides.
func launch(ctx context.Context, s Spec, c *exec.Cmd) (machine.Process, error) {
	// What this process got open from make, Slurm or a shell is not for the
	// sandbox. Its own files are closed on exec as Go opens them.
	if err := unix.CloseRange(3, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return nil, result.Errorf(result.Host, "closing files to the sandbox: %w", err)
	}
	rules, err := contentPipe(filter(s.Sockets))
	if err != nil {
		return nil, result.Errorf(result.Host, "starting a sandbox: %w", err)
	}
	defer rules.Close()
	status, told, err := os.Pipe()
	if err != nil {
		return nil, result.Errorf(result.Host, "starting a sandbox: %w", err)
	}
	defer told.Close()
	c.ExtraFiles = []*os.File{rules, told} // filterFD, statusFD
	p := newProcess(s)
	p.group = newGroup(s.Limits)
	p.group.place(c)
	if err := p.spawn(ctx, s, c); err != nil {
		status.Close()
		return nil, errors.Join(err, p.group.remove())
	}
	go p.follow(status)
	return p, nil
}

func newProcess(s Spec) *process {
	return &process{limits: s.Limits, writable: s.writable, started: make(chan struct{}), ended: make(chan struct{})}
}

// spawn starts c with the program's streams, whose output is counted.
func (p *process) spawn(ctx context.Context, s Spec, c *exec.Cmd) (err error) {
	c.Stdin = s.Stdin
	c.Stderr = &stream{p: p, to: s.Stderr, said: &p.said}
	if c.Stdout = c.Stderr; s.Stdout != s.Stderr { // one writer hears one at a time
		c.Stdout = &stream{p: p, to: s.Stdout}
	}
	p.Process, err = machine.Spawn(ctx, c)
	close(p.started)
	return err
}

// contentPipe is a pipe that holds content, which must fit into it: 64 KiB.
func contentPipe(content []byte) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	_, err = w.Write(content)
	return r, errors.Join(err, w.Close())
}

// Pid is bubblewrap's, for machine.Pid.
func (p *process) Pid() int { return machine.Pid(p.Process) }

// Wait waits until the program and all it started are gone.
func (p *process) Wait() error {
	<-p.ended
	return p.err
}

// exceed ends the program for a limit. The first one counts.
func (p *process) exceed(l Limit) {
	<-p.started
	if p.over.CompareAndSwap(nil, p.limits.Exceeded(l)) && p.Process != nil {
		_ = p.Kill()
	}
}

// report is what bubblewrap says of itself (--json-status-fd): first which is
// the first process in the sandbox; then, if the program was run at all, how it
// ended.
type report struct {
	ChildPID int  `json:"child-pid"`
	ExitCode *int `json:"exit-code"`
}

// follow sees the sandbox through to its end.
func (p *process) follow(status *os.File) {
	defer close(p.ended)
	defer status.Close()
	var begun, done report
	reports := json.NewDecoder(status)
	_ = reports.Decode(&begun) // nothing comes where bubblewrap failed
	first := openFirst(begun.ChildPID)
	stop := p.watch(begun.ChildPID)
	err := p.Process.Wait()
	stop()
	_ = reports.Decode(&done)
	p.err = p.judge(err, done.ExitCode)
	if err := errors.Join(first.await(), p.group.remove()); err != nil {
		p.err = err // worse than however the program ended
	}
}

// followBare is follow without walls.
func (p *process) followBare(scratch string) {
	defer close(p.ended)
	stop := p.watch(0)
	err := p.Process.Wait()
	stop()
	if p.err = p.explain(err); p.err == nil {
		p.err = os.RemoveAll(scratch)
		return
	}
	_ = os.RemoveAll(scratch)
}

// firstProcess is the first process of the sandbox. Its end is the end of all
// others: the kernel kills them and waits for them (pid_namespaces(7)).
type firstProcess int // pidfd, -1 where there is none

func openFirst(pid int) firstProcess {
	if pid == 0 {
		return -1
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return -1 // it is gone already
	}
	return firstProcess(fd)
}

// endLimit is how long the kernel may take to end all processes.
const endLimit = 20 * time.Second

func (f firstProcess) await() error {
	if f < 0 {
		return nil
	}
	defer unix.Close(int(f))
	deadline := time.Now().Add(endLimit)
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(f), Events: unix.POLLIN}}, int(time.Until(deadline).Milliseconds()))
		switch {
		case err == unix.EINTR:
		case n == 0 || err != nil:
			return result.Errorf(result.Host, "processes of the sandbox are still there %s after it was killed", endLimit)
		default:
			return nil
		}
	}
}

// judge says what the end of the sandbox means. code is the program's own exit
// status as a shell has it, none where it never ran.
func (p *process) judge(err error, code *int) error {
	var exit *machine.ExitError
	switch {
	case p.over.Load() == nil && code == nil && errors.As(err, &exit) && exit.Signal == "":
		return result.Errorf(result.Host, "the sandbox did not come up (%w): %s", exit, p.said.String())
	case code != nil:
		err = exitError(*code)
	}
	if l := p.group.exceeded(); l != "" && err != nil {
		p.over.CompareAndSwap(nil, p.limits.Exceeded(l))
	}
	return p.explain(err)
}

// explain puts the limit that ended the program in place of how it ended.
func (p *process) explain(err error) error {
	var exit *machine.ExitError
	if errors.As(err, &exit) {
		switch exit.Signal {
		case syscall.SIGXCPU.String():
			p.over.CompareAndSwap(nil, p.limits.Exceeded(CPU))
		case syscall.SIGXFSZ.String():
			p.over.CompareAndSwap(nil, p.limits.Exceeded(FileSize))
		}
	}
	if over := p.over.Load(); over != nil {
		return result.Errorf(result.Submission, "%w", over)
	}
	return err
}

// exitError reads an exit status as shells write it: 128 and the signal's number.
func exitError(code int) error {
	const lastSignal = 64
	switch {
	case code == 0:
		return nil
	case code > 128 && code <= 128+lastSignal:
		return &machine.ExitError{Status: -1, Signal: syscall.Signal(code - 128).String()}
	}
	return &machine.ExitError{Status: code}
}

// stream passes on what the program prints, and counts it.
type stream struct {
	p    *process
	to   io.Writer // may be nil
	said *head     // may be nil
}

func (w *stream) Write(b []byte) (int, error) {
	if w.p.printed.Add(int64(len(b))) > int64(w.p.limits.OutputMiB)<<20 {
		w.p.exceed(Output)
		return len(b), nil
	}
	if w.said != nil {
		w.said.keep(b)
	}
	if w.to == nil {
		return len(b), nil
	}
	return w.to.Write(b)
}

// head keeps the beginning of what it is given.
type head struct {
	mu sync.Mutex
	b  bytes.Buffer
}

const headSize = 2 << 10

func (h *head) keep(b []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.b.Write(b[:min(len(b), headSize-h.b.Len())])
}

func (h *head) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return strings.TrimSpace(h.b.String())
}
