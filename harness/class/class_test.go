package class

import (
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/result"
)

func TestGrade(t *testing.T) {
	f := newFixture(t, map[string]string{"ada": "points 2", "bob": "points 1.5", "eve": "points 0"})
	c := f.grade()
	assert.Equal(t, "3 submissions: 3 graded", c.String())
	assert.Equal(t, 1.5, f.report("bob").Score)
	assert.Equal(t, "Student bob", f.report("bob").Student)
	assert.FileExists(t, filepath.Join(f.out, "bob", result.HTMLFile))
	assert.NoFileExists(t, filepath.Join(f.out, "bob", logName), "nothing was logged")
	grades, err := os.ReadFile(filepath.Join(f.out, result.GradesFile))
	require.NoError(t, err)
	for _, name := range []string{"ada", "bob", "eve"} {
		assert.Contains(t, string(grades), name)
	}
	seeds := map[uint64]bool{}
	for _, r := range c.Reports {
		seeds[r.Seed] = true
	}
	assert.Len(t, seeds, 1, "one seed for all")
	f.clean()
}

// One that crashes, hangs or floods costs its own grade, and nobody else's.
func TestBrokenWorkers(t *testing.T) {
	for _, c := range []struct{ name, does, says string }{
		{"panic", "panic", "the grader of this submission failed: exit status 2; its last words:"},
		{"out of memory", "kill", "the grader of this submission failed: ended by signal: killed"},
		{"no report", "empty", "no such file"},
		{"status", "status 7", "exit status 7"},
		{"check of the house", "broken", "no space left"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, map[string]string{"ada": "points 2", "bad": c.does, "bob": "points 1"})
			class := f.grade()
			assert.Equal(t, "3 submissions: 2 graded, 1 whose grading failed", class.String())
			assert.True(t, f.report("bad").Failed())
			assert.Contains(t, Reason(f.report("bad")), c.says)
			assert.Equal(t, 2.0, f.report("ada").Score)
			assert.Equal(t, 1.0, f.report("bob").Score)
			f.clean()
		})
	}
}

func TestCrashKeepsItsLog(t *testing.T) {
	f := newFixture(t, map[string]string{"bad": "panic"})
	f.grade()
	log, err := os.ReadFile(filepath.Join(f.out, "bad", logName))
	require.NoError(t, err)
	assert.Contains(t, string(log), "the grader has a bug")
}

func TestDeadline(t *testing.T) {
	defer func(g time.Duration) { grace = g }(grace)
	grace = 100 * time.Millisecond
	pidFile := filepath.Join(t.TempDir(), "pids")
	f := newFixture(t, map[string]string{"ada": "points 2", "bad": "child " + pidFile, "slow": "hang"})
	f.opts.Deadline = 2 * time.Second
	class := f.grade()
	assert.Equal(t, 2, class.Failed())
	assert.Contains(t, f.report("slow").Error, "it did not end within 2.1s")
	assert.FileExists(t, filepath.Join(f.out, "slow", "evidence.txt"), "what there was is kept")
	worker, child := pids(t, pidFile)
	requireDead(t, worker, child)
	assert.Equal(t, 2.0, f.report("ada").Score)
	f.clean()
}

func TestFloodIsBounded(t *testing.T) {
	f := newFixture(t, map[string]string{"bad": "flood"})
	f.grade()
	log, err := os.ReadFile(filepath.Join(f.out, "bad", logName))
	require.NoError(t, err)
	assert.Less(t, len(log), logHead+logTail+100)
	assert.Contains(t, string(log), "bytes left out")
	assert.True(t, strings.HasSuffix(string(log), "the end\n"))
}

func TestLitterIsRemoved(t *testing.T) {
	f := newFixture(t, map[string]string{"bad": "litter\npoints 1"})
	assert.Zero(t, f.grade().Failed())
	f.clean()
}

