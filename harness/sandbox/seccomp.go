package sandbox

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// filter is a seccomp program (seccomp(2), in classic BPF) for bubblewrap's
// --seccomp. It refuses what neither a compiler nor QEMU needs and what either
// reaches past the walls or holds memory that no process shows: memfd and
// System V segments count in no resident set. Sockets are none, or with
// unixSockets those within the machine's own files: vsock knows no network
// namespace.
func filter(unixSockets bool) []byte {
	prog := []unix.SockFilter{
		load(archOffset),
		// Another calling convention has other numbers.
		{Code: jumpEqual, K: unix.AUDIT_ARCH_X86_64, Jt: 1}, ret(unix.SECCOMP_RET_KILL_PROCESS),
		load(numberOffset),
		{Code: jumpAtLeast, K: x32Bit, Jf: 1}, ret(unix.SECCOMP_RET_KILL_PROCESS),
	}
	for _, nr := range refused {
		prog = append(prog, call(nr, 1), refuse(unix.EPERM))
	}
	for _, nr := range unknown {
		// As on a kernel without them: glibc then does without.
		prog = append(prog, call(nr, 1), refuse(unix.ENOSYS))
	}
	// New namespaces would bring capabilities back.
	prog = append(prog, call(unix.SYS_CLONE, 4), load(firstArgument),
		unix.SockFilter{Code: jumpAnySet, K: namespaces, Jf: 1}, refuse(unix.EPERM), load(numberOffset))
	for _, nr := range []uint32{unix.SYS_SOCKET, unix.SYS_SOCKETPAIR} {
		if !unixSockets {
			prog = append(prog, call(nr, 1), refuse(unix.EACCES))
			continue
		}
		prog = append(prog, call(nr, 4), load(firstArgument),
			unix.SockFilter{Code: jumpEqual, K: unix.AF_UNIX, Jt: 1}, refuse(unix.EAFNOSUPPORT), load(numberOffset))
	}
	return encode(append(prog, ret(unix.SECCOMP_RET_ALLOW)))
}

var refused = []uint32{
	unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PIDFD_GETFD, unix.SYS_KCMP,
	unix.SYS_UNSHARE, unix.SYS_SETNS, unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_PIVOT_ROOT, unix.SYS_CHROOT,
	unix.SYS_OPEN_TREE, unix.SYS_MOVE_MOUNT, unix.SYS_FSOPEN, unix.SYS_FSMOUNT, unix.SYS_MOUNT_SETATTR,
	unix.SYS_NAME_TO_HANDLE_AT, unix.SYS_OPEN_BY_HANDLE_AT,
	unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD, unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY,
	unix.SYS_MEMFD_CREATE, unix.SYS_MEMFD_SECRET, unix.SYS_SHMGET, unix.SYS_SEMGET, unix.SYS_MSGGET, unix.SYS_MQ_OPEN,
	unix.SYS_SYSLOG, unix.SYS_FANOTIFY_INIT, unix.SYS_QUOTACTL, unix.SYS_ACCT,
}

var unknown = []uint32{
	unix.SYS_CLONE3, // its flags lie in memory, where a filter cannot look
	unix.SYS_IO_URING_SETUP,
}

const namespaces = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS | unix.CLONE_NEWCGROUP

// Offsets in struct seccomp_data; x32Bit marks the numbers of the x32 calls.
const (
	numberOffset  = 0
	archOffset    = 4
	firstArgument = 16 // its low half
	x32Bit        = 0x4000_0000
)

const (
	jumpEqual   = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
	jumpAtLeast = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
	jumpAnySet  = unix.BPF_JMP | unix.BPF_JSET | unix.BPF_K
)

func load(offset uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS, K: offset}
}

func ret(action uint32) unix.SockFilter {
	return unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: action}
}

func refuse(errno unix.Errno) unix.SockFilter { return ret(unix.SECCOMP_RET_ERRNO | uint32(errno)) }

// call goes on with the next instructions for system call nr, and past so many
// of them for all others.
func call(nr uint32, otherwise uint8) unix.SockFilter {
	return unix.SockFilter{Code: jumpEqual, K: nr, Jf: otherwise}
}

// encode is the program as an array of struct sock_filter.
func encode(prog []unix.SockFilter) []byte {
	var b bytes.Buffer
	_ = binary.Write(&b, binary.NativeEndian, prog) // a bytes.Buffer takes everything
	return b.Bytes()
}
