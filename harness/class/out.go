package class

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/gofrs/flock"
	"golang.org/x/sys/unix"

	"virtlab/harness/result"
)

// outDir is where a class's results go:
//
//	OUT/NAME/                a report: all of it, or nothing
//	OUT/grades.csv ...       the class
//	OUT/.virtlab/class.json  what all reports have in common
//	OUT/.virtlab/lock...     who writes here
//	OUT/.virtlab/run-...     what a run has under way
type outDir struct {
	path  string
	locks []*flock.Flock
	run   *scratch
}

const houseDir = ".virtlab"

func (d *outDir) house(name string) string { return filepath.Join(d.path, houseDir, name) }

// openOut locks path for a shard, so that two runs cannot grade the same
// submissions, and removes what killed runs left there.
func openOut(path string, shard Shard) (*outDir, error) {
	d := &outDir{path: path}
	if err := os.MkdirAll(d.house(""), 0o755); err != nil {
		return nil, result.Errorf(result.Host, "cannot write to -o: %w", err).WithHint("give a directory that is writable")
	}
	if err := d.acquire(shard); err != nil {
		return nil, errors.Join(err, d.close())
	}
	run, err := d.newRun(shard)
	if err != nil {
		err = result.Errorf(result.Host, "cannot write to -o: %w", err).WithHint("give a directory that is writable")
		return nil, errors.Join(err, d.close())
	}
	d.run = run
	return d, nil
}

// acquire takes the locks: a run over the whole class has the directory to
// itself, shards share it with each other.
func (d *outDir) acquire(shard Shard) error {
	class := flock.New(d.house("lock"))
	if shard.Whole() {
		return d.hold(class, class.TryLock, "another run")
	}
	if err := d.hold(class, class.TryRLock, "a run over the whole class"); err != nil {
		return err
	}
	part := flock.New(d.house(fmt.Sprintf("lock.%d-of-%d", shard.Index, shard.Count)))
	return d.hold(part, part.TryLock, "another run of shard "+shard.String())
}

func (d *outDir) hold(l *flock.Flock, try func() (bool, error), who string) error {
	d.locks = append(d.locks, l)
	free, err := try()
	switch {
	case err != nil:
		return result.Errorf(result.Host, "cannot lock %s: %w", l.Path(), err).WithHint("give a writable directory on a file system with locks (flock)")
	case !free:
		return result.Errorf(result.Host, "%s is writing to %s", who, d.path).WithHint("wait for its end, or give another directory with -o")
	}
	return nil
}

// newRun makes the directory of what is under way. A shard, which has no lock
// against others, removes only what died on its own machine: not every network
// file system tells a lock to all of them.
func (d *outDir) newRun(shard Shard) (*scratch, error) {
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	prefix := "run-" + host + "-"
	leftovers := prefix
	if shard.Whole() {
		leftovers = "run-"
	}
	sweep(d.house(""), leftovers)
	return newScratch(d.house(""), prefix)
}

// close ends the run: what was under way is removed, the locks are free.
func (d *outDir) close() (err error) {
	if d.run != nil {
		err = d.run.remove()
	}
	for _, l := range d.locks {
		err = errors.Join(err, l.Close())
	}
	return err
}

// report is where a submission's report lies.
func (d *outDir) report(name string) string { return filepath.Join(d.path, name) }

// draft is where it lies until it is complete.
func (d *outDir) draft(name string) string { return filepath.Join(d.run.path, "drafts", name) }

// newDraft makes an empty draft.
func (d *outDir) newDraft(name string) error {
	return errors.Join(removeAll(d.draft(name)), os.MkdirAll(d.draft(name), 0o755))
}

// publish makes a draft the report of a submission, in one step: a reader or a
// power cut finds the old one or the new one.
func (d *outDir) publish(name string) error {
	draft, report := d.draft(name), d.report(name)
	if err := syncTree(draft); err != nil {
		return err
	}
	if err := replace(draft, report); err != nil {
		return fmt.Errorf("publishing %s: %w", report, err)
	}
	return errors.Join(syncPath(d.path), removeAll(draft))
}

// replace puts the directory from in the place of to; what was there is at from
// afterwards.
func replace(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_EXCHANGE)
	switch err {
	case unix.ENOENT: // nothing is there yet
		return os.Rename(from, to)
	case unix.EINVAL, unix.ENOSYS, unix.ENOTSUP: // NFS and others cannot swap
		return replaceAside(from, to)
	}
	return err
}

// replaceAside is replace in two steps. A power cut between them loses the report
// of this one submission.
func replaceAside(from, to string) error {
	old := from + ".old"
	if err := os.Rename(to, old); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return errors.Join(os.Rename(from, to), removeAll(old))
}

// syncTree writes a directory to the disk, so that a rename after it never shows
// half of it.
func syncTree(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.IsDir() && !d.Type().IsRegular() {
			return err
		}
		return syncPath(path)
	})
}

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// common is what the reports in a directory have in common, so that a run that
// goes on where another one stopped does the same.
type common struct {
	Schema string       `json:"schema"`
	Seed   uint64       `json:"seed"`
	Labs   []result.Lab `json:"labs,omitempty"` // empty: all
}

const commonSchema = "virtlab/class/v1"

// agree says what this run has in common with those before it in the directory.
// A zero seed in want is replaced by the one that was drawn first. With again
// the directory begins anew.
func (d *outDir) agree(want common, again bool, draw func() uint64) (common, error) {
	// Shards that begin at a time must come to the same.
	lock := flock.New(d.house("class.lock"))
	defer lock.Close()
	if err := lock.Lock(); err != nil {
		return want, err
	}
	before, err := d.common()
	if err != nil && !again {
		return want, err
	}
	if before.Seed != 0 && !again && !slices.Equal(before.Labs, want.Labs) {
		return want, fmt.Errorf("%s holds grades of %s, not of %s: give another directory with -o, or -again", d.path, labNames(before.Labs), labNames(want.Labs))
	}
	want.Schema, want.Seed = commonSchema, cmp.Or(want.Seed, before.Seed)
	if want.Seed == 0 {
		want.Seed = draw()
	}
	return want, d.writeCommon(want)
}

// common reads what agree left; it is zero in a new directory.
func (d *outDir) common() (c common, err error) {
	text, err := os.ReadFile(d.house("class.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &c)
	}
	if err != nil || c.Schema != commonSchema || c.Seed == 0 {
		return common{}, fmt.Errorf("%s is damaged or of another version of virtlab (%v): remove it, or begin anew with -again", d.house("class.json"), err)
	}
	return c, nil
}

func (d *outDir) writeCommon(c common) error {
	text, err := json.Marshal(c)
	if err != nil {
		return err
	}
	draft := filepath.Join(d.run.path, "class.json")
	if err := os.WriteFile(draft, append(text, '\n'), 0o644); err != nil {
		return err
	}
	return errors.Join(syncPath(draft), os.Rename(draft, d.house("class.json")))
}

func labNames(labs []result.Lab) string {
	if len(labs) == 0 {
		return "all labs"
	}
	return fmt.Sprint(labs)
}
