//go:build linux && amd64

package trap

import (
	"fmt"
	"slices"
	"unsafe"

	"golang.org/x/sys/unix"
)

// call is the part of the system call interface that the watcher understands.
type call int

const (
	callOther call = iota
	callIoctl
	callClone
	callClone3
	callPrctl
	callRefused // to a confined program, see refused
)

// A 64-bit kernel has three system call tables. A program may enter the 32-bit
// one with `int $0x80` whatever it was compiled for, so all have to be known:
// arch/x86/entry/syscalls in the Linux source.
const (
	x32Bit     = 0x40000000 // set in the number of an x32 call
	x32Ioctl   = x32Bit + 514
	i386Ioctl  = 54
	i386Clone  = 120
	i386Prctl  = 172
	clone3     = 435 // the same in all tables
	archI386   = unix.AUDIT_ARCH_I386
	archX86_64 = unix.AUDIT_ARCH_X86_64
	opEntry    = unix.PTRACE_SYSCALL_INFO_ENTRY
	opExit     = unix.PTRACE_SYSCALL_INFO_EXIT
	noSuchCall = ^uint64(0) // as a number: the kernel answers ENOSYS
)

// refused are calls that no mini VMM needs. In a user namespace a program is root:
// unshare and setns. With a filter of its own on system calls it can have KVM_RUN
// return 0 without running anything, and write the exit itself: seccomp.
var refused = map[uint32][]uint64{
	archX86_64: {unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_SECCOMP},
	archI386:   {310, 346, 354},
}

// namespaces are the flags of clone that make namespaces. That of the clocks has
// no flag there.
const namespaces = unix.CLONE_NEWCGROUP | unix.CLONE_NEWIPC | unix.CLONE_NEWNET | unix.CLONE_NEWNS |
	unix.CLONE_NEWPID | unix.CLONE_NEWUSER | unix.CLONE_NEWUTS

// classify says which call a number of an architecture's table is.
func classify(arch uint32, number uint64) call {
	switch {
	case number == clone3, number == x32Bit+clone3:
		return callClone3
	case arch == archI386 && number == i386Ioctl,
		arch == archX86_64 && (number == unix.SYS_IOCTL || number == x32Ioctl):
		return callIoctl
	case arch == archI386 && number == i386Clone,
		arch == archX86_64 && number&^x32Bit == unix.SYS_CLONE:
		return callClone
	case arch == archI386 && number == i386Prctl,
		arch == archX86_64 && number&^x32Bit == unix.SYS_PRCTL:
		return callPrctl
	case slices.Contains(refused[arch], number&^x32Bit):
		return callRefused
	}
	return callOther
}

// isRefused tells whether a confined program is refused a call.
func isRefused(c call, args [6]uint64) bool {
	switch c {
	case callClone:
		return args[0]&namespaces != 0
	case callPrctl:
		return args[0] == unix.PR_SET_SECCOMP
	}
	return c == callRefused
}

// syscallInfo is struct ptrace_syscall_info, its entry form. In the exit form
// Number holds the result and the low byte of Args[0] tells an error.
type syscallInfo struct {
	Op                 uint8
	_                  [3]uint8
	Arch               uint32
	InstructionPointer uint64
	StackPointer       uint64
	Number             uint64
	Args               [6]uint64
	_                  [8]byte
}

// getSyscallInfo reads at which side of which system call a task stands
// (PTRACE_GET_SYSCALL_INFO, Linux 5.3). Unlike counting stops it cannot get out
// of step.
func getSyscallInfo(tid int) (syscallInfo, error) {
	var info syscallInfo
	_, _, errno := unix.Syscall6(unix.SYS_PTRACE, unix.PTRACE_GET_SYSCALL_INFO,
		uintptr(tid), unsafe.Sizeof(info), uintptr(unsafe.Pointer(&info)), 0, 0)
	if errno != 0 {
		return info, fmt.Errorf("PTRACE_GET_SYSCALL_INFO: task %d: %w", tid, errno)
	}
	return info, nil
}

// result splits the exit form into the C library's result and errno.
func (i syscallInfo) result() (int64, unix.Errno) {
	if i.Args[0]&0xff != 0 {
		return -1, unix.Errno(-int64(i.Number))
	}
	return int64(i.Number), 0
}

// failCall makes the kernel answer ENOSYS to the call that the task is entering.
func failCall(tid int) error {
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(tid, &regs); err != nil {
		return fmt.Errorf("PTRACE_GETREGS: task %d: %w", tid, err)
	}
	regs.Orig_rax = noSuchCall
	if err := unix.PtraceSetRegs(tid, &regs); err != nil {
		return fmt.Errorf("PTRACE_SETREGS: task %d: %w", tid, err)
	}
	return nil
}
