package shot

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"virtlab/harness/guest"
	"virtlab/harness/guest/wire"
	"virtlab/harness/job"
	"virtlab/harness/machine"
	"virtlab/harness/result"
)

// Run writes the disk, starts the VMM and watches it to its end. A VMM or guest
// that fails is an Outcome with a Fault. An error says that nothing was learnt of
// them: the Spec is wrong, the harness failed, or ctx ended, with which the VMM
// ends at once. When Run returns the process is gone, with all that it started.
func Run(ctx context.Context, spec Spec) (*Outcome, error) {
	if err := spec.validate(); err != nil {
		return nil, err
	}
	defer spec.removeFiles()
	if err := spec.prepare(); err != nil {
		return nil, err
	}
	r, err := start(ctx, spec)
	if err != nil {
		return nil, err
	}
	defer r.icount.close()
	r.watch()
	if ctx.Err() != nil {
		return nil, fmt.Errorf("the run of %s was stopped: %w", spec.Argv[0], context.Cause(ctx))
	}
	r.judge()
	return &r.out, nil
}

// fatalSettle is how long the console is read on after the kernel's first fatal
// line: an oops takes a while to print.
const fatalSettle = 300 * time.Millisecond

// run is a VMM's process and what has been seen of it.
type run struct {
	spec    Spec
	out     Outcome
	cmd     *exec.Cmd
	proc    machine.Process
	start   time.Time
	console *console
	heard   time.Time // the last sign of life
	decoder job.Decoder
	kvm     *statistics
	icount  *instructions
	said    *tail // what the console said
	stderr  *tail
	doomed  time.Time
	last    string // the kernel's first fatal line
}

// start starts the VMM. The clock starts just before.
func start(ctx context.Context, spec Spec) (*run, error) {
	r := &run{spec: spec, said: newTail(consoleTail), stderr: newTail(stderrTail)}
	r.cmd = exec.Command(spec.Argv[0], spec.Argv[1:]...)
	r.cmd.Env = append(os.Environ(), spec.Env...)
	r.cmd.Stderr = r.stderr
	port, err := openPort(spec, r.cmd)
	if err != nil {
		return nil, err
	}
	r.console = newConsole()
	r.start = time.Now()
	r.heard = r.start
	if r.proc, err = machine.Spawn(ctx, r.cmd); err != nil {
		port.close()
		return nil, err
	}
	r.kvm = newStatistics(spec.KVM, machine.Pid(r.proc))
	r.icount = countInstructions(spec.ICountMonitor, r.console.ended)
	read := port.read(r.console)
	go r.reap(read)
	return r, nil
}

// reap waits for the process's end, then for the rest of its console.
func (r *run) reap(read <-chan struct{}) {
	_ = r.proc.Wait() // r.cmd.ProcessState says it better
	r.out.Ended = time.Since(r.start)
	close(r.console.ended)
	<-read
	r.console.finish()
}

// watch handles what comes on the console until the process is gone.
func (r *run) watch() {
	for {
		at, expire := r.deadline()
		timer := time.NewTimer(time.Until(at))
		select {
		case l, ok := <-r.console.lines:
			if !ok {
				timer.Stop()
				return
			}
			r.line(l)
		case <-timer.C:
			expire()
		}
		timer.Stop()
	}
}

// far is a deadline of a process that is being killed: the kernel keeps it.
const far = time.Hour

// deadline is when the watch loses its patience, and what it does then.
func (r *run) deadline() (time.Time, func()) {
	switch {
	case r.out.End != "":
		return time.Now().Add(far), func() {}
	case r.out.Done > 0:
		return r.start.Add(r.out.Done + r.spec.Grace), func() { r.kill(Killed) }
	case r.last != "":
		return r.doomed.Add(fatalSettle), r.giveUp
	}
	late := r.start.Add(r.spec.Timeout)
	silent := r.lastHeard().Add(r.spec.Silence)
	if late.Before(silent) {
		return late, func() { r.timeOut("the guest was not done after %s", r.spec.Timeout) }
	}
	return silent, func() {
		// A byte that is no line yet moves the deadline, and nothing wakes us.
		if time.Since(r.lastHeard()) >= r.spec.Silence {
			r.timeOut("nothing came on the console for %s", r.spec.Silence)
		}
	}
}

