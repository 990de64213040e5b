package stat

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"

	"virtlab/harness/bench"
)

// points are values measured one in each block.
func points(values ...float64) []bench.Point {
	ps := make([]bench.Point, len(values))
	for i, v := range values {
		ps[i] = bench.Point{Block: i, Value: v}
	}
	return ps
}

// scaled are the points made slower, or faster.
func scaled(ps []bench.Point, by float64) []bench.Point {
	out := slices.Clone(ps)
	for i := range out {
		out[i].Value *= by
	}
	return out
}

func exps(logs ...float64) []float64 {
	out := make([]float64, len(logs))
	for i, l := range logs {
		out[i] = math.Exp(l)
	}
	return out
}

// The samples and results of Hollander, Wolfe, Chicken, Nonparametric
// Statistical Methods, tables 3.1 and 4.1, which are of differences and so are
// given here as logarithms.
func TestTextbook(t *testing.T) {
	t.Run("signed ranks", func(t *testing.T) {
		x := exps(1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30)
		y := exps(0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29)
		m := signedRank(pairs(points(x...), points(y...)))
		assert.InDelta(t, 0.0390625, m.p, 1e-12)
		shift, i := m.estimate(0.05)
		assert.InDelta(t, 0.460, shift, 1e-9)
		assert.InDelta(t, 0.010, i.Lo, 1e-9)
		assert.InDelta(t, 0.786, i.Hi, 1e-9)
	})
	t.Run("rank sums", func(t *testing.T) {
		x := exps(0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46)
		y := exps(1.15, 0.88, 0.90, 0.74, 1.21)
		m := mannWhitney(x, y)
		assert.InDelta(t, 2*0.1272, m.p, 1e-4)
		shift, i := m.estimate(0.05)
		assert.InDelta(t, 0.305, shift, 1e-9)
		assert.InDelta(t, -0.15, i.Lo, 1e-9)
		assert.InDelta(t, 0.76, i.Hi, 1e-9)
	})
}

// What can be shown depends on the number of runs (FACTS of the course: 3 boots
// never show anything).
func TestSmallestPossibleP(t *testing.T) {
	for _, tt := range []struct {
		n        int
		minP     float64
		interval bool
		tests    int
	}{
		{1, 1, false, 1},
		{2, 1. / 3, false, 1},
		{3, 0.1, false, 1},
		{4, 2. / 70, true, 1},
		{5, 2. / 252, true, 1},
		{6, 2. / 924, true, 1},
		{7, 2 * 2. / 3432, true, 2},
		{10, 2 * 2. / 184756, true, 2},
	} {
		t.Run(fmt.Sprint("n=", tt.n), func(t *testing.T) {
			var a, b []float64
			for i := range tt.n {
				a = append(a, 1+float64(i)/1000)
				b = append(b, 2+float64(i*i)/1000)
			}
			c := Compare(points(a...), points(b...))
			assert.InDelta(t, tt.minP, c.MinP, 1e-12)
			assert.InDelta(t, tt.minP, c.P, 1e-9, "two sides that do not overlap give the smallest p")
			assert.Equal(t, tt.interval, c.RatioInterval.Finite())
			assert.Len(t, methods(points(a...), points(b...), true), tt.tests)
			assert.Equal(t, -1.0, c.Delta)
		})
	}
}

func TestCompareNothing(t *testing.T) {
	for _, c := range []Comparison{Compare(nil, nil), Compare(points(1, 2), nil), Compare(nil, points(1))} {
		assert.Equal(t, 1.0, c.P)
		assert.Equal(t, 1.0, c.MinP)
		assert.True(t, math.IsNaN(c.Ratio))
		assert.False(t, c.RatioInterval.Finite())
	}
}

func TestCompareDoesNotSortItsInput(t *testing.T) {
	a, b := points(3, 1, 2), points(6, 5, 4)
	Compare(a, b)
	assert.Equal(t, points(3, 1, 2), a)
	assert.Equal(t, points(6, 5, 4), b)
}

// Counts that are 0 have no ratio, and still compare.
func TestCompareZeros(t *testing.T) {
	zeros, twelves := points(0, 0, 0, 0, 0, 0, 0, 0), points(12, 13, 12, 14, 12, 12, 15, 12)
	c := Compare(zeros, twelves)
	assert.True(t, math.IsNaN(c.Ratio))
	assert.Less(t, c.P, 0.001)
	assert.Equal(t, MannWhitney, c.Test)
	assert.Equal(t, 1.0, Compare(zeros, zeros).P)
}

