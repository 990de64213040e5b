package class

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"virtlab/harness/machine"
	"virtlab/harness/result"
	"virtlab/harness/submission"
)

// MergeOptions say what to put together.
type MergeOptions struct {
	Out   string   // gets the reports and the class files
	Dirs  []string // directories of results; Out may be among them
	Mixed bool     // whatever the rubrics, seeds and versions that they were graded with
	// Expect are names of submissions; those without a report are missing.
	Expect []string
}

// Merged is what came of it.
type Merged struct {
	Reports []*result.Report
	Notes   []string // names found twice, and which of them counts
	Missing []string
}

// Merge puts results of several runs together, those of the shards of a class.
// It copies what Out does not have yet and writes the class files. A name found
// in several directories is one submission, of which the latest report counts;
// if the contents differ they are two, and nothing is merged.
func Merge(opts MergeOptions) (m *Merged, err error) {
	out, err := openOut(opts.Out, Shard{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, out.close()) }()
	chosen, notes, err := choose(opts.Out, opts.Dirs)
	if err != nil {
		return nil, err
	}
	m = &Merged{Notes: notes}
	for _, f := range chosen {
		m.Reports = append(m.Reports, f.report)
	}
	if err := alike(m.Reports); err != nil && !opts.Mixed {
		return nil, fmt.Errorf("these results do not compare (-mixed merges them all the same): %w", err)
	}
	for _, f := range chosen {
		if err := out.take(f); err != nil {
			return nil, err
		}
	}
	m.Missing = missing(opts.Expect, m.Reports)
	return m, result.WriteClass(opts.Out, m.Reports)
}

// found is a report in a directory of results.
type found struct {
	dir    string // of the results
	report *result.Report
}

// choose finds the report that counts for each name, by name.
func choose(out string, dirs []string) (chosen []found, notes []string, err error) {
	byName := map[string]found{}
	for _, dir := range slices.Concat([]string{out}, others(out, dirs)) {
		reports, err := Reports(dir)
		if err != nil {
			return nil, nil, err
		}
		if len(reports) == 0 && dir != out {
			return nil, nil, fmt.Errorf("%s holds no results", dir)
		}
		for _, r := range reports {
			old, twice := byName[r.Name]
			now := found{dir, r}
			if twice {
				var note string
				if now, note, err = latest(out, old, now); err != nil {
					return nil, nil, err
				}
				notes = append(notes, note)
			}
			byName[r.Name] = now
		}
	}
	for _, f := range byName {
		chosen = append(chosen, f)
	}
	slices.SortFunc(chosen, func(a, b found) int { return strings.Compare(a.report.Name, b.report.Name) })
	return chosen, slices.DeleteFunc(notes, func(n string) bool { return n == "" }), nil
}

// others are dirs without out, each once.
func others(out string, dirs []string) (rest []string) {
	seen := []string{real(out)}
	for _, d := range dirs {
		if !slices.Contains(seen, real(d)) {
			seen = append(seen, real(d))
			rest = append(rest, d)
		}
	}
	return rest
}

// latest is the one of two reports of a name that counts. What out has is a copy
// of an earlier merge, so that is replaced without a word.
func latest(out string, a, b found) (found, string, error) {
	first, second := a, b
	if b.report.Started.Before(a.report.Started) {
		first, second = b, a
	}
	if second.report.Failed() && !first.report.Failed() {
		first, second = second, first
	}
	if a.dir == out {
		return second, "", nil
	}
	if a.report.Digest != b.report.Digest {
		return found{}, "", fmt.Errorf("%s is in %s and in %s with different contents: remove one of them", a.report.Name, a.dir, b.dir)
	}
	return second, fmt.Sprintf("%s is in %s and in %s: the report in %s counts", a.report.Name, a.dir, b.dir, second.dir), nil
}

// alike refuses reports that were not made in the same way.
func alike(all []*result.Report) error {
	var errs []error
	for _, p := range []struct {
		what string
		of   func(*result.Report) string
	}{
		{"rubric", func(r *result.Report) string { return r.Rubric }},
		{"seed", func(r *result.Report) string { return fmt.Sprint(r.Seed) }},
		{"version of virtlab", func(r *result.Report) string { return r.Harness }},
	} {
		differs := func(r *result.Report) bool { return p.of(r) != p.of(all[0]) }
		if i := slices.IndexFunc(all, differs); i > 0 {
			errs = append(errs, fmt.Errorf("the %s of %s is %s, of %s it is %s", p.what, all[0].Name, p.of(all[0]), all[i].Name, p.of(all[i])))
		}
	}
	return errors.Join(errs...)
}

func missing(expect []string, have []*result.Report) (names []string) {
	for _, name := range expect {
		if !slices.ContainsFunc(have, func(r *result.Report) bool { return r.Name == name }) {
			names = append(names, name)
		}
	}
	return names
}

// take copies a report into the directory, unless it lies there.
func (d *outDir) take(f found) error {
	if f.dir == d.path {
		return nil
	}
	name := f.report.Name
	if err := d.foreign([]submission.Handin{{Name: name}}); err != nil {
		return err
	}
	if err := copyTree(filepath.Join(f.dir, name), d.draft(name)); err != nil {
		return err
	}
	return d.publish(name)
}

// copyTree copies folders and files, and nothing else that evidence may hold.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(from, path)
		switch {
		case err != nil:
			return err
		case e.IsDir():
			return os.MkdirAll(filepath.Join(to, rel), 0o755)
		case e.Type().IsRegular():
			return machine.Copy(filepath.Join(to, rel), path)
		}
		return nil
	})
}
