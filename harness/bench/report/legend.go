package report

import (
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// key is an entry of a legend.
type key struct {
	name  string
	thumb []plot.Thumbnailer
}

// Measures of a legend's entries.
const (
	thumbWidth vg.Length = 24
	keyGap     vg.Length = 14
	keyHeight  vg.Length = 13
)

// drawLegend draws the keys in rows from the canvas's top left corner and gives
// what is left of the canvas. gonum's own legend stands inside a plot, where it
// covers data sooner or later.
func drawLegend(c draw.Canvas, keys []key) draw.Canvas {
	style := textStyle(textSize)
	style.YAlign = text.YCenter
	x, y := c.Min.X, c.Max.Y-keyHeight
	for _, k := range keys {
		width := thumbWidth + 4 + style.Width(k.name)
		if x > c.Min.X && x+width > c.Max.X {
			x, y = c.Min.X, y-keyHeight
		}
		drawKey(c, k, vg.Point{X: x, Y: y}, style)
		x += width + keyGap
	}
	return draw.Crop(c, 0, 0, 0, y-6-c.Max.Y)
}

func drawKey(c draw.Canvas, k key, at vg.Point, style draw.TextStyle) {
	box := c
	box.Rectangle = vg.Rectangle{Min: at, Max: at.Add(vg.Point{X: thumbWidth, Y: keyHeight - 3})}
	for _, t := range k.thumb {
		t.Thumbnail(&box)
	}
	c.FillText(style, vg.Point{X: at.X + thumbWidth + 4, Y: box.Center().Y}, k.name)
}

// glyphThumb shows a glyph alone.
type glyphThumb draw.GlyphStyle

func (g glyphThumb) Thumbnail(c *draw.Canvas) { c.DrawGlyph(draw.GlyphStyle(g), c.Center()) }

// lineThumb shows a line with its glyph.
type lineThumb mark

func (l lineThumb) Thumbnail(c *draw.Canvas) {
	c.StrokeLine2(mark(l).line(), c.Min.X, c.Center().Y, c.Max.X, c.Center().Y)
	c.DrawGlyph(mark(l).glyph(), c.Center())
}
