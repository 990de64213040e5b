package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
	"golang.org/x/term"

	"virtlab/harness"
	"virtlab/harness/class"
	"virtlab/harness/grade"
	"virtlab/harness/result"
	"virtlab/harness/sandbox"
	"virtlab/harness/submission"
)

// gradeFlags are the flags of virtlab grade.
type gradeFlags struct {
	out, rubric, labs, shard, format string
	jobs                             int
	seed                             uint64
	again, unsandboxed               bool
	deadline                         time.Duration
}

func (f *gradeFlags) set() *flag.FlagSet {
	fs := flag.NewFlagSet("grade", flag.ContinueOnError)
	fs.StringVar(&f.out, "o", "", "`directory` of the results; what is graded there already is kept")
	fs.StringVar(&f.rubric, "rubric", "", "points and choices, a TOML `file` (default fixtures/rubric.toml)")
	fs.StringVar(&f.labs, "labs", "", "grade these `labs` only, of "+labList()+", with commas between them")
	fs.IntVar(&f.jobs, "j", 0, "so many submissions at a time (default: what this machine carries)")
	fs.Uint64Var(&f.seed, "seed", 0, "seed of everything that is drawn (default: that of the results, or a new one)")
	fs.BoolVar(&f.again, "again", false, "grade anew what is graded already")
	fs.StringVar(&f.format, "format", "", "print each report in this `format`: "+strings.Join(result.FormatNames(), ", "))
	fs.StringVar(&f.shard, "shard", "", "grade the `I/N`-th part of the class only, from 1/N to N/N")
	fs.DurationVar(&f.deadline, "deadline", 0, "longest time for one submission (default "+class.Deadline.String()+", more where -j exceeds the CPUs)")
	fs.BoolVar(&f.unsandboxed, "unsandboxed", false, "without a sandbox, on a student's own machine; the reports are marked")
	return fs
}

func labList() string {
	var names []string
	for _, l := range result.Labs {
		names = append(names, string(l))
	}
	return strings.Join(names, ", ")
}

// runGrade grades submissions: one, or a class.
func runGrade(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	var f gradeFlags
	fs := f.set()
	if err := parseFlags(fs, args, stderr, -1); err != nil {
		return err
	}
	opts, err := f.options()
	switch {
	case err != nil:
		return usage(stderr, fs, "%v", err)
	case fs.NArg() == 0:
		return usage(stderr, fs, "which submissions? usage: virtlab grade -o OUT PATH..., of zips, folders, and folders of these")
	}
	handins, err := f.prepare(&opts, fs.Args())
	if err != nil {
		return err
	}
	opts.Progress = progressOn(stderr)
	introduce(stderr, handins, opts)
	graded, err := class.Grade(ctx, handins, opts)
	if graded == nil {
		return err
	}
	if f.format == "" {
		summarize(stdout, graded, f.out, opts.Shard)
		return errors.Join(err, failedAny(graded))
	}
	summarize(stderr, graded, f.out, opts.Shard)
	return errors.Join(err, printReports(stdout, graded, f.format), failedAny(graded))
}

// options checks what the flags say by themselves.
func (f *gradeFlags) options() (opts class.Options, err error) {
	if f.out == "" {
		return opts, errors.New("where to? give a directory with -o")
	}
	if _, known := result.Formats[f.format]; f.format != "" && !known {
		return opts, fmt.Errorf("-format %s: there are %s", f.format, strings.Join(result.FormatNames(), ", "))
	}
	if f.jobs < 0 || f.deadline < 0 {
		return opts, errors.New("-j and -deadline take numbers above 0")
	}
	opts = class.Options{Out: f.out, Seed: f.seed, Jobs: f.jobs, Deadline: f.deadline, Again: f.again, Unsandboxed: f.unsandboxed}
	if f.labs != "" {
		if opts.Labs, err = parseLabs(f.labs); err != nil {
			return opts, fmt.Errorf("-labs: %w", err)
		}
	}
	if f.shard != "" {
		if opts.Shard, err = class.ParseShard(f.shard); err != nil {
			return opts, fmt.Errorf("-shard: %w", err)
		}
	}
	return opts, nil
}

// parseLabs reads lab names; they come back in the order of the course, each
// once.
func parseLabs(list string) (labs []result.Lab, err error) {
	names := strings.Split(list, ",")
	for _, n := range names {
		if !slices.Contains(result.Labs, result.Lab(n)) {
			return nil, fmt.Errorf("there is no lab %q; there are %s", n, labList())
		}
	}
	for _, l := range result.Labs {
		if slices.Contains(names, string(l)) {
			labs = append(labs, l)
		}
	}
	return labs, nil
}

