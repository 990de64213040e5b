//go:build linux && amd64

package trap

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"virtlab/harness/kvm"
)

// traceOptions: children and threads are traced from their first instruction,
// system call stops can be told from signals, and all die with the tracer.
const traceOptions = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE | unix.PTRACE_O_TRACEFORK |
	unix.PTRACE_O_TRACEVFORK | unix.PTRACE_O_TRACEEXEC | unix.PTRACE_O_EXITKILL

const (
	// syscallStop is the stop signal of a system call stop (TRACESYSGOOD).
	syscallStop = unix.SIGTRAP | 0x80
	// pollInterval is a safety net: stops are announced by SIGCHLD.
	pollInterval = 20 * time.Millisecond
	// killGrace is how long killed tasks may take to die, which a kernel fault or
	// an uninterruptible device can keep them from.
	killGrace = 10 * time.Second
)

// task is one traced thread.
type task struct {
	tid   int
	ioctl *Ioctl // the KVM ioctl it is in
	vcpu  *vcpu  // of the KVM_RUN it is in
}

// tracer holds one run. All its methods are called on one OS thread, since the
// kernel takes ptrace calls for a task from its tracer thread only.
type tracer struct {
	config Config
	cell   *cell // nil: not confined
	log    *Log
	began  time.Time
	root   int
	tasks  map[int]*task
	text   int  // bytes of text trapped so far
	ended  bool // Ending is decided and everything has been killed
}

// trace runs the program to its end. It never gives its thread back: when the
// goroutine ends the thread does too, and with it, by EXITKILL, whatever it
// might still trace.
func trace(ctx context.Context, config Config) (*Log, error) {
	runtime.LockOSThread()
	t, err := newTracer(config)
	if err != nil {
		return nil, fmt.Errorf("trap: %w", err)
	}
	defer t.cell.close()
	full := make(chan string, 1)
	streams, err := openStreams(config.Stdin, config.Limit.Output, full)
	if err != nil {
		return nil, err
	}
	stops := make(chan os.Signal, 1)
	signal.Notify(stops, unix.SIGCHLD)
	defer signal.Stop(stops)

	t.began = time.Now()
	if err := t.start(streams.fds()); err != nil {
		streams.closeAll()
		return nil, err
	}
	streams.start(config.Stdin)
	err = t.loop(ctx, stops, full)
	t.log.Elapsed = time.Since(t.began)
	t.log.Stdout, t.log.Stderr = streams.finish()
	return t.log, err
}

func newTracer(config Config) (t *tracer, err error) {
	t = &tracer{config: config, tasks: map[int]*task{}}
	t.log = &Log{Argv: config.Argv, Port: config.Port, ExitStatus: -1, Ioctls: []Ioctl{}, Exits: []Exit{}}
	if config.Confine != nil {
		if t.cell, err = newCell(*config.Confine, config.Argv[0], config.Limit.Tasks); err != nil {
			return nil, fmt.Errorf("confine %s: %w", config.Argv[0], err)
		}
	}
	return t, nil
}

// start creates the program, stopped after its exec, and sets the options.
func (t *tracer) start(fds []uintptr) error {
	path, err := t.executable()
	if err != nil {
		return fmt.Errorf("trap: %w", err)
	}
	attr := &syscall.ProcAttr{
		Dir:   t.config.Dir,
		Env:   t.config.Env,
		Files: fds,
		// Pdeathsig covers the moment until EXITKILL is set.
		Sys: &syscall.SysProcAttr{Ptrace: true, Setpgid: true, Pdeathsig: unix.SIGKILL},
	}
	if t.cell != nil {
		t.cell.confine(attr)
	}
	t.root, err = syscall.ForkExec(path, t.config.Argv, attr)
	if err != nil {
		return fmt.Errorf("trap: start %s: %w (EPERM here means that ptrace is forbidden on this machine)", path, err)
	}
	t.tasks[t.root] = &task{tid: t.root}
	if err := t.adopt(); err != nil {
		t.kill()
		unix.Wait4(t.root, nil, unix.WALL, nil)
		return fmt.Errorf("trap: trace %s: %w", path, err)
	}
	return nil
}

// executable makes the path absolute, since the program starts in Config.Dir.
func (t *tracer) executable() (string, error) {
	if t.cell != nil {
		return cellProgram, nil
	}
	return filepath.Abs(t.config.Argv[0])
}

