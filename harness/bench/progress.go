package bench

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"

	"virtlab/harness/words"
)

// Progress is told how a benchmark goes.
type Progress interface {
	Begin(d *Data) // with the results that are there already
	Started(Run)
	Ended(Result)
	Skipped(run Run, why string)
	End()
}

type nobody struct{}

func (nobody) Begin(*Data)         {}
func (nobody) Started(Run)         {}
func (nobody) Ended(Result)        {}
func (nobody) Skipped(Run, string) {}
func (nobody) End()                {}

// tally is how far a benchmark came.
type tally struct {
	cells, done int // of all; a run without cells counts as one
	refused     int
	skipped     map[string]bool // what was told of
	left        []Run           // not begun, the one under way first
	took        map[string]time.Duration
	expected    map[string]time.Duration
	started     time.Time // the run under way
	now         func() time.Time
}

func newTally(d *Data, now func() time.Time) *tally {
	t := &tally{now: now, skipped: map[string]bool{}, took: map[string]time.Duration{}, expected: map[string]time.Duration{}}
	for _, r := range d.Plan.Runs {
		t.cells += r.weight()
		t.left = append(t.left, r)
	}
	for _, r := range d.Results {
		t.ended(r)
	}
	return t
}

// weight is how many cells a run counts for.
func (r Run) weight() int { return max(1, len(r.Cells)) }

// expected is what the run was thought to take.
func (r Run) expected() time.Duration { return time.Duration(r.Seconds * float64(time.Second)) }

// kind is what runs have in common whose estimates are wrong alike.
func (r Run) kind() string { return r.On + "/" + string(r.Part) }

func (t *tally) begin() { t.started = t.now() }

func (t *tally) ended(r Result) {
	t.drop(r.Run)
	t.refused += len(r.Refused)
	if r.Fault != "" {
		t.refused += r.Run.weight()
		return // what ended early says nothing about the others
	}
	for _, key := range []string{r.Run.kind(), r.Run.On} {
		t.took[key] += r.Took
		t.expected[key] += r.Run.expected()
	}
}

// drop takes a run from what is left.
func (t *tally) drop(run Run) {
	for i, r := range t.left {
		if r.Index == run.Index {
			t.left = append(t.left[:i], t.left[i+1:]...)
			t.done += run.weight()
			break
		}
	}
	t.started = time.Time{}
}

// firstSkip tells whether this is the first skipped run of its contender in
// this part.
func (t *tally) firstSkip(run Run) bool {
	key := run.kind() + "/" + run.VMM
	first := !t.skipped[key]
	t.skipped[key] = true
	return first
}

// timeLeft is the estimate of what is left, corrected by what runs of the same
// kind, or on the same machine, have taken so far.
func (t *tally) timeLeft() (sum time.Duration) {
	for i, r := range t.left {
		rest := t.corrected(r)
		if i == 0 && !t.started.IsZero() {
			rest = max(0, rest-t.now().Sub(t.started))
		}
		sum += rest
	}
	return sum
}

func (t *tally) corrected(r Run) time.Duration {
	for _, key := range []string{r.kind(), r.On} {
		if t.expected[key] > 0 {
			return time.Duration(r.Seconds * float64(time.Second) * t.took[key].Seconds() / t.expected[key].Seconds())
		}
	}
	return r.expected()
}

// String is "12 of 87 cells, 75 left, 1 refused, about 4 min left".
func (t *tally) String() string {
	s := fmt.Sprintf("%d of %d cells, %d left", t.done, t.cells, t.cells-t.done)
	if t.refused > 0 {
		s += fmt.Sprintf(", %d refused", t.refused)
	}
	if left := t.timeLeft(); left > 0 {
		s += ", about " + words.Roughly(left) + " left"
	}
	return s
}

// Announcement is what is said before a benchmark begins: how much there is to
// do, and how long it takes.
func Announcement(d *Data) string {
	t := newTally(d, time.Now)
	s := fmt.Sprintf("%s benchmark, seed %d: %d runs, %d cells, about %s",
		d.Plan.Mode, d.Plan.Seed, len(t.left), t.cells-t.done, words.Roughly(t.timeLeft()))
	if len(d.Results) > 0 {
		s += fmt.Sprintf(" (%d runs are done)", len(d.Results))
	}
	return s
}