// lastHeard is when the console last moved, or the VMM was last let go.
func (r *run) lastHeard() time.Time {
	if moved := r.console.lastMoved(); moved.After(r.heard) {
		return moved
	}
	return r.heard
}

func (r *run) timeOut(format string, args ...any) {
	r.fault(result.Guest, "it hangs: "+format, args...)
	r.kill(ByWatchdog)
}

func (r *run) giveUp() {
	r.fault(result.Guest, "the guest's kernel gave up: %s", r.last)
	r.kill(ByWatchdog)
}

func (r *run) kill(how How) {
	r.out.End = how
	_ = r.proc.Kill()
}

// fault keeps the first reason for which the run measured nothing.
func (r *run) fault(owner result.Owner, format string, args ...any) {
	if r.out.Fault == "" {
		r.out.Fault, r.out.Owner = fmt.Sprintf(format, args...), string(owner)
	}
}

// missing notes a figure that could not be read.
func (r *run) missing(what string, err error) {
	note := fmt.Sprintf("%s: %v", what, err)
	if !slices.Contains(r.out.Missing, note) {
		r.out.Missing = append(r.out.Missing, note)
	}
}

// line handles a line of the console. Of what comes after the guest is done, or
// given up, nothing counts.
func (r *run) line(l line) {
	if !strings.Contains(l.text, frameMark) {
		r.said.add(l.text)
	}
	if r.out.End != "" || r.out.Done > 0 {
		return
	}
	r.words(l)
	f, err := r.decoder.Line(l.text)
	switch {
	case err != nil:
		r.fault(result.VMM, "%v", err)
		r.kill(ByWatchdog)
	case f != nil:
		r.frame(*f, l.at.Sub(r.start))
	}
}

// frameMark begins a frame's line (package job), which is nothing to read.
const frameMark = "@vl "

// words looks for PID 1's marker and the kernel's last words.
func (r *run) words(l line) {
	if r.out.Init == 0 && strings.Contains(l.text, wire.Marker) {
		r.out.Init = l.at.Sub(r.start)
	}
	if r.last == "" && guest.FatalLine(l.text) {
		r.last, r.doomed = l.text, l.at
	}
}

// frame handles a frame that was complete at that time. What is to be read from
// outside comes first: the guest waits a while, but it does not wait for us.
func (r *run) frame(f job.Frame, at time.Duration) {
	seen := Frame{Name: f.Name, Data: f.Data, At: at}
	switch f.Name {
	case job.FrameUp:
		r.out.Up = at
		r.out.Exits, r.out.ICount = r.counters()
	case job.FrameBegin, job.FrameEnd:
		seen.Exits, seen.ICount = r.counters()
	case job.FramePages:
		r.measureMemory(f.Data)
	case job.FrameFault:
		r.fault(result.Guest, "the guest could not do its job: %s", f.Data)
		r.kill(ByWatchdog)
	case job.FrameDone:
		r.out.Done = at
	}
	r.out.Frames = append(r.out.Frames, seen)
}

// counters reads what counts the guest's work from outside.
func (r *run) counters() (*Exits, int64) {
	exits, err := r.kvm.read()
	if err != nil {
		r.missing("KVM's statistics", err)
	}
	n, err := r.icount.read()
	if err != nil {
		r.missing("executed instructions", err)
	}
	return exits, n
}