// adopt waits for the stop after exec, sets the options and lets the program go.
func (t *tracer) adopt() error {
	var status unix.WaitStatus
	for {
		_, err := unix.Wait4(t.root, &status, unix.WALL, nil)
		if err == nil {
			break
		}
		if !errors.Is(err, unix.EINTR) {
			return fmt.Errorf("wait for its start: %w", err)
		}
	}
	if !status.Stopped() {
		return fmt.Errorf("it ended before its first instruction (wait status %#x)", uint32(status))
	}
	if err := unix.PtraceSetOptions(t.root, traceOptions); err != nil {
		return fmt.Errorf("PTRACE_SETOPTIONS: %w", err)
	}
	if t.cell != nil {
		if err := t.cell.limit(t.root); err != nil {
			return err
		}
	}
	return t.resume(t.root, 0)
}

// loop serves stops until no task is left.
//
// It asks for each known task by name. Waiting for any child would also take the
// children of other goroutines away from them, because this thread may have
// started some before it was ours.
func (t *tracer) loop(ctx context.Context, stops <-chan os.Signal, full <-chan string) (failure error) {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	done := ctx.Done()
	var abandoned <-chan time.Time
	for {
		busy, err := t.serveAll()
		if err != nil && failure == nil {
			failure = err
			t.end(CannotBeWatched, err.Error())
		}
		if t.ended && abandoned == nil {
			abandoned = time.After(killGrace)
		}
		if len(t.tasks) == 0 && !t.adoptStrays() {
			return failure
		}
		again := never
		if busy {
			again = always
		}
		select {
		case <-again:
		case <-stops:
		case <-tick.C:
			if t.ended {
				t.adoptStrays()
			}
		case stream := <-full:
			t.end(OutputLimit, fmt.Sprintf("more than %d bytes on %s", t.config.Limit.Output, stream))
		case <-done:
			done = nil
			t.endByContext(ctx)
		case <-abandoned:
			t.log.Ending = CannotBeKilled
			t.log.Detail = fmt.Sprintf("%d of its tasks are alive %v after SIGKILL", len(t.tasks), killGrace)
			return failure
		}
	}
}

// never and always are channels with and without something to take.
var never, always = make(<-chan struct{}), func() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}()

// endByContext tells a time limit from another end of the context.
func (t *tracer) endByContext(ctx context.Context) {
	if cause := context.Cause(ctx); !errors.Is(cause, ErrTimeLimit) {
		t.end(Cancelled, cause.Error())
		return
	}
	t.end(TimeLimit, fmt.Sprintf("still running after %v", time.Since(t.began).Round(time.Second/10)))
}

// end decides the ending, unless it is decided already, and kills all tasks.
func (t *tracer) end(ending Ending, detail string) {
	if !t.ended {
		t.ended = true
		t.log.Ending, t.log.Detail = ending, detail
	}
	t.kill()
}

// kill sends SIGKILL to every task. A stopped task dies too.
func (t *tracer) kill() {
	for tid := range t.tasks {
		unix.Kill(tid, unix.SIGKILL)
	}
}

// adoptStrays takes up, and kills, tasks that are traced by this thread but
// unknown: those whose parent was killed before it could report the birth. Left
// alone they would keep their process from being reaped.
func (t *tracer) adoptStrays() (found bool) {
	for _, tid := range tracedBy(unix.Gettid()) {
		if t.tasks[tid] == nil {
			t.tasks[tid] = &task{tid: tid}
			unix.Kill(tid, unix.SIGKILL)
			found = true
		}
	}
	return found
}

// tracedBy lists the tasks whose tracer is the given thread.
func tracedBy(thread int) []int {
	paths, _ := filepath.Glob("/proc/[0-9]*/task/[0-9]*")
	var tids []int
	for _, path := range paths {
		tid, _ := strconv.Atoi(filepath.Base(path))
		if tracer, err := statusField(tid, "TracerPid:"); err == nil && tracer == thread {
			tids = append(tids, tid)
		}
	}
	return tids
}

