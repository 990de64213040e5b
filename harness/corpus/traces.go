package corpus

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Traces is what programs may leave on a machine.
type Traces map[string]bool

// Adopt makes this process the parent of whatever its descendants leave behind
// (prctl(2), PR_SET_CHILD_SUBREAPER), so that Look finds it.
func Adopt() error { return unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// Look takes down this process's descendants, the machine's mounts, and the files
// in dirs.
func Look(dirs ...string) (Traces, error) {
	t := Traces{}
	parents, err := processes()
	if err != nil {
		return nil, err
	}
	for pid, p := range parents {
		if descends(pid, os.Getpid(), parents) {
			t[fmt.Sprintf("process %d (%s)", pid, p.name)] = true
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); len(fields) > 4 {
			t["mount on "+fields[4]] = true
		}
	}
	for _, dir := range dirs {
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			t["file "+path] = true
			return err
		})
		if err != nil {
			return nil, err
		}
	}
	return t, nil
}

// Since lists what has come since before.
func (t Traces) Since(before Traces) (added []string) {
	for trace := range t {
		if !before[trace] {
			added = append(added, trace)
		}
	}
	slices.Sort(added)
	return added
}

type process struct {
	name   string
	parent int
}

// processes are the living ones, from /proc/PID/stat (proc(5)).
func processes() (map[int]process, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	all := map[int]process{}
	for _, path := range stats {
		line, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// PID (NAME) STATE PPID ..., and a name may hold anything.
		open, end := strings.IndexByte(string(line), '('), strings.LastIndexByte(string(line), ')')
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		fields := strings.Fields(string(line[end+1:]))
		if err != nil || fields[0] == "Z" {
			continue
		}
		parent, err := strconv.Atoi(fields[1])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all[pid] = process{string(line[open+1 : end]), parent}
	}
	return all, nil
}

func descends(pid, from int, all map[int]process) bool {
	for p, ok := all[pid]; ok; p, ok = all[p.parent] {
		if p.parent == from {
			return true
		}
	}
	return false
}
