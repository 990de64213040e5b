package report

import (
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// stack shows memory by kind: a bar for each VMM, guest RAM and the VMM's own.
type stack struct {
	Unit  string // "MiB resident"
	Kinds []string
	Rows  []stackRow
}

type stackRow struct {
	Name  string
	Parts []float64 // by kind
	Label string    // at the bar's end
}

// fill is how a kind looks: hatched or plain.
type fill struct {
	Color color.Color
	Hatch bool
}

var fills = []fill{{color.Gray{0xe4}, true}, {marks[2].Color, false}}

const (
	barHeight vg.Length = 16
	rowHeight vg.Length = 26
)

func (s stack) height() vg.Length { return vg.Length(len(s.Rows))*rowHeight + 68 }

func (s stack) draw(c draw.Canvas) {
	var keys []key
	for i, name := range s.Kinds {
		keys = append(keys, key{name, []plot.Thumbnailer{fills[i]}})
	}
	s.plot().Draw(drawLegend(c, keys))
}

func (s stack) plot() *plot.Plot {
	p := newPlot("", s.Unit, "")
	names := make([]string, len(s.Rows))
	for i, row := range s.Rows {
		names[len(s.Rows)-1-i] = row.Name
	}
	p.Add(s)
	nominalY(p, names)
	p.X.Tick.Marker = numbers{}
	p.X.Min, p.Y.Min, p.Y.Max = 0, -0.5, float64(len(s.Rows))-0.5
	return p
}

// DataRange implements plot.DataRanger.
func (s stack) DataRange() (xmin, xmax, ymin, ymax float64) {
	for _, row := range s.Rows {
		xmax = max(xmax, sum(row.Parts))
	}
	return 0, xmax, 0, float64(len(s.Rows) - 1)
}

// GlyphBoxes implements plot.GlyphBoxer: it makes room for the labels.
func (s stack) GlyphBoxes(p *plot.Plot) []plot.GlyphBox {
	var boxes []plot.GlyphBox
	for i, row := range s.Rows {
		width := textStyle(smallSize).Width(row.Label) + 8
		boxes = append(boxes, plot.GlyphBox{
			X: p.X.Norm(sum(row.Parts)), Y: p.Y.Norm(s.at(i)),
			Rectangle: vg.Rectangle{Max: vg.Point{X: width}},
		})
	}
	return boxes
}

// at is the place of a row on the axis: the first is the topmost.
func (s stack) at(row int) float64 { return float64(len(s.Rows) - 1 - row) }

// Plot implements plot.Plotter.
func (s stack) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	style := textStyle(smallSize)
	style.YAlign = text.YCenter
	for i, row := range s.Rows {
		var left float64
		middle := y(s.at(i))
		for kind, part := range row.Parts {
			fills[kind].draw(&c, vg.Rectangle{
				Min: vg.Point{X: x(left), Y: middle - barHeight/2}, Max: vg.Point{X: x(left + part), Y: middle + barHeight/2},
			})
			left += part
		}
		c.FillText(style, vg.Point{X: x(left) + 5, Y: middle}, row.Label)
	}
}

// Thumbnail implements plot.Thumbnailer.
func (f fill) Thumbnail(c *draw.Canvas) { f.draw(c, c.Rectangle) }

// draw fills a rectangle. gonum has no patterns, so a hatch is drawn line by
// line, each at 45 degrees and cut at the rectangle's edges.
func (f fill) draw(c *draw.Canvas, r vg.Rectangle) {
	corners := []vg.Point{r.Min, {X: r.Max.X, Y: r.Min.Y}, r.Max, {X: r.Min.X, Y: r.Max.Y}, r.Min}
	c.FillPolygon(f.Color, corners)
	if f.Hatch {
		inside := *c
		inside.Rectangle = r
		for x := r.Min.X - (r.Max.Y - r.Min.Y); x < r.Max.X; x += 5 {
			stripe := []vg.Point{{X: x, Y: r.Min.Y}, {X: x + r.Max.Y - r.Min.Y, Y: r.Max.Y}}
			c.StrokeLines(solid(faint), inside.ClipLinesXY(stripe)...)
		}
	}
	c.StrokeLines(solid(ink), corners)
}

func sum(values []float64) (total float64) {
	for _, v := range values {
		total += v
	}
	return total
}
