package report

import (
	"image/color"
	"math"

	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// hollow is a glyph with an outline thick enough to keep its lightness in
// print: gonum's are hairlines. It hides the line below it.
type hollow struct {
	Corners int     // 0: a ring
	Turn    float64 // radians
}

// DrawGlyph implements draw.GlyphDrawer.
func (h hollow) DrawGlyph(c *draw.Canvas, style draw.GlyphStyle, at vg.Point) {
	path := h.path(style.Radius, at)
	c.SetColor(color.White)
	c.Fill(path)
	c.SetLineStyle(draw.LineStyle{Color: style.Color, Width: 1.2})
	c.Stroke(path)
}

func (h hollow) path(radius vg.Length, at vg.Point) (p vg.Path) {
	if h.Corners == 0 {
		p.Move(vg.Point{X: at.X + radius, Y: at.Y})
		p.Arc(at, radius, 0, 2*math.Pi)
		p.Close()
		return p
	}
	for i := range h.Corners {
		sin, cos := math.Sincos(h.Turn + 2*math.Pi*float64(i)/float64(h.Corners))
		corner := vg.Point{X: at.X + 1.2*radius*vg.Length(cos), Y: at.Y + 1.2*radius*vg.Length(sin)}
		if i == 0 {
			p.Move(corner)
		} else {
			p.Line(corner)
		}
	}
	p.Close()
	return p
}
