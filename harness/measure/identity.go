package measure

import (
	"fmt"
	"math"
	"slices"

	"virtlab/harness/sysbench"
)

// Identities tells which rows have numbers that cannot be of one run. of is how
// many rows of sysbench there are, checked how many of them had two numbers that
// belong together.
func (t *Table) Identities() (found []Finding, checked, of int) {
	lax := t.laxUnits()
	for _, r := range t.Rows {
		if r.Cell.Test == Boot || r.Cell.Test == Footprint {
			continue
		}
		of++
		wrong, any := r.identities(lax)
		found = append(found, wrong...)
		if any {
			checked++
		}
	}
	for name := range lax {
		found = append(found, Finding{Severity: Advice, Text: fmt.Sprintf("%s in these tables means 2^20 bytes (KB 2^10): only so do the numbers fit; sysbench prints MiB/s, write that", quote(name))})
	}
	return found, checked, of
}

// laxUnits are the units by which the table means powers of 1024 throughout,
// although they say powers of 1000.
func (t *Table) laxUnits() map[string]bool {
	fits, breaks := map[string]bool{}, map[string]bool{}
	for _, r := range t.Rows {
		rate, v, ok := r.pair(Rate, Throughput)
		if !ok || v.Unit.binary == 0 || r.Cell.Block == 0 {
			continue
		}
		expected := r.transfers(rate)
		switch asWritten, asMeant := expected.Has(v.Number), expected.Has(v.asBinary().Number); {
		case asMeant && !asWritten:
			fits[v.Unit.name] = true
		case !asMeant:
			breaks[v.Unit.name] = true
		}
	}
	for name := range breaks {
		delete(fits, name)
	}
	return fits
}

// asBinary is the value if its MB was meant to be MiB.
func (v Value) asBinary() Value {
	if v.Unit.binary != 0 {
		v.Number = scale(v.Number, unit{factor: v.Unit.binary / v.Unit.factor})
	}
	return v
}

// pair are two values of a row, if it has both.
func (r *Row) pair(a, b Metric) (va, vb Value, ok bool) {
	va, hasA := r.Values[a]
	vb, hasB := r.Values[b]
	return va, vb, hasA && hasB
}

// identities makes the checks that a row's numbers allow.
func (r *Row) identities(lax map[string]bool) (found []Finding, any bool) {
	if rate, v, ok := r.pair(Rate, Throughput); ok && r.Cell.Block > 0 {
		any = true
		if lax[v.Unit.name] {
			v = v.asBinary()
		}
		found = append(found, r.transfer(rate, v)...)
	}
	if rate, mean, ok := r.pair(Rate, Mean); ok {
		any = true
		found = append(found, r.latency(rate, mean)...)
	}
	found = append(found, r.total(Rate, Events)...)
	return append(found, r.total(Throughput, Total)...), any
}

// tableSlack is the share by which throughput and operations may be apart beyond
// rounding: spreadsheets show digits that they do not have. The mistakes that
// are looked for begin at 2 %.
const tableSlack = 0.001

// transfers is the throughput that belongs to operations on the row's blocks.
func (r *Row) transfers(rate Value) sysbench.Range {
	return sysbench.Transfers(rate.Number, r.Cell.Block).Wider(tableSlack)
}

// transfer: MiB/s = operations/s x block size.
func (r *Row) transfer(rate, v Value) []Finding {
	if r.transfers(rate).Has(v.Number) {
		return nil
	}
	want := rate.Value * float64(r.Cell.Block)
	f := Finding{Severity: Wrong, Pos: r.Pos, Row: r.String(), Expected: format(want/sysbench.MiB) + " MiB/s", Got: v.String()}
	f.Text = fmt.Sprintf("%s %s of %s are %s, not %s%s", rate.Text, r.rateName(), sizeText(r.Cell.Block), f.Expected, f.Got,
		r.suspect(v.Value/want, named{Throughput, v}, named{Rate, rate}))
	return []Finding{f}
}

func (r *Row) rateName() string { return Rate.name(r.Cell.Test) }

// latency: the threads have no more time than there is. In the cpu test they do
// nothing else, so there it is an equation.
func (r *Row) latency(rate, mean Value) []Finding {
	expected := sysbench.Rates(r.Cell.Threads, mean.Number).Wider(sysbench.ClaimSlack)
	if r.Cell.Test != CPU {
		expected.Low = 0
	}
	if expected.Has(rate.Number) {
		return nil
	}
	want := float64(r.Cell.Threads) / mean.Value
	f := Finding{Severity: Wrong, Pos: r.Pos, Row: r.String(), Expected: rangeText(expected) + " " + r.rateName(), Got: rate.Text + " " + r.rateName()}
	f.Text = fmt.Sprintf("%s at %s an event make %s, not %s%s", plural(r.Cell.Threads, "thread"), mean, f.Expected, rate.Text, r.suspect(rate.Value/want, named{Rate, rate}, named{Mean, mean}))
	return []Finding{f}
}

