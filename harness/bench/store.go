package bench

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/gofrs/flock"
)

// storeFormat is the version of the files in a store.
const storeFormat = 1

// The files of a store.
const (
	planFile     = "plan.json"
	runsFile     = "runs.jsonl"
	manifestFile = "manifest.json"
	lockFile     = ".lock"
)

// planned is the content of planFile.
type planned struct {
	Format  int    `json:"format"`
	Program string `json:"program"` // the version that drew the plan
	Plan    Plan   `json:"plan"`
}

// Store keeps a benchmark in a directory: the plan, then each result as a line
// of JSON the moment it is there. It is open in one process at a time.
type Store struct {
	Data Data // what is in it
	dir  string
	lock *flock.Flock
	runs *os.File
}

// Create makes a store for a plan in a directory that has none. The program is
// the version that measures: another one cannot go on.
func Create(dir, program string, plan Plan) (*Store, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, fmt.Errorf("directory for the benchmark: %w", err)
	}
	return open(dir, func() (Data, error) {
		if _, err := os.Stat(filepath.Join(dir, planFile)); !errors.Is(err, fs.ErrNotExist) {
			return Data{}, fmt.Errorf("%s holds a benchmark already: go on with it by -resume, or take another directory", dir)
		}
		return Data{Plan: plan}, writeJSON(filepath.Join(dir, planFile), planned{storeFormat, program, plan})
	})
}

// Resume opens a store to go on with its plan. It is refused to a program that
// is not the one that drew it: half the numbers would be of another harness.
func Resume(dir, program string) (*Store, error) {
	return open(dir, func() (Data, error) {
		p, err := readPlan(dir)
		if err != nil {
			return Data{}, err
		}
		if p.Program != program {
			return Data{}, fmt.Errorf("%s was begun by another version of virtlab (%s, this is %s): measure anew in another directory", dir, p.Program, program)
		}
		data, whole, err := readData(dir, p.Plan)
		if err != nil {
			return Data{}, err
		}
		return data, dropHalf(filepath.Join(dir, runsFile), whole)
	})
}

// open locks a store, fills it and makes it ready for results.
func open(dir string, fill func() (Data, error)) (s *Store, err error) {
	lock := flock.New(filepath.Join(dir, lockFile))
	locked, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("benchmark in %s: %w", dir, err)
	}
	if !locked {
		return nil, fmt.Errorf("a benchmark is running in %s: wait for it, or take another directory", dir)
	}
	s = &Store{dir: dir, lock: lock}
	if s.Data, err = fill(); err == nil {
		s.runs, err = os.OpenFile(filepath.Join(dir, runsFile), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	}
	if err != nil {
		return nil, errors.Join(err, lock.Unlock())
	}
	return s, nil
}

// Close lets others open the store.
func (s *Store) Close() error { return errors.Join(s.runs.Close(), s.lock.Unlock()) }

// Add keeps a result. When it returns, the result is on the disk.
func (s *Store) Add(r Result) error {
	line, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("result of run %d: %w", r.Run.Index, err)
	}
	if _, err := s.runs.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("result of run %d: %w", r.Run.Index, err)
	}
	if err := s.runs.Sync(); err != nil {
		return fmt.Errorf("result of run %d: %w", r.Run.Index, err)
	}
	s.Data.Results = append(s.Data.Results, r)
	return nil
}

// SetManifest keeps what was equal and what not, as JSON.
func (s *Store) SetManifest(manifest any) error {
	raw, err := json.Marshal(manifest)
	if err != nil {
		return fmt.Errorf("manifest of the benchmark: %w", err)
	}
	s.Data.Manifest = raw
	return writeJSON(filepath.Join(s.dir, manifestFile), json.RawMessage(raw))
}

// Load reads what is in a store, finished or not, whether or not a benchmark is
// running in it.
func Load(dir string) (*Data, error) {
	p, err := readPlan(dir)
	if err != nil {
		return nil, err
	}
	data, _, err := readData(dir, p.Plan)
	return &data, err
}

func readPlan(dir string) (p planned, err error) {
	text, err := os.ReadFile(filepath.Join(dir, planFile))
	if errors.Is(err, fs.ErrNotExist) {
		return p, fmt.Errorf("%s holds no benchmark: %w", dir, err)
	} else if err != nil {
		return p, fmt.Errorf("benchmark in %s: %w", dir, err)
	}
	if err := json.Unmarshal(text, &p); err != nil {
		return p, fmt.Errorf("%s in %s: %w", planFile, dir, err)
	}
	if p.Format != storeFormat {
		return p, fmt.Errorf("the benchmark in %s has format %d, this version of virtlab reads %d", dir, p.Format, storeFormat)
	}
	return p, nil
}

// readData reads results and manifest. whole is the length of runsFile without
// a line that was not finished.
func readData(dir string, plan Plan) (data Data, whole int64, err error) {
	data.Plan = plan
	lines, err := os.ReadFile(filepath.Join(dir, runsFile))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return data, 0, fmt.Errorf("benchmark in %s: %w", dir, err)
	}
	if data.Results, whole, err = readResults(lines, plan); err != nil {
		return data, 0, fmt.Errorf("%s in %s: %w", runsFile, dir, err)
	}
	data.Manifest, err = os.ReadFile(filepath.Join(dir, manifestFile))
	if errors.Is(err, fs.ErrNotExist) {
		return data, whole, nil
	}
	if err == nil && !json.Valid(data.Manifest) {
		err = errors.New("it is no JSON")
	}
	if err != nil {
		return data, 0, fmt.Errorf("%s in %s: %w", manifestFile, dir, err)
	}
	return data, whole, nil
}

// readResults reads lines of results. A power failure or SIGKILL leaves half a
// last line, whose run is done again; any other damage is an error.
func readResults(lines []byte, plan Plan) (results []Result, whole int64, err error) {
	whole = int64(bytes.LastIndexByte(lines, '\n') + 1)
	done := map[int]bool{}
	n := 0
	for line := range bytes.Lines(lines[:whole]) {
		n++
		var r Result
		if err := json.Unmarshal(line, &r); err != nil {
			return nil, 0, fmt.Errorf("line %d: %w", n, err)
		}
		i := r.Run.Index
		if i < 0 || i >= len(plan.Runs) || !sameRun(r.Run, plan.Runs[i]) {
			return nil, 0, fmt.Errorf("line %d: run %d is not in this plan: the results are of another one", n, i)
		}
		if done[i] {
			return nil, 0, fmt.Errorf("line %d: run %d is there twice", n, i)
		}
		done[i] = true
		results = append(results, r)
	}
	return results, whole, nil
}

// sameRun compares runs as they are stored.
func sameRun(a, b Run) bool {
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

// dropHalf cuts a line off that was not finished.
func dropHalf(path string, whole int64) error {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == whole {
		return nil
	}
	if err == nil {
		err = os.Truncate(path, whole)
	}
	return err
}

// writeJSON replaces a file in one step: it is there as a whole or not at all.
func writeJSON(path string, content any) error {
	text, err := json.MarshalIndent(content, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(append(text, '\n'))
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
