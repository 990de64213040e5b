package build

import (
	"errors"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/gofrs/flock"
)

// holds are the results that this process got, by directory: a shared lock on
// each (flock(2)), which the kernel drops when the process ends, however it
// ends. They belong to the process and not to a Cache, because a run goes on
// using paths of its Assets long after it forgot the Cache, and the garbage
// collector closes files, and so drops locks, that nothing refers to.
var holds = struct {
	sync.Mutex
	locks map[string]*flock.Flock
}{locks: map[string]*flock.Flock{}}

// hold keeps Prune off the result in dir until this process ends, and stamps
// the directory: used now. It tells whether there is such a result. Lock and
// stamp are not sure, and to miss one is no error: a cache that we may only read
// takes the lock and not the stamp, some file systems have no locks.
func hold(dir string, now time.Time) (there bool) {
	holds.Lock()
	defer holds.Unlock()
	if l := holds.locks[dir]; l == nil || !guards(l, dir) {
		release(dir)
		l, err := lockShared(dir)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
			return false
		}
		if err == nil {
			holds.locks[dir] = l
		}
	}
	stamp(dir, now)
	return true
}

// release drops this process's lock on dir, if there is one. The caller has
// locked holds.
func release(dir string) {
	if l := holds.locks[dir]; l != nil {
		_ = l.Unlock()
		delete(holds.locks, dir)
	}
}

// lockShared locks the result in dir. It waits for a Prune that has the result
// in hand, which takes no longer than a rename.
func lockShared(dir string) (*flock.Flock, error) {
	for {
		l := resultLock(dir)
		if err := l.RLock(); err != nil {
			return nil, err
		}
		if guards(l, dir) {
			return l, nil
		}
		_ = l.Unlock() // pruned while we waited, and perhaps built anew since
	}
}

// resultLock is the lock on a result: its directory itself, so that there is
// nothing to create in a cache that is read-only, and nothing to tidy up.
func resultLock(dir string) *flock.Flock {
	return flock.New(dir, flock.SetFlag(os.O_RDONLY|syscall.O_DIRECTORY))
}

// guards tells whether l, which is locked, locks what dir names now.
func guards(l *flock.Flock, dir string) bool {
	locked, err := l.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(dir)
	return err == nil && os.SameFile(locked, named)
}

// stampEvery is how exact the time of use is: finer, and reading would write
// more often than it needs to.
const stampEvery = time.Hour

func stamp(dir string, now time.Time) {
	// The distance counts in both directions: a stamp from the future, of a
	// clock that was wrong, would keep a result until then.
	if st, err := os.Stat(dir); err == nil && now.Sub(st.ModTime()).Abs() >= stampEvery {
		_ = os.Chtimes(dir, time.Time{}, now)
	}
}
