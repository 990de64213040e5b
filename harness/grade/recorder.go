package grade

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"virtlab/harness"
)

// recorder is the test that a Lab of a check belongs to (harness.T). Its name is
// the check's, so that a check draws the same numbers wherever it runs.
type recorder struct {
	ctx      context.Context
	name     string
	evidence string

	err      error
	log      strings.Builder
	cleanups []func()
}

var _ harness.T = (*recorder)(nil)

// run calls f on a goroutine of its own, which ends where the Lab finds that
// something failed.
func (r *recorder) run(f func(*harness.Lab) error) error {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				r.err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
			}
		}()
		r.err = errors.Join(r.err, f(harness.New(r)))
	}()
	<-done
	return r.err
}

// cleanup undoes, last first, what the check left to be undone.
func (r *recorder) cleanup() {
	for _, f := range slices.Backward(r.cleanups) {
		f()
	}
	r.cleanups = nil
}

func (r *recorder) Name() string             { return r.name }
func (r *recorder) Context() context.Context { return r.ctx }
func (r *recorder) Helper()                  {}
func (r *recorder) Attr(string, string)      {}
func (r *recorder) Cleanup(f func())         { r.cleanups = append(r.cleanups, f) }

func (r *recorder) Logf(format string, args ...any) { fmt.Fprintf(&r.log, format+"\n", args...) }

// Errorf is what a failed assertion says.
func (r *recorder) Errorf(format string, args ...any) {
	r.err = errors.Join(r.err, fmt.Errorf(format, args...))
}

// FailWith ends the check with an error, whose owner decides what becomes of it.
func (r *recorder) FailWith(err error) {
	r.err = err
	runtime.Goexit()
}

func (r *recorder) FailNow() { runtime.Goexit() }

func (r *recorder) Skipf(format string, args ...any) {
	r.err = notGraded(fmt.Sprintf(format, args...))
	runtime.Goexit()
}

func (r *recorder) TempDir() string {
	dir, err := os.MkdirTemp("", "grade")
	if err != nil {
		r.FailWith(err)
	}
	r.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (r *recorder) ArtifactDir() string {
	if err := os.MkdirAll(r.evidence, 0o755); err != nil {
		r.FailWith(err)
	}
	return r.evidence
}

// files lists the evidence, relative to dir.
func (r *recorder) files(dir string) (files []string) {
	_ = filepath.WalkDir(r.evidence, func(path string, d os.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if rel, err := filepath.Rel(dir, path); err == nil {
				files = append(files, filepath.ToSlash(rel))
			}
		}
		return nil
	})
	return files
}

// notGraded is why a check was not made.
type notGraded string

func (n notGraded) Error() string { return string(n) }
