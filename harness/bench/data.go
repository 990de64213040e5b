package bench

import (
	"cmp"
	"encoding/json"
	"slices"
)

// Data is a benchmark: what was planned, and what came of it so far.
type Data struct {
	Plan    Plan     `json:"plan"`
	Results []Result `json:"results"` // in the order of their runs
	// Manifest is what was equal and what not, as package manifest writes it;
	// empty: nobody has collected it.
	Manifest json.RawMessage `json:"manifest,omitempty"`
}

// Point is a measured value. Points of different contenders with the same Block
// were measured one after the other, so that they can be paired.
type Point struct {
	Block int
	Value float64
}

// Samples are the values of a metric in the order of their runs, without those
// of warm-ups and of runs that were refused. With twin they are those of the
// contender's second side in the A/A comparison, else those of the contender
// itself, which is the first.
func (d *Data) Samples(vmm, on string, part Part, cell, metric string, twin bool) []Point {
	var points []Point
	for _, r := range d.Results {
		if r.Run.Block < 0 || r.Fault != "" || !r.Run.of(vmm, on, part) || r.Run.Twin != twin {
			continue
		}
		for _, s := range r.Samples {
			if s.Cell == cell && s.Metric == metric {
				points = append(points, Point{Block: r.Run.Block, Value: s.Value})
			}
		}
	}
	return points
}

// of tells whether the run is a contender's in a part.
func (r Run) of(vmm, on string, part Part) bool { return r.VMM == vmm && r.On == on && r.Part == part }

// Missing says why a contender has no numbers in a part, or as far as the
// benchmark has come none yet; empty: it has some.
func (d *Data) Missing(c Contender, part Part) string {
	switch {
	case c.Missing != "":
		return c.Missing
	case c.Without[part] != "":
		return c.Without[part]
	case !slices.Contains(d.Plan.Parts(), part):
		return "it was not asked for"
	}
	own := func(r Result) bool { return r.Run.of(c.VMM, c.On, part) && !r.Run.Twin }
	if slices.ContainsFunc(d.Results, func(r Result) bool { return own(r) && r.counts() }) {
		return ""
	}
	if i := slices.IndexFunc(d.Results, func(r Result) bool { return own(r) && r.Fault != "" }); i >= 0 {
		return d.Results[i].Fault
	}
	return cmp.Or(d.givenUp(c.VMM, c.On, part), endedBefore)
}

// endedBefore is why there is no number where nothing else is known.
const endedBefore = "the benchmark was ended before"

// MissingCell says why a contender has no numbers of a cell; empty: it has some.
func (d *Data) MissingCell(c Contender, part Part, cell string) string {
	if why := d.Missing(c, part); why != "" || cell == "" {
		return why
	}
	why := endedBefore
	for _, r := range d.Results {
		if !r.Run.of(c.VMM, c.On, part) || r.Run.Twin || !r.counts() || !slices.Contains(r.Run.Cells, cell) {
			continue
		}
		refused, is := r.Refused[cell]
		if !is {
			return ""
		}
		why = refused
	}
	return why
}

// counts tells whether the numbers of a run count.
func (r Result) counts() bool { return r.Run.Block >= 0 && r.Fault == "" }

// Refused are a contender's runs of a part that measured nothing, each with its
// Fault, warm-ups too.
func (d *Data) Refused(c Contender, part Part) []Result {
	var refused []Result
	for _, r := range d.Results {
		if r.Run.of(c.VMM, c.On, part) && r.Fault != "" {
			refused = append(refused, r)
		}
	}
	return refused
}

// Twin is the VMM that is compared with itself in a part on a machine: the
// samples with and without twin are the two sides. Empty: none is.
func (d *Data) Twin(on string, part Part) string {
	i := slices.IndexFunc(d.Plan.Runs, func(r Run) bool { return r.Twin && r.On == on && r.Part == part })
	if i < 0 {
		return ""
	}
	return d.Plan.Runs[i].VMM
}

// Machines are where contenders run, in the order of the plan.
func (p Plan) Machines() []string {
	var on []string
	for _, c := range p.Contenders {
		if !slices.Contains(on, c.On) {
			on = append(on, c.On)
		}
	}
	return on
}

// Parts are the parts of the plan, in the order of the report.
func (p Plan) Parts() []Part {
	return slices.DeleteFunc(slices.Clone(Parts), func(part Part) bool {
		return !slices.ContainsFunc(p.Runs, func(r Run) bool { return r.Part == part })
	})
}

// Cells are the names of the plan's cells in a part, in the course's order. The
// empty name is first where a whole run has numbers: alone in Boot and Debian.
func (p Plan) Cells(part Part) []string {
	planned := slices.DeleteFunc(CellNames(part), func(cell string) bool {
		return !slices.ContainsFunc(p.Runs, func(r Run) bool { return r.Part == part && slices.Contains(r.Cells, cell) })
	})
	switch part {
	case Boot, Debian, Instructions:
		return slices.Insert(planned, 0, "")
	}
	return planned
}

// MetricsOf are the metrics of a part, in the order of the report.
func MetricsOf(part Part) []Metric {
	return slices.DeleteFunc(slices.Clone(Metrics), func(m Metric) bool { return m.Part != part })
}
