package stat

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"virtlab/harness/bench"
)

// String is the verdict in a sentence, without the metric's name: "gokvm is
// faster by 12 % (95 %: 10 to 15 %)".
func (v Verdict) String() string {
	switch v.Kind {
	case ABetter:
		return v.difference(v.NameA, v.A, v.B, 1)
	case BBetter:
		return v.difference(v.NameB, v.B, v.A, -1)
	case Within:
		by, _ := v.Gain()
		return fmt.Sprintf("no difference beyond the noise: %s, and a VMM differed from itself by %s",
			percent(math.Abs(by)), percent(v.Floor))
	case Equal:
		return "no difference within " + percent(v.within())
	case TooFew:
		return v.tooFew()
	case Open:
		return v.open()
	}
	return v.notMeasured()
}

// difference is the sentence for a winner, whose gain has the sign given.
func (v Verdict) difference(name string, winner, loser Summary, sign float64) string {
	by, i := v.Gain()
	if math.IsNaN(by) {
		return fmt.Sprintf("%s %s: %s against %s", name, Advantage(v.Metric), figure(winner.Median), figure(loser.Median))
	}
	lo, hi := sign*i.Lo, sign*i.Hi
	if !i.Finite() {
		return fmt.Sprintf("%s %s by %s", name, Advantage(v.Metric), percent(sign*by))
	}
	return fmt.Sprintf("%s %s by %s (95 %%: %s to %s)", name, Advantage(v.Metric),
		percent(sign*by), figure(100*min(lo, hi)), percent(max(lo, hi)))
}

// within is the difference that is excluded.
func (v Verdict) within() float64 {
	if v.same() {
		return 0
	}
	return v.bound()
}

func (v Verdict) tooFew() string {
	s := fmt.Sprintf("not distinguishable with n=%s: the smallest possible p is %s", v.runs(), probability(v.MinP))
	if v.MinP <= Alpha {
		s += ", too much where so many metrics are compared"
	}
	return s
}

func (v Verdict) open() string {
	s := fmt.Sprintf("not distinguishable with n=%s (p=%s)", v.runs(), probability(v.Adjusted))
	_, i := v.Gain()
	if !i.Finite() {
		return s
	}
	return fmt.Sprintf("%s: between %s and %s", s, v.inFavour(i.Lo), v.inFavour(i.Hi))
}

// inFavour names the side that a gain of A speaks for.
func (v Verdict) inFavour(gain float64) string {
	if gain < 0 {
		return percent(-gain) + " for " + v.NameB
	}
	return percent(gain) + " for " + v.NameA
}

func (v Verdict) notMeasured() string {
	var names []string
	if v.A.N == 0 {
		names = append(names, v.NameA)
	}
	if v.B.N == 0 {
		names = append(names, v.NameB)
	}
	return "not measured for " + strings.Join(names, " and ")
}

// runs is the number of runs of either side.
func (v Verdict) runs() string {
	a, b := v.A.N, v.B.N
	if a == b {
		return strconv.Itoa(a)
	}
	return fmt.Sprintf("%d+%d", a, b)
}

// Advantage says what the better one is by a metric: "is faster", "is lighter".
func Advantage(m bench.Metric) string {
	switch {
	case m.Unit == "vmm-cpu-sec":
		return "needs less CPU time"
	case strings.Contains(m.Unit, "exits"):
		return "needs fewer VM exits"
	case strings.Contains(m.Unit, "instructions"):
		return "executes fewer instructions"
	case strings.HasSuffix(m.Unit, "-B"):
		return "is lighter"
	case m.Higher:
		return "has more throughput"
	case m.Part == bench.Boot || m.Part == bench.Debian:
		return "is faster"
	}
	return "has the shorter latency"
}

// percent is a fraction in percent with two digits: "0.12 %", "12 %", "340 %".
func percent(fraction float64) string { return figure(100*fraction) + " %" }

// figure has two significant digits, or all those before the point.
func figure(x float64) string {
	if math.Abs(x) >= 99.5 {
		return fmt.Sprintf("%.0f", x)
	}
	return strconv.FormatFloat(round(x), 'f', -1, 64)
}

// round keeps two significant digits; less than 0.005 is 0.
func round(x float64) float64 {
	r, err := strconv.ParseFloat(fmt.Sprintf("%.2g", x), 64)
	if err != nil || math.Abs(x) < 0.005 {
		return 0
	}
	return r
}

// probability has two significant digits, zeros included: "0.10".
func probability(p float64) string {
	switch {
	case p >= 0.995:
		return "1"
	case p < 0.0001:
		return "below 0.0001"
	}
	return fmt.Sprintf("%#.2g", p)
}
