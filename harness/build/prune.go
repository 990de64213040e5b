package build

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"
	"golang.org/x/sys/unix"

	"virtlab/harness/result"
)

// What Prune keeps; see there.
const (
	pruneGrace = 24 * time.Hour
	pruneAge   = 14 * 24 * time.Hour
	keepQuick  = 2
	keepSlow   = 3
	slowBuild  = time.Minute
)

// Pruned says what Prune removed.
type Pruned struct {
	Results   int
	Unused    time.Time // since when, at least, no run used any of the results
	Leftovers int       // of builds that were killed
	Bytes     int64     // on disk, of both
}

// Prune removes results that are not worth their space. A result stays
//
//   - while a process that got it runs: Get and Lookup hold a shared lock on it;
//   - for a day after its last use: that bridges the time between a set-up and
//     the run that it is for, and a command line in the evidence of a failed
//     test can still be pasted tomorrow;
//   - for 14 days as one of the last few of its name, so that going back to a
//     branch costs seconds: of those that nothing used for a day the two used
//     last, or three where the last build of that name took a minute or more.
//
// Everything else goes, with its log, and so does what builds that were killed
// or failed left behind, a day after. What a set-up needs has just been used by
// it, so Prune belongs at its end.
//
// Only what is named like a key is touched. The empty files in lock/ stay: to
// unlink one would let two processes hold the lock of one key. Of a cache that
// we may not write nothing is removed, and that is no error. A result that
// resists does not keep the others; the errors come joined. When ctx ends Prune
// stops before the next result.
func (c *Cache) Prune(ctx context.Context) (Pruned, error) {
	var p Pruned
	if unix.Access(c.dir, unix.W_OK) != nil {
		return p, nil
	}
	results, errResults := c.entries(".", fs.ModeDir)
	left, errLeft := c.entries("tmp", fs.ModeDir)
	logs, errLogs := c.entries("log", 0)
	return p, errors.Join(errResults, errLeft, errLogs,
		c.each(ctx, dispensable(results, c.now(), c.keeps), func(e entry) error { return c.removeResult(e, &p) }),
		c.each(ctx, c.old(left), func(e entry) error { return c.removeLeftover(e, &p) }),
		c.each(ctx, c.old(logs), c.removeStrayLog))
}

// entry is a file or directory of the cache that belongs to a recipe.
type entry struct {
	key, name string    // name is the recipe's
	used      time.Time // when it was modified; of a result, used
}

// keyPattern is what Recipe.Key gives.
var keyPattern = regexp.MustCompile(`^(.+)-[0-9a-f]{12}$`)

// entries lists what in a directory of the cache is named like a key and is of
// one type: fs.ModeDir, or 0 for a regular file.
func (c *Cache) entries(sub string, kind fs.FileMode) ([]entry, error) {
	files, err := os.ReadDir(filepath.Join(c.dir, sub))
	var found []entry
	for _, f := range files {
		m := keyPattern.FindStringSubmatch(f.Name())
		if m == nil || f.Type() != kind {
			continue
		}
		if info, err := f.Info(); err == nil { // else another process removed it
			found = append(found, entry{f.Name(), m[1], info.ModTime()})
		}
	}
	return found, err
}

// dispensable selects, of results, what goes by age and number; keep is how many
// of a name outlive the day of grace.
func dispensable(results []entry, now time.Time, keep func(name string) int) []entry {
	slices.SortFunc(results, func(a, b entry) int { return b.used.Compare(a.used) })
	kept := map[string]int{}
	return slices.DeleteFunc(results, func(e entry) bool {
		switch age := now.Sub(e.used); {
		case age < pruneGrace:
			return true
		case age < pruneAge && kept[e.name] < keep(e.name):
			kept[e.name]++
			return true
		default:
			return false
		}
	})
}

