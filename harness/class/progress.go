package class

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"

	"virtlab/harness/result"
	"virtlab/harness/words"
)

// Progress is told how a run goes, by several goroutines at a time.
type Progress interface {
	Begin(Plan)
	Started(name string)
	Ended(Ending)
	End()
}

// Plan is what a run is going to do.
type Plan struct {
	Total, Jobs int
	Why         string // so many jobs
	Seed        uint64
}

// String is "100 submissions, 2 at a time (2 CPUs; ...), seed 42".
func (p Plan) String() string {
	return fmt.Sprintf("%s, %d at a time (%s), seed %d", plural(p.Total, "submission"), p.Jobs, p.Why, p.Seed)
}

// count is how far a run came.
type count struct {
	total, jobs         int
	under, kept, failed int // under way
	graded              int
	spent               time.Duration // on those that were graded
}

func (c *count) done() int { return c.graded + c.kept }

func (c *count) end(e Ending) {
	c.under--
	if e.Kept {
		c.kept++
	} else {
		c.graded++
		c.spent += e.Took
	}
	if e.Failed() {
		c.failed++
	}
}

// left is how long the rest will take if it is like what was graded so far;
// zero while nothing was.
func (c *count) left() time.Duration {
	if c.graded == 0 || c.jobs == 0 {
		return 0
	}
	mean := c.spent / time.Duration(c.graded)
	// Those under way are half done on average.
	todo := float64(c.total-c.done()) - float64(c.under)/2
	return time.Duration(todo * float64(mean) / float64(min(c.jobs, max(1, c.total-c.done()))))
}

// String is "3 under way, 12 kept, 1 failed, about 4 min left".
func (c *count) String() string {
	parts := []string{fmt.Sprintf("%d under way", c.under)}
	if c.kept > 0 {
		parts = append(parts, fmt.Sprintf("%d kept", c.kept))
	}
	if c.failed > 0 {
		parts = append(parts, fmt.Sprintf("%d failed", c.failed))
	}
	if left := c.left(); left > 0 {
		parts = append(parts, "about "+words.Roughly(left)+" left")
	}
	return strings.Join(parts, ", ")
}

// Lines shows a run line by line, for a log.
func Lines(w io.Writer) Progress { return &lines{w: w} }

type lines struct {
	mu sync.Mutex
	w  io.Writer
	count
}

func (l *lines) Begin(p Plan) {
	l.total, l.jobs = p.Total, p.Jobs
	fmt.Fprintln(l.w, p)
}

func (l *lines) Started(string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.under++
}

func (l *lines) Ended(e Ending) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end(e)
	fmt.Fprintln(l.w, l.line(e))
}

func (l *lines) End() {}

// line is "[ 12/100] NAME  78/90 points  6.1 s".
func (c *count) line(e Ending) string {
	width := len(fmt.Sprint(c.total))
	return fmt.Sprintf("[%*d/%d] %s  %s", width, c.done(), c.total, result.Line(e.Name), e)
}

// String says how it ended.
func (e Ending) String() string {
	switch {
	case e.Failed():
		return fmt.Sprintf("grading failed: %s  %.1f s", e.Reason(), e.Took.Seconds())
	case e.Kept:
		return points(e.Report) + "  kept"
	}
	return fmt.Sprintf("%s  %.1f s", points(e.Report), e.Took.Seconds())
}

// Reason is the first line of why this submission has to be graded again.
func (e Ending) Reason() string {
	if e.Err != nil {
		return result.Line(firstLine(e.Err.Error()))
	}
	return result.Line(firstLine(Reason(e.Report)))
}

// Bar shows a run on a terminal; what went wrong stands above it.
func Bar(w io.Writer) Progress { return &bar{w: w} }

type bar struct {
	mu sync.Mutex
	w  io.Writer
	count
	bar  *progressbar.ProgressBar
	stop chan struct{}
}

func (b *bar) Begin(p Plan) {
	fmt.Fprintln(b.w, p)
	b.total, b.jobs, b.stop = p.Total, p.Jobs, make(chan struct{})
	b.bar = progressbar.NewOptions(p.Total,
		progressbar.OptionSetWriter(b.w), progressbar.OptionUseANSICodes(true), progressbar.OptionSetWidth(20),
		progressbar.OptionShowCount(), progressbar.OptionSetPredictTime(false), progressbar.OptionSetElapsedTime(false),
		progressbar.OptionShowDescriptionAtLineEnd(), progressbar.OptionSetRenderBlankState(true),
		progressbar.OptionClearOnFinish())
	go b.tick()
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
			b.show()
		}
	}
}

func (b *bar) show() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.bar.Describe(b.count.String())
}

func (b *bar) Started(string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.under++
	b.bar.Describe(b.count.String())
}

func (b *bar) Ended(e Ending) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.end(e)
	if e.Failed() {
		_ = b.bar.Clear()
		fmt.Fprintln(b.w, b.line(e))
	}
	b.bar.Describe(b.count.String())
	_ = b.bar.Add(1)
}

func (b *bar) End() {
	close(b.stop)
	b.mu.Lock()
	defer b.mu.Unlock()
	_ = b.bar.Clear()
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	return line
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
