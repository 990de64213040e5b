// Package class grades a class: each submission by a worker process of its own,
// several at a time, so that one that crashes or hangs takes nothing with it.
// What is graded already is kept, so that a run which was stopped goes on where
// it was.
package class

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"virtlab/harness/result"
	"virtlab/harness/submission"
)

// Options say how a class is graded.
type Options struct {
	Out    string // directory of the results
	Rubric *result.Rubric
	// RubricText is what it was read from; workers read it again.
	RubricText []byte
	Seed       uint64        // 0: the directory's, or one that is drawn
	Labs       []result.Lab  // nil: all
	Jobs       int           // submissions at a time; 0: Capacity
	Deadline   time.Duration // for one submission; 0: Deadline, more where Jobs exceeds the CPUs
	Again      bool          // grade also what is graded already
	Shard      Shard

	Unsandboxed bool
	Accel       string // how guests run: the same for all
	Harness     string // version; what another one graded is graded again

	// Worker is the command that grades one submission: Work, in a process.
	Worker   []string
	Progress Progress

	why string // so many Jobs
}

// Deadline is the longest time for one submission on a CPU of its own. The checks
// have shorter ones, which are the submission's fault where they are missed.
const Deadline = 5 * time.Minute

// withDefaults fills in what was not chosen.
func (o Options) withDefaults() Options {
	o.why = "-j"
	if o.Jobs == 0 {
		o.Jobs, o.why = Capacity()
	}
	if o.Deadline == 0 {
		cpus := runtime.GOMAXPROCS(0)
		o.Deadline = Deadline * time.Duration((o.Jobs+cpus-1)/cpus)
	}
	return o
}

// Ending is how it went with one submission.
type Ending struct {
	Name   string
	Report *result.Report // nil where Err says why there is none
	Kept   bool           // the report is of a run before
	Err    error
	Took   time.Duration
}

// Failed says whether this submission has to be graded again.
func (e Ending) Failed() bool { return e.Err != nil || e.Report.Failed() }

// Class is how it went with all of them.
type Class struct {
	Endings []Ending         // in the order of the submissions; those that a stop prevented are missing
	Total   int              // submissions to grade
	Reports []*result.Report // all that are in the directory now
	Notes   []string         // what is odd about them

	names []string // of the submissions to grade
}

// Failed counts the submissions that have to be graded again.
func (c *Class) Failed() (n int) {
	for _, e := range c.Endings {
		if e.Failed() {
			n++
		}
	}
	return n
}

// String says how a run went: "100 submissions: 57 graded, 43 kept from before".
func (c *Class) String() string {
	kept, failed := 0, c.Failed()
	for _, e := range c.Endings {
		if e.Kept {
			kept++
		}
	}
	s := fmt.Sprintf("%s: %d graded", plural(c.Total, "submission"), len(c.Endings)-kept-failed)
	for _, p := range []struct {
		n    int
		what string
	}{{kept, "kept from before"}, {failed, "whose grading failed"}, {c.Total - len(c.Endings), "not begun or not finished"}} {
		if p.n > 0 {
			s += fmt.Sprintf(", %d %s", p.n, p.what)
		}
	}
	return s
}

// Grade grades those of handins that are in the shard. It stops when ctx ends:
// what is under way is killed then, what is done stays. Without a Class the
// error says why grading did not begin, else that it was stopped.
func Grade(ctx context.Context, handins []submission.Handin, opts Options) (class *Class, err error) {
	out, err := openOut(opts.Out, opts.Shard)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, out.close()) }()
	r, err := newRun(out, handins, opts.withDefaults())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.temp.remove()) }()
	class = &Class{Total: len(r.handins), names: r.names(), Endings: r.all(ctx)}
	if err := class.write(opts); err != nil {
		return class, err
	}
	if done := len(class.Endings); done < class.Total {
		return class, fmt.Errorf("%d of %d submissions are done: the same command goes on with the others", done, class.Total)
	}
	return class, nil
}

// write writes the class files from what is in the directory. A shard leaves
// them to Merge.
func (c *Class) write(opts Options) (err error) {
	if c.Reports, err = Reports(opts.Out); err != nil || !opts.Shard.Whole() {
		return err
	}
	if err := alike(c.Reports); err != nil {
		c.Notes = append(c.Notes, "the reports do not compare: "+err.Error())
	}
	if others := len(c.Reports) - c.reported(); others > 0 {
		c.Notes = append(c.Notes, fmt.Sprintf("%d of the reports in %s are of submissions that were not given this time", others, opts.Out))
	}
	return result.WriteClass(opts.Out, c.Reports)
}

// reported counts the reports that are of this run's submissions.
func (c *Class) reported() (n int) {
	for _, r := range c.Reports {
		if slices.Contains(c.names, r.Name) {
			n++
		}
	}
	return n
}

// run is a class under way.
type run struct {
	opts    Options
	out     *outDir
	handins []submission.Handin
	temp    *scratch
	job     Job // what all jobs have in common
}

func (r *run) names() (names []string) {
	for _, h := range r.handins {
		names = append(names, h.Name)
	}
	return names
}

// all grades all of them, opts.Jobs at a time.
func (r *run) all(ctx context.Context) []Ending {
	progress := r.opts.Progress
	progress.Begin(Plan{Total: len(r.handins), Jobs: r.opts.Jobs, Why: r.opts.why, Seed: r.job.Seed})
	defer progress.End()
	endings := make([]*Ending, len(r.handins))
	queue := make(chan int)
	var workers sync.WaitGroup
	for range min(r.opts.Jobs, len(r.handins)) {
		workers.Go(func() {
			for i := range queue {
				progress.Started(r.handins[i].Name)
				if e, done := r.one(ctx, i); done {
					endings[i] = &e
					progress.Ended(e)
				}
			}
		})
	}
	feed(ctx, queue, len(r.handins))
	workers.Wait()
	return present(endings)
}

// feed hands out the numbers below n until ctx ends.
func feed(ctx context.Context, queue chan<- int, n int) {
	defer close(queue)
	for i := 0; i < n && ctx.Err() == nil; i++ {
		select {
		case queue <- i:
		case <-ctx.Done():
		}
	}
}

func present(endings []*Ending) (there []Ending) {
	for _, e := range endings {
		if e != nil {
			there = append(there, *e)
		}
	}
	return there
}