func TestResume(t *testing.T) {
	f := newFixture(t, map[string]string{"ada": "points 2", "bob": "points 1", "bad": "broken"})
	f.grade()
	seed := f.report("ada").Seed
	for _, c := range []struct {
		name   string
		change func()
		graded []string
	}{
		{"nothing changed", func() {}, []string{"bad"}},
		{"a new one", func() { f.hand("eve", "points 0") }, []string{"bad", "eve"}},
		{"other content", func() { f.hand("bob", "points 2") }, []string{"bad", "bob"}},
		{"the failed one was repaired", func() { f.hand("bad", "points 1") }, []string{"bad"}},
		{"another rubric", func() { f.opts.Rubric.Digest = "sha256:0"; f.opts.RubricText = append(f.opts.RubricText, '\n') }, []string{"ada", "bad", "bob", "eve"}},
		{"another version", func() { f.opts = fakeOptions(f.out); f.opts.Harness = "v2" }, []string{"ada", "bad", "bob", "eve"}},
		{"again", func() { f.opts = fakeOptions(f.out); f.opts.Again = true }, []string{"ada", "bad", "bob", "eve"}},
		{"without a sandbox", func() { f.opts = fakeOptions(f.out); f.opts.Unsandboxed = true }, []string{"ada", "bad", "bob", "eve"}},
		{"with one again", func() { f.opts = fakeOptions(f.out) }, []string{"ada", "bad", "bob", "eve"}},
		{"a report was cut by a power cut", func() {
			require.NoError(t, os.Truncate(filepath.Join(f.out, "eve", result.OutcomeFile), 10))
		}, []string{"eve"}},
		{"the seed that it has", func() { f.opts.Seed = seed }, nil},
		{"another seed", func() { f.opts.Seed = seed + 1 }, []string{"ada", "bad", "bob", "eve"}},
		{"the seed stays", func() { f.opts.Seed = 0 }, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.change()
			var graded []string
			for _, e := range f.grade().Endings {
				if !e.Kept {
					graded = append(graded, e.Name)
				}
			}
			assert.Equal(t, c.graded, graded)
		})
	}
	assert.Equal(t, seed+1, f.report("ada").Seed)
}

func TestLabs(t *testing.T) {
	f := newFixture(t, map[string]string{"ada": "points 2"})
	f.opts.Labs = []result.Lab{result.CPU}
	f.grade()
	assert.Len(t, f.report("ada").Verdicts, 5)
	f.opts.Labs = nil
	_, err := f.gradeContext(t.Context())
	assert.ErrorContains(t, err, "holds grades of [cpu], not of all labs")
	f.opts.Again = true
	f.grade()
	assert.Greater(t, len(f.report("ada").Verdicts), 5)
}

// What is under way is killed, what is done stays, and the next run goes on.
func TestInterrupt(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pids")
	f := newFixture(t, map[string]string{"ada": "points 2", "child": "child " + pidFile, "zoe": "points 1"})
	f.opts.Jobs = 1
	ctx, cancel := context.WithCancel(t.Context())
	seen := &recorded{onStart: func(name string) {
		if name == "child" {
			go func() { pids(t, pidFile); cancel() }()
		}
	}}
	f.opts.Progress = seen
	class, err := f.gradeContext(ctx)
	assert.EqualError(t, err, "1 of 3 submissions are done: the same command goes on with the others")
	assert.Equal(t, "3 submissions: 1 graded, 2 not begun or not finished", class.String())
	assert.Equal(t, []string{"ada", "child"}, seen.started)
	worker, child := pids(t, pidFile)
	requireDead(t, worker, child)
	assert.NoDirExists(t, filepath.Join(f.out, "child"))
	assert.FileExists(t, filepath.Join(f.out, result.GradesFile))
	f.clean()

	f.hand("child", "points 0")
	assert.Equal(t, "3 submissions: 2 graded, 1 kept from before", f.grade().String())
}

func TestInterruptBeforeTheFirst(t *testing.T) {
	f := newFixture(t, map[string]string{"ada": "points 2", "bob": "points 1"})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := f.gradeContext(ctx)
	assert.EqualError(t, err, "0 of 2 submissions are done: the same command goes on with the others")
	f.clean()
}

