package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"
)

// runBurn computes for a while and then becomes another program: a slow-down of
// known size, to see whether a comparison finds it (-wrap).
func runBurn(_ context.Context, args []string, _, stderr io.Writer) error {
	fs := flag.NewFlagSet("burn", flag.ContinueOnError)
	if err := parseFlags(fs, args, stderr, -1); err != nil {
		return err
	}
	if fs.NArg() < 2 {
		return usage(stderr, fs, "want a CPU time and a program: virtlab burn 50ms PROGRAM [ARG...]")
	}
	d, err := time.ParseDuration(fs.Arg(0))
	if err != nil {
		return usage(stderr, fs, "%q is no duration", fs.Arg(0))
	}
	path, err := exec.LookPath(fs.Arg(1))
	if err != nil {
		return err
	}
	if err := burn(d); err != nil {
		return err
	}
	return fmt.Errorf("%s: %w", path, unix.Exec(path, fs.Args()[1:], os.Environ()))
}

// burn computes until this process has used that much more CPU time. Time that
// it does not get does not count, as it would not in a slower program.
func burn(d time.Duration) error {
	var end unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &end); err != nil {
		return err
	}
	for stop, now := end.Nano()+d.Nanoseconds(), end; now.Nano() < stop; {
		if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &now); err != nil {
			return err
		}
	}
	return nil
}
