package report

import (
	"image/color"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// Sizes in the figures, in points.
const (
	figureWidth vg.Length = 520
	textSize    vg.Length = 9
	smallSize   vg.Length = 8
)

// mark is how a VMM looks in every figure. VMMs differ by glyph, dash and
// lightness besides the hue, so that a grey print can be read.
type mark struct {
	Color  color.RGBA
	Dashes []vg.Length
	Glyph  draw.GlyphDrawer
}

// marks are after the palette of Okabe and Ito, which colour-blind people can
// tell apart, some darker, so that none is pale on paper.
var marks = []mark{
	{color.RGBA{0x00, 0x00, 0x00, 0xff}, nil, draw.CircleGlyph{}},
	{color.RGBA{0xc2, 0x4f, 0x00, 0xff}, []vg.Length{5, 2}, hollow{4, math.Pi / 4}},
	{color.RGBA{0x00, 0x72, 0xb2, 0xff}, []vg.Length{1.5, 2}, draw.PyramidGlyph{}},
	{color.RGBA{0xa8, 0x72, 0x00, 0xff}, []vg.Length{8, 2, 1.5, 2}, hollow{}},
	{color.RGBA{0x00, 0x7d, 0x5b, 0xff}, []vg.Length{3, 1.5}, draw.BoxGlyph{}},
	{color.RGBA{0x8c, 0x3f, 0x74, 0xff}, []vg.Length{10, 3}, hollow{3, math.Pi / 2}},
}

var (
	ink   = color.Gray{0x20}
	faint = color.Gray{0x70}
	rule  = color.Gray{0xdd}
)

// markOf is the look of the i-th VMM of a plan.
func markOf(i int) mark { return marks[i%len(marks)] }

func (m mark) line() draw.LineStyle {
	return draw.LineStyle{Color: m.Color, Width: 1.2, Dashes: m.Dashes}
}

func (m mark) glyph() draw.GlyphStyle {
	return draw.GlyphStyle{Color: m.Color, Radius: 3, Shape: m.Glyph}
}

// solid is a thin line in a grey.
func solid(c color.Color) draw.LineStyle { return draw.LineStyle{Color: c, Width: 0.6} }

// sans is the font of the figures. Pages name fonts of the same metrics for
// machines without it (svg.go).
func sans(size vg.Length) font.Font {
	return font.Font{Typeface: "Liberation", Variant: "Sans", Size: size}
}

func textStyle(size vg.Length) draw.TextStyle {
	return draw.TextStyle{Color: ink, Font: sans(size), Handler: plot.DefaultTextHandler}
}

// newPlot is an empty plot in the house's style; its axes are named with units.
func newPlot(title, x, y string) *plot.Plot {
	p := plot.New()
	p.Title.Text, p.X.Label.Text, p.Y.Label.Text = title, x, y
	p.Title.TextStyle.Font = sans(textSize)
	p.Title.Padding = 4
	for _, axis := range []*plot.Axis{&p.X, &p.Y} {
		axis.Label.TextStyle.Font, axis.Tick.Label.Font = sans(textSize), sans(smallSize)
		axis.LineStyle, axis.Tick.LineStyle = solid(faint), solid(faint)
		axis.Tick.Length = 4
	}
	return p
}

// nominalY names the places 0, 1, ... of the y axis and keeps the names off the
// data.
func nominalY(p *plot.Plot, names []string) {
	p.NominalY(names...)
	p.Y.Padding = 8
}
