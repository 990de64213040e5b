package bench

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// clock is a time that is set by hand.
type clock struct{ at time.Time }

func (c *clock) now() time.Time          { return c.at }
func (c *clock) forward(d time.Duration) { c.at = c.at.Add(d) }
func newClock() *clock                   { return &clock{at: time.Unix(1000, 0)} }
func runOf(part Part, index int, seconds float64, cells ...string) Run {
	return Run{Index: index, VMM: "v", On: "host", Part: part, Seconds: seconds, Cells: cells}
}

func TestTally(t *testing.T) {
	c := newClock()
	d := &Data{Plan: Plan{Runs: []Run{
		runOf(Boot, 0, 10), runOf(Boot, 1, 10), runOf(CPU, 2, 20, "a", "b", "c"), runOf(Boot, 3, 10),
	}}}
	tally := newTally(d, c.now)
	assert.Equal(t, "0 of 6 cells, 6 left, about 50 s left", tally.String())

	tally.begin()
	c.forward(4 * time.Second)
	assert.Equal(t, 46*time.Second, tally.timeLeft(), "of the run under way, 6 s")
	c.forward(100 * time.Second)
	assert.Equal(t, 40*time.Second, tally.timeLeft(), "a late run does not shorten the others")

	tally.ended(Result{Run: d.Plan.Runs[0], Took: 20 * time.Second})
	assert.Equal(t, "1 of 6 cells, 5 left, about 80 s left", tally.String(), "all is twice as slow as thought")
	tally.ended(Result{Run: d.Plan.Runs[2], Took: 20 * time.Second, Refused: map[string]string{"b": "x"}})
	assert.Equal(t, 40*time.Second, tally.timeLeft(), "boots still are")
	tally.ended(Result{Run: d.Plan.Runs[1], Took: time.Millisecond, Fault: "it died"})
	assert.Equal(t, "5 of 6 cells, 1 left, 2 refused, about 20 s left", tally.String(), "a fault says nothing of the time")
	tally.drop(d.Plan.Runs[3])
	assert.Equal(t, "6 of 6 cells, 0 left, 2 refused", tally.String())
}

func TestAnnouncement(t *testing.T) {
	d := &Data{Plan: small(t)}
	assert.Regexp(t, `^quick benchmark, seed 3: \d+ runs, \d+ cells, about \d+ s$`, Announcement(d))
	d.Results = []Result{{Run: d.Plan.Runs[0], Took: time.Second}}
	assert.Contains(t, Announcement(d), "(1 runs are done)")
}

func TestLines(t *testing.T) {
	c := newClock()
	var out strings.Builder
	p := &lines{w: &out, now: c.now}
	d := &Data{Plan: Plan{Mode: Quick, Runs: []Run{runOf(Boot, 0, 10), runOf(CPU, 1, 10, "a"), runOf(CPU, 2, 10, "a")}}}
	p.Begin(d)
	p.Started(d.Plan.Runs[0])
	c.forward(time.Second)
	p.Ended(Result{Run: d.Plan.Runs[0], Took: time.Second, Fault: "the VMM died\nwith a long story"})
	c.forward(lineEvery)
	p.Ended(Result{Run: d.Plan.Runs[1], Took: 10 * time.Second, Refused: map[string]string{"a": "it did nothing"}})
	p.Ended(Result{Run: d.Plan.Runs[2], Took: 10 * time.Second})
	p.End()
	assert.Equal(t, strings.Join([]string{
		"quick benchmark, seed 0: 3 runs, 3 cells, about 30 s",
		"boot of v on host: refused: the VMM died",
		"cpu of v on host, a: refused: it did nothing",
		"2 of 3 cells, 1 left, 2 refused, about 10 s left",
		"3 of 3 cells, 0 left, 2 refused",
		"",
	}, "\n"), out.String())
}

// The bar is drawn by several goroutines, and what went wrong stays readable.
func TestBar(t *testing.T) {
	var out strings.Builder
	d := &Data{Plan: small(t)}
	p := Bar(&out)
	p.Begin(d)
	for i, r := range d.Plan.Runs {
		p.Started(r)
		if i == 2 {
			p.Ended(Result{Run: r, Fault: "the VMM died"})
			continue
		}
		if i == 3 {
			p.Skipped(r, "it never worked")
			continue
		}
		p.Ended(Result{Run: r, Took: time.Second})
	}
	p.End()
	require.Contains(t, out.String(), "refused: the VMM died\n")
	assert.Contains(t, out.String(), "is given up: it never worked\n")
	assert.Contains(t, out.String(), "cells, 0 left, 1 refused")
}
