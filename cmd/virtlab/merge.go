package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"virtlab/harness/class"
	"virtlab/harness/result"
	"virtlab/harness/submission"
)

// runMerge puts the results of a class's shards together.
func runMerge(_ context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("merge", flag.ContinueOnError)
	out := fs.String("o", "", "`directory` of the whole class")
	mixed := fs.Bool("mixed", false, "also where rubrics, seeds or versions of virtlab differ")
	var expect paths
	fs.Var(&expect, "expect", "what was handed in, as given to virtlab grade: name those who are missing; any number of times")
	if err := parseFlags(fs, args, stderr, -1); err != nil {
		return err
	}
	if *out == "" {
		return usage(stderr, fs, "where to? usage: virtlab merge -o OUT [DIR...], of directories with results")
	}
	opts := class.MergeOptions{Out: *out, Dirs: fs.Args(), Mixed: *mixed}
	if len(expect) > 0 {
		handins, err := submission.Find(expect...)
		if err != nil {
			return err
		}
		for _, h := range handins {
			opts.Expect = append(opts.Expect, h.Name)
		}
	}
	merged, err := class.Merge(opts)
	if err != nil {
		return err
	}
	return summarizeMerge(stdout, merged, *out)
}

// paths is a flag that is given any number of times.
type paths []string

func (p *paths) String() string     { return strings.Join(*p, " ") }
func (p *paths) Set(s string) error { *p = append(*p, s); return nil }

func summarizeMerge(w io.Writer, m *class.Merged, out string) error {
	for _, note := range m.Notes {
		fmt.Fprintln(w, result.Line(note))
	}
	var errs []error
	for _, name := range m.Missing {
		fmt.Fprintf(w, "missing: %s\n", result.Line(name))
	}
	if n := len(m.Missing); n > 0 {
		errs = append(errs, fmt.Errorf("%s without a report", plural(n, "submission")))
	}
	failed := 0
	for _, r := range m.Reports {
		if r.Failed() {
			failed++
			fmt.Fprintf(w, "grading failed: %s: %s\n", result.Line(r.Name), result.Line(class.Reason(r)))
		}
	}
	if failed > 0 {
		errs = append(errs, fmt.Errorf("grading failed for %s", plural(failed, "submission")))
	}
	fmt.Fprintf(w, "%s: %s, %s\n", plural(len(m.Reports), "report"), filepath.Join(out, result.IndexFile), filepath.Join(out, result.GradesFile))
	return errors.Join(errs...)
}
