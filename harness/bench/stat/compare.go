// Package stat judges what the comparison measured: how large the difference
// between two VMMs is, how sure that is, and whether it may be called one.
//
// Nothing is assumed of the distributions, which have a long tail (a busy host
// takes the processor away for seconds): medians, ranks and permutations only.
package stat

import (
	"math"
	"slices"

	"golang.org/x/perf/benchmath"

	"virtlab/harness/bench"
)

// Alpha is the chance that is taken of calling any difference in a family of
// comparisons where there is none.
const Alpha = 0.05

// Confidence is that of each interval.
const Confidence = 0.95

// Interval is a confidence interval. With too few runs for one it is all that is
// possible: from -Inf, or 0 for a ratio, to +Inf.
type Interval struct{ Lo, Hi float64 }

// Finite tells whether there were runs enough for an interval.
func (i Interval) Finite() bool {
	return !math.IsInf(i.Lo, 0) && !math.IsInf(i.Hi, 0) && !math.IsNaN(i.Lo) && !math.IsNaN(i.Hi)
}

// Summary is what one side measured, in the metric's unit.
type Summary struct {
	N        int
	Median   float64
	Interval Interval // of the median; at least 6 runs are needed for a finite one
	Min, Max float64
}

// Summarize gives the median and its interval by order statistics. Without
// points N is 0 and all else is NaN.
func Summarize(points []bench.Point) Summary {
	if len(points) == 0 {
		nan := math.NaN()
		return Summary{0, nan, Interval{nan, nan}, nan, nan}
	}
	sample := benchmath.NewSample(values(points), &benchmath.DefaultThresholds) // sorts
	s := benchmath.AssumeNothing.Summary(sample, Confidence)
	return Summary{len(points), s.Center, Interval{s.Lo, s.Hi}, sample.Values[0], sample.Values[len(points)-1]}
}

func values(points []bench.Point) []float64 {
	v := make([]float64, len(points))
	for i, p := range points {
		v[i] = p.Value
	}
	return v
}

// Test is a test of the hypothesis that two sides do not differ.
type Test string

// The tests. Both take part where there are blocks enough for either to find a
// difference: the signed ranks see past a drift that moves whole blocks, which
// hides a difference from the Mann–Whitney test, and that one past a stall of
// a few runs, which hides it from the signed ranks.
const (
	MannWhitney Test = "Mann–Whitney U"
	SignedRank  Test = "Wilcoxon's signed ranks, paired by block"
)

// Comparison is the difference between two sides A and B in one metric.
type Comparison struct {
	A, B Summary
	// Ratio is A's value over B's: the Hodges–Lehmann estimate on logarithms.
	// It is NaN where a value is not positive, and so is its interval.
	Ratio         float64
	RatioInterval Interval
	// Delta is the effect size, Cliff's delta: of all pairs of a run of A and one
	// of B, the share in which A's value is larger minus that in which it is
	// smaller. 1 or -1: the two do not overlap.
	Delta float64
	P     float64 // two-sided, of this comparison alone
	Test  Test    // which gave P and the interval
	// MinP is the smallest P that so many runs can give, whatever they measure.
	MinP float64
}

// Compare compares two sides. Points with the same Block were measured side by
// side. All values are finite.
func Compare(a, b []bench.Point) Comparison {
	c := Comparison{
		A: Summarize(a), B: Summarize(b), P: 1, MinP: 1,
		Ratio: math.NaN(), RatioInterval: Interval{math.NaN(), math.NaN()},
	}
	if len(a) == 0 || len(b) == 0 {
		return c
	}
	c.Delta = delta(values(a), values(b))
	ratios := positive(a) && positive(b)
	c.decide(methods(a, b, ratios), ratios)
	return c
}

// decide takes the verdict of the method that is surer. Two methods share the
// chance of an error: each works at half of it, and the smaller P is doubled
// (Bonferroni), so that picking the better one afterwards is no cheating.
func (c *Comparison) decide(ms []method, ratios bool) {
	best := slices.MinFunc(ms, func(x, y method) int { return compare(x.p, y.p) })
	share := float64(len(ms))
	c.Test, c.P, c.MinP = best.test, min(1, share*best.p), 1
	for _, m := range ms {
		c.MinP = min(c.MinP, share*m.minP)
	}
	if ratios {
		shift, i := best.estimate((1 - Confidence) / share)
		c.Ratio, c.RatioInterval = math.Exp(shift), Interval{math.Exp(i.Lo), math.Exp(i.Hi)}
	}
}

// compare orders p-values; those that differ by rounding alone are equal.
func compare(x, y float64) int {
	switch {
	case x < y*(1-1e-9):
		return -1
	case y < x*(1-1e-9):
		return 1
	}
	return 0
}

func positive(points []bench.Point) bool {
	return !slices.ContainsFunc(points, func(p bench.Point) bool { return p.Value <= 0 })
}

func delta(x, y []float64) float64 {
	above := 0
	for _, v := range x {
		for _, w := range y {
			switch {
			case v > w:
				above++
			case v < w:
				above--
			}
		}
	}
	return float64(above) / float64(len(x)*len(y))
}
