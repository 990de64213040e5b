package stat

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"

	"virtlab/harness/bench"
)

const (
	boots   = 10 // as the course's memory table and the default mode have
	metrics = 6  // that verdicts of a boot are made by
)

// noises are the machines on which verdicts must be right.
func noises(t *testing.T) map[string]noise {
	return map[string]noise{
		"quiet": quiet, "drifting": drifting, "stalling": stalling,
		"boots": recorded(t, "boots.csv", "init-sec"), "CPU time": recorded(t, "boots.csv", "vmm-cpu-sec"),
		"busy boots": recorded(t, "boots-busy.csv", "init-sec"), "busy CPU time": recorded(t, "boots-busy.csv", "vmm-cpu-sec"),
	}
}

// measuredFamily is a pair of contenders measured with a seed, with the A/A
// comparison of one of them: b is slower than a by the factor.
func measuredFamily(draw noise, seed uint64, n int, slower float64) (family []Case) {
	rng := rand.New(rand.NewPCG(seed, 20))
	for range metrics {
		a, b := draw(rng, n)
		twin, again := draw(rng, n)
		c := asked(toInit, a, scaled(b, slower))
		c.Floor = Compare(twin, again).floor()
		family = append(family, c)
	}
	return family
}

// called tells whether a family has any difference.
func called(verdicts []Verdict) bool {
	for _, v := range verdicts {
		if v.Kind == ABetter || v.Kind == BBetter {
			return true
		}
	}
	return false
}

// Two equal sides are told apart in one of twenty seeds at most: with six runs
// and with ten, in an A/A comparison and where there is one to hold against.
func TestEqualSidesAreNotCalledDifferent(t *testing.T) {
	const seeds, chance = 100, 11 // 11 of 100 and more is a chance of 1 % where 5 are expected
	wrong, all := 0, 0
	for name, draw := range noises(t) {
		for _, n := range []int{6, boots} {
			floored, aa := seedsCalled(draw, n, seeds)
			for _, called := range [][]uint64{floored, aa} {
				assert.Less(t, len(called), chance, "%s, n=%d", name, n)
				first := slices.DeleteFunc(slices.Clone(called), func(seed uint64) bool { return seed >= 20 })
				assert.LessOrEqual(t, len(first), 1, "%s, n=%d: of the first 20 seeds", name, n)
				wrong, all = wrong+len(called), all+seeds
			}
		}
	}
	t.Logf("a difference was called in %d of %d", wrong, all)
	assert.Less(t, wrong, all/20)
}

// seedsCalled are those in which two equal sides are told apart, with an A/A
// comparison known and without.
func seedsCalled(draw noise, n int, seeds uint64) (floored, aa []uint64) {
	for seed := range seeds {
		family := measuredFamily(draw, seed, n, 1)
		if called(Judge(family)) {
			floored = append(floored, seed)
		}
		for i := range family {
			family[i].Floor = math.NaN()
		}
		if called(Judge(family)) {
			aa = append(aa, seed)
		}
	}
	return floored, aa
}

// A slow-down of 10 % is found in 19 of 20 seeds where runs differ by a few
// percent, be there drift or not. More noise needs more runs: which is said
// instead, and never that there was no difference.
func TestSlowdownIsFound(t *testing.T) {
	for _, tt := range []struct {
		name string
		n    int
		want int // of 20 seeds
	}{
		{"quiet", boots, 19},
		{"drifting", boots, 19},
		{"stalling", 20, 19},
		{"CPU time", 30, 19},
		{"busy CPU time", 30, 19},
	} {
		t.Run(tt.name, func(t *testing.T) {
			found := 0
			for seed := range uint64(20) {
				v := Judge(measuredFamily(noises(t)[tt.name], seed, tt.n, 1.1))[0]
				if v.Kind == ABetter {
					found++
				}
				assert.NotContains(t, []Kind{BBetter, Equal}, v.Kind, "seed %d: %s", seed, v)
			}
			assert.GreaterOrEqual(t, found, tt.want)
		})
	}
}

// data has two contenders on L1 and two on the host, one of them not there, with
// a few runs of Boot and one cell of memory; gokvm is its own twin.
func data() *bench.Data {
	d := &bench.Data{Plan: bench.Plan{Contenders: []bench.Contender{
		{VMM: "gokvm", On: "L1", Label: bench.Nested}, {VMM: "qemu-microvm", On: "L1", Label: bench.Nested},
		{VMM: "qemu-microvm", On: "host"}, {VMM: "stratovirt", On: "host", Missing: "no KVM"},
	}}}
	add := func(block int, vmm, on string, part bench.Part, twin bool, cell string, samples ...bench.Sample) {
		run := bench.Run{Index: len(d.Plan.Runs), Block: block, VMM: vmm, On: on, Part: part, Twin: twin}
		if cell != "" {
			run.Cells = []string{cell}
		}
		d.Plan.Runs = append(d.Plan.Runs, run)
		d.Results = append(d.Results, bench.Result{Run: run, Samples: samples})
	}
	cell := bench.CellNames(bench.RAM)[0]
	for block := -1; block < 6; block++ {
		wobble := 1 + float64(block)/1000
		boot := func(x float64) []bench.Sample {
			return []bench.Sample{{Metric: "init-sec", Value: x * wobble}, {Metric: "rss-B", Value: 5e6}}
		}
		add(block, "gokvm", "L1", bench.Boot, false, "", boot(0.2)...)
		add(block, "gokvm", "L1", bench.Boot, true, "", boot(0.201)...)
		add(block, "qemu-microvm", "L1", bench.Boot, false, "", boot(0.3)...)
		add(block, "qemu-microvm", "host", bench.Boot, false, "", boot(0.6)...)
	}
	for block := range 2 {
		add(block, "gokvm", "L1", bench.RAM, false, cell, bench.Sample{Cell: cell, Metric: "B/s", Value: 1e9})
	}
	return d
}

func TestPairsOfData(t *testing.T) {
	pairs := Pairs(data())
	if assert.Len(t, pairs, 1, "contenders are compared on one machine, where they are there") {
		p := pairs[0]
		assert.Equal(t, [4]string{"L1", "gokvm", "qemu-microvm", bench.Nested}, [4]string{p.On, p.A, p.B, p.Label})
		assert.Len(t, p.Verdicts, 2, "rss-B is no metric for verdicts")
		boot, memory := p.Verdicts[0], p.Verdicts[1]
		assert.Equal(t, ABetter, boot.Kind)
		assert.Equal(t, 6, boot.A.N, "a warm-up does not count")
		assert.InDelta(t, 2./3, boot.Ratio, 0.01)
		assert.InDelta(t, 0.005, boot.Floor, 0.001)
		assert.Equal(t, 1, boot.Family)
		assert.Equal(t, NotMeasured, memory.Kind)
		assert.Equal(t, "not measured for qemu-microvm", memory.String())
		assert.NotEmpty(t, memory.Cell)
	}
}

func TestAAOfData(t *testing.T) {
	aa := AA(data())
	if assert.Len(t, aa, 1) && assert.Len(t, aa[0].Verdicts, 1, "memory has no twin") {
		assert.Equal(t, "gokvm again", aa[0].B)
		v := aa[0].Verdicts[0]
		assert.Equal(t, Equal, v.Kind)
		assert.True(t, math.IsNaN(v.Floor), "there is nothing to hold against an A/A comparison")
		assert.Equal(t, 6, v.B.N)
	}
}
