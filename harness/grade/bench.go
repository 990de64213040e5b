package grade

import (
	"fmt"
	"math"
	"path/filepath"
	"strings"

	"virtlab/harness"
	"virtlab/harness/measure"
	"virtlab/harness/result"
	"virtlab/harness/submission"
)

// Experiment 4. A table of numbers proves nothing; what can be checked is that
// it is whole, that it does not contradict itself, and that the comparison that
// it states is a fair one.
var benchChecks = []result.Check{
	{ID: "bench.complete", Lab: result.Bench, Title: "the course's tables are complete", Page: "docs/measurements.md#complete"},
	{ID: "bench.identities", Lab: result.Bench, Title: "rates, latencies and sizes fit each other", Page: "docs/measurements.md#identities"},
	{ID: "bench.parity", Lab: result.Bench, Title: "both sides were measured alike", Page: "docs/measurements.md#parity"},
	{ID: "bench.data-set", Lab: result.Bench, Title: "the disk and memory in use were measured", Page: "docs/measurements.md#data-set"},
	{ID: "bench.repeats", Lab: result.Bench, Title: "measured more than once", Page: "docs/measurements.md#repeats"},
}

// bench makes the checks of experiment 4 on what was measured.
func (g *grading) bench() {
	table, err := g.measurements()
	if err != nil {
		g.settleAll(err, "bench.complete", "bench.identities", "bench.parity", "bench.data-set", "bench.repeats")
		return
	}
	g.measured("bench.complete", table, func(v *result.Verdict) ([]measure.Finding, error) {
		v.Message = fmt.Sprintf("%d cells each on %s", len(measure.Course()), sideNames(table))
		v.Warnings = append(v.Warnings, table.Notes...)
		return table.Complete(), nil
	})
	g.measured("bench.identities", table, func(v *result.Verdict) ([]measure.Finding, error) { return g.identities(table, v) })
	g.measured("bench.parity", table, func(v *result.Verdict) ([]measure.Finding, error) {
		if len(table.Compared()) < 2 {
			return nil, notGraded("there is no second VMM to compare (see bench.complete)")
		}
		v.Message = "nothing is stated about how the two were measured"
		if stated := table.States(); stated != "" {
			v.Message = "stated: " + stated
		}
		return table.Parity(), nil
	})
	g.measured("bench.data-set", table, func(v *result.Verdict) ([]measure.Finding, error) {
		if !table.Has(measure.FileIO) && !table.Has(measure.Footprint) {
			return nil, notGraded("there is neither a fileio nor a footprint row to look at (see bench.complete)")
		}
		v.Message = "the disk is no page cache, the footprint no address space"
		return table.DataSet(), nil
	})
	g.measured("bench.repeats", table, func(v *result.Verdict) ([]measure.Finding, error) {
		if len(table.Rows) == 0 {
			return nil, notGraded("no row could be read (see bench.complete)")
		}
		v.Message = "each cell was measured more than once, and no run is a copy of another"
		return table.Repeats(), nil
	})
}

// identities checks the numbers that belong together. Rows with only one of
// them cannot be checked, and cost their share of the points.
func (g *grading) identities(table *measure.Table, v *result.Verdict) ([]measure.Finding, error) {
	found, checked, of := table.Identities()
	if checked == 0 && len(found) == 0 {
		return nil, notGraded("no row has two numbers that belong together: give events/s and average latency (cpu), throughput and operations/s (memory), throughput and IOPS (fileio)")
	}
	v.Message = fmt.Sprintf("%d rows of sysbench, each with numbers of one run", checked)
	share(v, checked, of, "rows of sysbench have two numbers that belong together and could be checked")
	return found, nil
}

// share lowers the points to those of a part, and says so.
func share(v *result.Verdict, have, of int, what string) {
	if have >= of {
		return
	}
	v.Points = math.Round(v.Points*float64(have)/float64(of)*100) / 100
	v.Warnings = append(v.Warnings, fmt.Sprintf("only %d of %d %s: %g of %g points", have, of, what, v.Points, v.Max))
}

func sideNames(t *measure.Table) string {
	var names []string
	for _, s := range t.Compared() {
		names = append(names, s.Name)
	}
	return strings.Join(names, " and ")
}

// measured makes one check of the tables. What is implausible is no proof: the
// rubric says whether it costs points. What passes in a part of the tables is
// worth a part of the points, or the shortest table would be the safest.
func (g *grading) measured(id string, table *measure.Table, f func(v *result.Verdict) ([]measure.Finding, error)) {
	g.check(id, func(_ *harness.Lab, v *result.Verdict) error {
		found, err := f(v)
		if err != nil {
			return err
		}
		have, of := table.Coverage()
		share(v, have, of, "cells of the course are there to be looked at")
		var wrong []measure.Finding
		for _, f := range found {
			if f.Severity == measure.Wrong || f.Severity == measure.Implausible && g.opts.Rubric.Implausible == "fail" {
				wrong = append(wrong, f)
				continue
			}
			v.Warnings = append(v.Warnings, f.String())
		}
		if len(wrong) > 0 {
			return findings(wrong)
		}
		return nil
	})
}

// findings is what is wrong with the tables, as an error of the submission.
type findings []measure.Finding

// mostFindings stand in a message; a mistake in a spreadsheet repeats in each row.
const mostFindings = 8

func (f findings) Error() string {
	var lines []string
	for _, each := range f[:min(mostFindings, len(f))] {
		lines = append(lines, each.String())
	}
	if more := len(f) - len(lines); more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more", more))
	}
	return strings.Join(lines, "\n")
}

// Parts are those of the first finding that compares.
func (f findings) Parts() (expected, got, difference string) {
	for _, each := range f {
		if each.Expected != "" {
			return each.Expected, each.Got, each.String()
		}
	}
	return "", "", f[0].String()
}

// measurements reads all files of measurements that were handed in.
func (g *grading) measurements() (*measure.Table, error) {
	files := g.answer.Files[submission.Measurements]
	if len(files) == 0 {
		return nil, notGraded("there are no measurements among the files: hand in what \"make bench\" prints (bench.txt), or a CSV table (docs/measurements.md)")
	}
	var tables []*measure.Table
	for _, f := range files {
		text, err := submission.ReadText(filepath.Join(g.sub.Dir, filepath.FromSlash(f.Path)), measure.MaxBytes)
		if err != nil {
			return nil, err
		}
		tables = append(tables, measure.Read(f.Path, text))
	}
	return measure.Join(tables...), nil
}

var _ mismatch = findings(nil)
