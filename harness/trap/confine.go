//go:build linux && amd64

package trap

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Confinement is for a program that nobody vouches for, watched by root. The
// program then runs
//
//   - as a user of its own without groups and capabilities, and none can be
//     gained (no_new_privs);
//   - in a file system of its own in memory that holds nothing but a few devices,
//     /dev/kvm among them, an empty working directory, and the program itself:
//     it has to be static;
//   - without network, System V and POSIX queues and memory of others;
//   - in a control group, which bounds the memory of all its processes, of its
//     files and of what the kernel keeps for them, and their number;
//   - under resource limits, and as the first to go where the machine runs out
//     of memory.
//
// It keeps the process numbers of the machine: the first process of a PID
// namespace does not die of its own signals, and a program that aborts would not.
//
// It needs root, Linux 5.14 and control groups version 2. What it makes ends
// with the run: the mounts are attached nowhere.
type Confinement struct {
	UID       int // of its user, also its group; not 0
	MemoryMiB int // default 256
}

// What a confined program may use besides memory.
const (
	cellFilesMiB    = 16 // in its directory; also the largest file
	cellInodes      = 256
	cellDescriptors = 128
	cellAddressMiB  = 4096 // per process: guest memory is often mapped and hardly used
	cellMemoryMiB   = 256
)

// Inside of the cell.
const (
	cellProgram = "/program"
	cellWork    = "/work"
)

// cellDevices are the nodes in /dev: Documentation/admin-guide/devices.txt.
var cellDevices = []struct {
	name         string
	major, minor uint32
}{{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"kvm", 10, 232}}

// cell is a confinement made for one run.
type cell struct {
	Confinement
	root  *os.File // of its file system
	group *group
}

// newCell makes a cell around a copy of a program. The calling thread, and with it
// all that it starts, gives up gaining privileges.
func newCell(c Confinement, program string, tasks int) (_ *cell, err error) {
	if c.UID <= 0 {
		return nil, fmt.Errorf("the confined user is %d: want a number above 0", c.UID)
	}
	if c.MemoryMiB == 0 {
		c.MemoryMiB = cellMemoryMiB
	}
	cell := &cell{Confinement: c}
	defer func() {
		if err != nil {
			cell.close()
		}
	}()
	if cell.root, err = mountNowhere("tmpfs", map[string]string{
		"size": fmt.Sprintf("%dm", cellFilesMiB), "nr_inodes": strconv.Itoa(cellInodes), "mode": "0755",
	}); err != nil {
		return nil, err
	}
	if err := errors.Join(cell.furnish(program)...); err != nil {
		return nil, err
	}
	if cell.group, err = newGroup(c.MemoryMiB, tasks); err != nil {
		return nil, err
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("no_new_privs: %w", err)
	}
	// Whatever happens to the machine's memory, the watcher stays.
	if err := os.WriteFile("/proc/self/oom_score_adj", []byte("-1000"), 0); err != nil {
		return nil, err
	}
	return cell, nil
}

// mountNowhere mounts a new file system that is reached by the descriptor only,
// and is gone with the last process that uses it.
func mountNowhere(fstype string, options map[string]string) (*os.File, error) {
	fd, err := unix.Fsopen(fstype, unix.FSOPEN_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("fsopen %s: %w", fstype, err)
	}
	defer unix.Close(fd)
	for key, value := range options {
		if err := unix.FsconfigSetString(fd, key, value); err != nil {
			return nil, fmt.Errorf("fsconfig %s: %s=%s: %w", fstype, key, value, err)
		}
	}
	if err := unix.FsconfigCreate(fd); err != nil {
		return nil, fmt.Errorf("fsconfig %s: %w", fstype, err)
	}
	mount, err := unix.Fsmount(fd, unix.FSMOUNT_CLOEXEC, unix.MOUNT_ATTR_NOSUID)
	if err != nil {
		return nil, fmt.Errorf("fsmount %s: %w", fstype, err)
	}
	return os.NewFile(uintptr(mount), fstype), nil
}

// at is the path of a name below a directory that is open. It holds for a child
// before its exec as well, which has a copy of the descriptor.
func at(dir *os.File, name string) string {
	return filepath.Join(fmt.Sprintf("/proc/self/fd/%d", dir.Fd()), name)
}

