package sandbox

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
)

// File descriptors that bubblewrap is given.
const (
	filterFD = 3
	statusFD = 4
)

// scratch is the private directory behind walls.
const scratch = "/tmp"

// command is the command line: bubblewrap makes the walls, setpriv gives up
// root, prlimit sets the limits.
func (s Spec) command() []string {
	a := append([]string{"bwrap"}, s.namespaces()...)
	a = append(a, s.environment()...)
	a = append(a, s.files()...)
	a = append(a, "--cap-drop", "ALL")
	if s.owner.separate {
		a = append(a, "--cap-add", "CAP_SETUID", "--cap-add", "CAP_SETGID") // for setpriv, which loses them
	}
	a = append(a, "--seccomp", strconv.Itoa(filterFD), "--json-status-fd", strconv.Itoa(statusFD), "--")
	return append(a, s.owner.become(s.limited())...)
}

// limited is the program under its resource limits. Processes are counted for
// the owner: those of the sandbox and no others.
func (s Spec) limited() []string {
	a := append([]string{"prlimit", fmt.Sprintf("--nproc=%d", s.Limits.Processes)}, s.Limits.rlimits()...)
	return append(append(a, "--"), s.args(scratch)...)
}

func (s Spec) namespaces() []string {
	a := []string{"--unshare-pid", "--unshare-net", "--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try",
		"--hostname", "sandbox", "--die-with-parent", "--new-session"}
	if !s.owner.separate {
		// Of root's own namespace otherwise: only there it can become another user.
		a = append(a, "--unshare-user")
	}
	return a
}

func (s Spec) environment() []string {
	a := []string{"--clearenv"}
	for _, e := range [][2]string{{"PATH", "/usr/bin:/bin:/usr/sbin:/sbin"}, {"HOME", scratch}, {"TMPDIR", scratch}, {"LC_ALL", "C"}} {
		a = append(a, "--setenv", e[0], e[1])
	}
	return a
}

// files is all that the program sees of the file system. The order counts: later
// ones cover earlier ones.
func (s Spec) files() []string {
	a := append([]string{"--ro-bind", "/usr", "/usr"}, systemDirs()...)
	a = append(a, "--dir", "/etc", "--ro-bind-try", "/etc/alternatives", "/etc/alternatives",
		"--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache",
		"--proc", "/proc", "--dev", "/dev",
		// An ordinary user's first process is bubblewrap's own, under no limits and
		// no filter: its memory is not to be had.
		"--tmpfs", firstInside, "--remount-ro", firstInside)
	// The directories that bubblewrap makes are tmpfs without a limit, which
	// their owner, the user himself, could fill.
	a = append(a, "--remount-ro", "/dev",
		"--perms", "1777", "--size", strconv.Itoa(s.Limits.ScratchMiB<<20), "--tmpfs", scratch)
	for _, p := range s.ReadOnly {
		a = append(append(a, parents(p)...), "--ro-bind", p, p)
	}
	for _, p := range s.writable {
		a = append(append(a, parents(p)...), "--bind", p, p)
	}
	dir := s.Dir
	if dir == "" {
		dir = scratch
	}
	return append(a, "--remount-ro", "/", "--chdir", dir)
}

// parents makes the directories above path. Left to bubblewrap they would be
// closed to others where path is, and root's.
func parents(path string) (a []string) {
	for dir := filepath.Dir(path); dir != "/" && dir != "."; dir = filepath.Dir(dir) {
		a = append([]string{"--dir", dir}, a...)
	}
	return a
}

// systemDirs are the directories beside /usr that programs have to find. Where
// they are links into it (Debian 12, Arch, Fedora) they stay links.
func systemDirs() (a []string) {
	for _, d := range []string{"/bin", "/lib", "/lib64", "/sbin"} {
		if to, err := os.Readlink(d); err == nil {
			a = append(a, "--symlink", to, d)
		} else if !errors.Is(err, os.ErrNotExist) {
			a = append(a, "--ro-bind", d, d)
		}
	}
	return a
}

// firstInside is the first process, as the sandbox sees it.
const firstInside = "/proc/1"
