package sysbench

import (
	"errors"
	"fmt"
	"math"
)

// What the printed numbers may be off by.
const (
	half = 0.005 // of two decimals

	// The reports of a run are computed one after the other, each with a clock
	// of its own: rates and the total time disagree by this much. 17 ms were
	// seen on a busy machine, emulated ones are slower.
	clockSlack      = 0.050 // seconds
	clockSlackShare = 0.02  // of the total time

	// ClaimSlack is the share by which the cpu identity may be off beyond
	// rounding. It leaves room for threads that start late and wait.
	ClaimSlack = 0.15
)

// Number is a number as it was printed: the true one lies within Half of Value.
type Number struct{ Value, Half float64 }

// TwoDecimals is a number that sysbench printed.
func TwoDecimals(value float64) Number { return Number{Value: value, Half: half} }

// Range is where a number must lie that belongs to another one.
type Range struct{ Low, High float64 }

// Has tells whether a printed number can stand for one in the range.
func (r Range) Has(n Number) bool {
	eps := 1e-9 * (1 + math.Abs(n.Value)) // of the arithmetic on large numbers
	return n.Value+n.Half+eps >= r.Low && n.Value-n.Half-eps <= r.High
}

// Wider is the range with that share of its ends more on either side.
func (r Range) Wider(share float64) Range {
	return Range{Low: r.Low * (1 - share), High: r.High * (1 + share)}
}

// Rates is how many events a second belong to threads of which each takes that
// mean time, in seconds, for an event and does nothing else.
func Rates(threads int, mean Number) Range {
	r := Range{Low: float64(threads) / (mean.Value + mean.Half), High: math.Inf(1)}
	if shortest := mean.Value - mean.Half; shortest > 0 {
		r.High = float64(threads) / shortest
	}
	return r
}

// Transfers is how many bytes a second belong to that many operations a second
// on blocks.
func Transfers(perSecond Number, blockBytes int64) Range {
	block := float64(blockBytes)
	return Range{Low: (perSecond.Value - perSecond.Half) * block, High: (perSecond.Value + perSecond.Half) * block}
}

// CPUIdentity tells whether numbers that someone reports for the cpu test
// belong together: events/s = threads x 1000 / average latency in ms. The
// latency is rounded to hundredths, and threads do not compute all the time.
func CPUIdentity(threads int, eventsPerSecond, avgMS float64) error {
	if threads < 1 || eventsPerSecond <= 0 || avgMS < half {
		return fmt.Errorf("cpu identity: %d threads, %g events/s and %g ms on average are not results of a run",
			threads, eventsPerSecond, avgMS)
	}
	r := Rates(threads, Number{Value: avgMS / 1000, Half: half / 1000}).Wider(ClaimSlack)
	if !r.Has(TwoDecimals(eventsPerSecond)) {
		return fmt.Errorf("%d threads that take %.2f ms for an event make %.0f to %.0f events/s, not %.2f: "+
			"the numbers are not of one run", threads, avgMS, r.Low, r.High, eventsPerSecond)
	}
	return nil
}

// BlockIdentity tells whether a transfer rate in MiB/s and a number of
// operations in a second belong to blocks of that many bytes. Both have two
// decimals.
func BlockIdentity(mibPerSecond, perSecond float64, blockBytes int64) error {
	transferred := Number{Value: mibPerSecond * MiB, Half: half * MiB}
	if !Transfers(TwoDecimals(perSecond), blockBytes).Has(transferred) {
		return fmt.Errorf("%.2f operations/s on blocks of %d bytes are %.2f MiB/s, not %.2f",
			perSecond, blockBytes, perSecond*float64(blockBytes)/MiB, mibPerSecond)
	}
	return nil
}

// check tells whether the totals fit together.
func (g General) check() error {
	if g.Threads < 1 {
		return errors.New("no thread ran")
	}
	mean := g.Latency.SumMS / float64(g.Events)
	if math.Abs(mean-g.Latency.AvgMS) > half+half/float64(g.Events)+1e-9 {
		return fmt.Errorf("average latency is %.2f ms, but sum / events is %.4f ms", g.Latency.AvgMS, mean)
	}
	if most := float64(g.Threads) * (g.TotalTime + g.slack()) * 1000; g.Latency.SumMS > most {
		return fmt.Errorf("the latencies sum up to %.2f ms, more than %d threads have in %.4f s",
			g.Latency.SumMS, g.Threads, g.TotalTime)
	}
	if off := math.Abs(g.EventsPerThread*float64(g.Threads) - float64(g.Events)); off > 0.0001*float64(g.Threads)+0.5 {
		return fmt.Errorf("%d threads with %.4f events each do not make %d events", g.Threads, g.EventsPerThread, g.Events)
	}
	return nil
}

// slack is how far clocks may be apart, in seconds.
func (g General) slack() float64 { return clockSlack + clockSlackShare*g.TotalTime }

// checkRate tells whether a rate in 1/s is that of the events in the total time.
func (g General) checkRate(what string, rate float64) error {
	low := float64(g.Events)/(g.TotalTime+g.slack()) - half
	high := math.Inf(1)
	if shortest := g.TotalTime - g.slack(); shortest > 0 {
		high = float64(g.Events)/shortest + half
	}
	if rate < low || rate > high {
		return fmt.Errorf("%d events in %.4f s are not %.2f %s", g.Events, g.TotalTime, rate, what)
	}
	return nil
}

// check tells whether the rate is that of the totals.
func (r CPUResult) check() error { return r.checkRate("events per second", r.EventsPerSecond) }

// check tells whether something was transferred, and as much as the operations
// say. Blocks below 1 KiB are printed as 0 KiB and cannot be compared.
func (r MemoryResult) check() error {
	if r.TransferredMiB == 0 || r.MiBPerSecond == 0 {
		return ErrNothingDone
	}
	err := errors.Join(
		oneOf("operation", r.Op, Read, Write), oneOf("scope", r.Scope, Global, Local),
		same("events", r.Operations, r.Events), r.checkRate("operations per second", r.OperationsPerSecond),
	)
	if r.BlockKiB == 0 {
		return err
	}
	return errors.Join(err,
		BlockIdentity(r.TransferredMiB, float64(r.Operations), r.BlockKiB*KiB),
		BlockIdentity(r.MiBPerSecond, r.OperationsPerSecond, r.BlockKiB*KiB))
}

// check tells whether the rates are those of the totals and of the block size,
// and whether the test did what its mode says.
func (r FileIOResult) check() error {
	if r.IOPS() == 0 {
		return ErrNothingDone
	}
	err := errors.Join(
		r.checkRate("reads, writes and syncs per second", r.IOPS()+r.FsyncsPerSecond),
		BlockIdentity(r.ReadMiBPerSecond, r.ReadsPerSecond, r.BlockBytes),
		BlockIdentity(r.WriteMiBPerSecond, r.WritesPerSecond, r.BlockBytes),
	)
	reads, writes := r.ReadsPerSecond > 0, r.WritesPerSecond > 0
	switch r.Mode {
	case SeqRead, RandRead:
		err = errors.Join(err, same("writes in a read test", false, writes))
	case SeqWrite, SeqRewrite, RandWrite:
		err = errors.Join(err, same("reads in a write test", false, reads))
	}
	return err
}
