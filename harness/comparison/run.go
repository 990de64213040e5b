package comparison

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/term"

	"virtlab/harness"
	"virtlab/harness/bench"
	"virtlab/harness/bench/report"
	"virtlab/harness/result"
	"virtlab/harness/words"
)

// compared is the comparison of this run, measured when it is first asked for.
var compared = sync.OnceValues(func() (*bench.Data, error) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	opts, err := compareOptions()
	if err != nil {
		return nil, err
	}
	data, err := Measure(ctx, opts)
	if err != nil {
		return nil, err
	}
	return data, state(os.Stdout, data)
})

// Options are what Measure measures, and where it keeps it.
type Options struct {
	bench.Options          // its Contenders are filled in
	VMMs          []string // "qemu-microvm", "gokvm"
	On            string   // only those on "host" or "L1"; empty: both
	Wraps         []Wrap
	Dir           string // of the results
	Resume        bool
	Progress      bench.Progress
}

// Wrap is one contender more: a VMM that another program starts, which gets the
// VMM's command line as its last arguments.
type Wrap struct {
	VMM  string
	Argv []string
}

// Measure runs a comparison to its end and writes its reports to its directory.
// When ctx ends, what was measured until then is kept and reported, and the
// error says how to go on.
func Measure(ctx context.Context, c Options) (*bench.Data, error) {
	hostAccel, _ := harness.Accel()
	all, err := contenders(ctx, c, hostAccel)
	if err != nil {
		return nil, err
	}
	store, err := c.open(all)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	say(c.Dir, store.Data.Plan)
	s := &shooter{contenders: all, parts: store.Data.Plan.Parts(), fields: map[string]*field{}, dir: c.Dir}
	err = s.describe(ctx, store)
	if err == nil {
		err = (&bench.Engine{Store: store, Progress: c.Progress}).Run(ctx, s)
	}
	err = errors.Join(err, s.close(), report.Write(c.Dir, &store.Data))
	if ctx.Err() != nil {
		err = fmt.Errorf("%w; what was measured is kept: -resume goes on, the report so far is %s", err, filepath.Join(c.Dir, "report.html"))
	}
	return &store.Data, err
}

// open draws the plan, or takes the one up that is to be gone on with.
func (c Options) open(all []contender) (*bench.Store, error) {
	version, err := harness.Version()
	if err != nil {
		return nil, err
	}
	if c.Resume {
		return bench.Resume(c.Dir, version)
	}
	for _, x := range all {
		c.Contenders = append(c.Contenders, x.Contender)
	}
	plan, err := bench.Draw(c.Options)
	if err == nil {
		err = enoughTime(plan)
	}
	if err != nil {
		return nil, err
	}
	return bench.Create(c.Dir, version, plan)
}

// say says which VMMs are measured, where, and which are not, and why.
func say(dir string, p bench.Plan) {
	fmt.Fprintf(os.Stderr, "virtlab: results in %s\n", dir)
	for _, c := range p.Contenders {
		switch {
		case c.Missing != "":
			fmt.Fprintf(os.Stderr, "virtlab: %s: not measured: %s\n", c.VMM, c.Missing)
		case c.Label != "":
			fmt.Fprintf(os.Stderr, "virtlab: %s on %s (%s)\n", c.VMM, c.On, c.Label)
		default:
			fmt.Fprintf(os.Stderr, "virtlab: %s on %s\n", c.VMM, c.On)
		}
	}
}

// compareOptions are what the flags ask for.
func compareOptions() (c Options, err error) {
	if err := checkCompareFlags(); err != nil {
		return c, err
	}
	c.Options = bench.Options{
		Seed: harness.Seed(), CellTime: *cellFlag, Boots: *bootsFlag, Samples: *samplesFlag, Parts: askedParts(),
	}
	if c.Mode, err = compareMode(); err != nil {
		return c, err
	}
	c.VMMs, c.On, c.Wraps = comparedVMMs(), *onFlag, wrapFlag
	c.Resume, c.Progress = *resumeFlag, progress()
	c.Dir, err = compareDir(time.Now())
	return c, err
}

// askedParts are the parts whose benchmarks -bench selects; nil: all.
func askedParts() (parts []bench.Part) {
	pattern, _, _ := strings.Cut(flag.Lookup("test.bench").Value.String(), "/")
	if pattern == "." || pattern == "" {
		return nil
	}
	re, err := regexp.Compile(pattern)
	if err != nil {
		return nil // go test says so
	}
	for _, part := range bench.Parts {
		for name, p := range benchmarked {
			if p == part && re.MatchString("Benchmark"+name) && !slices.Contains(parts, part) {
				parts = append(parts, part)
			}
		}
	}
	return parts
}

// compareDir is where the results go: -report, or a directory of the day and
// time; with -resume the newest of those.
func compareDir(now time.Time) (string, error) {
	if *reportFlag != "" {
		return filepath.Abs(*reportFlag)
	}
	root, err := harness.Root()
	if err != nil {
		return "", err
	}
	base := filepath.Join(root, "out", "bench")
	if !*resumeFlag {
		return filepath.Join(base, now.Format("2006-01-02-150405")), nil
	}
	dirs, err := os.ReadDir(base)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	for _, d := range slices.Backward(dirs) {
		if _, err := os.Stat(filepath.Join(base, d.Name(), "plan.json")); err == nil {
			return filepath.Join(base, d.Name()), nil
		}
	}
	return "", result.Errorf(result.Host, "-resume: %s has no comparison to go on with", base).WithHint("say which by -report DIR")
}

// progress shows how far the comparison is: a bar where somebody watches.
func progress() bench.Progress {
	if term.IsTerminal(int(os.Stderr.Fd())) {
		return bench.Bar(os.Stderr)
	}
	return bench.Lines(os.Stderr)
}

// enoughTime refuses a plan that go test would end before its end. go test ends
// benchmarks a minute after -timeout.
func enoughTime(p bench.Plan) error {
	limit := flag.Lookup("test.timeout").Value.(flag.Getter).Get().(time.Duration)
	needs := time.Duration(p.Seconds() * float64(time.Second))
	if limit == 0 || needs < limit {
		return nil
	}
	return result.Errorf(result.Host, "this comparison takes about %s, and go test ends it after %s", words.Roughly(needs), limit).
		WithHint("give -timeout %s, or -quick", (2 * needs).Round(10*time.Minute))
}
