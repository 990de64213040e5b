// Package gradetest makes tests of gradings: of what a student hands in, and of
// the wrong and hostile submissions that hold the checks to account.
package gradetest

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"virtlab/harness"
	"virtlab/harness/corpus"
	"virtlab/harness/grade"
	"virtlab/harness/result"
	"virtlab/harness/sandbox"
	"virtlab/harness/submission"
)

// Submission grades a lab of what -submission names, or of the reference
// submission: each check is a subtest, and says what a good reviewer would.
func Submission(t *testing.T, lab result.Lab) {
	t.Helper()
	path := harness.SubmissionPath()
	if path == "" {
		NeedSandbox(t)
		path = t.TempDir()
		require.NoError(t, corpus.Reference(path))
	} else if err := sandbox.Available(); err != nil && !sandbox.Unsandboxed {
		t.Fatalf("not graded: %v\n  on a machine of your own: -unsandboxed (make labs UNSANDBOXED=1)", err)
	}
	for _, v := range gradePath(t, lab, path).Verdicts {
		t.Run(strings.TrimPrefix(v.ID, string(lab)+"."), func(t *testing.T) { report(t, v) })
	}
}

// NeedSandbox skips a test of the house where nothing can be graded.
func NeedSandbox(t *testing.T) {
	t.Helper()
	if err := sandbox.Available(); err != nil && !sandbox.Unsandboxed {
		t.Skipf("not graded: %v", err)
	}
}

// report turns a verdict into the end of a test.
func report(t *testing.T, v result.Verdict) {
	t.Helper()
	t.Attr("check", v.ID)
	for _, w := range v.Warnings {
		t.Logf("warning: %s", w)
	}
	switch v.Outcome {
	case result.Pass:
		t.Log(v.Message)
	case result.NotGraded:
		t.Skipf("not graded: %s", v.Message)
	case result.Fail:
		t.Errorf("%s: %s\nThe task: %s", v.Title, v.Message, v.Page)
	default:
		t.Attr("outcome", "error")
		t.Errorf("%s: grading itself failed: %s", v.Title, v.Message)
	}
}

// Mutants grades the wrong and hostile submissions of a lab: each must fail
// for the stated reason and in nothing else. The reference is graded between
// them, and must not notice.
func Mutants(t *testing.T, lab result.Lab) {
	t.Helper()
	NeedSandbox(t)
	cases, err := corpus.Load(lab)
	require.NoError(t, err)
	dir := t.TempDir()
	require.NoError(t, corpus.Reference(dir))
	reference := gradePath(t, lab, dir)
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			require.NoError(t, c.Write(dir))
			require.NoError(t, c.Judge(gradePath(t, lab, dir), reference), "%s", c.What)
		})
	}
	t.Run("reference meanwhile", func(t *testing.T) {
		t.Parallel()
		require.NoError(t, corpus.Case{}.Judge(gradePath(t, lab, dir), reference))
	})
}

// gradePath grades one lab of the one submission at path.
func gradePath(t *testing.T, lab result.Lab, path string) *result.Report {
	t.Helper()
	file, err := harness.Fixture("rubric.toml")
	require.NoError(t, err)
	rubric, err := result.LoadRubric(file, grade.Checks())
	require.NoError(t, err)
	handins, err := submission.Find(path)
	require.NoError(t, err)
	require.Len(t, handins, 1, "%s holds more than one submission: grade a class with virtlab grade", path)
	sub, err := submission.Open(t.Context(), handins[0], filepath.Join(t.TempDir(), "submission"), submission.Limits{})
	require.NoError(t, err)
	return grade.Grade(t.Context(), sub, grade.Options{Rubric: rubric, Dir: t.ArtifactDir(), Labs: []result.Lab{lab}, Source: path})
}
