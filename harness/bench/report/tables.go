package report

import (
	"fmt"
	"slices"
	"strings"

	"virtlab/harness/bench"
	"virtlab/harness/bench/stat"
)

// columns are the contenders of a machine as a table's columns. A number that
// carries a label is marked in the head, and the label stands below.
func (v view) columns(machine string) []string {
	var names []string
	for _, c := range v.on(machine) {
		name := c.VMM
		if c.Label != "" {
			name += " †"
		}
		names = append(names, name)
	}
	return names
}

// notes are what must be read with a part's tables: the label, what the numbers
// in brackets are, and why something is not measured.
func (v view) notes(machine string, part bench.Part) (notes []string) {
	if label := v.label(machine); label != "" && len(v.measured(machine, part)) > 0 {
		notes = append(notes, "† "+label+".")
	}
	for _, c := range v.on(machine) {
		if why := v.Missing(c, part); why != "" {
			notes = append(notes, fmt.Sprintf("%s: not measured: %s", c.VMM, why))
		}
	}
	return append(notes, v.refused(machine, part)...)
}

// refused are the runs that measured nothing, for contenders that have others.
func (v view) refused(machine string, part bench.Part) (notes []string) {
	for _, c := range v.measured(machine, part) {
		for _, r := range v.Refused(c, part) {
			notes = append(notes, fmt.Sprintf("%s, run %d refused: %s", c.VMM, r.Run.Index, r.Fault))
		}
	}
	for _, r := range v.Results {
		if r.Run.On == machine && r.Run.Part == part && r.Run.Block >= 0 {
			for _, cell := range v.Plan.Cells(part) {
				if why, is := r.Refused[cell]; is {
					notes = append(notes, fmt.Sprintf("%s, run %d, %s refused: %s", r.Run.VMM, r.Run.Index, cell, why))
				}
			}
		}
	}
	return notes
}

// byMetric is a table of a part without cells: a row for each metric that
// somebody has values of, a column for each contender.
func (v view) byMetric(machine, title string, part bench.Part, keep func(bench.Metric) bool) *table {
	t := &table{Title: v.titled(title, machine), Head: append([]string{"", "unit"}, v.columns(machine)...), Numbers: len(v.on(machine))}
	for _, m := range bench.MetricsOf(part) {
		top := v.largest(machine, part, m.Unit, "")
		if !keep(m) || top == 0 && !v.anyValue(machine, part, m.Unit, "") {
			continue
		}
		u := unitOf(m.Unit, top)
		t.add(append([]string{m.Name, u.Name}, v.row(machine, part, "", m.Unit, u)...)...)
	}
	t.Notes = append(v.counts(machine, part, ""), v.notes(machine, part)...)
	return t
}

// row has a contender's estimate in each column.
func (v view) row(machine string, part bench.Part, cell, metric string, u unit) (cells []string) {
	for _, c := range v.on(machine) {
		e := estimateOf(v.points(c, part, cell, metric), u.Factor)
		if e.N == 0 {
			cells = append(cells, "not measured")
			continue
		}
		cells = append(cells, e.String())
	}
	return cells
}

func (v view) anyValue(machine string, part bench.Part, metric string, cells ...string) bool {
	return slices.ContainsFunc(v.on(machine), func(c bench.Contender) bool {
		return slices.ContainsFunc(cells, func(cell string) bool { return len(v.points(c, part, cell, metric)) > 0 })
	})
}

// counts says how many values stand behind the numbers of a part.
func (v view) counts(machine string, part bench.Part, metric string) []string {
	least, most := 0, 0
	for _, c := range v.measured(machine, part) {
		for _, cell := range v.Plan.Cells(part) {
			for _, m := range bench.MetricsOf(part) {
				n := len(v.points(c, part, cell, m.Unit))
				if n == 0 || metric != "" && m.Unit != metric {
					continue
				}
				if least == 0 || n < least {
					least = n
				}
				most = max(most, n)
			}
		}
	}
	switch {
	case most == 0:
		return nil
	case least == most:
		return []string{fmt.Sprintf("n = %d. %s", most, brackets(least, most))}
	}
	return []string{fmt.Sprintf("n from %d to %d. %s", least, most, brackets(least, most))}
}

