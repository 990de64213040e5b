package stat

import (
	"cmp"
	"math"
	"slices"
	"sort"

	"github.com/aclements/go-moremath/stats"
	"golang.org/x/perf/benchmath"

	"virtlab/harness/bench"
)

// method is a rank test together with the estimate and the interval that
// belong to it (Hollander, Wolfe, Chicken: Nonparametric Statistical Methods,
// sections 3.1 to 3.3 and 4.1 to 4.3).
type method struct {
	test    Test
	p, minP float64
	// shifts are the elementary estimates of log A - log B: the median is the
	// estimate, the tails are cut off for the interval.
	shifts []float64
	// cdf is the distribution of the test's statistic where nothing differs: the
	// chance that it is at most k.
	cdf func(k int) float64
}

// methods are the tests that can find anything with so many runs. Which they
// are depends on the number of runs alone, never on what was measured.
func methods(a, b []bench.Point, ratios bool) []method {
	ms := []method{mannWhitney(values(a), values(b))}
	if !ratios {
		return ms // no logarithms to rank
	}
	if m := signedRank(pairs(a, b)); 2*m.minP <= Alpha {
		ms = append(ms, m)
	}
	return ms
}

// estimate is the median shift with an interval that misses the true one with
// a chance of at most miss.
func (m method) estimate(miss float64) (shift float64, i Interval) {
	slices.Sort(m.shifts)
	n := len(m.shifts)
	shift = (m.shifts[(n-1)/2] + m.shifts[n/2]) / 2
	cut := sort.Search(n, func(k int) bool { return m.cdf(k) > miss/2 })
	if cut == 0 {
		return shift, Interval{math.Inf(-1), math.Inf(1)}
	}
	return shift, Interval{m.shifts[cut-1], m.shifts[n-cut]}
}

// mannWhitney takes the runs of either side as exchangeable.
func mannWhitney(x, y []float64) method {
	d := stats.UDist{N1: len(x), N2: len(y)}
	m := method{test: MannWhitney, minP: min(1, 2*d.CDF(0)), cdf: func(k int) float64 { return d.CDF(float64(k)) }}
	for _, v := range x {
		for _, w := range y {
			m.shifts = append(m.shifts, math.Log(v)-math.Log(w))
		}
	}
	sx := benchmath.NewSample(slices.Clone(x), &benchmath.DefaultThresholds)
	sy := benchmath.NewSample(slices.Clone(y), &benchmath.DefaultThresholds)
	m.p = min(1, benchmath.AssumeNothing.Compare(sx, sy).P)
	return m
}

// pair is a run of either side, measured in one block.
type pair struct{ a, b float64 }

// pairs are the runs that a block has of both sides.
func pairs(a, b []bench.Point) (ps []pair) {
	waiting := map[int][]float64{}
	for _, p := range b {
		waiting[p.Block] = append(waiting[p.Block], p.Value)
	}
	for _, p := range a {
		if w := waiting[p.Block]; len(w) > 0 {
			ps = append(ps, pair{p.Value, w[0]})
			waiting[p.Block] = w[1:]
		}
	}
	return ps
}

// signedRank takes only the two runs of a block as exchangeable. Its p comes
// from all 2^n ways to exchange them.
func signedRank(ps []pair) method {
	n := len(ps)
	diffs := make([]float64, n)
	for i, p := range ps {
		diffs[i] = math.Log(p.a) - math.Log(p.b)
	}
	dist := subsetSums(upTo(n))
	m := method{
		test: SignedRank, p: signedRankP(diffs), minP: min(1, math.Ldexp(2, -n)),
		cdf: func(k int) float64 { return cumulative(dist, k) },
	}
	for i, d := range diffs {
		for _, e := range diffs[i:] {
			m.shifts = append(m.shifts, (d+e)/2)
		}
	}
	return m
}

// signedRankP is the chance that exchanging at random gives rank sums as
// uneven as these. Differences of 0 say nothing and are left out.
func signedRankP(diffs []float64) float64 {
	diffs = slices.DeleteFunc(slices.Clone(diffs), func(d float64) bool { return d == 0 })
	slices.SortFunc(diffs, func(d, e float64) int { return cmp.Compare(math.Abs(d), math.Abs(e)) })
	ranks := doubledRanks(diffs)
	sum, total := 0, 0
	for i, r := range ranks {
		total += r
		if diffs[i] > 0 {
			sum += r
		}
	}
	return min(1, 2*cumulative(subsetSums(ranks), min(sum, total-sum)))
}

// doubledRanks ranks sorted differences by size, 2 for the smallest: equal ones
// share the mean of their ranks, which doubled is whole.
func doubledRanks(diffs []float64) []int {
	ranks := make([]int, len(diffs))
	for i := 0; i < len(diffs); {
		j := i
		for j < len(diffs) && math.Abs(diffs[j]) == math.Abs(diffs[i]) {
			j++
		}
		for k := i; k < j; k++ {
			ranks[k] = i + 1 + j
		}
		i = j
	}
	return ranks
}

func upTo(n int) []int {
	ranks := make([]int, n)
	for i := range ranks {
		ranks[i] = i + 1
	}
	return ranks
}

// subsetSums is the distribution of the sum of ranks, each of which is in it
// with a chance of one half.
func subsetSums(ranks []int) []float64 {
	dist := []float64{1}
	for _, r := range ranks {
		next := make([]float64, len(dist)+r)
		for sum, p := range dist {
			next[sum] += p / 2
			next[sum+r] += p / 2
		}
		dist = next
	}
	return dist
}

func cumulative(dist []float64, k int) (p float64) {
	for _, q := range dist[:min(k+1, len(dist))] {
		p += q
	}
	return p
}