// SIGKILL leaves no process; the next run removes the files.
func TestKilledRun(t *testing.T) {
	pidFile := filepath.Join(t.TempDir(), "pids")
	f := newFixture(t, map[string]string{"child": "child " + pidFile})
	run := exec.Command("/proc/self/exe", asRun, f.in, f.out)
	run.Stderr = os.Stderr
	require.NoError(t, run.Start())
	worker, child := pids(t, pidFile)

	_, err := f.gradeContext(t.Context())
	require.ErrorContains(t, err, "another run is writing to "+f.out)

	require.NoError(t, run.Process.Signal(syscall.SIGKILL))
	_ = run.Wait()
	requireDead(t, worker, child)
	left, err := filepath.Glob(filepath.Join(f.tmp, scratchName+"*"))
	require.NoError(t, err)
	require.Len(t, left, 1)

	f.hand("child", "points 1")
	assert.Equal(t, "1 submission: 1 graded", f.grade().String())
	f.clean()
}

// Each worker waits for all the others.
func TestJobsRunSideBySide(t *testing.T) {
	does := "meet 4 " + t.TempDir()
	f := newFixture(t, map[string]string{"a": does, "b": does, "c": does, "d": does})
	f.opts.Jobs = 4
	assert.Zero(t, f.grade().Failed())
}

// No more than Jobs are under way.
func TestJobsAreLimited(t *testing.T) {
	defer func(g time.Duration) { grace = g }(grace)
	grace = time.Second
	does := "meet 2 " + t.TempDir()
	f := newFixture(t, map[string]string{"a": does, "b": does})
	f.opts.Jobs, f.opts.Deadline = 1, time.Second
	assert.Equal(t, 1, f.grade().Failed(), "the first waited in vain, the second found its trace")
}

func TestForeignDirectoryIsNotReplaced(t *testing.T) {
	f := newFixture(t, map[string]string{"ada": "points 2"})
	precious := filepath.Join(f.out, "ada", "thesis.tex")
	require.NoError(t, os.MkdirAll(filepath.Dir(precious), 0o755))
	require.NoError(t, os.WriteFile(precious, nil, 0o644))
	_, err := f.gradeContext(t.Context())
	require.ErrorContains(t, err, "is no report of virtlab's")
	assert.FileExists(t, precious)
}

func TestOutThatCannotBeWritten(t *testing.T) {
	f := newFixture(t, map[string]string{"ada": "points 2"})
	require.NoError(t, os.WriteFile(f.out, nil, 0o644))
	_, err := f.gradeContext(t.Context())
	assert.ErrorContains(t, err, "cannot write to -o")
	f.clean()
}

func TestShards(t *testing.T) {
	f := newFixture(t, nil)
	names := map[string]bool{}
	for _, n := range []string{"ada", "bob", "eve", "ken", "liu", "mia", "zoe"} {
		f.hand(n, "points 1")
		names[n] = true
	}
	for i := 1; i <= 3; i++ {
		f.opts.Shard = Shard{i, 3}
		for _, e := range f.grade().Endings {
			assert.True(t, names[e.Name], "%s was in two shards", e.Name)
			delete(names, e.Name)
		}
	}
	assert.Empty(t, names)
	assert.NoFileExists(t, filepath.Join(f.out, result.GradesFile))
	m, err := Merge(MergeOptions{Out: f.out, Expect: []string{"ada", "tom"}})
	require.NoError(t, err)
	assert.Len(t, m.Reports, 7)
	assert.Equal(t, []string{"tom"}, m.Missing)
	assert.FileExists(t, filepath.Join(f.out, result.GradesFile))
}

// Shards that begin at a time on one directory draw one seed.
func TestShardsAtATime(t *testing.T) {
	f := newFixture(t, nil)
	for _, n := range []string{"ada", "bob", "eve", "ken", "liu", "mia", "zoe"} {
		f.hand(n, "points 1\nsleep 100ms")
	}
	handins, err := fakeFind(f.in)
	require.NoError(t, err)
	errs := make(chan error)
	for i := 1; i <= 4; i++ {
		go func() {
			opts := f.opts
			opts.Shard, opts.Progress = Shard{i, 4}, Lines(io.Discard)
			_, err := Grade(t.Context(), handins, opts)
			errs <- err
		}()
	}
	for range 4 {
		require.NoError(t, <-errs)
	}
	reports, err := Reports(f.out)
	require.NoError(t, err)
	require.Len(t, reports, 7)
	for _, r := range reports {
		assert.Equal(t, reports[0].Seed, r.Seed)
	}
	f.clean()
}
