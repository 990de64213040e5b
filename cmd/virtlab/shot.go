package main

import (
	"context"
	"flag"
	"io"
	"os"

	"virtlab/harness/shot"
)

// runShot runs one VMM process and watches it, for the comparison: a
// specification on standard input, the outcome on standard output, both JSON.
func runShot(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet(shot.Command, flag.ContinueOnError)
	if err := parseFlags(fs, args, stderr, 0); err != nil {
		return err
	}
	return shot.Serve(ctx, os.Stdin, stdout)
}
