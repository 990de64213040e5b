package measure

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// needed are the metrics of which a row has to have one to count as measured.
var needed = map[Test][]Metric{
	Boot: {BootTime}, Footprint: {RSS, Virtual, PSS, USS}, CPU: {Rate, Mean}, Memory: {Throughput, Rate}, FileIO: {Throughput, Rate, Mean},
}

// shownProblems are told in full; what could not be read is missing, and that
// is told as well.
const shownProblems = 5

// Complete tells what the course asks for and the table lacks, and what could
// not be read of it.
func (t *Table) Complete() []Finding {
	shown := min(shownProblems, len(t.Problems))
	found := slices.Clone(t.Problems[:shown])
	if more := len(t.Problems) - shown + t.dropped; more > 0 {
		found = append(found, Finding{Severity: Wrong, Text: fmt.Sprintf("%d more lines or cells could not be read", more)})
	}
	sides := t.Compared()
	switch len(sides) {
	case 0:
		if len(found) == 0 {
			found = append(found, Finding{Severity: Wrong, Text: "there is no measurement in it"})
		}
		return found
	case 1:
		found = append(found, Finding{Severity: Wrong, Text: fmt.Sprintf("all measurements are of %s: the course compares two VMMs; measure the other one and name it in the column \"vmm\"", sides[0].Name)})
	}
	for _, s := range sides {
		found = append(found, s.missing()...)
	}
	if rest := t.Sides()[len(sides):]; len(rest) > 0 {
		found = append(found, Finding{Severity: Advice, Text: fmt.Sprintf("compared are %s, which have the most cells, and not%s", strings.Join(names(sides), " and "), list(names(rest)))})
	}
	return append(found, shortRuns(sides)...)
}

// Coverage counts the course's cells that the two sides have, and those that
// they should have.
func (t *Table) Coverage() (have, of int) {
	course := Course()
	for _, s := range t.Compared() {
		for _, c := range course {
			if s.measured(c) {
				have++
			}
		}
	}
	return have, 2 * len(course)
}

// missing lists the cells that a side lacks, a finding for each test.
func (s *Side) missing() (found []Finding) {
	all := map[Test][]Cell{}
	lacks := map[Test][]string{}
	for _, c := range Course() {
		all[c.Test] = append(all[c.Test], c)
		if !s.measured(c) {
			lacks[c.Test] = append(lacks[c.Test], c.short())
		}
	}
	for _, test := range Tests {
		n, of := len(lacks[test]), len(all[test])
		if n == 0 {
			continue
		}
		text := fmt.Sprintf("missing: %s (%d of %d cells)", strings.Join(lacks[test], ", "), n, of)
		switch {
		case of == 1:
			text = "missing"
		case n == of:
			text = fmt.Sprintf("all %d cells are missing", of)
		}
		found = append(found, Finding{Severity: Wrong, Row: fmt.Sprintf("%s on %s", test, s.Name), Text: text})
	}
	return found
}

// short is the cell's setting without what the course fixes.
func (c Cell) short() string {
	if c.Test == Memory {
		return strings.TrimSpace(sizeText(c.Block) + " " + string(c.Access))
	}
	return c.setting()
}

func (s *Side) measured(c Cell) bool {
	return slices.ContainsFunc(s.Rows, func(r *Row) bool { return courseCell(r.Cell) == c && r.measures() })
}

// measures tells whether the row has a number that counts.
func (r *Row) measures() bool {
	return slices.ContainsFunc(needed[r.Cell.Test], func(m Metric) bool { _, ok := r.Values[m]; return ok })
}

// courseTime is how long the course wants each run of sysbench to take.
const courseTime = 10 * time.Second

// shortRuns tells of runs that state less than the course's time.
func shortRuns(sides []*Side) []Finding {
	for _, s := range sides {
		for _, r := range s.Rows {
			seconds, pos := r.seconds()
			if seconds > 0 && seconds < 0.9*courseTime.Seconds() && (r.Cell.Test == CPU || r.Cell.Test == Memory || r.Cell.Test == FileIO) {
				return []Finding{{Severity: Advice, Pos: pos, Text: fmt.Sprintf("runs of %.3g s: the course asks for at least %v each", seconds, courseTime)}}
			}
		}
	}
	return nil
}

// seconds is how long the run took as far as the row or the table says, else 0.
func (r *Row) seconds() (float64, Pos) {
	if v, ok := r.Values[Duration]; ok {
		return v.Value, v.Pos
	}
	if s, ok := r.Facts[RunTime]; ok {
		if n, _, name, err := point.parse(s.Text); err == nil {
			u, _ := parseUnit(firstOf(name, "s"), inTime)
			return n.Value * u.factor, s.Pos
		}
	}
	return 0, Pos{}
}
