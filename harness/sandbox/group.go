package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"virtlab/harness/result"
)

// group is the cgroup of a sandbox, where this process may make one (cgroup v2:
// as root, or below what systemd delegated to the user). It is exact where the
// watch samples, and it counts what no process shows. A nil group is none.
type group struct {
	path string
	dir  *os.File
}

// newGroup makes a cgroup with limits, or none.
func newGroup(l Limits) *group {
	parent := groupParent()
	if parent == "" {
		return nil
	}
	g, err := makeGroup(parent, l)
	if err != nil {
		return nil
	}
	return g
}

func makeGroup(parent string, l Limits) (*group, error) {
	path, err := os.MkdirTemp(parent, "virtlab-")
	if err != nil {
		return nil, err
	}
	dir, err := os.Open(path)
	if err != nil {
		return nil, errors.Join(err, os.Remove(path))
	}
	g := &group{path: path, dir: dir}
	const walls = 8 // processes of bubblewrap and what comes before the program
	err = errors.Join(
		g.write("memory.max", (l.MemoryMiB+l.ScratchMiB)<<20), // a tmpfs is memory, too
		g.write("memory.oom.group", 1),
		g.write("pids.max", l.Processes+walls))
	_ = g.write("memory.swap.max", 0) // not there without swap accounting
	if err != nil {
		return nil, errors.Join(err, g.remove())
	}
	return g, nil
}

func (g *group) write(name string, value int) error {
	return os.WriteFile(filepath.Join(g.path, name), fmt.Appendln(nil, value), 0o644)
}

// place has c start in the group.
func (g *group) place(c *exec.Cmd) {
	if g != nil {
		c.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(g.dir.Fd())}
	}
}

// exceeded is the limit that the group has run into, or "".
func (g *group) exceeded() Limit {
	switch {
	case g == nil:
	case g.events("memory.events", "oom_kill") > 0:
		return Memory
	case g.events("pids.events", "max") > 0:
		return Processes
	}
	return ""
}

// events is a counter in a file of "NAME COUNT" lines.
func (g *group) events(file, name string) (n int) {
	for line := range strings.Lines(string(read(filepath.Join(g.path, file)))) {
		if count, ok := strings.CutPrefix(line, name+" "); ok {
			_, _ = fmt.Sscan(count, &n)
		}
	}
	return n
}

// remove removes the group. The kernel lets go of processes a moment after they
// have ended.
func (g *group) remove() (err error) {
	if g == nil {
		return nil
	}
	g.dir.Close()
	for range 100 {
		if err = os.Remove(g.path); err == nil || errors.Is(err, os.ErrNotExist) {
			return nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return result.Errorf(result.Host, "the sandbox's cgroup stays behind: %w", err)
}

const cgroupRoot = "/sys/fs/cgroup"

// groupParent is the directory in which this process can make groups and start
// programs, found by doing so; "" where there is none.
var groupParent = sync.OnceValue(func() string {
	var st unix.Statfs_t
	if err := unix.Statfs(cgroupRoot, &st); err != nil || st.Type != unix.CGROUP2_SUPER_MAGIC {
		return ""
	}
	for _, dir := range ancestors(string(read("/proc/self/cgroup"))) {
		controllers := strings.Fields(string(read(filepath.Join(cgroupRoot, dir, "cgroup.subtree_control"))))
		if slices.Contains(controllers, "memory") && slices.Contains(controllers, "pids") && tryGroup(filepath.Join(cgroupRoot, dir)) {
			return filepath.Join(cgroupRoot, dir)
		}
	}
	return ""
})

// ancestors are the cgroup that /proc/self/cgroup names in v2's hierarchy
// (cgroups(7): "0::PATH") and those above it.
func ancestors(cgroups string) (dirs []string) {
	for line := range strings.Lines(cgroups) {
		path, ok := strings.CutPrefix(strings.TrimSpace(line), "0::")
		if !ok || !filepath.IsAbs(path) {
			continue
		}
		for ; path != "/"; path = filepath.Dir(path) {
			dirs = append(dirs, path)
		}
		return append(dirs, "/")
	}
	return nil
}

func tryGroup(parent string) bool {
	g, err := makeGroup(parent, Compiler)
	if err != nil {
		return false
	}
	c := exec.Command("true")
	g.place(c)
	return errors.Join(c.Run(), g.remove()) == nil
}
