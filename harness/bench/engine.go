package bench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// Engine measures what a plan says.
type Engine struct {
	Store    *Store   // has the plan, gets the results
	Progress Progress // nil: nobody looks
}

// Run makes the plan's runs that the store has no result of, one after the
// other, and keeps each result before the next run begins. When ctx ends it
// returns its cause; the run under way is lost, nothing else. Any other error is
// the shooter's or the store's: a VMM that fails is a Result with a Fault.
func (e *Engine) Run(ctx context.Context, shooter Shooter) error {
	if e.Progress == nil {
		e.Progress = nobody{}
	}
	data := &e.Store.Data
	e.Progress.Begin(data)
	defer e.Progress.End()
	for _, run := range data.Plan.Runs {
		if data.finished(run) {
			continue
		}
		if why := data.givenUp(run.VMM, run.On, run.Part); why != "" {
			e.Progress.Skipped(run, why)
			continue
		}
		if err := e.one(ctx, run, shooter); err != nil {
			return err
		}
	}
	return nil
}

// one makes a run and keeps its result.
func (e *Engine) one(ctx context.Context, run Run, shooter Shooter) error {
	cells, err := Cells(run, e.Store.Data.Plan.cellTime(run))
	if err != nil {
		return err
	}
	e.Progress.Started(run)
	start := time.Now()
	outcome, err := shooter.Shoot(ctx, run, cells)
	// What a VMM did that was ended with ctx is no result, whatever it looks like.
	if ctx.Err() != nil {
		return fmt.Errorf("benchmark ended before run %d of %d: %w", run.Index+1, len(e.Store.Data.Plan.Runs), context.Cause(ctx))
	}
	if err == nil && outcome == nil {
		err = errors.New("there is no outcome")
	}
	if err != nil {
		return fmt.Errorf("run %d, %s of %s on %s: %w", run.Index+1, run.Part, run.VMM, run.On, err)
	}
	result := reduce(run, outcome)
	result.Run, result.Start, result.Took = run, start, time.Since(start)
	if err := e.Store.Add(result); err != nil {
		return err
	}
	e.Progress.Ended(result)
	return nil
}

// finished tells whether there is a result of the run.
func (d *Data) finished(run Run) bool {
	return slices.ContainsFunc(d.Results, func(r Result) bool { return r.Run.Index == run.Index })
}

// How many runs may fail, with none that works, before a contender is given up:
// in a part, and altogether. A VMM that hangs costs a minute each time.
const (
	patience      = 2
	totalPatience = 4
)

// givenUp says why a contender's runs of a part are not made any more: it failed
// there as often as it may, or everywhere, and never worked; empty: they are.
func (d *Data) givenUp(vmm, on string, part Part) string {
	here := d.record(func(r Run) bool { return r.of(vmm, on, part) })
	anywhere := d.record(func(r Run) bool { return r.VMM == vmm && r.On == on })
	switch {
	case here.hopeless(patience):
		return here.why
	case anywhere.hopeless(totalPatience):
		return anywhere.why
	}
	return ""
}

// record is how some runs went.
type record struct {
	worked, failed int
	why            string // the first failure
}

func (d *Data) record(of func(Run) bool) (rec record) {
	for _, r := range d.Results {
		switch {
		case !of(r.Run):
		case r.Fault == "":
			rec.worked++
		default:
			rec.failed++
			rec.why = cmp.Or(rec.why, r.Fault)
		}
	}
	return rec
}

func (r record) hopeless(patience int) bool { return r.worked == 0 && r.failed >= patience }

// Finished tells whether nothing of the plan is left to measure.
func (d *Data) Finished() bool {
	return !slices.ContainsFunc(d.Plan.Runs, func(r Run) bool { return !d.finished(r) && d.givenUp(r.VMM, r.On, r.Part) == "" })
}
