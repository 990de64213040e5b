package report

import (
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"virtlab/harness/bench/stat"
)

// forest shows the verdicts on a pair: how many times better A is than B in each
// metric, with intervals, over the noise of the A/A comparison.
type forest struct {
	A, B string
	Rows []forestRow
}

type forestRow struct {
	Name       string
	Mid        float64 // times that A is better; below 1 B is
	Lo, Hi     float64 // infinite or 0: unknown
	Floor      float64 // 0: unknown
	Difference bool    // the verdict calls a difference
}

// forestRowOf shows a verdict; ok is false for one that has no ratio.
func forestRowOf(v stat.Verdict) (row forestRow, ok bool) {
	r, i := v.Ratio, v.RatioInterval
	if math.IsNaN(r) || r <= 0 {
		return row, false
	}
	if !v.Metric.Higher {
		r, i.Lo, i.Hi = 1/r, 1/i.Hi, 1/i.Lo
	}
	row = forestRow{subject(v.Question), r, i.Lo, i.Hi, v.Floor, v.Kind == stat.ABetter || v.Kind == stat.BBetter}
	if math.IsNaN(row.Floor) || math.IsInf(row.Floor, 0) {
		row.Floor = 0
	}
	return row, true
}

const forestRowHeight vg.Length = 13

// The two glyphs of a forest: differences stand out.
var (
	called    = draw.GlyphStyle{Color: marks[2].Color, Radius: 3, Shape: draw.BoxGlyph{}}
	notCalled = draw.GlyphStyle{Color: faint, Radius: 2.3, Shape: hollow{}}
	noise     = fill{Color: color.Gray{0xe4}}
)

func (f forest) height() vg.Length { return vg.Length(len(f.Rows)+1)*forestRowHeight + 62 }

func (f forest) draw(c draw.Canvas) {
	f.plot().Draw(drawLegend(c, []key{
		{"a difference", []plot.Thumbnailer{glyphThumb(called)}},
		{"none called", []plot.Thumbnailer{glyphThumb(notCalled)}},
		{"noise: a VMM against itself", []plot.Thumbnailer{noise}},
	}))
}

func (f forest) plot() *plot.Plot {
	p := newPlot("", "times better (logarithmic)", "")
	names := make([]string, len(f.Rows))
	for i, row := range f.Rows {
		names[len(f.Rows)-1-i] = row.Name
	}
	p.Add(f)
	nominalY(p, names)
	reach := f.reach()
	p.X.Min, p.X.Max, p.Y.Min, p.Y.Max = 1/reach, reach, -0.6, float64(len(f.Rows))+0.4 // room for the sides
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, times{}
	return p
}

// reach is the largest factor that is shown: all estimates, and intervals as
// far as they are not much wider.
func (f forest) reach() float64 {
	top := math.Log(1.25)
	for _, r := range f.Rows {
		mid := math.Abs(math.Log(r.Mid))
		top = max(top, mid)
		for _, bound := range []float64{r.Lo, r.Hi, 1 + r.Floor} {
			if side := math.Abs(math.Log(bound)); side < max(2*mid, math.Log(2)) {
				top = max(top, side)
			}
		}
	}
	return math.Exp(1.06 * top)
}

// DataRange implements plot.DataRanger.
func (f forest) DataRange() (xmin, xmax, ymin, ymax float64) {
	return 1 / f.reach(), f.reach(), 0, float64(len(f.Rows) - 1)
}

// Plot implements plot.Plotter.
func (f forest) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	clip := func(v float64) vg.Length { return x(min(max(v, p.X.Min), p.X.Max)) }
	for i, row := range f.Rows {
		at := y(float64(len(f.Rows) - 1 - i))
		if row.Floor > 0 {
			band(&c, clip(1/(1+row.Floor)), clip(1+row.Floor), at)
		}
	}
	c.StrokeLine2(solid(ink), x(1), c.Min.Y, x(1), c.Max.Y)
	for i, row := range f.Rows {
		row.draw(&c, clip, y(float64(len(f.Rows)-1-i)))
	}
	f.nameSides(c, x(1), y(float64(len(f.Rows))))
}

func (r forestRow) draw(c *draw.Canvas, x func(float64) vg.Length, at vg.Length) {
	glyph := notCalled
	if r.Difference {
		glyph = called
	}
	if r.Lo > 0 && !math.IsInf(r.Hi, 0) {
		c.StrokeLine2(draw.LineStyle{Color: glyph.Color, Width: 1}, x(r.Lo), at, x(r.Hi), at)
	}
	c.DrawGlyph(glyph, vg.Point{X: x(r.Mid), Y: at})
}

// nameSides says on which side of equal who is better.
func (f forest) nameSides(c draw.Canvas, equal, at vg.Length) {
	style := textStyle(smallSize)
	style.YAlign = text.YCenter
	c.FillText(style, vg.Point{X: equal + 6, Y: at}, f.A+" is better →")
	style.XAlign = text.XRight
	c.FillText(style, vg.Point{X: equal - 6, Y: at}, "← "+f.B+" is better")
}

// band is the noise floor behind a row.
func band(c *draw.Canvas, left, right, at vg.Length) {
	half := forestRowHeight/2 - 1
	c.FillPolygon(noise.Color, []vg.Point{{X: left, Y: at - half}, {X: right, Y: at - half}, {X: right, Y: at + half}, {X: left, Y: at + half}})
}

// times marks a logarithmic axis of factors around 1.
type times struct{}

// Ticks implements plot.Ticker.
func (times) Ticks(low, high float64) []plot.Tick {
	steps := []float64{1, 1.1, 1.2, 1.5, 2, 3, 5, 10, 20, 50, 100, 1000, 1e4, 1e5, 1e6}
	var ticks []plot.Tick
	last := 0.0
	for _, step := range steps {
		// Labels need an eighth of the half axis each.
		if step > high || step > 1 && math.Log(step/last) < math.Log(high)/8 {
			continue
		}
		last = step
		ticks = append(ticks, plot.Tick{Value: step, Label: grouped(step)})
		if step > 1 {
			ticks = append(ticks, plot.Tick{Value: 1 / step, Label: grouped(step)})
		}
	}
	return ticks
}
