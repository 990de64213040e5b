package report

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"virtlab/harness/bench"
	"virtlab/harness/bench/stat"
)

func points(values ...float64) (all []bench.Point) {
	for i, v := range values {
		all = append(all, bench.Point{Block: i, Value: v})
	}
	return all
}

func TestEstimate(t *testing.T) {
	for _, c := range []struct {
		name   string
		values []float64
		factor float64
		want   string
	}{
		{"one value has no range", []float64{0.1234}, 1, "0.123"},
		{"five have no interval", []float64{5, 1, 3, 2, 4}, 1, "3.00 [1.00 to 5.00]"},
		{"six have one", []float64{6, 5, 1, 3, 2, 4}, 10, "35.0 (10.0 to 60.0)"},
		{"the interval is not the range", []float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 120}, 1, "6.50 (3.00 to 10.00)"},
		{"thousands", []float64{123455, 123457}, 1, "123\u2009456 [123\u2009455 to 123\u2009457]"},
	} {
		t.Run(c.name, func(t *testing.T) { assert.Equal(t, c.want, estimateOf(points(c.values...), c.factor).String()) })
	}
}

func TestUnitOf(t *testing.T) {
	for _, c := range []struct {
		metric  string
		largest float64
		want    unit
	}{
		{"init-sec", 1.5, unit{"s", 1}},
		{"init-sec", 0.15, unit{"ms", 1e3}},
		{"marker-sec", 20e-6, unit{"µs", 1e6}},
		{"own-rss-B", 4e6, unit{"MiB", 1.0 / (1 << 20)}},
		{"B/s", 4e6, unit{"MiB/s", 1.0 / (1 << 20)}},
		{"events/s", 4000, unit{"events/s", 1}},
		{"instructions/op", 3e8, unit{"million instructions/op", 1e-6}},
		{"boot-exits", 4000, unit{"", 1}},
		{"boot-instructions", 4e9, unit{"million", 1e-6}},
	} {
		assert.Equal(t, c.want, unitOf(c.metric, c.largest), c.metric)
	}
}

func TestGrouped(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 0.25: "0.25", 1000: "1000", 20000: "20\u2009000", 1234567: "1\u2009234\u2009567", -12345: "-12\u2009345", 0.1 + 0.2: "0.3",
	} {
		assert.Equal(t, want, grouped(v))
	}
}

func TestSubject(t *testing.T) {
	for want, q := range map[string]stat.Question{
		"exec to init":               {Metric: bench.Metric{Part: bench.Boot, Name: "exec to init"}},
		"Debian: exec to multi-user": {Metric: bench.Metric{Part: bench.Debian, Name: "exec to multi-user"}},
		"cpu, 1 thread":              {Cell: "threads=1", Metric: bench.Metric{Part: bench.CPU}},
		"fileio, 32 threads 4k rndrd": {
			Cell: "threads=32/block=4k/mode=rndrd", Metric: bench.Metric{Part: bench.FileIO},
		},
	} {
		assert.Equal(t, want, subject(q))
	}
}

func TestCellColumns(t *testing.T) {
	head, split := cellColumns([]string{"threads=1/block=4k", "threads=32/block=4k"})
	assert.Equal(t, []string{"threads", "block"}, head)
	assert.Equal(t, []string{"32", "4k"}, split("threads=32/block=4k"))

	head, split = cellColumns([]string{"test=cpu/threads=1", "test=memory/block=1k"})
	assert.Equal(t, []string{"cell"}, head, "cells of different fields have one column")
	assert.Equal(t, []string{"test=memory block=1k"}, split("test=memory/block=1k"))
}

func TestEscape(t *testing.T) {
	assert.Equal(t, `a \*b\* \[c\](d) &lt;e> \`+"`f\\`", escape("a *b*\n[c](d) <e> `f`"))
}
