package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"time"

	"virtlab/harness/kvm"
	"virtlab/harness/trap"
)

// runTrap watches a program that uses /dev/kvm, as the CPU lab does: it shows
// each VM exit, and with -inject what the program makes of other bytes.
func runTrap(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("trap", flag.ContinueOnError)
	fs.SetOutput(stderr)
	inject := fs.String("inject", "", "hexadecimal `bytes` that replace what the guest wrote, one per exit")
	asJSON := fs.Bool("json", false, "print the whole log as JSON")
	limit := fs.Duration("time", 30*time.Second, "longest run")
	if err := fs.Parse(args); err != nil {
		return errUsage
	}
	nonce, err := hex.DecodeString(*inject)
	if err != nil {
		return fmt.Errorf("-inject: %w", err)
	}
	if fs.NArg() == 0 {
		return errors.New("which program? usage: virtlab trap [-inject HEX] [-json] PROGRAM [ARG...]")
	}
	log, err := trap.Run(ctx, trap.Config{Argv: fs.Args(), Env: os.Environ(), Inject: nonce, Limit: trap.Limit{Time: *limit}})
	if err != nil {
		return err
	}
	if *asJSON {
		return json.NewEncoder(stdout).Encode(log)
	}
	for i, e := range log.Exits {
		fmt.Fprintf(stdout, "exit %2d  %s\n", i, e.Exit)
	}
	fmt.Fprintf(stdout, "\nit printed: %q\nit ended:   %s\n", log.Stdout, log.Ending)
	return nil
}

// runVMM is the CPU lab's guest under our own mini VMM.
func runVMM(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("vmm", flag.ContinueOnError)
	fs.SetOutput(stderr)
	device := fs.String("device", "/dev/kvm", "the KVM device")
	text := fs.String("text", "Hello, world!\n", "what the guest prints, byte by byte through out")
	name := fs.String("transform", "upper", "what becomes of each trapped byte: none, upper, lower, swap or rot13")
	asJSON := fs.Bool("json", false, "print the result as JSON")
	if err := fs.Parse(args); err != nil {
		return errUsage
	}
	change := func(b byte) byte { return b }
	if *name != "none" {
		t, err := trap.ParseTransform(*name)
		if err != nil {
			return err
		}
		change = t.Byte
	}
	dev, err := kvm.Open(*device)
	if err != nil {
		return err
	}
	defer dev.Close()
	res, err := kvm.RunConsole(ctx, dev, kvm.Hello(*text), change)
	if err != nil {
		return err
	}
	if *asJSON {
		return json.NewEncoder(stdout).Encode(res)
	}
	for i, e := range res.Exits {
		fmt.Fprintf(stdout, "exit %2d  %s\n", i, e)
	}
	_, err = fmt.Fprintf(stdout, "\n%s", res.Output)
	return err
}
