package stat

import (
	"math"
	"slices"

	"virtlab/harness/bench"
)

// Margin and Negligible bound differences of no importance. Two sides that are
// not told apart are called equal where the interval lies within Margin, the
// threshold of Firecracker's A/B tests, and any two where it lies within
// Negligible: with numbers that hardly vary, ranks tell everything apart.
const (
	Margin     = 0.05
	Negligible = 0.01
)

// Question is what a comparison asks: which of two VMMs on a machine is better
// by a metric of a cell.
type Question struct {
	On           string
	NameA, NameB string // of the VMMs
	Cell         string
	Metric       bench.Metric
}

// Case is a question with what was measured.
type Case struct {
	Question
	Comparison
	// Floor is by how much a VMM differed from itself in the A/A comparison, as a
	// fraction. NaN: there was none.
	Floor float64
}

// Kind is what a verdict says.
type Kind string

// The kinds of verdict.
const (
	ABetter     Kind = "A"                   // a difference, and A is the better
	BBetter     Kind = "B"                   // a difference, and B is the better
	Within      Kind = "within noise"        // a difference that an A/A comparison shows as well
	Equal       Kind = "equal"               // any difference is smaller than Margin, or Negligible
	Open        Kind = "not distinguishable" // a difference is neither shown nor excluded
	TooFew      Kind = "too few runs"        // none could have been shown with so many runs
	NotMeasured Kind = "not measured"        // one side has no numbers
)

// Verdict is a case decided.
type Verdict struct {
	Case
	Kind Kind
	// Adjusted is P after Holm's correction over the Family comparisons that
	// could show something; 1 for one that could not.
	Adjusted float64
	Family   int
}

// Judge decides the cases of a family, with Holm's correction over it: the
// chance of calling any difference where there is none is Alpha at most.
func Judge(family []Case) []Verdict {
	able, n := testable(family)
	adjusted := holm(family, able)
	out := make([]Verdict, len(family))
	for i, c := range family {
		out[i] = Verdict{Case: c, Adjusted: adjusted[i], Family: n}
		out[i].Kind = out[i].kind(able[i])
	}
	return out
}

// testable marks the cases in which something can be shown at all. Those with
// too few runs never can, so they need no share of Alpha (Tarone 1990, A
// modified Bonferroni method for discrete data). The number of runs decides.
func testable(family []Case) (able []bool, n int) {
	able = make([]bool, len(family))
	for k := 1; ; k++ {
		n = 0
		for i, c := range family {
			able[i] = measured(c) && c.MinP*float64(k) <= Alpha
			if able[i] {
				n++
			}
		}
		if n <= k {
			return able, n
		}
	}
}

func measured(c Case) bool { return c.A.N > 0 && c.B.N > 0 }

// holm adjusts the p-values of the cases that are able (Holm 1979): the
// smallest of m counts m times, the next m-1 times, and none less than one
// before it.
func holm(family []Case, able []bool) []float64 {
	adjusted := slices.Repeat([]float64{1}, len(family))
	var order []int
	for i := range family {
		if able[i] {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(i, j int) int { return compare(family[i].P, family[j].P) })
	least := 0.0
	for rank, i := range order {
		least = max(least, min(1, family[i].P*float64(len(order)-rank)))
		adjusted[i] = least
	}
	return adjusted
}

func (v Verdict) kind(able bool) Kind {
	switch {
	case !measured(v.Case):
		return NotMeasured
	case v.bound() <= Negligible:
		return Equal
	case v.Adjusted <= Alpha && v.withinNoise():
		return Within
	case v.Adjusted <= Alpha && v.aBetter():
		return ABetter
	case v.Adjusted <= Alpha:
		return BBetter
	case v.same() || v.bound() <= Margin:
		return Equal
	case !able:
		return TooFew
	}
	return Open
}

// withinNoise compares sizes, not intervals: a difference that is sure to be
// there, and no larger than what a VMM shows against itself, has a cause that
// is not the VMM.
func (v Verdict) withinNoise() bool {
	return !math.IsNaN(v.Floor) && !math.IsNaN(v.Ratio) && math.Abs(math.Log(v.Ratio)) <= math.Log1p(v.Floor)
}

// aBetter goes by the effect, which is there where no ratio is.
func (v Verdict) aBetter() bool {
	if math.IsNaN(v.Ratio) || v.Ratio == 1 {
		return v.Delta > 0 == v.Metric.Higher
	}
	return v.Ratio > 1 == v.Metric.Higher
}

// same is true of counts that are 0 on either side, which have no ratio.
func (v Verdict) same() bool {
	return math.IsNaN(v.Ratio) && v.bothKnown() && v.A.Min == v.B.Max && v.A.Max == v.B.Min
}

// bothKnown: one run proves no constant.
func (v Verdict) bothKnown() bool { return v.A.Interval.Finite() && v.B.Interval.Finite() }

// bound is the largest difference that the interval allows, as a fraction of
// the smaller value. NaN without an interval.
func (c Comparison) bound() float64 {
	return math.Expm1(max(math.Abs(math.Log(c.RatioInterval.Lo)), math.Abs(math.Log(c.RatioInterval.Hi))))
}

// floor is the noise floor that an A/A comparison shows. What chance does to it
// is in the test's p already; this is what order, placement and the like do to
// two sides that are the same. NaN without a ratio.
func (c Comparison) floor() float64 { return math.Expm1(math.Abs(math.Log(c.Ratio))) }

// Gain is how much better A is than B, as a fraction of the worse one's value,
// with its interval: 0.2 is 20 % less time, or 20 % more throughput. It is
// negative where B is better, and NaN without a ratio.
func (v Verdict) Gain() (by float64, i Interval) {
	i = Interval{math.Inf(-1), math.Inf(1)}
	if v.RatioInterval.Finite() {
		lo, hi := v.gain(v.RatioInterval.Lo), v.gain(v.RatioInterval.Hi)
		i = Interval{min(lo, hi), max(lo, hi)}
	}
	return v.gain(v.Ratio), i
}

func (v Verdict) gain(ratio float64) float64 {
	switch {
	case v.Metric.Higher && ratio >= 1:
		return ratio - 1
	case v.Metric.Higher:
		return -(1/ratio - 1)
	case ratio <= 1:
		return 1 - ratio
	}
	return -(1 - 1/ratio) // NaN too
}