// String is "cpu of qemu-pc on host", and what is special about the run.
func (r Run) String() string {
	s := fmt.Sprintf("%s of %s on %s", r.Part, r.VMM, r.On)
	switch {
	case r.Block < 0:
		s += ", warm-up"
	case r.Twin:
		s += ", twin"
	}
	return s
}

// troubles are the lines about what a run did not measure.
func (r Result) troubles() (lines []string) {
	if r.Fault != "" {
		lines = append(lines, fmt.Sprintf("%v: refused: %s", r.Run, firstLine(r.Fault)))
	}
	for _, cell := range r.Run.Cells {
		if why := r.Refused[cell]; why != "" {
			lines = append(lines, fmt.Sprintf("%v, %s: refused: %s", r.Run, cell, firstLine(why)))
		}
	}
	return lines
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}

// lineEvery is how often Lines says how far it is.
const lineEvery = 15 * time.Second

// Lines shows a benchmark line by line, for a log: what went wrong at once, how
// far it is now and then.
func Lines(w io.Writer) Progress { return &lines{w: w, now: time.Now} }

type lines struct {
	w    io.Writer
	now  func() time.Time
	last time.Time
	*tally
}

func (l *lines) Begin(d *Data) {
	l.tally, l.last = newTally(d, l.now), l.now()
	fmt.Fprintln(l.w, Announcement(d))
}

func (l *lines) Started(Run) { l.begin() }

func (l *lines) Ended(r Result) {
	l.ended(r)
	for _, line := range r.troubles() {
		fmt.Fprintln(l.w, line)
	}
	if l.now().Sub(l.last) >= lineEvery {
		l.last = l.now()
		fmt.Fprintln(l.w, l.tally)
	}
}

func (l *lines) Skipped(run Run, why string) {
	l.drop(run)
	if l.firstSkip(run) {
		fmt.Fprintln(l.w, skipLine(run, why))
	}
}

func skipLine(run Run, why string) string {
	return fmt.Sprintf("%s of %s on %s is given up: %s", run.Part, run.VMM, run.On, firstLine(why))
}

// End says how far it came, also where it was ended.
func (l *lines) End() { fmt.Fprintln(l.w, l.tally) }

// Bar shows a benchmark on a terminal; what went wrong stands above it.
func Bar(w io.Writer) Progress { return &bar{w: w} }

type bar struct {
	mu sync.Mutex
	w  io.Writer
	*tally
	bar     *progressbar.ProgressBar
	running string
	stop    chan struct{}
	stopped sync.WaitGroup
}

func (b *bar) Begin(d *Data) {
	fmt.Fprintln(b.w, Announcement(d))
	b.tally, b.stop = newTally(d, time.Now), make(chan struct{})
	b.bar = progressbar.NewOptions(b.cells,
		progressbar.OptionSetWriter(b.w), progressbar.OptionUseANSICodes(true), progressbar.OptionSetWidth(20),
		progressbar.OptionSetPredictTime(false), progressbar.OptionSetElapsedTime(false),
		progressbar.OptionShowDescriptionAtLineEnd(), progressbar.OptionSetRenderBlankState(true),
		progressbar.OptionClearOnFinish())
	_ = b.bar.Set(b.done)
	b.stopped.Go(b.tick)
}

// tick lets the time left go down while nothing ends.
func (b *bar) tick() {
	every := time.NewTicker(time.Second)
	defer every.Stop()
	for {
		select {
		case <-b.stop:
			return
		case <-every.C:
			b.locked(func() {})
		}
	}
}

// locked changes something and shows it.
func (b *bar) locked(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
	b.bar.Describe(b.tally.String() + "; " + b.running)
	_ = b.bar.Set(b.done)
}

func (b *bar) Started(r Run) { b.locked(func() { b.begin(); b.running = r.String() }) }

func (b *bar) Ended(r Result) {
	b.locked(func() { b.ended(r); b.say(r.troubles()...) })
}

func (b *bar) Skipped(run Run, why string) {
	b.locked(func() {
		b.drop(run)
		if b.firstSkip(run) {
			b.say(skipLine(run, why))
		}
	})
}

// say puts lines above the bar.
func (b *bar) say(lines ...string) {
	if len(lines) > 0 {
		_ = b.bar.Clear()
		fmt.Fprintln(b.w, strings.Join(lines, "\n"))
	}
}

func (b *bar) End() {
	close(b.stop)
	b.stopped.Wait()
	_ = b.bar.Clear()
}
