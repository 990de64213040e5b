package stat

import (
	"math"
	"slices"

	"virtlab/harness/bench"
)

// Pair is what is said of two VMMs on one machine.
type Pair struct {
	On, A, B string
	// Label is what each number of the pair carries (bench.Nested), or nothing.
	Label    string
	Verdicts []Verdict
}

// Pairs compares every two measured contenders of a machine by the metrics that
// verdicts are made by. Each pair is a family.
func Pairs(d *bench.Data) (pairs []Pair) {
	for i, a := range d.Plan.Contenders {
		for _, b := range d.Plan.Contenders[i+1:] {
			if a.On == b.On && a.Missing == "" && b.Missing == "" {
				pairs = append(pairs, judgePair(d, a, b))
			}
		}
	}
	return pairs
}

func judgePair(d *bench.Data, a, b bench.Contender) Pair {
	return Pair{a.On, a.VMM, b.VMM, a.Label, Judge(family(d, a.On, side{vmm: a.VMM}, side{vmm: b.VMM}))}
}

// AA compares the VMMs that were measured twice with themselves: what it shows
// is noise. Of a matrix only some cells are measured twice. The second side's name is the first's with " again".
func AA(d *bench.Data) (pairs []Pair) {
	for _, c := range d.Plan.Contenders {
		if twin := twinParts(d, c); len(twin) > 0 {
			cases := family(d, c.On, side{vmm: c.VMM}, side{vmm: c.VMM, twin: true})
			cases = slices.DeleteFunc(cases, func(q Case) bool { return !slices.Contains(twin, q.Metric.Part) || q.B.N == 0 })
			pairs = append(pairs, Pair{c.On, c.VMM, c.VMM + " again", c.Label, Judge(cases)})
		}
	}
	return pairs
}

// twinParts are the parts in which a contender is measured twice.
func twinParts(d *bench.Data, c bench.Contender) []bench.Part {
	return slices.DeleteFunc(d.Plan.Parts(), func(p bench.Part) bool { return d.Twin(c.On, p) != c.VMM })
}

// side is one of the two that are compared.
type side struct {
	vmm  string
	twin bool
}

func (s side) name() string {
	if s.twin {
		return s.vmm + " again"
	}
	return s.vmm
}

// family asks every question about two sides that has a number on one of them.
func family(d *bench.Data, on string, a, b side) (cases []Case) {
	for _, part := range d.Plan.Parts() {
		for _, cell := range d.Plan.Cells(part) {
			for _, m := range bench.MetricsOf(part) {
				c := ask(d, Question{on, a.name(), b.name(), cell, m}, a, b)
				if m.Verdict && c.A.N+c.B.N > 0 {
					cases = append(cases, c)
				}
			}
		}
	}
	return cases
}

func ask(d *bench.Data, q Question, a, b side) Case {
	samples := func(s side) []bench.Point {
		return d.Samples(s.vmm, q.On, q.Metric.Part, q.Cell, q.Metric.Unit, s.twin)
	}
	c := Case{Question: q, Comparison: Compare(samples(a), samples(b)), Floor: math.NaN()}
	if twin := d.Twin(q.On, q.Metric.Part); !b.twin && twin != "" {
		c.Floor = Compare(samples(side{vmm: twin}), samples(side{vmm: twin, twin: true})).floor()
	}
	return c
}
