package sandbox

import (
	"bufio"
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// watchEvery is how often a sandbox is looked at. In between the limits of
// setrlimit(2) and of the tmpfs hold alone.
const watchEvery = 100 * time.Millisecond

// watch ends the sandbox whose first process is pid when it uses more than it
// may. pid 0 watches the clock alone. What it returns ends the watch.
func (p *process) watch(pid int) (stop func()) {
	quit, done := make(chan struct{}), make(chan struct{})
	inside := openView(pid)
	go func() {
		defer close(done)
		defer inside.close()
		tick := time.NewTicker(watchEvery)
		defer tick.Stop()
		for start := time.Now(); ; {
			select {
			case <-quit:
				return
			case <-tick.C:
			}
			l := p.look(inside)
			if p.limits.Wall > 0 && time.Since(start) > p.limits.Wall {
				l = Wall
			}
			if l != "" {
				p.exceed(l)
				return
			}
		}
	}()
	return func() { close(quit); <-done }
}

// look gives a limit that the sandbox exceeds now, or "".
func (p *process) look(inside *view) Limit {
	if !inside.up() {
		return ""
	}
	used := processes(in(inside.root, "/proc"))
	used.add(read(in(inside.first, "/stat")), read(in(inside.first, "/status")))
	if l := p.limits.exceeded(used); l != "" {
		return l
	}
	space, files := tmpfsUse(in(inside.root, scratch))
	for _, dir := range p.writable {
		s, f := dirUse(dir, p.limits.Files)
		space, files = space+s, max(files, f)
	}
	switch {
	// The tmpfs is full a little before: files take whole pages.
	case space >= int64(p.limits.ScratchMiB)<<20:
		return Space
	case files > p.limits.Files:
		return Files
	}
	return ""
}

// view is a sandbox as its own processes see it: its /proc lists them and nobody
// else, but for the first (firstInside). The open directories stay the sandbox's
// when another process has its number.
type view struct {
	first *os.File // of the first process in the host's /proc
	root  *os.File // its root, once the sandbox is up
}

func openView(pid int) *view {
	if pid == 0 {
		return &view{}
	}
	return &view{first: pin(fmt.Sprintf("/proc/%d", pid))}
}

// pin opens a directory to go on from; nil where it is gone.
func pin(dir string) *os.File {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil
	}
	return os.NewFile(uintptr(fd), dir)
}

// in is the path of a file in a pinned directory.
func in(dir *os.File, name string) string { return fmt.Sprintf("/proc/self/fd/%d%s", dir.Fd(), name) }

// up says whether the walls stand. Until then the root of the sandbox's first
// process is the host's, whose processes and files are not to be counted.
func (v *view) up() bool {
	if v.first == nil || v.root != nil {
		return v.root != nil
	}
	root := pin(in(v.first, "/root"))
	if root == nil {
		return false
	}
	var st unix.Statfs_t
	if err := unix.Statfs(in(root, firstInside), &st); err != nil || st.Type != unix.TMPFS_MAGIC {
		root.Close()
		return false
	}
	v.root = root
	return true
}

func (v *view) close() {
	for _, f := range []*os.File{v.first, v.root} {
		f.Close() // of none too
	}
}

// usage is what the processes of a sandbox use at a moment.
type usage struct {
	cpu     time.Duration
	memory  int64 // bytes that belong to no file on disk
	address int64 // bytes of address space
	threads int
}

func (s Limits) exceeded(u usage) Limit {
	switch {
	case u.cpu > s.CPU:
		return CPU
	case u.memory > int64(s.MemoryMiB)<<20:
		return Memory
	// Shared memory that was written and is no longer mapped shows in no
	// resident set, but takes the address space of whoever keeps it.
	case u.address > 2*int64(s.AddressMiB)<<20:
		return Address
	case u.threads >= s.Processes:
		return Processes
	}
	return ""
}

// processes adds up those that a /proc lists.
func processes(proc string) (sum usage) {
	dir, err := os.Open(proc)
	if err != nil {
		return usage{} // the sandbox has ended, or is not up yet
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	for _, n := range names {
		if n[0] < '0' || n[0] > '9' {
			continue
		}
		sum.add(read(filepath.Join(proc, n, "stat")), read(filepath.Join(proc, n, "status")))
	}
	return sum
}

// read is a file of /proc, empty where its process has ended.
func read(path string) []byte {
	b, _ := os.ReadFile(path)
	return b
}

// add adds a process, as /proc/PID/stat and /proc/PID/status (proc(5)) show it.
func (u *usage) add(stat, status []byte) {
	// The name in front, in parentheses, may hold anything.
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const utime, cstime = 11, 14 // with those between: own and of children waited for
	for i := utime; i <= cstime && i < len(fields); i++ {
		ticks, _ := strconv.ParseInt(fields[i], 10, 64)
		u.cpu += time.Duration(ticks) * (time.Second / userHz)
	}
	for s := bufio.NewScanner(bytes.NewReader(status)); s.Scan(); {
		key, value, _ := strings.Cut(s.Text(), ":")
		n, _ := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(value, " kB")), 10, 64)
		switch key {
		case "RssAnon", "RssShmem", "VmSwap":
			u.memory += n << 10
		case "VmSize":
			u.address += n << 10
		case "Threads":
			u.threads += int(n)
		}
	}
}

// userHz is the unit of times in /proc/PID/stat, the same on all x86 kernels.
const userHz = 100

// tmpfsUse is how much of the tmpfs at path is used.
func tmpfsUse(path string) (bytes int64, files int) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil || st.Type != unix.TMPFS_MAGIC {
		return 0, 0
	}
	return int64(st.Blocks-st.Bfree) * st.Bsize, int(st.Files - st.Ffree)
}

// dirUse is what lies below a directory that a sandbox may write, counted up to
// a little more than limit files. Nothing in it leads the count elsewhere.
func dirUse(dir string, limit int) (bytes int64, files int) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return 0, 0
	}
	defer root.Close()
	_ = fs.WalkDir(root.FS(), ".", func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // it was removed meanwhile
		}
		if info, err := d.Info(); err == nil {
			bytes += info.Size()
		}
		if files++; files > limit {
			return fs.SkipAll
		}
		return nil
	})
	return bytes, files
}
