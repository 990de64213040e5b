//go:build linux && amd64

// Package trap watches a foreign virtual machine monitor from outside. It runs
// any program that uses /dev/kvm under ptrace, logs its KVM ioctls, and reads
// each exit from the kvm_run page after KVM_RUN has returned in the kernel and
// before the program can look at it. At that moment it can also replace the
// byte that the guest wrote, so that what the program prints shows whether it
// was computed from the trapped byte or from something else.
//
// The program may be static or dynamic, make its system calls by any of the
// kernel's entries (64-bit, x32, 32-bit), and use threads and children. The
// kvm_run page is reached by a mapping of the tracer's own, made from a copy of
// the program's vCPU descriptor (pidfd_getfd), so it does not matter where, how
// often or whether the program maps it.
//
// It needs Linux 5.6 and a mounted /proc; Confinement needs more. The checks on a
// Log are pure.
package trap

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"virtlab/harness/kvm"
)

// Config says what to run and how far.
type Config struct {
	Argv  []string // Argv[0] is the program's path, not looked up in PATH
	Dir   string   // working directory; empty: the caller's
	Env   []string // environment; nil: empty
	Stdin []byte   // standard input; nil: none, as from /dev/null

	// Inject replaces trapped bytes: the n-th byte written to Port by the guest
	// becomes Inject[n]. Bytes beyond its length stay as they are.
	Inject []byte
	// Port is the port whose bytes count as text; 0 means kvm.SerialPort.
	Port uint16

	Limit Limit
	// Confine walls the program in; Dir and Env do not count then. Nil: it runs
	// with the caller's rights.
	Confine *Confinement
}

// Limit bounds a run. A zero field stands for its default.
type Limit struct {
	Exits  int           // exits of all vCPUs; default 500
	Ioctls int           // KVM ioctls logged; default 2000
	Tasks  int           // threads and processes alive at once; default 64
	Output int           // bytes of stdout and of stderr, each; default 256 KiB
	Time   time.Duration // wall time; default 30 s
}

func (l Limit) withDefaults() Limit {
	set := func(field *int, value int) {
		if *field == 0 {
			*field = value
		}
	}
	set(&l.Exits, 500)
	set(&l.Ioctls, 2000)
	set(&l.Tasks, 64)
	set(&l.Output, 256<<10)
	if l.Time == 0 {
		l.Time = 30 * time.Second
	}
	return l
}

// Ending says how a run came to its end.
type Ending string

// The endings. Except for Exited, Signaled and Cancelled they are the watcher's
// doing, because of something the program did.
const (
	Exited          Ending = "exited"             // by itself, see ExitStatus
	Signaled        Ending = "killed by a signal" // see Signal
	Cancelled       Ending = "cancelled"          // the caller's context ended
	TimeLimit       Ending = "time limit"         // Limit.Time, or ErrTimeLimit
	OutputLimit     Ending = "output limit"       // Limit.Output
	ExitLimit       Ending = "exit limit"         // Limit.Exits
	IoctlLimit      Ending = "ioctl limit"        // Limit.Ioctls
	TaskLimit       Ending = "task limit"         // Limit.Tasks
	MemoryLimit     Ending = "memory limit"       // Confinement.MemoryMiB
	TriedToEscape   Ending = "tried to escape"    // a child that no tracer sees
	CannotBeWatched Ending = "cannot be watched"  // its vCPU cannot be reached
	CannotBeKilled  Ending = "cannot be killed"   // alive after SIGKILL: the kernel underneath is in trouble
)

// FDKind is what a file descriptor stands for in the KVM API.
type FDKind string

// The kinds of file descriptors that take KVM ioctls.
const (
	System FDKind = "system" // /dev/kvm
	VM     FDKind = "vm"
	VCPU   FDKind = "vcpu"
	Other  FDKind = "other" // a KVM device, or no KVM descriptor at all
)

