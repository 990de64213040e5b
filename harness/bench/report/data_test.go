package report

import (
	"encoding/json"
	"strings"
	"time"

	"virtlab/harness/bench"
	"virtlab/harness/bench/manifest"
)

// builder makes a benchmark run by run.
type builder struct{ *bench.Data }

func (b builder) run(c bench.Contender, part bench.Part, block int, twin bool, cells []string, samples ...bench.Sample) *bench.Result {
	run := bench.Run{Index: len(b.Plan.Runs), Block: block, VMM: c.VMM, On: c.On, Twin: twin, Part: part, Cells: cells}
	b.Plan.Runs = append(b.Plan.Runs, run)
	start := time.Date(2026, 3, 1, 12, 0, run.Index, 0, time.UTC)
	b.Results = append(b.Results, bench.Result{Run: run, Start: start, Samples: samples})
	return &b.Results[len(b.Results)-1]
}

var (
	pc          = bench.Contender{VMM: "qemu-pc", On: "host"}
	microvm     = bench.Contender{VMM: "qemu-microvm", On: "host"}
	gokvm       = bench.Contender{VMM: "gokvm", On: "L1", Label: bench.Nested}
	stratovirt  = bench.Contender{VMM: "stratovirt", On: "L1", Label: bench.Nested, Missing: "there is no stratovirt | in $STRATOVIRT\nor PATH"}
	threadCells = []string{"threads=1", "threads=4"}
)

// smallData is a benchmark of two VMMs on the host with an A/A twin, and one on
// L1: six boots, two runs of the cpu matrix of which one is refused, a warm-up.
func smallData() *bench.Data {
	b := builder{&bench.Data{Plan: bench.Plan{
		Mode: bench.Quick, Seed: 7, CellTime: time.Second, Contenders: []bench.Contender{pc, microvm, gokvm, stratovirt},
	}}}
	for block := -1; block < 6; block++ {
		for i, c := range []bench.Contender{pc, microvm, microvm, gokvm} {
			b.run(c, bench.Boot, block, i == 2, nil, bootSamples(c, 1+0.01*float64((block*5+i)%7))...)
		}
	}
	for block := range 2 {
		for i, c := range []bench.Contender{pc, microvm, gokvm} {
			scale := float64(1000 * (i + 1))
			r := b.run(c, bench.CPU, block, false, threadCells, bench.Sample{Cell: "threads=1", Metric: "events/s", Value: scale + float64(block)},
				bench.Sample{Cell: "threads=4", Metric: "events/s", Value: 4*scale + float64(block)})
			if c.VMM == "gokvm" && block == 1 {
				r.Samples, r.Fault = nil, "no line for 60 s: *panic* <0>"
			}
			if c.VMM == "qemu-microvm" && block == 1 {
				r.Samples, r.Refused = r.Samples[:1], map[string]string{"threads=4": "folded lines"}
			}
		}
	}
	b.Manifest = conditionsOf(pc, microvm, gokvm)
	return b.Data
}

// bootSamples are those of a VMM whose numbers scale with the length of its
// name, and with the factor.
func bootSamples(c bench.Contender, factor float64) []bench.Sample {
	scale := factor * float64(len(c.VMM))
	return []bench.Sample{
		{Metric: "kernel-sec", Value: 0.02 * scale}, {Metric: "init-sec", Value: 0.11 * scale},
		{Metric: "marker-sec", Value: 12e-6 * scale}, {Metric: "rss-B", Value: 16e6 * scale},
		{Metric: "guest-rss-B", Value: 12e6 * scale}, {Metric: "own-rss-B", Value: 4e6 * scale},
	}
}

func conditionsOf(contenders ...bench.Contender) json.RawMessage {
	var m manifest.Manifest
	for _, c := range contenders {
		m.Sides = append(m.Sides, manifest.Side{VMM: c.VMM, On: c.On, Entries: []manifest.Entry{
			{Group: manifest.Own, Key: "command line", Value: c.VMM + " -m 1G"},
			{Group: manifest.Guest, Key: "kernel", Value: "sha256 0123456789abcdef, 4321 bytes"},
			{Group: manifest.Guest, Key: "kernel words", Value: "console=ttyS0 quiet " + c.VMM + ".word"},
			{Group: manifest.Machine, Key: "irqchip", Value: "all in " + c.VMM},
		}})
	}
	raw, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return raw
}

// fullData has every part on two machines with as many VMMs as there are, so
// that each figure is as crowded as it can become.
func fullData() *bench.Data {
	b := builder{&bench.Data{Plan: bench.Plan{Mode: bench.Course, Seed: 1, CellTime: 10 * time.Second}}}
	for _, on := range []string{"host", "L1"} {
		for _, vmm := range []string{"qemu-pc", "qemu-q35", "qemu-microvm", "stratovirt", "gokvm", "firecracker"} {
			c := bench.Contender{VMM: vmm, On: on}
			if on == "L1" {
				c.Label = bench.Nested
			}
			b.Plan.Contenders = append(b.Plan.Contenders, c)
		}
	}
	for _, part := range bench.Parts {
		for block := range 6 {
			for i, c := range b.Plan.Contenders {
				b.run(c, part, block, false, bench.CellNames(part), fullSamples(part, 1+float64(i%6)+0.1*float64(block))...)
				if c.VMM == "qemu-microvm" {
					b.run(c, part, block, true, bench.CellNames(part), fullSamples(part, 3.02+0.1*float64(block))...)
				}
			}
		}
	}
	return b.Data
}

// fullSamples has each metric of each cell of a part.
func fullSamples(part bench.Part, scale float64) (all []bench.Sample) {
	for i, cell := range append([]string{""}, bench.CellNames(part)...) {
		for _, m := range bench.MetricsOf(part) {
			value := scale * (1 + 0.1*float64(i))
			switch {
			case strings.HasSuffix(m.Unit, "-B"):
				value *= 20e6
			case m.Unit == "B/s" && strings.Contains(cell, "128k"):
				value *= 3e9
			case m.Unit == "B/s":
				value *= 1e8
			case m.Unit == "events/s":
				value *= 12345
			}
			all = append(all, bench.Sample{Cell: cell, Metric: m.Unit, Value: value})
		}
	}
	return all
}
