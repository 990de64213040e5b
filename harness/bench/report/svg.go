package report

import (
	"bytes"
	"fmt"
	"html"
	"regexp"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// figure is a drawing with what a reader must know to read it.
type figure struct {
	Name    string // of its file, without .svg
	Title   string
	Caption string
	height  vg.Length
	draw    func(draw.Canvas)
}

// fonts are named in order of preference. Arial and Helvetica have the metrics
// of Liberation Sans.
const fonts = `font-family:Liberation Sans,Arial,Helvetica,sans-serif`

var (
	words  = regexp.MustCompile(`<text ([^>]*font-size:)([0-9.]+)px([^>]*)>([^<]*)</text>`)
	header = regexp.MustCompile(`(?s)^.*?<svg width="[^"]*" height="[^"]*"`)
)

// SVG is the figure as a file of its own.
func (f *figure) SVG() ([]byte, error) {
	canvas := vgsvg.NewWith(vgsvg.UseWH(figureWidth, f.height))
	f.draw(draw.Crop(draw.New(canvas), 2, -8, 2, -2))
	var b bytes.Buffer
	if _, err := canvas.WriteTo(&b); err != nil {
		return nil, fmt.Errorf("draw %s: %w", f.Name, err)
	}
	return words.ReplaceAllFunc(b.Bytes(), setWidth), nil
}

// setWidth gives a text the width it was placed with, whatever font the reader's
// machine has: vgsvg writes a font's name, and only where a text begins.
func setWidth(text []byte) []byte {
	m := words.FindSubmatch(text)
	size, err := strconv.ParseFloat(string(m[2]), 64)
	if err != nil || len(m[4]) == 0 {
		return text
	}
	width := textStyle(vg.Length(size)).Width(html.UnescapeString(string(m[4])))
	style := bytes.ReplaceAll(m[1], []byte("font-family:Liberation Sans"), []byte(fonts))
	return fmt.Appendf(nil, `<text textLength="%.1f" lengthAdjust="spacingAndGlyphs" %s%spx%s>%s</text>`, width.Points(), style, m[2], m[3], m[4])
}

// inline is the figure as an element of a page that scales with it.
func (f *figure) inline() ([]byte, error) {
	svg, err := f.SVG()
	if err != nil {
		return nil, err
	}
	return header.ReplaceAll(svg, fmt.Appendf(nil, `<svg role="img" aria-label=%q`, f.Title)), nil
}

// drawGrid draws plots in rows and columns whose axes are aligned; nil leaves a
// place empty.
func drawGrid(c draw.Canvas, plots [][]*plot.Plot) {
	tiles := draw.Tiles{Rows: len(plots), Cols: len(plots[0]), PadX: 14, PadY: 12}
	canvases := plot.Align(plots, tiles, c)
	for i, row := range plots {
		for j, p := range row {
			if p != nil {
				p.Draw(canvases[i][j])
			}
		}
	}
}
