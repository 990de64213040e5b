// Package build makes what the labs boot: the lab kernel, its KVM modules,
// QEMU, guest programs and images. Each is a Recipe whose result lies in a
// content-addressed Cache, so nothing is built twice and an interrupted build
// leaves nothing half made.
package build

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/gofrs/flock"

	"virtlab/harness/result"
)

// Recipe says how one thing is made. Two recipes with equal Name and Inputs
// make the same thing: Inputs must hold all that the result depends on (file
// contents, package versions, the recipe's own version).
type Recipe struct {
	Name   string        // "kernel": names the directory and the progress line
	Inputs []string      // hashed into the key
	Expect time.Duration // on two cores, for the progress line of the first build
	// Make fills dir, an empty directory that becomes the result once Make returns nil.
	Make func(ctx context.Context, dir string, log *Log) error
}

// Key is the recipe's identity: its name and 12 hexadecimal digits of the
// SHA-256 of its inputs.
func (r Recipe) Key() string {
	h := sha256.New()
	for _, in := range append([]string{r.Name}, r.Inputs...) {
		// The length in front keeps {"ab","c"} and {"a","bc"} apart.
		fmt.Fprintf(h, "%d:%s", len(in), in)
	}
	return r.Name + "-" + hex.EncodeToString(h.Sum(nil))[:12]
}

// Cache is a directory of finished results, one per recipe key.
//
//	KEY/        a result; complete, never changed; its time is that of its last
//	            use, a shared lock on it says that a process uses it now
//	tmp/KEY/    being built or removed, under the lock
//	lock/KEY    held while building or removing
//	log/KEY     what the build printed; times/NAME: seconds it took last
type Cache struct {
	dir      string
	progress io.Writer
	now      func() time.Time // when results are used, and which are old

	mu   sync.Mutex
	uses []Use
}

// Use is one result as this process got it.
type Use struct {
	Name  string        // of the recipe
	Dir   string        // of the result
	Built bool          // by this process; found in the cache otherwise
	Took  time.Duration // to build it, or to wait for another process
}

// Uses lists what Get gave so far, each result once and in that order.
func (c *Cache) Uses() []Use {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.uses)
}

func (c *Cache) note(u Use) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !slices.ContainsFunc(c.uses, func(o Use) bool { return o.Dir == u.Dir }) {
		c.uses = append(c.uses, u)
	}
}

// DefaultDir is $XDG_CACHE_HOME/virtlab, or ~/.cache/virtlab where that is
// unset. A relative $XDG_CACHE_HOME is an error, as the XDG base directory
// specification asks that it be ignored and a surprise would be worse.
func DefaultDir() (string, error) {
	base := os.Getenv("XDG_CACHE_HOME")
	if base == "" {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", result.Errorf(result.Host, "no cache directory: %w", err).
				WithHint("set XDG_CACHE_HOME to an absolute path")
		}
		base = filepath.Join(home, ".cache")
	}
	if !filepath.IsAbs(base) {
		return "", result.Errorf(result.Host, "XDG_CACHE_HOME is the relative path %q", base).
			WithHint("set it to an absolute path, e.g. XDG_CACHE_HOME=$PWD/%s", filepath.Clean(base))
	}
	return filepath.Join(base, "virtlab"), nil
}

// OpenCache opens or creates the cache in dir, an absolute path. Progress of
// builds goes to progress.
func OpenCache(dir string, progress io.Writer) (*Cache, error) {
	if !filepath.IsAbs(dir) {
		return nil, result.Errorf(result.Host, "the cache directory %q is a relative path", dir).
			WithHint("give an absolute one")
	}
	for _, sub := range []string{"tmp", "lock", "log", "times"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o755); err != nil {
			return nil, result.Errorf(result.Host, "cannot create the cache: %w", err).
				WithHint("make %s writable or set XDG_CACHE_HOME elsewhere", filepath.Dir(dir))
		}
	}
	return &Cache{dir: dir, progress: progress, now: time.Now}, nil
}

// Dir is the cache's own directory.
func (c *Cache) Dir() string { return c.dir }

// Lookup gives the directory of r's result if it was built before. From then on
// Prune leaves it alone until this process ends.
func (c *Cache) Lookup(r Recipe) (dir string, ok bool) {
	dir = filepath.Join(c.dir, r.Key())
	return dir, hold(dir, c.now())
}

