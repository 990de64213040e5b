package report

import (
	"math"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// panels shows a throughput in small plots side by side that share their axes'
// scales: a line for each VMM, with intervals.
type panels struct {
	X, Y   string // names of the axes, with units
	Labels []string
	Names  []string // of the VMMs, in the order of every panel's lines
	Marks  []mark   // of the VMMs
	Panels []panel
	Cols   int
	// Loose says that the places on the x axis have no order, so that no line
	// leads from one to the next.
	Loose bool
}

// panel is one plot; X are places on the axis of Labels.
type panel struct {
	Title string
	Lines [][]estimate // by VMM, then by place
}

const panelHeight vg.Length = 165

func (s panels) rows() int { return (len(s.Panels) + s.Cols - 1) / s.Cols }

func (s panels) height() vg.Length { return vg.Length(s.rows())*panelHeight + 2*keyHeight + 12 }

func (s panels) draw(c draw.Canvas) {
	var keys []key
	for i, name := range s.Names {
		keys = append(keys, key{name, s.thumb(s.Marks[i])})
	}
	grid := make([][]*plot.Plot, s.rows())
	for i := range grid {
		grid[i] = make([]*plot.Plot, s.Cols)
	}
	top, logarithmic := s.scale()
	for i, panel := range s.Panels {
		p := s.plot(panel, top, logarithmic)
		if i%s.Cols > 0 {
			p.Y.Label.Text = ""
		}
		if i+s.Cols < len(s.Panels) {
			p.X.Label.Text = ""
		}
		grid[i/s.Cols][i%s.Cols] = p
	}
	drawGrid(drawLegend(c, keys), grid)
}

// scale is the range that all panels share. It begins with 0, so that lengths
// can be compared, unless the values are of different orders of magnitude.
func (s panels) scale() (r [2]float64, logarithmic bool) {
	low, high := math.Inf(1), 0.0
	for _, p := range s.Panels {
		for _, e := range slices.Concat(p.Lines...) {
			if e.N > 0 {
				low, high = min(low, e.Lo), max(high, e.Hi)
			}
		}
	}
	if low > 0 && high > 20*low {
		return [2]float64{low / 1.3, high * 1.3}, true
	}
	return [2]float64{0, high * 1.05}, false
}

func (s panels) thumb(m mark) []plot.Thumbnailer {
	if s.Loose {
		return []plot.Thumbnailer{glyphThumb(m.glyph())}
	}
	return []plot.Thumbnailer{lineThumb(m)}
}

func (s panels) plot(panel panel, scale [2]float64, logarithmic bool) *plot.Plot {
	p := newPlot(panel.Title, s.X, s.Y)
	p.Add(grid{})
	for i, line := range panel.Lines {
		s.addLine(p, i, line)
	}
	p.NominalX(s.Labels...)
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = -0.4, float64(len(s.Labels))-0.6, scale[0], scale[1]
	p.Y.Tick.Marker = numbers{}
	if logarithmic {
		p.Y.Scale, p.Y.Tick.Marker = plot.LogScale{}, decades{}
	}
	return p
}

// spread is how far apart two VMMs stand at one place.
func (s panels) spread() float64 {
	if s.Loose {
		return 0.7 / float64(max(len(s.Names), 2))
	}
	return 0.08
}

// addLine adds a VMM's line; the VMMs stand a little apart, so that their
// intervals do not cover each other.
func (s panels) addLine(p *plot.Plot, vmm int, line []estimate) {
	m := s.Marks[vmm]
	apart := s.spread() * (float64(vmm) - float64(len(s.Names)-1)/2)
	var points plotter.XYs
	var intervals plotter.YErrors
	for place, e := range line {
		if e.N > 0 {
			points = append(points, plotter.XY{X: float64(place) + apart, Y: e.Mid})
			intervals = append(intervals, struct{ Low, High float64 }{e.Mid - e.Lo, e.Hi - e.Mid})
		}
	}
	if len(points) == 0 {
		return
	}
	bars := &plotter.YErrorBars{XYs: points, YErrors: intervals, LineStyle: draw.LineStyle{Color: m.Color, Width: 0.8}, CapWidth: 5}
	if !s.Loose {
		p.Add(&plotter.Line{XYs: points, LineStyle: m.line()})
	}
	p.Add(bars, &plotter.Scatter{XYs: points, GlyphStyle: m.glyph()})
}

// grid is a faint line at each major tick of the y axis.
type grid struct{}

// Plot implements plot.Plotter.
func (grid) Plot(c draw.Canvas, p *plot.Plot) {
	_, y := p.Transforms(&c)
	for _, tick := range p.Y.Tick.Marker.Ticks(p.Y.Min, p.Y.Max) {
		if tick.Label != "" {
			c.StrokeLine2(solid(rule), c.Min.X, y(tick.Value), c.Max.X, y(tick.Value))
		}
	}
}

// numbers marks a linear axis at round numbers, about five of them.
type numbers struct{}

// Ticks implements plot.Ticker.
func (numbers) Ticks(low, high float64) (ticks []plot.Tick) {
	step := roundStep((high - low) / 5)
	for i := math.Ceil(low / step); i*step <= high; i++ {
		ticks = append(ticks, plot.Tick{Value: i * step, Label: grouped(i * step)})
	}
	return ticks
}

// roundStep is the next of 1, 2 and 5 times a power of ten.
func roundStep(least float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(least)))
	for _, digit := range []float64{1, 2, 5} {
		if digit*power >= least {
			return digit * power
		}
	}
	return 10 * power
}

// decades marks a logarithmic axis at 1, 2 and 5 of each power of ten.
type decades struct{}

// Ticks implements plot.Ticker.
func (decades) Ticks(low, high float64) (ticks []plot.Tick) {
	for e := math.Floor(math.Log10(low)); e <= math.Log10(high); e++ {
		for _, digit := range []float64{1, 2, 3, 4, 5, 6, 7, 8, 9} {
			tick := plot.Tick{Value: digit * math.Pow(10, e)}
			if digit == 1 || digit == 2 || digit == 5 {
				tick.Label = grouped(tick.Value)
			}
			if tick.Value >= low && tick.Value <= high {
				ticks = append(ticks, tick)
			}
		}
	}
	return ticks
}
