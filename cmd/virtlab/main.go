// Command virtlab is what people type: it sets the labs up, says what the
// machine offers, shows results, and runs the labs' tools on their own.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"virtlab/harness/class"
	"virtlab/harness/shot"
)

// command is a subcommand.
type command struct {
	name string
	args string // how its arguments look in the help
	help string // one line; without it the command is for virtlab itself
	run  func(ctx context.Context, args []string, stdout, stderr io.Writer) error
}

// commands are all subcommands in the order of the help.
var commands = []command{
	{"setup", "[-n] [-debian]", "install missing Debian packages and build what the labs boot", runSetup},
	{"doctor", "", "say what this machine offers and what to do about the rest", runDoctor},
	{"table", "FILE...", "show the results of go test -json event streams", runTable},
	{"grade", "-o OUT PATH...", "grade submissions: zips, folders, or a class of them", runGrade},
	{"merge", "-o OUT [DIR...]", "put the results of grade -shard together", runMerge},
	{"sample", "[-n N] DIR", "write a made-up class, to try grading with", runSample},
	{"trap", "[-inject HEX] PROGRAM [ARG...]", "watch a program that uses /dev/kvm, exit by exit", runTrap},
	{"vmm", "[-text TEXT]", "run the CPU lab's guest under our own mini VMM", runVMM},
	{"l1", "PROGRAM [ARG...]", "boot L1, the machine with a real KVM inside, and run a program there", runL1},
	{"bar", "", "in a guest: drive the edu device's registers as scripts on stdin say (docs/edu-op.md)", runBar},
	{"burn", "TIME PROGRAM [ARG...]", "use CPU time, then become a program: a slow-down for a comparison to find", runBurn},
	{shot.Command, "", "", runShot},
	{gradeOne, "", "", runGradeOne},
}

// errUsage ends a subcommand whose arguments were wrong, after it said so on
// stderr.
var errUsage = errors.New("wrong usage")

// Exit statuses.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	go func() {
		<-ctx.Done()
		stop() // a second Ctrl-C ends us at once
	}()
	os.Exit(run(ctx, commands, os.Args[1:], os.Stdout, os.Stderr))
}

// run runs the subcommand that args name and gives the exit status.
func run(ctx context.Context, commands []command, args []string, stdout, stderr io.Writer) int {
	if len(args) == 0 {
		printHelp(commands, stderr)
		return exitUsage
	}
	if args[0] == "help" || args[0] == "-h" || args[0] == "-help" || args[0] == "--help" {
		printHelp(commands, stdout)
		return exitOK
	}
	for _, c := range commands {
		if c.name == args[0] {
			return exitStatus(ctx, c.run(ctx, args[1:], stdout, stderr), stderr)
		}
	}
	fmt.Fprintf(stderr, "virtlab: no subcommand %q; virtlab help lists them\n", args[0])
	return exitUsage
}

func exitStatus(ctx context.Context, err error, stderr io.Writer) int {
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return exitOK
	case errors.Is(err, errUsage):
		return exitUsage
	case errors.Is(err, class.ErrUnchanged):
		return class.StatusUnchanged
	case errors.Is(err, errQuiet):
	case ctx.Err() != nil:
		fmt.Fprintln(stderr, "virtlab: interrupted:", err)
	default:
		fmt.Fprintln(stderr, "virtlab:", err)
	}
	return exitFailed
}

// errQuiet is a failure that the output has already explained.
var errQuiet = errors.New("failed")

func printHelp(commands []command, w io.Writer) {
	fmt.Fprint(w, "virtlab runs the labs of a virtualization course.\n\nusage: virtlab SUBCOMMAND [ARG...]\n\n")
	for _, c := range commands {
		if c.help == "" {
			continue
		}
		fmt.Fprintf(w, "  %s %s\n        %s\n", c.name, c.args, c.help)
	}
	fmt.Fprint(w, "\nvirtlab SUBCOMMAND -h lists the flags of one. Exit status: 0 well, 1 failed, 2 wrong usage.\n")
}

// parseFlags parses a subcommand's flags; limit is how many further arguments
// it takes, -1 for any number.
func parseFlags(fs *flag.FlagSet, args []string, stderr io.Writer, limit int) error {
	fs.SetOutput(stderr)
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return err
		}
		return errUsage
	}
	if limit >= 0 && fs.NArg() > limit {
		return usage(stderr, fs, "unexpected argument %q", fs.Arg(limit))
	}
	return nil
}

// usage says what is wrong with a subcommand's arguments, and which flags it has.
func usage(stderr io.Writer, fs *flag.FlagSet, format string, args ...any) error {
	fmt.Fprintf(stderr, "virtlab %s: %s\n", fs.Name(), fmt.Sprintf(format, args...))
	fs.SetOutput(stderr)
	fs.PrintDefaults()
	return errUsage
}