// serveAll serves every task that has something to report. Where one had, it may
// be at its next stop already. Many tasks that make system calls all the time are
// never done, so the caller looks at its clock in between.
func (t *tracer) serveAll() (busy bool, err error) {
	for _, tid := range slices.Collect(maps.Keys(t.tasks)) {
		served, err := t.poll(tid)
		if err != nil {
			return busy, err
		}
		busy = busy || served
	}
	return busy, nil
}

// poll serves one report of a task, if there is one.
func (t *tracer) poll(tid int) (served bool, err error) {
	var status unix.WaitStatus
	pid, err := unix.Wait4(tid, &status, unix.WALL|unix.WNOHANG, nil)
	switch {
	case errors.Is(err, unix.ECHILD):
		// The task became the leader of its process by exec, which takes the
		// leader's id, or died with its siblings in another task's exec.
		t.forget(tid)
		return true, nil
	case errors.Is(err, unix.EINTR):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("trap: wait for task %d: %w", tid, err)
	case pid == 0:
		return false, nil
	case status.Exited(), status.Signaled():
		t.forget(tid)
		t.noteDeath(tid, status)
		return true, nil
	}
	return true, t.stopped(tid, status)
}

// forget drops a task that is no more.
func (t *tracer) forget(tid int) {
	if task := t.tasks[tid]; task != nil {
		task.leaveRun()
		delete(t.tasks, tid)
	}
}

// noteDeath records the end of the first process, which is the end of the run.
func (t *tracer) noteDeath(tid int, status unix.WaitStatus) {
	if tid != t.root {
		return
	}
	if !t.ended {
		t.log.LeftBehind = len(t.tasks)
	}
	switch {
	case !status.Signaled():
		t.log.ExitStatus = status.ExitStatus()
		t.end(Exited, "")
		return
	case t.cell.outOfMemory():
		t.end(MemoryLimit, fmt.Sprintf("more than %d MiB", t.cell.MemoryMiB))
	default:
		t.end(Signaled, "")
	}
	t.log.Signal = unix.SignalName(status.Signal())
}

// stopped serves a stop and lets the task go on.
func (t *tracer) stopped(tid int, status unix.WaitStatus) error {
	task := t.tasks[tid]
	signal := status.StopSignal()
	switch {
	case signal == syscallStop:
		if err := t.syscallStopped(task); err != nil {
			return gone(err)
		}
		return t.resume(tid, 0)
	case signal == unix.SIGTRAP && status.TrapCause() > 0:
		t.eventStopped(tid, status.TrapCause())
		return t.resume(tid, 0)
	case isStopSignal(signal):
		// A new tracee begins with a SIGSTOP. And nobody is there to continue a
		// program that stops itself: it goes on at once.
		return t.resume(tid, 0)
	}
	return t.resume(tid, int(signal))
}

func isStopSignal(signal unix.Signal) bool {
	return signal == unix.SIGSTOP || signal == unix.SIGTSTP || signal == unix.SIGTTIN || signal == unix.SIGTTOU
}

// eventStopped serves the stops that ptrace itself makes: births and exec.
func (t *tracer) eventStopped(tid, event int) {
	message, err := unix.PtraceGetEventMsg(tid)
	if err != nil {
		return // killed meanwhile, which its wait status will tell
	}
	switch event {
	case unix.PTRACE_EVENT_CLONE, unix.PTRACE_EVENT_FORK, unix.PTRACE_EVENT_VFORK:
		t.born(int(message))
	case unix.PTRACE_EVENT_EXEC:
		if former := int(message); former != tid {
			t.forget(former)
		}
	}
}

// born takes up a new task.
func (t *tracer) born(tid int) {
	t.tasks[tid] = &task{tid: tid}
	if t.ended {
		unix.Kill(tid, unix.SIGKILL)
		return
	}
	if len(t.tasks) > t.config.Limit.Tasks {
		t.end(TaskLimit, fmt.Sprintf("more than %d threads and processes at once", t.config.Limit.Tasks))
	}
}

// resume lets a task run to its next stop and delivers a signal to it.
func (t *tracer) resume(tid, signal int) error {
	if err := unix.PtraceSyscall(tid, signal); err != nil {
		return gone(fmt.Errorf("trap: PTRACE_SYSCALL: task %d: %w", tid, err))
	}
	return nil
}

