package report

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"math"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/recorder"

	"virtlab/harness/bench"
	"virtlab/harness/bench/stat"
)

func allFigures(t *testing.T) []*figure {
	t.Helper()
	doc, err := view{fullData()}.compose()
	require.NoError(t, err)
	figures := doc.figures()
	require.Greater(t, len(figures), 12)
	return figures
}

// label is a text of a figure and the room that it takes.
type label struct {
	text string
	room vg.Rectangle
}

// labels draws the figure and gives its texts. Turned ones are axis labels, at
// a right angle.
func labels(f *figure) (all []label) {
	rec := &recorder.Canvas{}
	f.draw(draw.Crop(draw.NewCanvas(rec, figureWidth, f.height), 2, -8, 2, -2))
	turned := []bool{false}
	for _, action := range rec.Actions {
		switch a := action.(type) {
		case *recorder.Push:
			turned = append(turned, turned[len(turned)-1])
		case *recorder.Pop:
			turned = turned[:len(turned)-1]
		case *recorder.Rotate:
			turned[len(turned)-1] = math.Abs(a.Angle) > 1
		case *recorder.FillString:
			style := textStyle(a.Size)
			room := vg.Rectangle{Min: a.Point, Max: a.Point.Add(vg.Point{X: style.Width(a.String), Y: 0.72 * a.Size})}
			if turned[len(turned)-1] {
				room = vg.Rectangle{Min: vg.Point{X: -room.Max.Y, Y: room.Min.X}, Max: vg.Point{X: -room.Min.Y, Y: room.Max.X}}
			}
			all = append(all, label{a.String, room})
		}
	}
	return all
}

func overlap(a, b vg.Rectangle) bool {
	return a.Min.X < b.Max.X && b.Min.X < a.Max.X && a.Min.Y < b.Max.Y && b.Min.Y < a.Max.Y
}

// With six VMMs and every cell no text covers another or leaves the picture.
func TestTextsHaveRoom(t *testing.T) {
	for _, f := range allFigures(t) {
		t.Run(f.Name, func(t *testing.T) {
			all := labels(f)
			require.Greater(t, len(all), 6)
			for i, a := range all {
				assert.True(t, a.room.Min.X >= 0 && a.room.Max.X <= figureWidth && a.room.Min.Y >= 0 && a.room.Max.Y <= f.height,
					"%q leaves the picture: %v", a.text, a.room)
				for _, b := range all[i+1:] {
					assert.False(t, overlap(a.room, b.room), "%q covers %q", a.text, b.text)
				}
			}
		})
	}
}

// SVG files are XML whose texts have the width that they were placed with.
func TestSVG(t *testing.T) {
	for _, f := range allFigures(t) {
		t.Run(f.Name, func(t *testing.T) {
			svg, err := f.SVG()
			require.NoError(t, err)
			texts := 0
			in := xml.NewDecoder(bytes.NewReader(svg))
			for {
				token, err := in.Token()
				if err == io.EOF {
					break
				}
				require.NoError(t, err)
				if e, ok := token.(xml.StartElement); ok && e.Name.Local == "text" {
					texts++
					assert.Equal(t, "textLength", e.Attr[0].Name.Local)
				}
			}
			assert.Equal(t, len(labels(f)), texts)
			assert.Equal(t, texts, strings.Count(string(svg), fonts))
		})
	}
}

