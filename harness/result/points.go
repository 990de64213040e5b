package result

import (
	"math"
	"strconv"
)

// cents is how finely points are counted: in hundredths. Sums of them are
// rounded, so that no 0.30000000000000004 is ever shown.
const cents = 100

// round gives x to the nearest hundredth.
func round(x float64) float64 { return math.Round(x*cents) / cents }

// milli gives seconds to the nearest thousandth.
func milli(seconds float64) float64 { return math.Round(seconds*1000) / 1000 }

// Points writes points as people do: "2.5", "10".
func Points(p float64) string { return strconv.FormatFloat(round(p), 'f', -1, 64) }

// percent is the share of points in max, 0 to 100; of nothing it is 0.
func percent(points, max float64) float64 {
	if max <= 0 {
		return 0
	}
	return round(100 * points / max)
}

// countable says whether p can be a number of points: a number, not below 0,
// and not beyond what anybody gives.
func countable(p float64) bool { return p >= 0 && p <= 1e6 }
