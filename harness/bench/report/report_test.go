package report

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/perf/benchfmt"

	"virtlab/harness/bench"
)

var update = flag.Bool("update", false, "write the goldens anew")

func TestWriteGoldens(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, Write(dir, smallData()))
	for _, name := range []string{BenchFile, CSVFile, MarkdownFile} {
		t.Run(name, func(t *testing.T) {
			got, err := os.ReadFile(filepath.Join(dir, name))
			require.NoError(t, err)
			golden := filepath.Join("testdata", name)
			if *update {
				require.NoError(t, os.WriteFile(golden, got, 0o644))
			}
			want, err := os.ReadFile(golden)
			require.NoError(t, err)
			assert.Equal(t, string(want), string(got))
		})
	}
}

// Links of the Markdown text lead to files that are there.
func TestMarkdownLinksToFigures(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, Write(dir, fullData()))
	md, err := os.ReadFile(filepath.Join(dir, MarkdownFile))
	require.NoError(t, err)
	links := 0
	for line := range strings.Lines(string(md)) {
		if _, rest, ok := strings.Cut(line, "]("+Plots+"/"); ok && strings.HasPrefix(line, "![") {
			links++
			assert.FileExists(t, filepath.Join(dir, Plots, strings.TrimSuffix(strings.TrimSpace(rest), ")")))
		}
	}
	files, err := os.ReadDir(filepath.Join(dir, Plots))
	require.NoError(t, err)
	assert.Equal(t, len(files), links)
	assert.Greater(t, links, 12)
}

// benchstat's own reader gets the values back, and its units.
func TestGoBenchIsReadByBenchfmt(t *testing.T) {
	d := smallData()
	var out bytes.Buffer
	require.NoError(t, GoBench(&out, d))
	in := benchfmt.NewReader(&out, BenchFile)
	inits, labels := map[string][]float64{}, map[string]string{}
	for in.Scan() {
		switch rec := in.Result().(type) {
		case *benchfmt.SyntaxError:
			t.Errorf("line %d: %s", rec.Line, rec.Msg)
		case *benchfmt.Result:
			labels[rec.GetConfig("on")] = rec.GetConfig("label")
			if v, ok := rec.Value("init-sec"); ok {
				inits[rec.Name.String()] = append(inits[rec.Name.String()], v)
			}
		}
	}
	require.NoError(t, in.Err())
	assert.Equal(t, map[string][]float64{
		"Boot/vmm=qemu-pc/on=host":                valuesOf(d.Samples("qemu-pc", "host", bench.Boot, "", "init-sec", false)),
		"Boot/vmm=qemu-microvm/on=host":           valuesOf(d.Samples("qemu-microvm", "host", bench.Boot, "", "init-sec", false)),
		"Boot/vmm=qemu-microvm/on=host/side=twin": valuesOf(d.Samples("qemu-microvm", "host", bench.Boot, "", "init-sec", true)),
		"Boot/vmm=gokvm/on=L1":                    valuesOf(d.Samples("gokvm", "L1", bench.Boot, "", "init-sec", false)),
	}, inits)
	assert.Equal(t, map[string]string{"host": "", "L1": bench.Nested}, labels)
	assert.Equal(t, 1, in.Units().GetBetter("events/s"))
	assert.Equal(t, -1, in.Units().GetBetter("own-rss-B"))
	for _, m := range bench.Metrics {
		want := -1
		if m.Higher {
			want = 1
		}
		assert.Equal(t, want, in.Units().GetBetter(m.Unit), "%s %s", m.Part, m.Unit)
	}
}

func TestHTMLNeedsNothingElse(t *testing.T) {
	d := smallData()
	d.Results[len(d.Results)-1].Fault = `<script>alert("x")</script>`
	dir := t.TempDir()
	require.NoError(t, Write(dir, d))
	raw, err := os.ReadFile(filepath.Join(dir, HTMLFile))
	require.NoError(t, err)
	page := string(raw)
	assert.NotContains(t, page, "<script")
	assert.Contains(t, page, "&lt;script&gt;")
	assert.NotContains(t, page, "src=")
	assert.NotContains(t, page, "<?xml", "an SVG inside a page has no header of its own")
	names := strings.NewReplacer(`"http://www.w3.org/2000/svg"`, "", `"http://www.w3.org/1999/xlink"`, "")
	assert.False(t, strings.Contains(names.Replace(page), "://"), "the page leads elsewhere")
	assert.Contains(t, page, bench.Nested)
	assert.Contains(t, page, "stratovirt on L1: not measured: there is no stratovirt | in $STRATOVIRT or PATH")
}

// What was not equal stands before any number, and the noise before a verdict.
func TestOrderOfSections(t *testing.T) {
	doc, err := view{smallData()}.compose()
	require.NoError(t, err)
	var ids []string
	for _, s := range doc.Sections {
		ids = append(ids, s.ID)
	}
	assert.Equal(t, []string{
		"missing", "differences", "noise", "verdicts-host-qemu-pc-qemu-microvm", "claims", "boot", "memory", "part-cpu", "manifest", "method",
	}, ids)
}

// A report can be written at any time: before the first run, and without a
// manifest.
func TestWriteOfNothingSaysSo(t *testing.T) {
	d := smallData()
	d.Results, d.Manifest = nil, nil
	dir := t.TempDir()
	require.NoError(t, Write(dir, d))
	md, err := os.ReadFile(filepath.Join(dir, MarkdownFile))
	require.NoError(t, err)
	assert.Contains(t, string(md), "ended after 0 of 34 runs")
	assert.Contains(t, string(md), "nobody has collected the conditions")
	assert.Contains(t, string(md), "qemu-pc: not measured:")
	assert.NotContains(t, string(md), "NaN")
}

func TestWriteRefusesDamagedManifest(t *testing.T) {
	d := smallData()
	d.Manifest = []byte(`{"sides":`)
	assert.ErrorContains(t, Write(t.TempDir(), d), "manifest")
}

// No number is shown that is not one, whatever the values.
func TestDegenerateValues(t *testing.T) {
	d := smallData()
	for i := range d.Results {
		for j := range d.Results[i].Samples {
			d.Results[i].Samples[j].Value = 0
		}
	}
	dir := t.TempDir()
	require.NoError(t, Write(dir, d))
	for _, name := range []string{MarkdownFile, HTMLFile} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		assert.NotRegexp(t, `\bNaN\b|[-+]Inf\b`, string(text), name)
	}
}