// measureMemory looks at the VMM's memory while it stands still.
func (r *run) measureMemory(data []byte) {
	var p job.Pages
	if err := json.Unmarshal(data, &p); err != nil {
		r.fault(result.Guest, "the pages frame: %v", err)
		r.kill(ByWatchdog)
		return
	}
	v := view{pid: machine.Pid(r.proc), pages: p.GPA, nonce: r.spec.nonce(), ram: uint64(r.spec.RAMBytes)}
	mem, threads, err := v.take()
	if err != nil {
		r.missing("memory", err)
	}
	r.out.Memory, r.out.Threads = mem, threads
	r.heard = time.Now() // it could not say anything meanwhile
}

// judge says how the process ended, and whose fault it is where that was early.
func (r *run) judge() {
	state := r.cmd.ProcessState
	// Of two things at one moment, two goroutines may hear in either order.
	r.out.Ended = max(r.out.Ended, r.out.Done)
	r.out.Status = state.ExitCode()
	r.out.CPU = state.UserTime() + state.SystemTime()
	if r.out.End == "" {
		r.out.End = Died
		if r.out.Done > 0 {
			r.out.End = ByGuest
		}
	}
	if r.out.End == Died {
		r.blame(state.Sys().(syscall.WaitStatus))
	}
	r.out.Tail = append(r.said.text(""), r.stderr.text("stderr: ")...)
}

// blame finds the owner of an early end.
func (r *run) blame(ws syscall.WaitStatus) {
	words := cmp.Or(r.stderr.lastLine(), "nothing on stderr")
	switch {
	case r.last != "":
		r.fault(result.Guest, "the guest's kernel gave up: %s", r.last)
	case ws.Signaled() && ws.Signal() == syscall.SIGKILL:
		r.fault(result.Host, "somebody else killed the VMM before the guest was done: was the machine out of memory?")
	case ws.Signaled():
		r.fault(result.VMM, "the VMM was ended by a signal (%s) before the guest was done; it said: %s", ws.Signal(), words)
	case ws.ExitStatus() != 0:
		r.fault(result.VMM, "the VMM ended with status %d before the guest was done; it said: %s", ws.ExitStatus(), words)
	default:
		// A guest that resets or crashes may end its VMM like that.
		r.fault(result.Guest, "the machine ended before the guest was done, the VMM with status 0; it said: %s", words)
	}
}

// nonce is what the guest's pages hold.
func (s Spec) nonce() uint64 {
	if j := s.job(); j != nil {
		return j.Nonce
	}
	return 0
}

// job is what the guest is to do, wherever it finds it; nil: nothing that we know.
func (s Spec) job() *job.Spec {
	switch {
	case s.Initramfs != nil:
		return s.Initramfs.Job
	case s.Disk != nil:
		return s.Disk.Job
	}
	return nil
}

// validate finds what cannot be run.
func (s Spec) validate() error {
	var faults []error
	fault := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, result.Errorf(result.Host, format, args...))
		}
	}
	fault(len(s.Argv) == 0, "no VMM to run")
	fault(!slices.Contains([]Console{Stdout, PTY, Socket}, s.Console), "console %q is none of stdout, pty, socket", s.Console)
	fault(s.Console == Socket && s.ConsolePath == "", "a console on a socket needs its path")
	fault(s.Timeout <= 0 || s.Silence <= 0, "timeout %s and silence %s must be more than nothing", s.Timeout, s.Silence)
	fault(s.Grace < 0, "grace %s is below zero", s.Grace)
	for _, path := range []string{s.ConsolePath, s.ICountMonitor} {
		if err := machine.CheckSocketPath(path); err != nil {
			faults = append(faults, err)
		}
	}
	if d := s.Disk; d != nil {
		fault(d.Path == "", "a disk without a path")
	}
	if i := s.Initramfs; i != nil {
		fault(i.Base == "" || i.Path == "" || i.Job == nil, "an initramfs takes a base, a path and a job")
	}
	if j := s.job(); j != nil {
		fault(j.Pages > 0 && (s.RAMBytes <= 0 || j.Nonce == 0), "to find guest RAM by its pages takes its size and a nonce")
	}
	if err := errors.Join(faults...); err != nil {
		return fmt.Errorf("shot: %w", err)
	}
	return nil
}
