package stat

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/bench"
)

var (
	toInit     = bench.Metric{Part: bench.Boot, Unit: "init-sec", Name: "exec to init", Verdict: true}
	ownRSS     = bench.Metric{Part: bench.Boot, Unit: "own-rss-B", Verdict: true}
	throughput = bench.Metric{Part: bench.RAM, Unit: "B/s", Higher: true, Verdict: true}
)

// asked is a case of gokvm against qemu without an A/A comparison.
func asked(m bench.Metric, a, b []bench.Point) Case {
	return Case{Question{On: "L1", NameA: "gokvm", NameB: "qemu", Metric: m}, Compare(a, b), math.NaN()}
}

// withP is a case of which only the p-values matter.
func withP(p, minP float64) Case {
	return Case{Comparison: Comparison{A: Summary{N: 5}, B: Summary{N: 5}, P: p, MinP: minP, Ratio: 2, RatioInterval: Interval{1, 4}}, Floor: math.NaN()}
}

func TestHolm(t *testing.T) {
	for _, tt := range []struct {
		name   string
		family []Case
		want   []float64
		size   int
	}{
		{"alone", []Case{withP(0.04, 0)}, []float64{0.04}, 1},
		{"the smallest counts most", []Case{withP(0.03, 0), withP(0.01, 0), withP(0.04, 0)}, []float64{0.06, 0.03, 0.06}, 3},
		{"none above 1", []Case{withP(0.6, 0), withP(0.9, 0)}, []float64{1, 1}, 2},
		{"none before a smaller one", []Case{withP(0.010, 0), withP(0.011, 0)}, []float64{0.02, 0.02}, 2},
		{"too few runs take no share", []Case{withP(0.04, 0.001), withP(0.33, 0.33), withP(0.10, 0.10)}, []float64{0.04, 1, 1}, 1},
		{"in a large family", []Case{withP(0.02, 0.02), withP(0.02, 0.02), withP(0.02, 0.02), withP(0.001, 0.0001)}, []float64{1, 1, 1, 0.001}, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for i, v := range Judge(tt.family) {
				assert.InDelta(t, tt.want[i], v.Adjusted, 1e-12)
				assert.Equal(t, tt.size, v.Family)
			}
		})
	}
}

// A family can only make it harder to call a difference.
func TestJudgeProperties(t *testing.T) {
	rng := rand.New(rand.NewPCG(4, 4))
	for range 300 {
		var family []Case
		for range 1 + rng.IntN(12) {
			a, b := quiet(rng, 2+rng.IntN(10))
			family = append(family, asked(toInit, a, scaled(b, math.Exp(rng.NormFloat64()/10))))
		}
		for i, v := range Judge(family) {
			assert.GreaterOrEqual(t, v.Adjusted, v.P*(1-1e-9))
			alone := Judge(family[i : i+1])[0]
			assert.LessOrEqual(t, alone.Adjusted, v.Adjusted*(1+1e-9))
			by, interval := v.Gain()
			assert.LessOrEqual(t, interval.Lo, by)
			assert.GreaterOrEqual(t, interval.Hi, by)
			switch v.Kind {
			case ABetter:
				assert.Greater(t, by, 0.0)
			case BBetter:
				assert.Less(t, by, 0.0)
			}
			swapped := v.Case
			swapped.Ratio, swapped.RatioInterval = 1/v.Ratio, Interval{1 / v.RatioInterval.Hi, 1 / v.RatioInterval.Lo}
			back, _ := Verdict{Case: swapped}.Gain()
			assert.InDelta(t, -by, back, 1e-9, "what one side gains the other loses")
		}
	}
}

// series are ten values around x with a spread of a percent.
func series(x float64) []bench.Point {
	return points(x*1.004, x*0.997, x*1.001, x*0.995, x*1.005, x*0.999, x*1.003, x*0.998, x*1.002, x*0.996)
}

