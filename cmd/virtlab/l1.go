package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"virtlab/harness"
	"virtlab/harness/build"
	"virtlab/harness/guest/wire"
	"virtlab/harness/machine"
)

// runL1 boots L1, the machine with a real KVM inside, copies a program into it
// and runs it there: so what needs /dev/kvm runs where there is none.
func runL1(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("l1", flag.ContinueOnError)
	fs.SetOutput(stderr)
	memory := fs.Int("memory", 2048, "memory of L1 in `MiB`")
	if err := fs.Parse(args); err != nil {
		return errUsage
	}
	if fs.NArg() == 0 {
		return errors.New("which program? usage: virtlab l1 [-memory MIB] PROGRAM [ARG...]")
	}
	l1, err := harness.BootL1(ctx, harness.MemoryMiB(*memory))
	if err != nil {
		return err
	}
	defer l1.Close()
	program := "/tmp/" + filepath.Base(fs.Arg(0))
	if err := machine.Upload(ctx, l1, fs.Arg(0), program); err != nil {
		return err
	}
	p, err := l1.Start(ctx, machine.Cmd{
		Args: append([]string{program}, fs.Args()[1:]...),
		// The program sees the tools disk's assets, and a labs test binary
		// keeps its evidence in L1's memory.
		Env: []string{build.AssetsVariable + "=" + wire.ToolsDir, "XDG_CACHE_HOME=/tmp", "TMPDIR=/tmp"},
		Dir: "/tmp", Stdin: os.Stdin, Stdout: stdout, Stderr: stderr,
	})
	if err != nil {
		return err
	}
	if err := p.Wait(); err != nil {
		return fmt.Errorf("%s in L1: %w", filepath.Base(fs.Arg(0)), err)
	}
	return nil
}
