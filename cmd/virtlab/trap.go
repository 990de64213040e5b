package main

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"virtlab/harness/kvm"
	"virtlab/harness/trap"
)

// runTrap watches a program that uses /dev/kvm, as the CPU lab does: it shows
// each VM exit, and with -inject what the program makes of other bytes.
func runTrap(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	fs := flag.NewFlagSet("trap", flag.ContinueOnError)
	fs.SetOutput(stderr)
	inject := fs.String("inject", "", "hexadecimal `bytes` that replace what the guest wrote, one per exit; - reads a line of them from standard input")
	asJSON := fs.Bool("json", false, "print the whole log as JSON")
	limit := fs.Duration("time", 30*time.Second, "longest run")
	hold := fs.Bool("hold", false, "run only as long as standard input is held open")
	user := fs.Int("user", 0, "user `number` that the program runs as, walled in; root only. 0: with the caller's rights")
	if err := fs.Parse(args); err != nil {
		return errUsage
	}
	if fs.NArg() == 0 {
		return errors.New("which program? usage: virtlab trap [-inject HEX] [-user UID] [-json] PROGRAM [ARG...]")
	}
	stdin := bufio.NewReader(os.Stdin)
	nonce, err := readNonce(*inject, stdin)
	if err != nil {
		return err
	}
	if *hold {
		var cancel context.CancelFunc
		ctx, cancel = held(ctx, stdin)
		defer cancel()
	}
	config := trap.Config{Argv: fs.Args(), Env: os.Environ(), Inject: nonce, Limit: trap.Limit{Time: *limit}}
	if *user != 0 {
		config.Confine = &trap.Confinement{UID: *user}
	}
	log, err := trap.Run(ctx, config)
	if err != nil {
		return err
	}
	if *asJSON {
		return json.NewEncoder(stdout).Encode(log)
	}
	printTrapped(stdout, log)
	return nil
}

// readNonce reads the bytes of -inject. Everyone on a machine can read a command
// line, the watched program too: there is a way without.
func readNonce(given string, stdin *bufio.Reader) ([]byte, error) {
	if given == "-" {
		line, err := stdin.ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("-inject -: %w", err)
		}
		given = strings.TrimSpace(line)
	}
	nonce, err := hex.DecodeString(given)
	if err != nil {
		return nil, fmt.Errorf("-inject: %w", err)
	}
	return nonce, nil
}

// held is a context that lasts as long as stdin: whoever holds it keeps the time.
func held(ctx context.Context, stdin io.Reader) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	go func() {
		_, _ = io.Copy(io.Discard, stdin)
		cancel(trap.ErrTimeLimit)
	}()
	return ctx, func() { cancel(nil) }
}

func printTrapped(w io.Writer, log *trap.Log) {
	for i, e := range log.Exits {
		fmt.Fprintf(w, "exit %2d  %s\n", i, e.Exit)
	}
	fmt.Fprintf(w, "\nit printed: %q\nit ended:   %s", log.Stdout, log.Ending)
	if log.Detail != "" {
		fmt.Fprintf(w, ": %s", log.Detail)
	}
	fmt.Fprintln(w)
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