func TestVerdicts(t *testing.T) {
	wide := points(1, 1.4, 0.8, 1.2, 0.7, 1.3, 1.1, 0.9, 1.25, 0.75)
	shuffled := points(0.9, 0.75, 1.3, 0.7, 1.25, 1, 0.8, 1.4, 1.2, 1.1)
	exits := bench.Metric{Part: bench.Boot, Unit: "boot-exits", Verdict: true}
	floored := asked(toInit, series(1), series(1.02))
	floored.Floor = 0.03
	for _, tt := range []struct {
		name string
		c    Case
		kind Kind
		text string
	}{
		{"faster", asked(toInit, series(0.9), series(1)), ABetter, "gokvm is faster by 10 % (95 %: 9.6 to 10 %)"},
		{"slower", asked(toInit, series(1), series(0.9)), BBetter, "qemu is faster by 10 % (95 %: 9.6 to 10 %)"},
		{"lighter", asked(ownRSS, series(4e6), series(1.6e7)), ABetter, "gokvm is lighter by 75 % (95 %: 75 to 75 %)"},
		{"more", asked(throughput, series(3e9), series(1e9)), ABetter, "gokvm has more throughput by 200 % (95 %: 199 to 201 %)"},
		{"less", asked(throughput, series(1e9), series(1.5e9)), BBetter, "qemu has more throughput by 50 % (95 %: 49 to 51 %)"},
		{"fewer, of none", asked(exits, points(0, 0, 0, 0, 0, 0), points(12, 12, 13, 12, 14, 12)), ABetter, "gokvm needs fewer VM exits: 0 against 12"},
		{"equal", asked(toInit, series(1), series(1.001)), Equal, "no difference within 0.1 %"},
		{"constant", asked(ownRSS, points(5, 5, 5, 5, 5, 5), points(5, 5, 5, 5, 5, 5)), Equal, "no difference within 0 %"},
		{"none on either side", asked(exits, points(0, 0, 0, 0, 0, 0), points(0, 0, 0, 0, 0, 0)), Equal, "no difference within 0 %"},
		{"noise", floored, Within, "no difference beyond the noise: 2 %, and a VMM differed from itself by 3 %"},
		{"open", asked(toInit, wide, shuffled), Open, "not distinguishable with n=10 (p=1): between 25 % for qemu and 25 % for gokvm"},
		{"three boots", asked(toInit, points(1, 1.1, 1.2), points(2, 2.1, 2.2)), TooFew, "not distinguishable with n=3: the smallest possible p is 0.10"},
		{"two against four", asked(toInit, points(1, 1.1), points(2, 2.1, 2.2, 2.3)), TooFew, "not distinguishable with n=2+4: the smallest possible p is 0.13"},
		{"two equal zeros", asked(exits, points(0, 0), points(0, 0)), TooFew, "not distinguishable with n=2: the smallest possible p is 0.33"},
		{"one side", asked(toInit, nil, points(2)), NotMeasured, "not measured for gokvm"},
		{"no side", asked(toInit, nil, nil), NotMeasured, "not measured for gokvm and qemu"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			v := Judge([]Case{tt.c})[0]
			assert.Equal(t, tt.kind, v.Kind)
			assert.Equal(t, tt.text, v.String())
		})
	}
}

func TestVerdictOfManyMetrics(t *testing.T) {
	c := asked(toInit, points(1, 1.1, 1.2, 1.3), points(2, 2.1, 2.2, 2.3))
	v := Judge([]Case{c, c})
	require.Equal(t, TooFew, v[0].Kind, "2 times 0.029 is more than 0.05")
	assert.Equal(t, "not distinguishable with n=4: the smallest possible p is 0.029, too much where so many metrics are compared", v[0].String())
}

func TestAdvantageOfEveryMetric(t *testing.T) {
	seen := map[string]bool{}
	for _, m := range bench.Metrics {
		seen[Advantage(m)] = true
	}
	assert.Equal(t, map[string]bool{
		"is faster": true, "needs less CPU time": true, "needs fewer VM exits": true, "executes fewer instructions": true,
		"is lighter": true, "has more throughput": true, "has the shorter latency": true,
	}, seen)
}

func TestFigures(t *testing.T) {
	for x, want := range map[float64]string{0: "0", 0.004: "0", 0.123: "0.12", 1.26: "1.3", 10.2: "10", 99.6: "100", 340.4: "340", -2.34: "-2.3", 12345: "12345"} {
		assert.Equal(t, want, figure(x))
	}
	for p, want := range map[float64]string{1: "1", 0.999: "1", 0.1: "0.10", 1. / 3: "0.33", 0.02857: "0.029", 0.00005: "below 0.0001"} {
		assert.Equal(t, want, probability(p))
	}
}
