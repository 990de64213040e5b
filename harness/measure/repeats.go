package measure

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// courseRepeats are the repeats that the course asks for: minRepeats are checked
// everywhere, more of boots and of footprints are a matter of advice.
var courseRepeats = map[Test]int{Boot: 3, Footprint: 10, CPU: minRepeats, Memory: minRepeats, FileIO: minRepeats}

const (
	minRepeats = 2

	// Two runs differ in the last of four or more digits. copiedDigits that agree
	// in copiedCells cells, and in a third of all, are one run.
	copiedDigits = 5
	copiedCells  = 5
	copiedShare  = 3

	// comparedRepeats are looked at for copies.
	comparedRepeats = 12
)

// Repeats tells which cells were measured once only, and which runs are copies
// of others.
func (t *Table) Repeats() (found []Finding) {
	sides := t.Compared()
	for _, s := range sides {
		found = append(found, s.once()...)
	}
	return append(found, copies(sides)...)
}

// once lists the cells with too few repeats, a finding for each test.
func (s *Side) once() (found []Finding) {
	repeats := map[Cell]int{}
	for _, r := range s.Rows {
		if r.measures() {
			repeats[courseCell(r.Cell)]++
		}
	}
	once := map[Test][]string{}
	for _, c := range slices.SortedFunc(maps.Keys(repeats), compareCells) {
		if repeats[c] < minRepeats {
			once[c.Test] = append(once[c.Test], c.short())
		}
	}
	for _, test := range Tests {
		row := fmt.Sprintf("%s on %s", test, s.Name)
		n := repeats[Cell{Test: test}]
		switch {
		case len(once[test]) > 0:
			found = append(found, Finding{Severity: Wrong, Row: row, Expected: fmt.Sprintf("at least %d repeats", minRepeats), Got: "1",
				Text: "measured once only" + list(once[test]) + ": a single run cannot tell a difference from noise; repeat it"})
		case n > 0 && n < courseRepeats[test]:
			found = append(found, Finding{Severity: Advice, Row: row, Text: fmt.Sprintf("%d repeats, the course asks for %d", n, courseRepeats[test])})
		}
	}
	return found
}

// list names some settings in brackets and counts the rest; a test of one cell
// has none.
func list(settings []string) string {
	const most = 6
	named := strings.Join(settings[:min(most, len(settings))], ", ")
	switch {
	case named == "":
		return ""
	case len(settings) > most:
		named += fmt.Sprintf(" and %d more", len(settings)-most)
	}
	return " (" + named + ")"
}

// run is what one repeat of a side gave: the digits of each cell.
type run struct {
	side   *Side
	repeat int
	digits map[Cell]Value
}

// copies finds runs whose digits agree where those of two runs cannot.
func copies(sides []*Side) (found []Finding) {
	var all []run
	for _, s := range sides {
		all = append(all, s.runs()...)
	}
	for i, a := range all {
		for _, b := range all[i+1:] {
			if f, is := copied(a, b); is {
				found = append(found, f)
			}
		}
	}
	return found
}

// runs are the side's first repeats.
func (s *Side) runs() []run {
	var all []run
	for n := 1; n <= comparedRepeats; n++ {
		r := run{side: s, repeat: n, digits: map[Cell]Value{}}
		for _, row := range s.Rows {
			if v, ok := row.noisy(); ok && row.Repeat == n {
				r.digits[row.Cell] = v
			}
		}
		if len(r.digits) > 0 {
			all = append(all, r)
		}
	}
	return all
}

// noisy is the row's number that no two runs have in common: the one with the
// most digits. Sizes of a process do repeat.
func (r *Row) noisy() (best Value, ok bool) {
	for _, m := range []Metric{Rate, Throughput, BootTime} {
		if v, has := r.Values[m]; has && significant(v.Text) >= copiedDigits && significant(v.Text) > significant(best.Text) {
			best, ok = v, true
		}
	}
	return best, ok
}

// copied tells whether two runs are one.
func copied(a, b run) (f Finding, is bool) {
	same, both := 0, 0
	var first Cell
	for _, c := range slices.SortedFunc(maps.Keys(a.digits), compareCells) {
		vb, ok := b.digits[c]
		if !ok {
			continue
		}
		both++
		if va := a.digits[c]; va.Text == vb.Text && va.Unit.name == vb.Unit.name {
			if same == 0 {
				first = c
			}
			same++
		}
	}
	if same < copiedCells || same*copiedShare < both {
		return f, false
	}
	what := fmt.Sprintf("repeats %d and %d of %s", a.repeat, b.repeat, a.side.Name)
	if a.side != b.side {
		what = fmt.Sprintf("repeat %d of %s and repeat %d of %s", a.repeat, a.side.Name, b.repeat, b.side.Name)
	}
	v := a.digits[first]
	return Finding{Severity: Wrong, Pos: b.digits[first].Pos, Row: what, Expected: "two runs differ in their last digits", Got: fmt.Sprintf("%d of %d cells agree to the last digit", same, both),
		Text: fmt.Sprintf("%d of %d cells agree to the last digit (%s: %s both times): two runs never do; these numbers were copied, measure again", same, both, first, v)}, true
}
