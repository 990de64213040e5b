package class

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/gofrs/flock"
)

// scratch is a directory that lives as long as its process: the kernel frees its
// lock however the process ends, and whoever finds it free may remove the
// directory.
type scratch struct {
	path string
	lock *flock.Flock
}

const scratchLock = "lock"

// newScratch makes one in parent. Its name begins with prefix.
func newScratch(parent, prefix string) (*scratch, error) {
	// Under another name until it is locked, so that no sweep comes in between.
	hidden, err := os.MkdirTemp(parent, ".new")
	if err != nil {
		return nil, err
	}
	lock := flock.New(filepath.Join(hidden, scratchLock))
	path := filepath.Join(parent, prefix+filepath.Base(hidden)[len(".new"):])
	if err := errors.Join(lock.Lock(), os.Rename(hidden, path)); err != nil {
		return nil, errors.Join(err, lock.Close(), os.RemoveAll(hidden))
	}
	return &scratch{path, lock}, nil
}

// remove takes the directory away.
func (s *scratch) remove() error {
	return errors.Join(removeAll(s.path), s.lock.Close())
}

// sweep removes the directories of newScratch in parent whose processes are gone,
// those of this user. What cannot be removed stays: nobody has to wait for it.
func sweep(parent, prefix string) (removed int) {
	found, _ := filepath.Glob(filepath.Join(parent, prefix+"*"))
	for _, path := range found {
		if isAbandoned(path) && removeAll(path) == nil {
			removed++
		}
	}
	return removed
}

func isAbandoned(path string) bool {
	st, err := os.Lstat(path)
	if err != nil || !st.IsDir() || st.Sys().(*syscall.Stat_t).Uid != uint32(os.Getuid()) {
		return false
	}
	lock := flock.New(filepath.Join(path, scratchLock))
	defer lock.Close()
	free, err := lock.TryLock()
	return free && err == nil
}

// removeAll is os.RemoveAll for what programs of students may have left: folders
// without permissions, and a VMM that is still dying and writes.
func removeAll(path string) (err error) {
	for try := range 10 {
		if err = os.RemoveAll(path); err == nil {
			return nil
		}
		makeWritable(path)
		time.Sleep(time.Duration(try) * 50 * time.Millisecond)
	}
	return fmt.Errorf("removing %s: %w", path, err)
}

func makeWritable(path string) {
	_ = filepath.WalkDir(path, func(p string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(p, 0o700) // before its entries are read
		}
		return nil
	})
}
