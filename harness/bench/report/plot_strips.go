package report

import (
	"image/color"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// strips shows distributions: for each row, a VMM, a lane for each stage with
// every value as a point over a box of quartiles.
type strips struct {
	Unit   string // of the values: "seconds after the VMM's exec"
	Stages []string
	Rows   []stripRow
}

type stripRow struct {
	Name   string
	Values [][]float64 // by stage; a stage that was not seen is empty
}

// stageGlyphs tell stages apart: hollow, filled, filled with corners.
var stageGlyphs = []draw.GlyphStyle{
	{Color: ink, Radius: 2.3, Shape: hollow{}},
	{Color: marks[2].Color, Radius: 2.6, Shape: draw.CircleGlyph{}},
	{Color: marks[1].Color, Radius: 2.6, Shape: draw.PyramidGlyph{}},
}

// boxFill lies behind the points of a lane.
var boxFill = color.Gray{0xea}

// Measures of a lane.
const (
	laneHeight vg.Length = 20
	boxHeight  vg.Length = 13
)

func (s strips) height() vg.Length {
	return vg.Length(len(s.Rows)*len(s.Stages))*laneHeight + 70
}

func (s strips) draw(c draw.Canvas) {
	var keys []key
	for i, name := range s.Stages {
		keys = append(keys, key{name, []plot.Thumbnailer{glyphThumb(stageGlyphs[i])}})
	}
	s.plot().Draw(drawLegend(c, keys))
}

func (s strips) plot() *plot.Plot {
	p := newPlot("", s.Unit, "")
	names := make([]string, len(s.Rows))
	for i, row := range s.Rows {
		at := len(s.Rows) - 1 - i // the first row is the topmost
		names[at] = row.Name
		for stage, values := range row.Values {
			s.addLane(p, s.lane(at, stage), stage, values)
		}
	}
	nominalY(p, names)
	p.X.Tick.Marker = numbers{}
	p.X.Min, p.Y.Min, p.Y.Max = 0, -0.5, float64(len(s.Rows))-0.5
	p.X.Max *= 1.02
	p.Add(separators(len(s.Rows)))
	return p
}

// lane is the place of a stage on a row's axis: the first stage is on top.
func (s strips) lane(row, stage int) float64 {
	n := float64(len(s.Stages))
	return float64(row) + 0.42 - (float64(stage)+0.5)*0.84/n
}

// addLane adds a box and every value, in the order of the runs from the lane's
// lower edge to its upper: a drift shows as a slant.
func (s strips) addLane(p *plot.Plot, at float64, stage int, values []float64) {
	if len(values) == 0 {
		return
	}
	box, err := plotter.NewBoxPlot(boxHeight, at, plotter.Values(slices.Clone(values)))
	if err != nil {
		return // there is no box of values that are not finite
	}
	box.Horizontal, box.FillColor, box.GlyphStyle.Radius = true, boxFill, 0
	box.BoxStyle, box.WhiskerStyle = solid(faint), solid(faint)
	box.MedianStyle = draw.LineStyle{Color: ink, Width: 1.6}
	half := 0.3 / float64(len(s.Stages))
	points := make(plotter.XYs, len(values))
	for i, v := range values {
		points[i] = plotter.XY{X: v, Y: at + half*(2*(float64(i)+0.5)/float64(len(values))-1)}
	}
	p.Add(box, &plotter.Scatter{XYs: points, GlyphStyle: stageGlyphs[stage]})
}

// separators are lines between the rows of a nominal y axis.
type separators int

// Plot implements plot.Plotter.
func (n separators) Plot(c draw.Canvas, p *plot.Plot) {
	_, y := p.Transforms(&c)
	for i := 1; i < int(n); i++ {
		at := y(float64(i) - 0.5)
		c.StrokeLine2(solid(rule), c.Min.X, at, c.Max.X, at)
	}
}
