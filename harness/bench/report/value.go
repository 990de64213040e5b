package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"virtlab/harness/bench"
	"virtlab/harness/bench/stat"
)

// estimate is a median with what is known of where it lies.
type estimate struct {
	N   int
	Mid float64
	// Lo and Hi are the 95 % interval of the median or, where there are too few
	// values to have one, the smallest and the largest value.
	Lo, Hi   float64
	Interval bool
}

// estimateOf summarises values, each times factor.
func estimateOf(points []bench.Point, factor float64) estimate {
	if len(points) == 0 {
		return estimate{}
	}
	s := stat.Summarize(points)
	e := estimate{s.N, s.Median * factor, s.Min * factor, s.Max * factor, s.Interval.Finite()}
	if e.Interval {
		e.Lo, e.Hi = s.Interval.Lo*factor, s.Interval.Hi*factor
	}
	return e
}

// String writes "1.23 (1.20 to 1.31)"; a range that is no interval stands in
// brackets.
func (e estimate) String() string {
	digits := decimals(e.Mid)
	show := func(v float64) string { return fixed(v, digits) }
	switch {
	case e.N == 1:
		return show(e.Mid)
	case e.Interval:
		return fmt.Sprintf("%s (%s to %s)", show(e.Mid), show(e.Lo), show(e.Hi))
	default:
		return fmt.Sprintf("%s [%s to %s]", show(e.Mid), show(e.Lo), show(e.Hi))
	}
}

// decimals leaves three significant digits, and all digits before the point.
func decimals(v float64) int {
	if v == 0 {
		return 0
	}
	return max(0, 2-int(math.Floor(math.Log10(math.Abs(v)))))
}

// unit is what a metric is shown in: values times Factor.
type unit struct {
	Name   string
	Factor float64
}

// unitOf chooses the unit in which a metric is shown, once for all values that
// stand beside each other; largest is the largest of them.
func unitOf(metric string, largest float64) unit {
	switch {
	case metric == "B/s":
		return unit{"MiB/s", 1.0 / (1 << 20)}
	case strings.HasSuffix(metric, "-B"):
		return unit{"MiB", 1.0 / (1 << 20)}
	case strings.HasSuffix(metric, "-sec") && largest < 1e-3:
		return unit{"µs", 1e6}
	case strings.HasSuffix(metric, "-sec") && largest < 1:
		return unit{"ms", 1e3}
	case strings.HasSuffix(metric, "-sec"):
		return unit{"s", 1}
	case strings.Contains(metric, "/") && largest >= 1e7:
		return unit{"million " + metric, 1e-6}
	case strings.Contains(metric, "/"):
		return unit{metric, 1}
	case largest >= 1e6:
		return unit{"million", 1e-6}
	default:
		return unit{"", 1}
	}
}

// grouped writes a number without an exponent, its thousands set apart.
func grouped(v float64) string {
	return group(strconv.FormatFloat(math.Round(v*1e9)/1e9, 'f', -1, 64))
}

// group sets thousands apart by thin spaces from five digits on.
func group(s string) string {
	sign := len(s) - len(strings.TrimPrefix(s, "-"))
	whole, _, _ := strings.Cut(s[sign:], ".")
	if len(whole) < 5 {
		return s
	}
	for i := sign + len(whole) - 3; i > sign; i -= 3 {
		s = s[:i] + "\u2009" + s[i:]
	}
	return s
}

// fixed writes a number with that many decimals, its thousands set apart.
func fixed(v float64, decimals int) string { return group(strconv.FormatFloat(v, 'f', decimals, 64)) }