// prepare finds everything that grading takes, so that what is missing is said
// before anything is graded.
func (f *gradeFlags) prepare(opts *class.Options, paths []string) ([]submission.Handin, error) {
	if err := f.readRubric(opts); err != nil {
		return nil, err
	}
	if err := class.CheckOut(f.out, paths); err != nil {
		return nil, err
	}
	handins, err := submission.Find(paths...)
	if err != nil {
		return nil, err
	}
	if !f.unsandboxed {
		if err := sandbox.Available(); err != nil {
			return nil, err
		}
	}
	if err := harness.Prepare(); err != nil {
		return nil, err
	}
	accel, _ := harness.Accel()
	opts.Accel = string(accel)
	if opts.Harness, err = harness.Version(); err != nil {
		return nil, err
	}
	// The kernel's name for this very program, whatever lies at its path by now.
	opts.Worker = []string{"/proc/self/exe", gradeOne}
	return handins, nil
}

func (f *gradeFlags) readRubric(opts *class.Options) error {
	path := f.rubric
	if path == "" {
		var err error
		if path, err = harness.Fixture("rubric.toml"); err != nil {
			return err
		}
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("the rubric: %w", err)
	}
	opts.RubricText = text
	opts.Rubric, err = result.ParseRubric(text, path, grade.Checks())
	return err
}

// progressOn shows a bar on a terminal, else lines.
func progressOn(w io.Writer) class.Progress {
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return class.Bar(w)
	}
	return class.Lines(w)
}

// introduce says what is going to happen, and how.
func introduce(w io.Writer, handins []submission.Handin, opts class.Options) {
	accel, why := harness.Accel()
	fmt.Fprintf(w, "virtlab: accelerator %s: %s\n", accel, why)
	for _, h := range handins {
		if h.Note != "" && opts.Shard.Has(h.Name) {
			fmt.Fprintf(w, "virtlab: %s: %s\n", result.Line(h.Name), result.Line(h.Note))
		}
	}
}

// summarize is what stands at the end of a run: how it went, where the time
// went, what is to be done again.
func summarize(w io.Writer, c *class.Class, out string, shard class.Shard) {
	stages(w, c.Endings)
	fmt.Fprintln(w, c)
	for _, e := range c.Endings {
		if e.Failed() {
			fmt.Fprintf(w, "  %s: %s\n", result.Line(e.Name), e.Reason())
		}
	}
	for _, note := range c.Notes {
		fmt.Fprintln(w, note)
	}
	if !shard.Whole() {
		fmt.Fprintf(w, "When all shards are done: virtlab merge -o %s\n", out)
		return
	}
	fmt.Fprintf(w, "%s, %s\n", filepath.Join(out, result.IndexFile), filepath.Join(out, result.GradesFile))
}

// stages is a table of where the time of this run went.
func stages(w io.Writer, endings []class.Ending) {
	var now []*result.Report
	for _, e := range endings {
		if e.Report != nil && !e.Kept {
			now = append(now, e.Report)
		}
	}
	totals := slices.DeleteFunc(class.Stages(now), func(s class.StageTotal) bool {
		return s.Total < 0.05 // nobody waits for it
	})
	if len(totals) == 0 {
		return
	}
	t := newTable(w)
	t.AppendHeader(table.Row{"stage", "submissions", "seconds", "mean", "longest"})
	t.SetColumnConfigs([]table.ColumnConfig{rightAligned(2), rightAligned(3), rightAligned(4), rightAligned(5)})
	for _, s := range totals {
		t.AppendRow(table.Row{s.Name, s.Submissions, seconds(s.Total), seconds(s.Total / float64(s.Submissions)), seconds(s.Longest)})
	}
	t.Render()
}

func rightAligned(column int) table.ColumnConfig {
	return table.ColumnConfig{Number: column, Align: text.AlignRight, AlignHeader: text.AlignRight}
}

func seconds(s float64) string { return fmt.Sprintf("%.1f", s) }

// printReports prints the reports of a run, one after the other.
func printReports(w io.Writer, c *class.Class, format string) error {
	for _, e := range c.Endings {
		if e.Report == nil {
			continue
		}
		text, err := result.Formats[format](e.Report)
		if err != nil {
			return err
		}
		if _, err := w.Write(text); err != nil {
			return err
		}
	}
	return nil
}

// failedAny is the error of a run in which grading itself failed for some.
func failedAny(c *class.Class) error {
	if n := c.Failed(); n > 0 {
		return fmt.Errorf("grading failed for %s; the same command grades them again", plural(n, "submission"))
	}
	return nil
}

// gradeOne is the subcommand of a worker: it grades one submission, told on its
// standard input.
const gradeOne = "grade-one"

func runGradeOne(ctx context.Context, _ []string, _, _ io.Writer) error {
	return class.Work(ctx, os.Stdin)
}