func TestFiguresNameTheirAxes(t *testing.T) {
	want := map[string][]string{
		"boot-host":            {"seconds after the VMM's exec", "the kernel starts", "init runs", "qemu-microvm again"},
		"debian-l1":            {"seconds after the VMM's exec", "systemd runs", "multi-user, job queue empty"},
		"memory-l1":            {"MiB resident", "guest RAM", "the VMM's own", "firecracker"},
		"sysbench-cpu-host":    {"threads of sysbench", "events/s", "64", "gokvm"},
		"sysbench-memory-host": {"block size (bytes)", "MiB/s", "8k", "sequential, global scope", "random, local scope"},
		"sysbench-fileio-l1":   {"threads × block size (bytes)", "MiB/s", "32×128k", "sequential write (seqwr)"},
		"verdicts-l1-stratovirt-gokvm": {
			"times better (logarithmic)", "gokvm is better", "stratovirt is better", "noise: a VMM against itself", "fileio, 32 threads 4k seqwr",
		},
	}
	for _, f := range allFigures(t) {
		var texts []string
		for _, l := range labels(f) {
			texts = append(texts, l.text)
		}
		for _, text := range want[f.Name] {
			assert.Contains(t, strings.Join(texts, "\n"), text, f.Name)
		}
		delete(want, f.Name)
	}
	assert.Empty(t, want, "figures that are not there")
}

// Every two VMMs differ in more than the hue.
func TestMarksDifferWithoutColour(t *testing.T) {
	seen := map[string]int{}
	for i, m := range marks {
		for _, look := range []string{fmt.Sprintf("glyph %T%v", m.Glyph, m.Glyph), fmt.Sprintf("dashes %v", m.Dashes)} {
			j, is := seen[look]
			assert.False(t, is, "marks %d and %d have the same %s", i, j, look)
			seen[look] = i
		}
		grey := 0.299*float64(m.Color.R) + 0.587*float64(m.Color.G) + 0.114*float64(m.Color.B)
		assert.Less(t, grey, 140.0, "mark %d is pale on paper", i)
	}
}

func TestTicks(t *testing.T) {
	for _, c := range []struct {
		ticker    plot.Ticker
		low, high float64
		want      string
	}{
		{numbers{}, 0, 1.3, "0 0.5 1"},
		{numbers{}, 0, 4.9, "0 1 2 3 4"},
		{numbers{}, 0, 52000, "0 20\u2009000 40\u2009000"},
		{decades{}, 3, 250, "5 10 20 50 100 200"},
		{times{}, 1 / 2.2, 2.2, "1 1.2 1.2 1.5 1.5 2 2"},
	} {
		var got []string
		for _, tick := range c.ticker.Ticks(c.low, c.high) {
			if tick.Label != "" {
				got = append(got, tick.Label)
			}
		}
		assert.Equal(t, c.want, strings.Join(got, " "), "%T from %g to %g", c.ticker, c.low, c.high)
	}
}

// A share of the bar is guest RAM, the rest the VMM's own.
func TestMemoryFigureStacks(t *testing.T) {
	s := stack{Rows: []stackRow{{"a", []float64{90, 10}, "90 + 10"}, {"b", []float64{50, 20}, ""}}}
	_, xmax, _, _ := s.DataRange()
	assert.Equal(t, 100.0, xmax)
}

// Right of 1 is where A is better, whether more or less of the metric is.
func TestForestRow(t *testing.T) {
	verdict := func(higher bool, ratio float64) stat.Verdict {
		return stat.Verdict{Kind: stat.ABetter, Case: stat.Case{
			Question: stat.Question{Metric: bench.Metric{Part: bench.Boot, Name: "x", Higher: higher}}, Floor: math.NaN(),
			Comparison: stat.Comparison{Ratio: ratio, RatioInterval: stat.Interval{Lo: ratio / 2, Hi: ratio * 4}},
		}}
	}
	row, ok := forestRowOf(verdict(true, 2))
	assert.True(t, ok)
	assert.Equal(t, forestRow{Name: "x", Mid: 2, Lo: 1, Hi: 8, Difference: true}, row)
	row, ok = forestRowOf(verdict(false, 0.5))
	assert.True(t, ok)
	assert.Equal(t, forestRow{Name: "x", Mid: 2, Lo: 0.5, Hi: 4, Difference: true}, row)
	_, ok = forestRowOf(verdict(true, math.NaN()))
	assert.False(t, ok, "counts of 0 have no ratio")
}
