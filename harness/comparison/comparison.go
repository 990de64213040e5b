// Package comparison compares VMMs for the fourth experiment: it finds them,
// makes the machines ready on which they run, has package bench measure and
// package report write, and shows the samples as Go benchmarks.
package comparison

import (
	"flag"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"virtlab/harness/bench"
	"virtlab/harness/bench/manifest"
)

// benchmarked says which benchmark of the labs shows which part of the
// comparison.
var benchmarked = map[string]bench.Part{
	"Boot": bench.Boot, "Memory": bench.Boot, "MultiUser": bench.Debian, "SysbenchCPU": bench.CPU,
	"SysbenchMemory": bench.RAM, "SysbenchFileIO": bench.FileIO, "Instructions": bench.Instructions,
}

// Show shows a part of the comparison by the units of its metrics: a
// sub-benchmark for each VMM and cell, a line for each sample. All that is asked
// for is measured when the first benchmark needs it, the VMMs interleaved: what
// is compared was measured side by side. benchstat reads what comes out.
func Show(b *testing.B, part bench.Part, units ...string) {
	b.Helper()
	data, err := compared()
	if err != nil {
		b.Fatal(err)
	}
	cells := data.Plan.Cells(part)
	for _, c := range data.Plan.Contenders {
		switch why := data.Missing(c, part); {
		case why != "":
			b.Run(c.Name(), func(b *testing.B) { b.Skip("not measured: " + why) })
		case slices.Equal(cells, []string{""}):
			showSamples(b, c.Name(), samplesOf(data, c, part, "", units))
		default:
			b.Run(c.Name(), func(b *testing.B) {
				for _, cell := range cells {
					showCell(b, data, c, part, cell, units)
				}
			})
		}
	}
}

func showCell(b *testing.B, data *bench.Data, c bench.Contender, part bench.Part, cell string, units []string) {
	name := cell
	if name == "" {
		name = "test=boot" // of a part that counts the cells and the boot before them
	}
	if why := data.MissingCell(c, part, cell); why != "" {
		b.Run(name, func(b *testing.B) { b.Skip("not measured: " + why) })
		return
	}
	showSamples(b, name, samplesOf(data, c, part, cell, units))
}

// state says, in configuration lines of the Go benchmark format, what held for
// which VMM; what was not on the host has "@" and its machine behind the name.
// benchstat splits its tables by lines that change in the course of a file, so
// they all come first.
func state(w io.Writer, d *bench.Data) error {
	m, err := manifest.Load(d.Manifest)
	for _, s := range m.Sides {
		name := s.VMM
		if s.On != onHost {
			name += "@" + strings.ToLower(s.On)
		}
		for _, e := range []struct{ key, group, entry string }{
			{"machine", manifest.Machine, "type"}, {"accel", manifest.Machine, "execution"}, {"memory", manifest.Guest, "memory"},
			{"vcpus", manifest.Guest, "vCPUs"}, {"kernel", manifest.Guest, "kernel"}, {"cache", manifest.Disk, "cache"}, {"aio", manifest.Disk, "aio"},
		} {
			fmt.Fprintf(w, "%s.%s: %s\n", name, e.key, s.Get(e.group, e.entry))
		}
	}
	for _, metric := range bench.Metrics {
		better := "lower"
		if metric.Higher {
			better = "higher"
		}
		fmt.Fprintf(w, "Unit %s better=%s\n", metric.Unit, better)
	}
	fmt.Fprintf(w, "time: %s\n", d.Plan.CellTime)
	return err
}

// metrics are the metrics of one sample, by unit.
type metrics map[string]float64

// samplesOf are a contender's samples of a cell, in the order of the blocks.
func samplesOf(data *bench.Data, c bench.Contender, part bench.Part, cell string, units []string) []metrics {
	byBlock := map[int]metrics{}
	for _, unit := range units {
		for _, p := range data.Samples(c.VMM, c.On, part, cell, unit, false) {
			if byBlock[p.Block] == nil {
				byBlock[p.Block] = metrics{}
			}
			byBlock[p.Block][unit] = p.Value
		}
	}
	var all []metrics
	for _, block := range slices.Sorted(maps.Keys(byBlock)) {
		all = append(all, byBlock[block])
	}
	return all
}

// showSamples has go test print a line for each sample: the benchmark is called
// as often as there are samples (-count), and reports one of them each time.
func showSamples(b *testing.B, name string, samples []metrics) {
	if len(samples) == 0 {
		return // none of these metrics can be had here, as VM exits without KVM
	}
	if !countGiven() {
		_ = flag.Set("test.count", strconv.Itoa(len(samples)))
		defer func() { _ = flag.Set("test.count", "1") }() // for the benchmarks that come after
	}
	next := 0
	b.Run(name, func(b *testing.B) {
		for unit, value := range samples[next%len(samples)] {
			b.ReportMetric(value, unit)
		}
		b.ReportMetric(0, "ns/op") // what this function took says nothing
		next++
	})
}

// countGiven tells whether go test was called with -count.
var countGiven = sync.OnceValue(func() (given bool) {
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.count" })
	return given
})
