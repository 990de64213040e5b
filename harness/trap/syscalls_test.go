//go:build linux && amd64

package trap

import (
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"golang.org/x/sys/unix"
)

func TestClassify(t *testing.T) {
	for _, test := range []struct {
		name   string
		arch   uint32
		number uint64
		want   call
	}{
		{"ioctl", archX86_64, 16, callIoctl},
		{"x32 ioctl", archX86_64, 0x40000000 + 514, callIoctl},
		{"32-bit ioctl", archI386, 54, callIoctl},
		{"x32 number without the bit", archX86_64, 514, callOther},
		{"32-bit number in the 64-bit table", archX86_64, 54, callOther},
		{"64-bit number in the 32-bit table", archI386, 16, callOther},
		{"clone", archX86_64, 56, callClone},
		{"x32 clone", archX86_64, 0x40000000 + 56, callClone},
		{"32-bit clone", archI386, 120, callClone},
		{"clone3", archX86_64, 435, callClone3},
		{"x32 clone3", archX86_64, 0x40000000 + 435, callClone3},
		{"32-bit clone3", archI386, 435, callClone3},
		{"unshare", archX86_64, 272, callRefused},
		{"x32 setns", archX86_64, 0x40000000 + 308, callRefused},
		{"32-bit seccomp", archI386, 354, callRefused},
		{"32-bit number of seccomp in the 64-bit table", archX86_64, 354, callOther},
		{"prctl", archX86_64, 157, callPrctl},
		{"32-bit prctl", archI386, 172, callPrctl},
		{"skipped call", archX86_64, noSuchCall, callOther},
	} {
		t.Run(test.name, func(t *testing.T) {
			assert.Equal(t, test.want, classify(test.arch, test.number))
		})
	}
}

func TestIsRefused(t *testing.T) {
	for _, test := range []struct {
		name string
		call call
		arg  uint64
		want bool
	}{
		{"a fork", callClone, uint64(unix.SIGCHLD), false},
		{"a thread", callClone, unix.CLONE_VM | unix.CLONE_FILES | unix.CLONE_THREAD, false},
		{"a user namespace", callClone, unix.CLONE_NEWUSER | uint64(unix.SIGCHLD), true},
		{"a name for a thread", callPrctl, unix.PR_SET_NAME, false},
		{"a filter", callPrctl, unix.PR_SET_SECCOMP, true},
		{"unshare", callRefused, 0, true},
		{"any other", callOther, unix.PR_SET_SECCOMP, false},
	} {
		assert.Equal(t, test.want, isRefused(test.call, [6]uint64{test.arg}), test.name)
	}
}

func TestSyscallResult(t *testing.T) {
	assert.EqualValues(t, 88, unsafe.Sizeof(syscallInfo{}), "struct ptrace_syscall_info")
	result, errno := syscallInfo{Number: 12}.result()
	assert.EqualValues(t, 12, result)
	assert.Zero(t, errno)
	failed := int64(-int64(unix.EINTR))
	result, errno = syscallInfo{Number: uint64(failed), Args: [6]uint64{1}}.result()
	assert.EqualValues(t, -1, result)
	assert.Equal(t, unix.EINTR, errno)
}