// A drift that moves whole blocks hides a difference from the ranks of all runs,
// and a stall hides it from the signed ranks.
func TestEachTestHasItsUse(t *testing.T) {
	var a, b []float64
	for i := range 10 {
		a = append(a, 1+float64(i)/3)
		b = append(b, a[i]*1.1)
	}
	c := Compare(points(a...), points(b...))
	assert.Equal(t, SignedRank, c.Test)
	assert.Less(t, c.P, 0.01)
	assert.InDelta(t, 1/1.1, c.Ratio, 1e-9)

	for i := range a {
		a[i] = 1 + float64(i)/1000
		b[i] = 1.1 + float64(i)/900
	}
	a[4] = 3 // the processor was away
	c = Compare(points(a...), points(b...))
	assert.Equal(t, MannWhitney, c.Test)
	assert.Less(t, c.P, 0.01)
}

func TestPairs(t *testing.T) {
	a := []bench.Point{{Block: 0, Value: 1}, {Block: 1, Value: 2}, {Block: 3, Value: 4}, {Block: 3, Value: 5}}
	b := []bench.Point{{Block: 3, Value: 40}, {Block: 1, Value: 20}, {Block: 2, Value: 30}, {Block: 3, Value: 50}, {Block: 3, Value: 60}}
	assert.Equal(t, []pair{{2, 20}, {4, 40}, {5, 50}}, pairs(a, b), "a run without its fellow in the block has no pair")
}

// The p of the signed ranks is that of counting all 2^n ways, ties and
// differences of 0 included.
func TestSignedRankCountsAllWays(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 1))
	for range 200 {
		diffs := make([]float64, 1+rng.IntN(9))
		for i := range diffs {
			diffs[i] = float64(rng.IntN(9) - 4)
		}
		assert.InDelta(t, allWays(diffs), signedRankP(diffs), 1e-12, "%v", diffs)
	}
}

// allWays gives each non-zero difference either sign.
func allWays(diffs []float64) float64 {
	diffs = slices.DeleteFunc(slices.Clone(diffs), func(d float64) bool { return d == 0 })
	rank := func(i int) (r float64) {
		for _, e := range diffs {
			switch d := math.Abs(diffs[i]) - math.Abs(e); {
			case d > 0:
				r++
			case d == 0:
				r += 0.5
			}
		}
		return r + 0.5
	}
	uneven := func(ways uint) (sum float64) {
		for i := range diffs {
			if ways>>i&1 == 1 {
				sum += rank(i)
			} else {
				sum -= rank(i)
			}
		}
		return math.Abs(sum)
	}
	var seen uint
	for i, d := range diffs {
		if d > 0 {
			seen |= 1 << i
		}
	}
	hits, total := 0, 1<<len(diffs)
	for ways := range uint(total) {
		if uneven(ways) >= uneven(seen)-1e-9 {
			hits++
		}
	}
	return float64(hits) / float64(total)
}

// What must hold whatever is measured.
func TestCompareProperties(t *testing.T) {
	rng := rand.New(rand.NewPCG(2, 2))
	for range 300 {
		n := 1 + rng.IntN(12)
		a, b := stalling(rng, n)
		b = scaled(b, math.Exp(rng.NormFloat64()/5))
		c, swapped, faster := Compare(a, b), Compare(b, a), Compare(scaled(a, 3), scaled(b, 3))

		assert.GreaterOrEqual(t, c.P, c.MinP*(1-1e-9))
		assert.LessOrEqual(t, c.P, 1.0)
		assert.LessOrEqual(t, c.RatioInterval.Lo, c.Ratio)
		assert.GreaterOrEqual(t, c.RatioInterval.Hi, c.Ratio)
		if c.RatioInterval.Finite() {
			excluded := c.RatioInterval.Lo > 1 || c.RatioInterval.Hi < 1
			assert.Equal(t, c.P <= Alpha, excluded, "p and interval contradict each other: %+v", c)
		}
		assert.InDelta(t, c.P, swapped.P, 1e-9)
		assert.InDelta(t, -c.Delta, swapped.Delta, 1e-12)
		assert.InEpsilon(t, 1/c.Ratio, swapped.Ratio, 1e-9)
		assert.InEpsilon(t, c.Ratio, faster.Ratio, 1e-9, "the unit does not matter")
		assert.InDelta(t, c.P, faster.P, 1e-9)
	}
}

// Of a hundred intervals five may miss.
func TestIntervalsCover(t *testing.T) {
	const truth, rounds = 1.1, 400
	for name, draw := range map[string]noise{"quiet": quiet, "drifting": drifting, "stalling": stalling} {
		for _, n := range []int{6, 10} {
			rng, missed := rand.New(rand.NewPCG(3, uint64(n))), 0
			for range rounds {
				a, b := draw(rng, n)
				i := Compare(scaled(a, truth), b).RatioInterval
				if i.Lo > truth || i.Hi < truth {
					missed++
				}
			}
			assert.LessOrEqual(t, missed, rounds*7/100, "%s, n=%d", name, n)
		}
	}
}
