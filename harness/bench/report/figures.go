package report

import (
	"fmt"
	"slices"
	"strings"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"virtlab/harness/bench"
)

// Ways to say what a figure's points and bars are.
const (
	stripsCaption = "Every run is a point, the first at the lower edge of its lane and the last at the upper: a slant is a drift. Box: quartiles. Thick line: median."
	linesCaption  = "Points are medians, bars their 95 % intervals; with fewer than 6 values the bars reach from the smallest to the largest."
)

func (v view) bootFigure(machine string) *figure {
	s := v.strips(machine, bench.Boot, "seconds after the VMM's exec", "kernel-sec", "init-sec")
	s.Stages = []string{"the kernel starts", "init runs"}
	return v.strip(s, machine, "boot", "Boot time")
}

func (v view) debianFigure(machine string) *figure {
	s := v.strips(machine, bench.Debian, "seconds after the VMM's exec", "init-sec", "multi-user-sec")
	s.Stages = []string{"systemd runs", "multi-user, job queue empty"}
	return v.strip(s, machine, "debian", "Boot time of Debian")
}

// strips has a row for each contender, and one for the second side of the A/A
// comparison below its first.
func (v view) strips(machine string, part bench.Part, unit string, metrics ...string) strips {
	s := strips{Unit: unit}
	add := func(c bench.Contender, name string, twin bool) {
		row := stripRow{Name: name}
		for _, metric := range metrics {
			row.Values = append(row.Values, valuesOf(v.Samples(c.VMM, c.On, part, "", metric, twin)))
		}
		if len(slices.Concat(row.Values...)) > 0 {
			s.Rows = append(s.Rows, row)
		}
	}
	for _, c := range v.measured(machine, part) {
		add(c, c.VMM, false)
		if c.VMM == v.Twin(machine, part) {
			add(c, c.VMM+" again", true)
		}
	}
	return s
}

func (v view) strip(s strips, machine, name, title string) *figure {
	if len(s.Rows) == 0 {
		return nil
	}
	return v.figure(machine, name, title, stripsCaption, s)
}

// drawing draws itself in a height of its own.
type drawing interface {
	height() vg.Length
	draw(draw.Canvas)
}

// figure gives a machine's figure its name and title.
func (v view) figure(machine, name, title, caption string, d drawing) *figure {
	return &figure{name + "-" + strings.ToLower(machine), v.titled(title, machine), caption, d.height(), d.draw}
}

func (v view) memoryFigure(machine string) *figure {
	s := stack{Unit: "MiB resident", Kinds: []string{"guest RAM", "the VMM's own"}}
	mid := func(c bench.Contender, metric string) float64 {
		return estimateOf(v.points(c, bench.Boot, "", metric), 1.0/(1<<20)).Mid
	}
	for _, c := range v.measured(machine, bench.Boot) {
		guest, own := mid(c, "guest-rss-B"), mid(c, "own-rss-B")
		if guest+own > 0 {
			label := fmt.Sprintf("%s + %s", fixed(guest, 1), fixed(own, 1))
			s.Rows = append(s.Rows, stackRow{c.VMM, []float64{guest, own}, label})
		}
	}
	if len(s.Rows) == 0 {
		return nil
	}
	caption := "Medians after boot. Guest RAM is the mapping that backs it, found by pages that the guest filled; the rest is the VMM's own, shared libraries included."
	return v.figure(machine, "memory", "Memory of the VMM's process", caption, s)
}

func (v view) cpuFigure(machine string) *figure {
	m := matrix{bench.CPU, "events/s", []string{"threads"}, 1, false}
	return v.lines(machine, "sysbench-cpu", v.panels(machine, m, "threads of sysbench", "events/s"))
}

func (v view) ramFigure(machine string) *figure {
	m := matrix{bench.RAM, "B/s", []string{"block"}, 2, false}
	return v.lines(machine, "sysbench-memory", v.panels(machine, m, "block size (bytes)", "MiB/s"))
}

func (v view) fileFigure(machine string) *figure {
	m := matrix{bench.FileIO, "B/s", []string{"threads", "block"}, 2, true}
	return v.lines(machine, "sysbench-fileio", v.panels(machine, m, "threads × block size (bytes)", "MiB/s"))
}

// matrix says how a part's cells become panels: the fields of X make the places
// on the x axis, all others a panel.
type matrix struct {
	Part   bench.Part
	Metric string
	X      []string
	Cols   int
	Loose  bool
}

// split takes a cell's name apart into its place and its panel.
func (m matrix) split(cell string) (place, panel string) {
	var x, rest []string
	for _, f := range fields(cell) {
		if slices.Contains(m.X, f.Key) {
			x = append(x, f.Value)
		} else {
			rest = append(rest, phrase(f))
		}
	}
	return strings.Join(x, "×"), strings.Join(rest, ", ")
}

// phrase is a field in words, with sysbench's own beside where they differ.
func phrase(f field) string {
	words := map[string]string{
		"seq": "sequential", "rnd": "random", "rndrd": "random read (rndrd)", "rndwr": "random write (rndwr)",
		"seqrd": "sequential read (seqrd)", "seqwr": "sequential write (seqwr)",
	}
	if w, ok := words[f.Value]; ok {
		return w
	}
	return f.Value + " " + f.Key
}

func (v view) panels(machine string, m matrix, x, y string) panels {
	s := panels{X: x, Y: y, Cols: m.Cols, Loose: m.Loose}
	contenders := v.measured(machine, m.Part)
	for _, c := range contenders {
		s.Names, s.Marks = append(s.Names, c.VMM), append(s.Marks, v.mark(c.VMM))
	}
	factor := unitOf(m.Metric, 1).Factor
	for _, cell := range v.Plan.Cells(m.Part) {
		place, title := m.split(cell)
		at := s.place(place)
		for vmm, c := range contenders {
			s.panel(title).set(vmm, at, estimateOf(v.points(c, m.Part, cell, m.Metric), factor))
		}
	}
	return s
}

// place is the index of a label on the x axis, which is added if it is new.
func (s *panels) place(label string) int {
	if i := slices.Index(s.Labels, label); i >= 0 {
		return i
	}
	s.Labels = append(s.Labels, label)
	return len(s.Labels) - 1
}

// panel finds a panel, which is added if it is new.
func (s *panels) panel(title string) *panel {
	for i := range s.Panels {
		if s.Panels[i].Title == title {
			return &s.Panels[i]
		}
	}
	s.Panels = append(s.Panels, panel{title, make([][]estimate, len(s.Names))})
	return &s.Panels[len(s.Panels)-1]
}

func (p *panel) set(vmm, place int, e estimate) {
	for len(p.Lines[vmm]) <= place {
		p.Lines[vmm] = append(p.Lines[vmm], estimate{})
	}
	p.Lines[vmm][place] = e
}

// lines is the figure of a matrix; nil without values.
func (v view) lines(machine, name string, s panels) *figure {
	if len(s.Names) == 0 || len(s.Panels) == 0 {
		return nil
	}
	s.Cols = min(s.Cols, len(s.Panels))
	return v.figure(machine, name, strings.ReplaceAll(name, "-", " "), linesCaption, s)
}