func rangeText(r sysbench.Range) string {
	switch {
	case r.Low == 0:
		return fmt.Sprintf("at most %.4g", r.High)
	case math.IsInf(r.High, 1):
		return fmt.Sprintf("at least %.4g", r.Low)
	}
	return fmt.Sprintf("%.4g to %.4g", r.Low, r.High)
}

// durationSlack is the share by which a rate and a total over the stated time
// may differ: runs do not end on the second.
const durationSlack = 0.05

// total: what was done in all is the rate times the time.
func (r *Row) total(rate, total Metric) []Finding {
	v, sum, ok := r.pair(rate, total)
	seconds, _ := r.seconds()
	if !ok || seconds == 0 {
		return nil
	}
	want := sum.Value / seconds
	allowed := sysbench.Range{Low: (sum.Value - sum.Half) / seconds, High: (sum.Value + sum.Half) / seconds}.Wider(durationSlack)
	if allowed.Has(v.Number) {
		return nil
	}
	f := Finding{Severity: Wrong, Pos: r.Pos, Row: r.String(), Expected: fmt.Sprintf("%s of %.4g", rate.name(r.Cell.Test), want/v.Unit.factor), Got: v.String()}
	f.Text = fmt.Sprintf("%s in %.4g s are a %s, not %s%s", sum, seconds, f.Expected, f.Got, r.suspect(v.Value/want, named{rate, v}, named{total, sum}))
	return []Finding{f}
}

// mistakes are what numbers that are off by a factor come from.
var mistakes = []struct {
	factor float64
	text   string
}{
	{1.048576, "MiB and MB got mixed up: 1 MiB is 1.048576 MB"},
	{1.024, "KiB and KB got mixed up: 1 KiB is 1.024 KB"},
	{1.073741824, "GiB and GB got mixed up"},
	{1024, "a unit is off by 1024: KiB for MiB, or MiB for GiB"},
	{1000, "a unit is off by 1000: ms for s, or KB for MB"},
	{8, "bits and bytes got mixed up"},
}

// named is a value with its metric.
type named struct {
	metric Metric
	value  Value
}

// suspect says where two values that contradict each other may come from: x is
// too large by the factor or, where that is below 1, y is.
func (r *Row) suspect(factor float64, x, y named) string {
	rounding := x.value.Half/x.value.Value + y.value.Half/y.value.Value
	if factor < 1 {
		x, factor = y, 1/factor
	}
	if !(factor < 1e9) {
		return ""
	}
	name := x.metric.name(r.Cell.Test)
	near := func(f, tolerance float64) bool { return math.Abs(factor/f-1) < tolerance }
	if t, is := r.totalOver(near); is && (x.metric == Rate || x.metric == Throughput) {
		return fmt.Sprintf(": %s is %.3g times too large: it is the total of a run of %.3g s; write what sysbench prints per second", name, factor, t)
	}
	if v, ok := r.Values[Throughput]; ok && r.swapped(v) {
		return ": the two numbers look exchanged"
	}
	if n := float64(r.Cell.Threads); n > 1 && near(n, 0.05) {
		return ": the factor is the number of threads; sysbench's rate is of all threads together, its latency that of one event"
	}
	for _, m := range mistakes {
		if near(m.factor, min(0.01, max(1e-3, rounding))) {
			return ": " + m.text
		}
	}
	return fmt.Sprintf(": %s is %.3g times too large; copy both numbers from the same run", name, factor)
}

// totalOver tells whether a factor is the time of the run: the stated one or,
// where none is stated, sysbench's and the course's 10 s and their multiples.
func (r *Row) totalOver(near func(f, tolerance float64) bool) (seconds float64, is bool) {
	candidates := []float64{10, 20, 30, 60}
	if t, _ := r.seconds(); t > 1.5 {
		candidates = []float64{t}
	}
	i := slices.IndexFunc(candidates, func(t float64) bool { return near(t, 0.05) })
	if i < 0 {
		return 0, false
	}
	return candidates[i], true
}

// swapped tells whether throughput and rate fit when they change places.
func (r *Row) swapped(v Value) bool {
	rate := r.Values[Rate]
	perSecond := sysbench.Number{Value: v.Value / v.Unit.factor, Half: v.Half / v.Unit.factor}
	return sysbench.Transfers(perSecond, r.Cell.Block).Has(scale(rate.Number, v.Unit))
}
