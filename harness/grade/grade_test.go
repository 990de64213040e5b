package grade

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/result"
	"virtlab/harness/submission"
)

const fixtures = "../../fixtures/"

// handIn takes in a folder with copies of the fixtures, by their names in it.
func handIn(t *testing.T, files map[string]string) *submission.Submission {
	t.Helper()
	dir := t.TempDir()
	for name, fixture := range files {
		text, err := os.ReadFile(fixtures + fixture)
		require.NoError(t, err)
		require.NoError(t, os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), text, 0o644))
	}
	found, err := submission.Find(dir)
	require.NoError(t, err)
	require.Len(t, found, 1)
	sub, err := submission.Open(t.Context(), found[0], filepath.Join(t.TempDir(), "in"), submission.Limits{})
	require.NoError(t, err)
	return sub
}

func gradeMem(t *testing.T, ctx context.Context, sub *submission.Submission) *result.Report {
	t.Helper()
	return gradeLab(t, ctx, sub, result.Memory, t.TempDir())
}

func gradeLab(t *testing.T, ctx context.Context, sub *submission.Submission, lab result.Lab, dir string) *result.Report {
	t.Helper()
	rubric, err := result.LoadRubric(fixtures+"rubric.toml", Checks())
	require.NoError(t, err)
	return Grade(ctx, sub, Options{Rubric: rubric, Dir: dir, Labs: []result.Lab{lab}, Source: sub.Source})
}

// Where two answers are handed in the better one counts, and both are shown.
func TestTwoAnswers(t *testing.T) {
	r := gradeMem(t, t.Context(), handIn(t, map[string]string{
		"old/gpt-dump.txt": "mutants/mem/gpt-pmd.txt", "old/ept-dump.txt": "submission/ept-dump.txt",
		"final/gpt-dump.txt": "submission/gpt-dump.txt", "final/ept-dump.txt": "submission/ept-dump.txt",
	}))
	require.Len(t, r.Notes, 1)
	assert.Contains(t, r.Notes[0], "and final counts")
	assert.Contains(t, r.Notes[0], "old: 17 points")
	guestLog := r.Verdicts[0]
	assert.Equal(t, result.Pass, guestLog.Outcome)
	require.NotEmpty(t, guestLog.Warnings)
	assert.Contains(t, guestLog.Warnings[len(guestLog.Warnings)-1], "with old: fail, 0 of 8 points: old/gpt-dump.txt")
	assert.InDelta(t, 25, r.Score, 0)
	require.NoError(t, r.Valid())
}

// What was under way when grading was ended is nobody's fail.
func TestEndedEarly(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the time is up"))
	r := gradeMem(t, ctx, handIn(t, map[string]string{"gpt-dump.txt": "mutants/mem/gpt-pmd.txt"}))
	for _, v := range r.Verdicts {
		assert.Equal(t, result.Broken, v.Outcome, v.ID)
		assert.Contains(t, v.Message, "the time is up")
	}
	assert.True(t, r.Failed())
}

// The report is kept for who has to read it, and costs and gives nothing here.
func TestReportIsKept(t *testing.T) {
	dir := t.TempDir()
	r := gradeLab(t, t.Context(), handIn(t, map[string]string{
		"gpt-dump.txt": "submission/gpt-dump.txt", "docs/report.md": "submission/report.md"}), result.ByHand, dir)
	require.Len(t, r.Verdicts, 1)
	v := r.Verdicts[0]
	assert.Equal(t, result.NotGraded, v.Outcome)
	assert.Contains(t, v.Message, "by hand: docs/report.md")
	assert.Zero(t, r.Max)
	assert.InDelta(t, 10, r.Hand, 0)
	require.Equal(t, []string{"evidence/report/read/docs/report.md"}, v.Evidence)
	want, err := os.ReadFile(fixtures + "submission/report.md")
	require.NoError(t, err)
	kept, err := os.ReadFile(filepath.Join(dir, v.Evidence[0]))
	require.NoError(t, err)
	assert.Equal(t, want, kept)

	r = gradeLab(t, t.Context(), handIn(t, map[string]string{"gpt-dump.txt": "submission/gpt-dump.txt"}), result.ByHand, t.TempDir())
	assert.Equal(t, "there is no report among the files", r.Verdicts[0].Message)
}
