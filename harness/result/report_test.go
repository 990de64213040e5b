package result_test

import (
	"bytes"
	"encoding/csv"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/result"
)

func TestSumRounds(t *testing.T) {
	r := &result.Report{Verdicts: []result.Verdict{{Points: 0.1}, {Points: 0.2}, {Points: 10.0 / 3}}}
	r.Sum()
	assert.Equal(t, 3.63, r.Score)
	assert.Equal(t, 3.33, r.Verdicts[2].Points)
}

func TestPoints(t *testing.T) {
	for p, want := range map[float64]string{0.1 + 0.2: "0.3", 10: "10", 2.5: "2.5", 10.0 / 3: "3.33", 0: "0"} {
		assert.Equal(t, want, result.Points(p))
	}
}

func TestCounts(t *testing.T) {
	assert.Equal(t, result.Counts{Pass: 4, Fail: 1, NotGraded: 2, Broken: 1, ByHand: 1, Warnings: 1}, sample().Counts())
}

func TestByLab(t *testing.T) {
	r := sample()
	r.Verdicts = append(r.Verdicts[3:], r.Verdicts[:3]...) // as if the labs had been graded in another order
	var got []result.Lab
	for _, s := range r.ByLab() {
		got = append(got, s.Lab)
	}
	assert.Equal(t, result.Labs, got)
	cpu := r.ByLab()[0]
	assert.Equal(t, 7.0, cpu.Points)
	assert.Equal(t, 17.0, cpu.Max)
	assert.Len(t, cpu.Verdicts, 3)
	assert.False(t, cpu.Broken())
	assert.True(t, r.ByLab()[2].Broken())
}

func TestFailed(t *testing.T) {
	r := graded()
	assert.False(t, r.Failed())
	assert.Equal(t, "10.3 of 30.3 points, 10 more by hand", r.Summary())
	r.Error = "no bubblewrap"
	assert.True(t, r.Failed())
	assert.Contains(t, r.Summary(), "has to be repeated")
	assert.True(t, sample().Failed(), "an error of one check is enough")
}

// What fails without points to lose shows wherever the score does.
func TestUnpriced(t *testing.T) {
	r := graded()
	assert.Empty(t, r.Unpriced(), "not graded is no failure, and cpu.transform shows in the score")
	i := slices.IndexFunc(r.Verdicts, func(v result.Verdict) bool { return v.ID == "mem.module" })
	r.Verdicts[i].Outcome = result.Fail
	assert.Equal(t, []string{"mem.module"}, r.Unpriced())
	assert.Contains(t, r.Summary(), "; failed without points to lose: mem.module")

	class := []*result.Report{r}
	page, err := result.IndexHTML(class)
	require.NoError(t, err)
	assert.Contains(t, string(page), "<td>graded<br>fails <code>mem.module</code></td>")
	table, err := result.GradesCSV(class)
	require.NoError(t, err)
	rows, err := csv.NewReader(bytes.NewReader(table)).ReadAll()
	require.NoError(t, err)
	assert.Equal(t, "fail", rows[1][slices.Index(rows[0], "mem.module")])
}

// graded is the sample without what failed of the grader.
func graded() *result.Report {
	r := sample()
	for i := range r.Verdicts {
		if r.Verdicts[i].Outcome == result.Broken {
			r.Verdicts[i].Outcome = result.Fail
		}
	}
	return r
}

func TestValid(t *testing.T) {
	require.NoError(t, sample().Valid())
	require.NoError(t, (&result.Report{Schema: result.ReportSchema, Error: "the zip is cut"}).Valid())
	for name, c := range map[string]struct {
		change func(*result.Report)
		want   string
	}{
		"another schema":       {func(r *result.Report) { r.Schema = "virtlab/outcome/v2" }, "virtlab/outcome/v2"},
		"no schema":            {func(r *result.Report) { r.Schema = "" }, "schema"},
		"no outcome":           {func(r *result.Report) { r.Verdicts[0].Outcome = "" }, `no outcome ""`},
		"a made-up outcome":    {func(r *result.Report) { r.Verdicts[0].Outcome = "PASS" }, `no outcome "PASS"`},
		"no check":             {func(r *result.Report) { r.Verdicts[0].ID = "" }, "no check"},
		"more than all points": {func(r *result.Report) { r.Verdicts[0].Points = 3; r.Sum() }, "3 of 2 points cannot be"},
		"below zero":           {func(r *result.Report) { r.Verdicts[0].Points = -1; r.Sum() }, "-1 of 2"},
		"no number":            {func(r *result.Report) { r.Verdicts[0].Points = math.NaN() }, "NaN"},
		"a fail with points":   {func(r *result.Report) { r.Verdicts[2].Points = 1; r.Sum() }, `ended in "fail"`},
		"counted twice":        {func(r *result.Report) { r.Verdicts = append(r.Verdicts, r.Verdicts[0]); r.Sum() }, "cpu.compiles is counted twice"},
		"a score of its own":   {func(r *result.Report) { r.Score = 100 }, "the checks come to 10.3 points, the score is 100"},
		"infinite maximum":     {func(r *result.Report) { r.Max = math.Inf(1) }, "no number of points"},
	} {
		t.Run(name, func(t *testing.T) {
			r := sample()
			c.change(r)
			require.ErrorContains(t, r.Valid(), c.want)
			assert.Error(t, result.WriteAll(t.TempDir(), r), "such a report is not written")
		})
	}
}
