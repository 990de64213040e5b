package report

import (
	"slices"
	"strings"

	"virtlab/harness/bench"
)

// view is a benchmark as the report looks at it: machine by machine, for a
// number from one says nothing about another.
type view struct{ *bench.Data }

// on are the contenders of a machine, in the order of the plan.
func (v view) on(machine string) []bench.Contender {
	return slices.DeleteFunc(slices.Clone(v.Plan.Contenders), func(c bench.Contender) bool { return c.On != machine })
}

// points are a contender's values.
func (v view) points(c bench.Contender, part bench.Part, cell, metric string) []bench.Point {
	return v.Samples(c.VMM, c.On, part, cell, metric, false)
}

// measured are the contenders of a machine that have values of a part.
func (v view) measured(machine string, part bench.Part) []bench.Contender {
	return slices.DeleteFunc(v.on(machine), func(c bench.Contender) bool { return v.Missing(c, part) != "" })
}

// mark is how a VMM looks: the same in every figure, on every machine.
func (v view) mark(vmm string) mark {
	var names []string
	for _, c := range v.Plan.Contenders {
		if !slices.Contains(names, c.VMM) {
			names = append(names, c.VMM)
		}
	}
	return markOf(slices.Index(names, vmm))
}

// label is what each number of a machine carries, or nothing.
func (v view) label(machine string) string {
	for _, c := range v.on(machine) {
		if c.Label != "" {
			return c.Label
		}
	}
	return ""
}

// titled is a title with the machine and its label.
func (v view) titled(title, machine string) string {
	title += ", on " + machine
	if label := v.label(machine); label != "" {
		title += " (" + label + ")"
	}
	return title
}

// largest is the largest median of a metric on a machine, over the cells.
func (v view) largest(machine string, part bench.Part, metric string, cells ...string) (top float64) {
	for _, c := range v.on(machine) {
		for _, cell := range cells {
			top = max(top, estimateOf(v.points(c, part, cell, metric), 1).Mid)
		}
	}
	return top
}

// field is a part of a cell's name: "threads=4".
type field struct{ Key, Value string }

// fields are the parts of a cell's name.
func fields(cell string) (all []field) {
	if cell == "" {
		return nil
	}
	for part := range strings.SplitSeq(cell, "/") {
		key, value, _ := strings.Cut(part, "=")
		all = append(all, field{key, value})
	}
	return all
}

func valuesOf(points []bench.Point) []float64 {
	values := make([]float64, len(points))
	for i, p := range points {
		values[i] = p.Value
	}
	return values
}
