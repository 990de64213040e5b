//go:build linux && amd64

package trap

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"virtlab/harness/kvm"
)

// kvmDevice is the device number of /dev/kvm, wherever its node may be: major
// 10 (misc), minor 232 (KVM_MINOR).
var kvmDevice = unix.Mkdev(10, 232)

// fdKind finds out what a descriptor of a task is. The kernel names the files
// that KVM makes "anon_inode:kvm-vm" and "anon_inode:kvm-vcpu:N".
func fdKind(tid, fd int) FDKind {
	path := fmt.Sprintf("/proc/%d/fd/%d", tid, fd)
	link, err := os.Readlink(path)
	switch {
	case err != nil:
		return Other
	case link == "anon_inode:kvm-vm":
		return VM
	case strings.HasPrefix(link, "anon_inode:kvm-vcpu"):
		return VCPU
	}
	var status unix.Stat_t
	if unix.Stat(path, &status) == nil && status.Mode&unix.S_IFMT == unix.S_IFCHR && status.Rdev == kvmDevice {
		return System
	}
	return Other
}

// runPages is what of a vCPU's mapping is looked at: struct kvm_run, and after it
// the page with the data of port accesses.
const runPages = 2 * 4096

// vcpu is the tracer's own copy of a vCPU descriptor of the program.
type vcpu struct{ fd int }

// borrowVCPU copies a task's descriptor. Descriptors belong to the process as a
// rule; a thread may have a table of its own (CLONE_THREAD without CLONE_FILES),
// which only a pidfd of the thread reaches (Linux 6.9).
func borrowVCPU(tid, fd int) (*vcpu, error) {
	group, err := threadGroup(tid)
	if err != nil {
		return nil, err
	}
	flags := 0
	if group != tid && !sharesFiles(tid, group) {
		group, flags = tid, unix.PIDFD_THREAD
	}
	pidfd, err := unix.PidfdOpen(group, flags)
	if err != nil {
		return nil, fmt.Errorf("pidfd_open: task %d: %w", group, err)
	}
	defer unix.Close(pidfd)
	copied, err := unix.PidfdGetfd(pidfd, fd, 0)
	if err != nil {
		return nil, fmt.Errorf("pidfd_getfd: fd %d of task %d: %w", fd, group, err)
	}
	return &vcpu{fd: copied}, nil
}

// sharesFiles tells whether two tasks have one descriptor table. Where kcmp is
// not built in they are taken to share, as threads do.
func sharesFiles(a, b int) bool {
	const kcmpFiles = 2 // KCMP_FILES
	order, _, errno := unix.Syscall6(unix.SYS_KCMP, uintptr(a), uintptr(b), kcmpFiles, 0, 0, 0)
	return errno != 0 || order == 0
}

// threadGroup returns the id of the process that a task belongs to.
func threadGroup(tid int) (int, error) {
	return statusField(tid, "Tgid:")
}

// statusField reads a number from /proc/TID/status.
func statusField(tid int, name string) (int, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", tid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if rest, found := strings.CutPrefix(line, name); found {
			return strconv.Atoi(strings.TrimSpace(rest))
		}
	}
	return 0, fmt.Errorf("/proc/%d/status has no %s", tid, name)
}

func (v *vcpu) close() { unix.Close(v.fd) }

// withRun maps kvm_run for the time of a call.
func (v *vcpu) withRun(use func(run []byte) error) error {
	run, err := unix.Mmap(v.fd, 0, runPages, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return fmt.Errorf("mmap kvm_run: %w", err)
	}
	defer unix.Munmap(run)
	return use(run)
}

// readExit decodes the exit that kvm_run describes, lets replace change its text
// in place, and returns the exit as it was before.
func (v *vcpu) readExit(replace func(exit kvm.Exit, data []byte)) (exit kvm.Exit, err error) {
	err = v.withRun(func(run []byte) error {
		if exit, err = kvm.DecodeExit(run); err != nil {
			return err
		}
		if exit.IO != nil {
			offset := exit.IO.DataOffset
			replace(exit, run[offset:offset+uint64(len(exit.IO.Data))])
		}
		return nil
	})
	return exit, err
}
