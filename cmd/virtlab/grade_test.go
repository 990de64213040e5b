package main

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/class"
	"virtlab/harness/grade"
	"virtlab/harness/result"
)

func TestWrongGradeArguments(t *testing.T) {
	for _, c := range []struct{ args, says string }{
		{"grade", "where to? give a directory with -o"},
		{"grade -o out", "which submissions?"},
		{"grade -o out -format pdf x", "-format pdf: there are autolab,"},
		{"grade -o out -labs cpu,gpu x", `there is no lab "gpu"; there are cpu, mem, io, bench, report`},
		{"grade -o out -shard 3/2 x", `-shard: "3/2": want I/N`},
		{"grade -o out -j -1 x", "-j and -deadline take numbers above 0"},
		{"grade -o out -deadline soon x", "invalid value"},
		{"merge", "where to?"},
	} {
		t.Run(c.args, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			assert.Equal(t, exitUsage, run(t.Context(), commands, strings.Fields(c.args), &stdout, &stderr))
			assert.Contains(t, stderr.String(), c.says)
			assert.Empty(t, stdout.String())
		})
	}
}

// What cannot work is refused before the directory of results is made.
func TestGradeRefuses(t *testing.T) {
	dir := t.TempDir()
	in := filepath.Join(dir, "class")
	require.NoError(t, os.Mkdir(in, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(in, "ada-20260001.zip"), nil, 0o644))
	empty := filepath.Join(dir, "empty")
	require.NoError(t, os.Mkdir(empty, 0o755))
	rubric := filepath.Join(dir, "rubric.toml")
	require.NoError(t, os.WriteFile(rubric, []byte("total = 3\n"), 0o644))
	out := filepath.Join(dir, "out")
	for _, c := range []struct {
		name string
		args []string
		says string
	}{
		{"a wrong rubric", []string{"-rubric", rubric, "-o", out, in}, "rubric.toml: title is missing"},
		{"no rubric", []string{"-rubric", "gone.toml", "-o", out, in}, "gone.toml: no such file"},
		{"no submissions", []string{"-o", out, empty}, "neither a submission nor a class"},
		{"a path that is not there", []string{"-o", out, filepath.Join(dir, "gone")}, "gone: no such file"},
		{"the output in the class", []string{"-o", filepath.Join(in, "out"), in}, "lie within each other"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var stdout, stderr bytes.Buffer
			assert.Equal(t, exitFailed, run(t.Context(), commands, append([]string{"grade"}, c.args...), &stdout, &stderr))
			assert.Contains(t, stderr.String(), c.says)
			assert.NoDirExists(t, out)
		})
	}
}

func TestWorkersAreNotInTheHelp(t *testing.T) {
	var stdout, stderr bytes.Buffer
	run(t.Context(), commands, []string{"help"}, &stdout, &stderr)
	assert.Contains(t, stdout.String(), "grade -o OUT PATH...")
	assert.NotContains(t, stdout.String(), gradeOne)
}

// A worker that is told nonsense says so and grades nothing.
func TestWorkerWithoutJob(t *testing.T) {
	err := class.Work(t.Context(), strings.NewReader("{"))
	assert.ErrorContains(t, err, "reading the job")
}

func TestStatusOfUnchanged(t *testing.T) {
	var stderr bytes.Buffer
	assert.Equal(t, class.StatusUnchanged, exitStatus(t.Context(), class.ErrUnchanged, &stderr))
	assert.Empty(t, stderr.String())
}

func TestParseLabs(t *testing.T) {
	labs, err := parseLabs("io,cpu,io")
	require.NoError(t, err)
	assert.Equal(t, []result.Lab{result.CPU, result.IO}, labs)
}

func TestDefaultRubricFitsTheChecks(t *testing.T) {
	var opts class.Options
	require.NoError(t, (&gradeFlags{}).readRubric(&opts))
	for _, c := range grade.Checks() {
		assert.GreaterOrEqual(t, opts.Rubric.Points(c.ID), 0.0)
	}
	assert.NotEmpty(t, opts.RubricText)
}

// sample is a run of three: one fine, one kept, one that has to be repeated.
func sample() *class.Class {
	report := func(name string, score float64) *result.Report {
		r := &result.Report{Schema: result.ReportSchema, Name: name, Student: name, Score: score, Max: score, Stages: []result.Stage{{Name: "boot L1", Seconds: 2}}}
		r.Verdicts = []result.Verdict{{Check: result.Check{ID: "cpu.text", Lab: result.CPU, Page: "docs/cpu.md"}, Outcome: result.Pass, Points: score, Max: score}}
		return r
	}
	broken := report("eve", 0)
	broken.Error = "the grader died\nin pieces"
	return &class.Class{Total: 4, Notes: []string{"a note"}, Endings: []class.Ending{
		{Name: "ada", Report: report("ada", 90), Took: 2 * time.Second}, {Name: "bob", Report: report("bob", 80), Kept: true},
		{Name: "eve\x1b[2J", Report: broken, Took: time.Second}, {Name: "zoe", Err: errors.New("no space left")},
	}}
}

func TestSummarize(t *testing.T) {
	var b bytes.Buffer
	summarize(&b, sample(), "out", class.Shard{})
	assert.Equal(t, `┌─────────┬─────────────┬─────────┬──────┬─────────┐
│ stage   │ submissions │ seconds │ mean │ longest │
├─────────┼─────────────┼─────────┼──────┼─────────┤
│ boot L1 │           2 │     4.0 │  2.0 │     2.0 │
└─────────┴─────────────┴─────────┴──────┴─────────┘
4 submissions: 1 graded, 1 kept from before, 2 whose grading failed
  eve␛[2J: the grader died
  zoe: no space left
a note
out/index.html, out/grades.csv
`, b.String())

	b.Reset()
	summarize(&b, sample(), "out", class.Shard{Index: 1, Count: 2})
	assert.Contains(t, b.String(), "When all shards are done: virtlab merge -o out\n")
	assert.NotContains(t, b.String(), "grades.csv")
}

// Autolab reads the last line of the standard output.
func TestAutolabIsTheLastLine(t *testing.T) {
	c := sample()
	c.Endings = c.Endings[:1]
	var b bytes.Buffer
	require.NoError(t, printReports(&b, c, "autolab"))
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	assert.Contains(t, lines[len(lines)-1], `{"scores":`)
	assert.NoError(t, failedAny(c))
	assert.EqualError(t, failedAny(sample()), "grading failed for 2 submissions; the same command grades them again")
}

func TestSummarizeMerge(t *testing.T) {
	var b bytes.Buffer
	broken := &result.Report{Name: "eve", Error: "the grader died"}
	err := summarizeMerge(&b, &class.Merged{Reports: []*result.Report{{Name: "ada"}, broken}, Missing: []string{"zoe"}, Notes: []string{"ada is in two"}}, "out")
	assert.EqualError(t, err, "1 submission without a report\ngrading failed for 1 submission")
	assert.Equal(t, "ada is in two\nmissing: zoe\ngrading failed: eve: the grader died\n2 reports: out/index.html, out/grades.csv\n", b.String())
	assert.NoError(t, summarizeMerge(&b, &class.Merged{}, "out"))
}
