package report

import (
	"encoding/csv"
	"io"
	"strconv"

	"virtlab/harness/bench"
)

// CSV writes each measured number on a line of its own, and a line for whatever
// was not measured, with the reason in the last column. Values are in the units
// of the metric's name.
func CSV(w io.Writer, d *bench.Data) error {
	out := csv.NewWriter(w)
	lines := [][]string{{"run", "block", "part", "vmm", "on", "side", "cell", "metric", "value", "label", "not measured"}}
	labels := map[[2]string]string{}
	for _, c := range d.Plan.Contenders {
		labels[[2]string{c.VMM, c.On}] = c.Label
	}
	for _, r := range d.Results {
		lines = append(lines, resultLines(r, labels[[2]string{r.Run.VMM, r.Run.On}])...)
	}
	lines = append(lines, missingLines(d)...)
	return out.WriteAll(lines) // flushes
}

// resultLines are the lines of a run; a warm-up has none.
func resultLines(r bench.Result, label string) (lines [][]string) {
	if r.Run.Block < 0 {
		return nil
	}
	side := ""
	if r.Run.Twin {
		side = "twin"
	}
	line := func(cell, metric, value, why string) {
		lines = append(lines, []string{
			strconv.Itoa(r.Run.Index), strconv.Itoa(r.Run.Block), string(r.Run.Part), r.Run.VMM, r.Run.On, side,
			cell, metric, value, label, oneLine(why),
		})
	}
	if r.Fault != "" {
		line("", "", "", r.Fault)
		return lines
	}
	for _, s := range r.Samples {
		line(s.Cell, s.Metric, strconv.FormatFloat(s.Value, 'g', -1, 64), "")
	}
	for _, cell := range r.Run.Cells {
		if why, is := r.Refused[cell]; is {
			line(cell, "", "", why)
		}
	}
	return lines
}

// missingLines are the contenders without a number in a part.
func missingLines(d *bench.Data) (lines [][]string) {
	for _, c := range d.Plan.Contenders {
		for _, part := range d.Plan.Parts() {
			if why := d.Missing(c, part); why != "" {
				lines = append(lines, []string{"", "", string(part), c.VMM, c.On, "", "", "", "", c.Label, oneLine(why)})
			}
		}
	}
	return lines
}
