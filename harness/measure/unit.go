package measure

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/width"

	"virtlab/harness/sysbench"
)

// dimension is what a unit measures.
type dimension string

const (
	inTime   dimension = "a time"
	inBytes  dimension = "a size"
	inRate   dimension = "a number in a second"
	inFlow   dimension = "a size in a second"
	inNumber dimension = "a number"
)

// unit is a unit as someone wrote it. binary is its factor if by "MB" he means
// MiB, as many do; 0 where there is no doubt.
type unit struct {
	name   string
	dim    dimension
	factor float64 // to the base unit
	binary float64
}

// dimensions are what the metrics are measured in.
var dimensions = map[Metric]dimension{
	BootTime: inTime, Virtual: inBytes, RSS: inBytes, PSS: inBytes, USS: inBytes, Rate: inRate, Throughput: inFlow,
	Mean: inTime, P95: inTime, Events: inNumber, Total: inBytes, Duration: inTime,
}

var times = map[string]float64{
	"s": 1, "sec": 1, "secs": 1, "second": 1, "seconds": 1, "秒": 1, "ms": 1e-3, "msec": 1e-3, "millisecond": 1e-3, "milliseconds": 1e-3,
	"毫秒": 1e-3, "us": 1e-6, "usec": 1e-6, "µs": 1e-6, "μs": 1e-6, "微秒": 1e-6, "ns": 1e-9, "纳秒": 1e-9, "min": 60, "分钟": 60,
}

// sizes are units of sizes. KB is 1024 here: pmap, ps and /proc mean that.
var sizes = map[string]unit{
	"b": {factor: 1}, "byte": {factor: 1}, "bytes": {factor: 1}, "字节": {factor: 1},
	"k": {factor: sysbench.KiB}, "kb": {factor: sysbench.KiB}, "kib": {factor: sysbench.KiB}, "kbyte": {factor: sysbench.KiB}, "kbytes": {factor: sysbench.KiB},
	"m": {factor: sysbench.MiB}, "mib": {factor: sysbench.MiB}, "mb": {factor: 1e6, binary: sysbench.MiB}, "mbyte": {factor: 1e6, binary: sysbench.MiB}, "mbytes": {factor: 1e6, binary: sysbench.MiB},
	"g": {factor: sysbench.GiB}, "gib": {factor: sysbench.GiB}, "gb": {factor: 1e9, binary: sysbench.GiB},
}

var rates = map[string]float64{
	"/s": 1, "1/s": 1, "ops/s": 1, "op/s": 1, "ops/sec": 1, "ops": 1, "iops": 1, "io/s": 1, "events/s": 1, "event/s": 1, "events/sec": 1, "eps": 1, "req/s": 1, "requests/s": 1,
	"reads/s": 1, "writes/s": 1, "次/秒": 1, "次/s": 1, "个/秒": 1, "个/s": 1, "事件/秒": 1, "kops/s": 1e3, "kops": 1e3, "kiops": 1e3, "k/s": 1e3, "mops/s": 1e6,
}

var numbers = map[string]float64{"次": 1, "个": 1, "events": 1, "ops": 1, "operations": 1, "times": 1}

// perSecond are the ways to write "in a second" after a size.
var perSecond = []string{"/s", "/sec", "/second", "/秒", "ps"}

// halfWidth writes full-width digits, letters and signs as ASCII.
func halfWidth(s string) string {
	if strings.IndexFunc(s, func(r rune) bool { return r >= utf8.RuneSelf }) < 0 {
		return s
	}
	return width.Fold.String(s)
}

// fold writes text as it is looked up: half-width, lower case, single spaces.
func fold(s string) string {
	s = strings.ToLower(halfWidth(s))
	s = strings.Map(func(r rune) rune {
		if strings.ContainsRune("_-\u2013\u00a0", r) {
			return ' '
		}
		return r
	}, s)
	return strings.Join(strings.Fields(s), " ")
}

// capitals writes units as they are written, when they were folded.
var capitals = strings.NewReplacer("kib", "KiB", "mib", "MiB", "gib", "GiB", "kb", "KB", "mb", "MB", "gb", "GB")

// parseUnit looks a unit up. A unit of a single letter or of "ops" can be of
// more than one kind, so it is looked up for a dimension; "" takes any.
func parseUnit(text string, want dimension) (unit, bool) {
	name := strings.TrimSpace(halfWidth(text))
	s := strings.ReplaceAll(strings.ToLower(name), " ", "")
	for _, u := range candidates(s) {
		if u.dim == want || want == "" {
			u.name = capitals.Replace(name)
			return u, true
		}
	}
	return unit{}, false
}

func candidates(s string) (all []unit) {
	if f, ok := times[s]; ok {
		all = append(all, unit{dim: inTime, factor: f})
	}
	if u, ok := sizes[s]; ok {
		u.dim = inBytes
		all = append(all, u)
	}
	if f, ok := rates[s]; ok {
		all = append(all, unit{dim: inRate, factor: f})
	}
	for _, suffix := range perSecond {
		if u, ok := sizes[strings.TrimSuffix(s, suffix)]; ok && strings.HasSuffix(s, suffix) && strings.Contains(s, "b") {
			u.dim = inFlow
			if u.binary == 0 && u.factor == sysbench.KiB && !strings.Contains(s, "kib") {
				u = unit{dim: inFlow, factor: 1e3, binary: sysbench.KiB} // no tool's convention says so for rates
			}
			all = append(all, u)
		}
	}
	if f, ok := numbers[s]; ok {
		all = append(all, unit{dim: inNumber, factor: f})
	}
	return all
}

// usual is the unit that the course's tools print a metric in, for tables that
// name none.
func usual(m Metric) unit {
	name := map[Metric]string{
		BootTime: "s", Virtual: "KB", RSS: "KB", PSS: "KB", USS: "KB", Rate: "/s", Throughput: "MiB/s", Mean: "ms", P95: "ms", Total: "MiB", Duration: "s",
	}[m]
	if name == "" {
		return unit{dim: inNumber, factor: 1}
	}
	u, _ := parseUnit(name, dimensions[m])
	return u
}

// format writes a number as sysbench does.
func format(v float64) string { return strconv.FormatFloat(v, 'f', 2, 64) }