// Ioctl is one KVM ioctl of the program, logged when it returned.
type Ioctl struct {
	Task    int    `json:"task"` // thread id
	FD      int    `json:"fd"`
	Kind    FDKind `json:"kind"`
	Request uint32 `json:"request"`
	Name    string `json:"name"`
	Arg     uint64 `json:"arg"`
	Result  int64  `json:"result"`          // -1 with Errno
	Errno   string `json:"errno,omitempty"` // name, for instance "EINTR"
}

// Exit is one return of KVM_RUN with what the kvm_run page said then.
type Exit struct {
	Task int `json:"task"`
	FD   int `json:"fd"`
	kvm.Exit
}

// Injection is one byte that was replaced in a kvm_run page.
type Injection struct {
	Exit int  `json:"exit"` // index in Log.Exits
	Old  byte `json:"old"`
	New  byte `json:"new"`
}

// Log is all that was seen of a run. Its exits hold what the guest wrote, before
// any injection; see Emitted and Trapped.
type Log struct {
	Argv       []string    `json:"argv"`
	Port       uint16      `json:"port"`
	Ending     Ending      `json:"ending"`
	Detail     string      `json:"detail,omitempty"` // more on the ending
	ExitStatus int         `json:"exit_status"`      // of the first process; -1 if it did not exit
	Signal     string      `json:"signal,omitempty"` // that killed the first process
	Ioctls     []Ioctl     `json:"ioctls"`
	Exits      []Exit      `json:"exits"`
	Injected   []Injection `json:"injected,omitempty"`
	Stdout     kvm.Bytes   `json:"stdout"`
	Stderr     kvm.Bytes   `json:"stderr"`
	LeftBehind int         `json:"left_behind,omitempty"` // tasks still alive when the first process ended; killed

	Elapsed time.Duration `json:"elapsed_ns"`
}

// isText tells whether the exit carries bytes of the guest's text: an `out` of
// single bytes to the log's port.
func (l *Log) isText(exit Exit) bool {
	return exit.IO != nil && exit.IO.Direction == kvm.Out && exit.IO.Port == l.Port && exit.IO.Size == 1
}

// halted tells whether the guest came to its hlt.
func (l *Log) halted() bool {
	return slices.ContainsFunc(l.Exits, func(exit Exit) bool { return exit.Reason == kvm.ExitHLT })
}

// Emitted returns the text as the guest wrote it.
func (l *Log) Emitted() []byte {
	var text []byte
	for _, exit := range l.Exits {
		if l.isText(exit) {
			text = append(text, exit.IO.Data...)
		}
	}
	return text
}

// Trapped returns the text as the program found it in the kvm_run page: what the
// guest wrote, with the injected bytes in place.
func (l *Log) Trapped() []byte {
	text := l.Emitted()
	for i, injection := range l.Injected {
		text[i] = injection.New
	}
	return text
}

// ErrTimeLimit is Limit.Time. As the cause of the end of Run's context it stands
// for a limit that the caller kept: Ending is TimeLimit then.
var ErrTimeLimit = errors.New("time limit")

// Run runs the program and returns what was seen. A program that goes over a
// limit, crashes or tries to escape is an outcome, told by Log.Ending, and no
// error. Errors are: a program that cannot be started, ptrace refused by the
// machine, and the end of ctx, which is returned along with the log so far.
// When Run returns, no process that the program started is left, unless
// Log.Ending is CannotBeKilled.
func Run(ctx context.Context, config Config) (*Log, error) {
	if len(config.Argv) == 0 {
		return nil, errors.New("trap: no program given")
	}
	if config.Port == 0 {
		config.Port = kvm.SerialPort
	}
	config.Limit = config.Limit.withDefaults()
	limited, cancel := context.WithTimeoutCause(ctx, config.Limit.Time, ErrTimeLimit)
	defer cancel()

	type outcome struct {
		log *Log
		err error
	}
	done := make(chan outcome, 1)
	go func() { // ptrace wants one thread for all calls: see trace
		log, err := trace(limited, config)
		done <- outcome{log, err}
	}()
	result := <-done
	if result.err == nil && result.log.Ending == Cancelled {
		result.err = fmt.Errorf("trap: %s: stopped: %w", config.Argv[0], context.Cause(ctx))
	}
	return result.log, result.err
}
