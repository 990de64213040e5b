package main

import (
	"context"
	"flag"
	"fmt"
	"io"

	"virtlab/harness"
	"virtlab/harness/corpus"
)

// runSample writes a made-up class, to try grading with.
func runSample(_ context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("sample", flag.ContinueOnError)
	n := fs.Int("n", 10, "how many submissions")
	seed := fs.Uint64("seed", 1, "seed of the names and of what is wrong with whom")
	hostile := fs.Bool("hostile", false, "with submissions that attack the grader")
	if err := parseFlags(fs, args, stderr, 1); err != nil {
		return err
	}
	if fs.NArg() == 0 || *n < 1 {
		return usage(stderr, fs, "which folder? usage: virtlab sample [-n N] DIR")
	}
	if err := harness.Prepare(); err != nil {
		return err
	}
	class, err := corpus.Class(fs.Arg(0), *n, *seed, *hostile)
	if err != nil {
		return err
	}
	for _, s := range class {
		what := "right"
		if s.Case.Name != "" {
			what = fmt.Sprintf("%s, %s: %s", s.Case.Lab, s.Case.Name, s.Case.What)
		}
		fmt.Fprintf(stdout, "%s\t%s\n", s.Zip, what)
	}
	return nil
}