// keeps is how many results of a name outlive the day of grace. A name whose
// builds nobody timed counts as slow.
func (c *Cache) keeps(name string) int {
	b, err := os.ReadFile(filepath.Join(c.dir, "times", name))
	if err != nil {
		return keepSlow
	}
	seconds, err := strconv.ParseFloat(strings.TrimSpace(string(b)), 64)
	if err != nil || seconds >= slowBuild.Seconds() {
		return keepSlow
	}
	return keepQuick
}

// old selects what is past the day of grace.
func (c *Cache) old(all []entry) []entry {
	return slices.DeleteFunc(all, func(e entry) bool { return c.now().Sub(e.used) < pruneGrace })
}

// each removes entries, each under the lock that a build of its key holds; what
// is being built is left out.
func (c *Cache) each(ctx context.Context, entries []entry, remove func(entry) error) error {
	var errs []error
	for _, e := range entries {
		if ctx.Err() != nil {
			return errors.Join(append(errs, ctx.Err())...)
		}
		l := flock.New(filepath.Join(c.dir, "lock", e.key))
		ok, err := l.TryLock()
		if ok {
			err = remove(e)
			_ = l.Unlock()
		}
		if unlessGone(err) != nil {
			errs = append(errs, result.Errorf(result.Host, "cannot remove %s from the cache: %w", e.key, err).
				WithHint("remove it as its owner, or the whole cache with make clean CACHE=1"))
		}
	}
	return errors.Join(errs...)
}

// removeResult removes a result that nobody uses. It is gone from its place at
// once; what takes time happens in tmp/, where a Prune that is killed leaves it
// to the next one.
func (c *Cache) removeResult(e entry, p *Pruned) error {
	trash := filepath.Join(c.dir, "tmp", e.key)
	if err := removeTree(trash); err != nil {
		return err
	}
	if ok, err := retire(filepath.Join(c.dir, e.key), trash, e.used); !ok {
		return err
	}
	bytes := DiskUsage(trash)
	if err := errors.Join(removeTree(trash), unlessGone(os.Remove(filepath.Join(c.dir, "log", e.key)))); err != nil {
		return err
	}
	p.Results++
	p.Bytes += bytes
	if e.used.After(p.Unused) {
		p.Unused = e.used
	}
	return nil
}

// retire renames a result to trash if no process holds it and none has used it
// since used.
func retire(dir, trash string, used time.Time) (ok bool, err error) {
	l := resultLock(dir)
	if ok, err := l.TryLock(); !ok {
		return false, err
	}
	defer func() { _ = l.Unlock() }()
	st, err := os.Stat(dir)
	if err != nil || !st.ModTime().Equal(used) {
		return false, err
	}
	err = os.Rename(dir, trash)
	return err == nil, err
}

// removeLeftover removes what a killed build, or a killed Prune, left in tmp/.
func (c *Cache) removeLeftover(e entry, p *Pruned) error {
	dir := filepath.Join(c.dir, "tmp", e.key)
	if _, err := os.Lstat(dir); err != nil {
		return err
	}
	bytes := DiskUsage(dir)
	if err := removeTree(dir); err != nil {
		return err
	}
	p.Leftovers++
	p.Bytes += bytes
	return nil
}

// removeStrayLog removes the log of a build that came to nothing. That of a
// result goes with it.
func (c *Cache) removeStrayLog(e entry) error {
	if _, err := os.Lstat(filepath.Join(c.dir, e.key)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Remove(filepath.Join(c.dir, "log", e.key))
}

// unlessGone is err unless it says that there was nothing to remove: another
// process did it.
func unlessGone(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// DiskUsage is what the files below dir occupy, in bytes: images are sparse.
func DiskUsage(dir string) (bytes int64) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil
		}
		if info, err := d.Info(); err == nil {
			bytes += allocated(info)
		}
		return nil
	})
	return bytes
}

// statBlock is the unit of st_blocks, whatever the file system's block size.
const statBlock = 512

func allocated(info os.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * statBlock
	}
	return info.Size()
}