// gone swallows the error of a task that was killed while it was stopped: wait
// reports its death next.
func gone(err error) error {
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

// syscallStopped looks at one side of a system call.
func (t *tracer) syscallStopped(task *task) error {
	info, err := getSyscallInfo(task.tid)
	if err != nil {
		return fmt.Errorf("trap: %w", err)
	}
	switch info.Op {
	case opEntry:
		return t.enterCall(task, info)
	case opExit:
		if task.ioctl != nil {
			t.leaveIoctl(task, info)
		}
	}
	return nil
}

// enterCall notes a KVM ioctl and closes the ways out of the tracer's sight.
func (t *tracer) enterCall(task *task, info syscallInfo) error {
	call := classify(info.Arch, info.Number)
	if t.cell != nil && isRefused(call, info.Args) {
		return failCall(task.tid)
	}
	switch call {
	case callIoctl:
		if request := uint32(info.Args[1]); kvm.IsIoctl(request) {
			t.enterIoctl(task, int(int32(info.Args[0])), request, info.Args[2])
		}
	case callClone:
		if info.Args[0]&unix.CLONE_UNTRACED != 0 {
			t.end(TriedToEscape, "it asked for a child that no tracer sees (CLONE_UNTRACED)")
		}
	case callClone3:
		// Its flags lie in the program's memory, where another thread can change
		// them after a look. The C library falls back to clone.
		return failCall(task.tid)
	}
	return nil
}

// enterIoctl notes a KVM ioctl that begins, and for KVM_RUN takes hold of the
// vCPU now, while the descriptor surely means it.
func (t *tracer) enterIoctl(task *task, fd int, request uint32, arg uint64) {
	task.leaveRun()
	task.ioctl = &Ioctl{
		Task: task.tid, FD: fd, Kind: fdKind(task.tid, fd),
		Request: request, Name: kvm.IoctlName(request), Arg: arg,
	}
	if request != kvm.RequestRun || task.ioctl.Kind != VCPU {
		return
	}
	var err error
	if task.vcpu, err = borrowVCPU(task.tid, fd); err != nil && !errors.Is(err, unix.ESRCH) {
		t.end(CannotBeWatched, fmt.Sprintf("KVM_RUN on fd %d: %v", fd, err))
	}
}

// leaveIoctl logs a KVM ioctl that has returned, with the exit for KVM_RUN.
func (t *tracer) leaveIoctl(task *task, info syscallInfo) {
	defer task.leaveRun()
	result, errno := info.result()
	task.ioctl.Result = result
	if errno != 0 {
		task.ioctl.Errno = unix.ErrnoName(errno)
	}
	t.log.Ioctls = append(t.log.Ioctls, *task.ioctl)
	if task.vcpu != nil && errno == 0 {
		t.recordExit(task)
	}
	switch {
	case len(t.log.Exits) >= t.config.Limit.Exits:
		t.end(ExitLimit, fmt.Sprintf("%d exits", len(t.log.Exits)))
	case len(t.log.Ioctls) >= t.config.Limit.Ioctls:
		t.end(IoctlLimit, fmt.Sprintf("%d KVM ioctls", len(t.log.Ioctls)))
	}
}

// recordExit reads the exit that the program is about to see, and injects.
func (t *tracer) recordExit(task *task) {
	exit, err := task.vcpu.readExit(func(exit kvm.Exit, data []byte) {
		if t.log.isText(Exit{Exit: exit}) {
			t.inject(data)
		}
	})
	if err != nil {
		t.end(CannotBeWatched, fmt.Sprintf("kvm_run of fd %d: %v", task.ioctl.FD, err))
		return
	}
	t.log.Exits = append(t.log.Exits, Exit{Task: task.tid, FD: task.ioctl.FD, Exit: exit})
}

// inject replaces the next bytes of text in the shared page.
func (t *tracer) inject(data []byte) {
	for i := range data {
		if t.text < len(t.config.Inject) {
			injection := Injection{Exit: len(t.log.Exits), Old: data[i], New: t.config.Inject[t.text]}
			data[i] = injection.New
			t.log.Injected = append(t.log.Injected, injection)
		}
		t.text++
	}
}

// leaveRun forgets the ioctl that the task was in and gives back the vCPU.
func (task *task) leaveRun() {
	if task.vcpu != nil {
		task.vcpu.close()
	}
	task.ioctl, task.vcpu = nil, nil
}