// Get gives the directory of r's result and builds it first where needed. Of
// several processes that want the same result one builds and the others wait.
// Prune leaves it alone until this process ends.
func (c *Cache) Get(ctx context.Context, r Recipe) (string, error) {
	start := time.Now()
	dir, built, err := c.get(ctx, r)
	if err == nil {
		c.note(Use{r.Name, dir, built, time.Since(start)})
	}
	return dir, err
}

func (c *Cache) get(ctx context.Context, r Recipe) (dir string, built bool, err error) {
	if dir, ok := c.Lookup(r); ok {
		return dir, false, nil
	}
	unlock, err := c.lock(ctx, r)
	if err != nil {
		return "", false, err
	}
	defer unlock()
	if dir, ok := c.Lookup(r); ok {
		return dir, false, nil
	}
	dir, err = c.build(ctx, r)
	return dir, true, err
}

func (c *Cache) lock(ctx context.Context, r Recipe) (unlock func(), err error) {
	l := flock.New(filepath.Join(c.dir, "lock", r.Key()))
	ok, err := l.TryLock()
	if err != nil {
		return nil, c.explain(r, err, "")
	}
	if !ok {
		fmt.Fprintf(c.progress, "%s: another process is building it, waiting\n", r.Name)
		if _, err := l.TryLockContext(ctx, 200*time.Millisecond); err != nil {
			return nil, result.Errorf(result.Host, "waiting for the build of %s by another process: %w", r.Name, err)
		}
	}
	return func() { _ = l.Unlock() }, nil
}

// build runs the recipe in tmp/KEY, which may hold what a killed build left,
// and renames the outcome into place.
func (c *Cache) build(ctx context.Context, r Recipe) (string, error) {
	tmp := filepath.Join(c.dir, "tmp", r.Key())
	if err := removeTree(tmp); err != nil {
		return "", c.explain(r, err, "")
	}
	if err := os.MkdirAll(tmp, 0o755); err != nil {
		return "", c.explain(r, err, "")
	}
	log, err := newLog(c, r)
	if err != nil {
		return "", err
	}
	err = r.Make(ctx, tmp, log)
	log.close(err)
	if err != nil {
		err = c.explain(r, err, log.path) // before the space that the build took is free again
		_ = removeTree(tmp)
		return "", err
	}
	dir := filepath.Join(c.dir, r.Key())
	if err := os.Rename(tmp, dir); err != nil {
		return "", c.explain(r, err, log.path)
	}
	hold(dir, c.now())
	return dir, nil
}

// explain names the build that failed, keeps an owner the cause already has,
// and tells a full disk from other troubles.
func (c *Cache) explain(r Recipe, err error, logPath string) error {
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("building %s: %w", r.Name, err)
	}
	if free, ferr := freeBytes(c.dir); ferr == nil && (free < 64<<20 || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)) {
		return result.Errorf(result.Host, "building %s: no space left in the cache %s (%d MiB free): %w", r.Name, c.dir, free>>20, err).
			WithHint("free some space (a full set-up takes about %d GiB), or set XDG_CACHE_HOME to a larger disk", SetupBytes>>30)
	}
	if errors.Is(err, fs.ErrPermission) && logPath == "" {
		return result.Errorf(result.Host, "building %s: the cache %s is not writable: %w", r.Name, c.dir, err).
			WithHint("make it writable, or set XDG_CACHE_HOME elsewhere")
	}
	var owned *result.Error
	if errors.As(err, &owned) {
		return fmt.Errorf("building %s: %w", r.Name, err)
	}
	e := result.Errorf(result.Host, "building %s: %w", r.Name, err)
	if logPath == "" {
		return e
	}
	return e.WithHint("read %s", logPath)
}

// SetupBytes is what a first set-up needs on disk while it builds.
const SetupBytes = 4 << 30

// removeTree removes dir also where a build left directories without write
// permission.
func removeTree(dir string) error {
	if err := os.RemoveAll(dir); err == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			_ = os.Chmod(p, 0o755)
		}
		return nil
	})
	return os.RemoveAll(dir)
}

// FileInput is a file's content as a recipe input, with its name in front.
func FileInput(path string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	return filepath.Base(path) + "\n" + string(b), nil
}

// TreeInput is the content of all regular files below dir as a recipe input.
func TreeInput(dir string) (string, error) {
	return treeInput(dir, func(string) bool { return true })
}

// treeInput is TreeInput for the files whose name keep wants.
func treeInput(dir string, keep func(name string) bool) (string, error) {
	var all strings.Builder
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() || !keep(d.Name()) {
			return err
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		fmt.Fprintf(&all, "%s %x\n", rel, sha256.Sum256(b))
		return err
	})
	return all.String(), err
}
