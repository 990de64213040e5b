// Command guestjob does a job of the comparison in a guest: it reads a job.Spec
// from the end of a disk, does what that asks for, answers with frames on the
// console and ends the machine. PID 1 of the small guest starts it
// (virtlab.run=/lab/bin/guestjob,/dev/vda), in the Debian guest a unit does.
package main

import (
	"flag"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"virtlab/harness/job"
)

func main() {
	// The console is the kernel's, which is the serial port under every VMM.
	console := flag.String("console", "/dev/console", "`file` for the answers")
	flag.Usage = func() {
		fmt.Fprintln(flag.CommandLine.Output(), "usage: guestjob [-console FILE] DEVICE")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 1 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(*console, flag.Arg(0)); err != nil {
		fmt.Fprintln(os.Stderr, "guestjob:", err)
		os.Exit(1)
	}
}

// run does the job at the end of device. Where it returns, PID 1 ends the machine.
func run(console, device string) error {
	out, err := openConsole(console)
	if err != nil {
		return err
	}
	r := runner{console: out}
	spec, err := job.ReadTail(device)
	if err != nil {
		return r.fault(err)
	}
	if err := r.do(spec); err != nil {
		_ = r.fault(err)
	}
	return end(out, spec.End)
}

// openConsole opens a terminal, or a file, for blocking writes: a write to a
// terminal that does not block is cut where its buffer is full, and the words of
// others may get into the cut.
func openConsole(path string) (*os.File, error) {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening the console: %w", &os.PathError{Op: "open", Path: path, Err: err})
	}
	return os.NewFile(uintptr(fd), path), nil
}