// furnish puts into the cell what the program finds there.
func (c *cell) furnish(program string) []error {
	errs := []error{
		copyProgram(at(c.root, cellProgram), program),
		os.Mkdir(at(c.root, "/dev"), 0o755),
		os.Mkdir(at(c.root, cellWork), 0o700),
		os.Chown(at(c.root, cellWork), c.UID, c.UID),
	}
	for _, d := range cellDevices {
		path := at(c.root, "/dev/"+d.name)
		errs = append(errs,
			unix.Mknod(path, unix.S_IFCHR|0o600, int(unix.Mkdev(d.major, d.minor))),
			os.Chown(path, c.UID, c.UID))
	}
	return errs
}

func copyProgram(to, from string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o555)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// confine adds to how a process is started.
func (c *cell) confine(attr *syscall.ProcAttr) {
	attr.Dir, attr.Env = cellWork, nil
	attr.Sys.Chroot = at(c.root, "")
	attr.Sys.Credential = &syscall.Credential{Uid: uint32(c.UID), Gid: uint32(c.UID)}
	attr.Sys.Cloneflags = unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWUTS
	attr.Sys.UseCgroupFD, attr.Sys.CgroupFD = true, int(c.group.dir.Fd())
}

// limit sets what a process may use. It has not run an instruction of its own yet,
// and its children inherit the limits.
func (c *cell) limit(pid int) error {
	for resource, value := range map[int]uint64{
		unix.RLIMIT_AS:         cellAddressMiB << 20,
		unix.RLIMIT_FSIZE:      cellFilesMiB << 20,
		unix.RLIMIT_NOFILE:     cellDescriptors,
		unix.RLIMIT_NPROC:      uint64(c.group.tasks),
		unix.RLIMIT_CORE:       0,
		unix.RLIMIT_MSGQUEUE:   0,
		unix.RLIMIT_MEMLOCK:    1 << 20,
		unix.RLIMIT_SIGPENDING: 256,
	} {
		if err := unix.Prlimit(pid, resource, &unix.Rlimit{Cur: value, Max: value}, nil); err != nil {
			return fmt.Errorf("prlimit %d: %w", resource, err)
		}
	}
	return os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte("1000"), 0)
}

// outOfMemory tells whether the program was killed for want of memory.
func (c *cell) outOfMemory() bool { return c != nil && c.group.outOfMemory() }

// close kills what is left in the cell and gives it up.
func (c *cell) close() {
	if c == nil {
		return
	}
	c.group.close()
	if c.root != nil {
		c.root.Close()
	}
}

// group is a control group (Documentation/admin-guide/cgroup-v2.rst).
type group struct {
	hierarchy *os.File
	name      string
	dir       *os.File
	tasks     int
}

// newGroup makes a control group with bounds. All its processes together get no
// more of the CPU than the watcher.
func newGroup(memoryMiB, tasks int) (g *group, err error) {
	g = &group{name: fmt.Sprintf("virtlab-trap-%d-%d", os.Getpid(), unix.Gettid()), tasks: 2 * tasks}
	defer func() {
		if err != nil {
			g.close()
			g, err = nil, fmt.Errorf("control group: %w", err)
		}
	}()
	if g.hierarchy, err = mountNowhere("cgroup2", nil); err != nil {
		return g, err
	}
	if err := os.WriteFile(at(g.hierarchy, "cgroup.subtree_control"), []byte("+memory +pids +cpu"), 0); err != nil {
		return g, err
	}
	if err := os.Mkdir(at(g.hierarchy, g.name), 0o755); err != nil {
		return g, err
	}
	if g.dir, err = os.Open(at(g.hierarchy, g.name)); err != nil {
		return g, err
	}
	return g, errors.Join(
		g.set("memory.max", strconv.Itoa(memoryMiB<<20)),
		g.set("memory.oom.group", "1"),
		g.set("pids.max", strconv.Itoa(g.tasks)),
	)
}

func (g *group) set(name, value string) error {
	return os.WriteFile(at(g.dir, name), []byte(value), 0)
}

func (g *group) outOfMemory() bool {
	events, _ := os.ReadFile(at(g.dir, "memory.events"))
	for line := range strings.Lines(string(events)) {
		if n, found := strings.CutPrefix(line, "oom_kill "); found {
			return strings.TrimSpace(n) != "0"
		}
	}
	return false
}

// close kills the group's processes, waits for their end and removes the group.
func (g *group) close() {
	if g == nil {
		return
	}
	if g.dir != nil {
		_ = g.set("cgroup.kill", "1")
		g.dir.Close()
	}
	if g.hierarchy != nil {
		for range 100 { // a dead process stays in its group for a moment
			if err := unix.Rmdir(at(g.hierarchy, g.name)); !errors.Is(err, unix.EBUSY) {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		g.hierarchy.Close()
	}
}