// brackets explains the brackets that estimates have, by the number of values.
func brackets(least, most int) string {
	switch {
	case most == 1:
		return "Single values."
	case least >= 6:
		return "Medians with their 95 % intervals."
	case most < 6:
		return "Medians; in brackets the smallest and the largest value, as an interval needs 6."
	}
	return "Medians; in round brackets their 95 % intervals, in square ones the smallest and the largest value where there are fewer than 6."
}

// byCell is a table of a metric of a matrix: a row for each cell, a column for
// each contender; nil where nobody has values.
func (v view) byCell(machine string, m bench.Metric) *table {
	cells := slices.DeleteFunc(v.Plan.Cells(m.Part), func(cell string) bool { return cell == "" })
	if !v.anyValue(machine, m.Part, m.Unit, cells...) {
		return nil
	}
	u := unitOf(m.Unit, v.largest(machine, m.Part, m.Unit, cells...))
	head, split := cellColumns(cells)
	t := &table{Head: append(head, v.columns(machine)...), Numbers: len(v.on(machine)), Folded: !m.Verdict}
	t.Title = v.titled(fmt.Sprintf("%s: %s", partTitle[m.Part], inUnit(m, u)), machine)
	for _, cell := range cells {
		t.add(append(split(cell), v.row(machine, m.Part, cell, m.Unit, u)...)...)
	}
	t.Notes = v.counts(machine, m.Part, m.Unit)
	if !t.Folded {
		t.Notes = append(t.Notes, v.notes(machine, m.Part)...)
	}
	return t
}

// cellColumns are the columns that tell cells apart: one for each field, or a
// single one where the cells have different fields.
func cellColumns(cells []string) (head []string, split func(string) []string) {
	for _, f := range fields(cells[0]) {
		head = append(head, f.Key)
	}
	for _, cell := range cells {
		if !slices.EqualFunc(head, fields(cell), func(key string, f field) bool { return key == f.Key }) {
			return []string{"cell"}, func(cell string) []string { return []string{strings.ReplaceAll(cell, "/", " ")} }
		}
	}
	return head, func(cell string) (values []string) {
		for _, f := range fields(cell) {
			values = append(values, f.Value)
		}
		return values
	}
}

// partTitle names the parts in titles.
var partTitle = map[bench.Part]string{
	bench.Boot: "Boot", bench.Debian: "Debian", bench.CPU: "sysbench cpu", bench.RAM: "sysbench memory",
	bench.FileIO: "sysbench fileio", bench.Instructions: "Instructions under TCG",
}

// inUnit is a metric's name with its unit, unless one says it all.
func inUnit(m bench.Metric, u unit) string {
	switch {
	case u.Name == "" || u.Factor == 1 && strings.HasSuffix(m.Unit, "/op"):
		return m.Name
	case strings.HasPrefix(u.Name, m.Name):
		return u.Name
	}
	return m.Name + ", " + u.Name
}

// subject is what a question is about: "exec to init", "cpu, 4 threads",
// "fileio, 32 threads 128k rndrd". A matrix has one metric for verdicts.
func subject(q stat.Question) string {
	switch {
	case q.Metric.Part == bench.Boot:
		return q.Metric.Name
	case q.Cell == "":
		return partTitle[q.Metric.Part] + ": " + q.Metric.Name
	}
	var words []string
	for _, f := range fields(q.Cell) {
		if f.Key == "threads" {
			f.Value = plural(f.Value, "thread")
		}
		words = append(words, f.Value)
	}
	return string(q.Metric.Part) + ", " + strings.Join(words, " ")
}

// memory tells whether a metric is one of the VMM's memory.
func memory(m bench.Metric) bool { return strings.HasSuffix(m.Unit, "-B") }

func boot(m bench.Metric) bool { return !memory(m) }
