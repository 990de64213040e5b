package grade

import (
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"virtlab/harness"
	"virtlab/harness/compile"
	"virtlab/harness/guest"
	"virtlab/harness/machine"
	"virtlab/harness/result"
	"virtlab/harness/submission"
	"virtlab/harness/trap"
)

// Experiment 1. The guest's text and what is trapped of it.
var cpuChecks = []result.Check{
	{ID: "cpu.compiles", Lab: result.CPU, Title: "modified-qemu.c compiles", Page: "docs/cpu.md#handing-in"},
	{ID: "cpu.text", Lab: result.CPU, Title: "prints the guest's text, transformed", Page: "docs/cpu.md#what-is-checked"},
	{ID: "cpu.exits", Lab: result.CPU, Title: "one VM exit per character and one for hlt", Page: "docs/cpu.md#what-is-checked"},
	{ID: "cpu.end", Lab: result.CPU, Title: "ends by itself", Page: "docs/cpu.md#what-is-checked"},
	{ID: "cpu.transform", Lab: result.CPU, Title: "transforms what was trapped", Page: "docs/cpu.md#the-trap-boundary"},
}

// guestText is what the course's guest writes. What the program has to print is
// not derived from it, but from what the guest was seen to write.
const guestText = "Hello, world!\n"

// shortLimit is for the second run of a program that did not end in its first.
const shortLimit = 3 * time.Second

func (g *grading) cpu() {
	if _, ok := g.path(submission.VMM); !ok {
		g.settleAll(notGraded("the submission has no modified-qemu.c"), "cpu.compiles", "cpu.text", "cpu.exits", "cpu.end", "cpu.transform")
		return
	}
	program, err := g.compileVMM()
	if err != nil {
		if result.OwnerOf(err) == result.Submission {
			err = notGraded("modified-qemu.c does not compile")
		}
		g.settleAll(err, "cpu.text", "cpu.exits", "cpu.end", "cpu.transform")
		return
	}
	run := g.runVMM("cpu.run", program, harness.WatchLimit, false)
	g.checkRun("cpu.text", run, g.checkText)
	g.checkRun("cpu.exits", run, checkExits)
	g.checkRun("cpu.end", run, checkEnd)
	if run.err == nil {
		run = g.runVMM("cpu.injected", program, secondLimit(run.log), true)
	}
	g.checkRun("cpu.transform", run, g.checkTransform)
}

// secondLimit is how long the second run may take: one that cannot be worth more
// than the first is kept short.
func secondLimit(first *trap.Log) time.Duration {
	if first.Ending == trap.TimeLimit {
		return shortLimit
	}
	return harness.WatchLimit
}

// compileVMM compiles the student's mini VMM and settles cpu.compiles.
func (g *grading) compileVMM() (program string, err error) {
	var product compile.Product
	err = g.stage("cpu.compile", func(lab *harness.Lab) (err error) {
		file := g.answer.Files[submission.VMM][0]
		product, err = compile.Program(lab.Ctx, compile.Source{Root: g.sub.Dir, File: file.Path}, lab.TempDir())
		return err
	})
	g.check("cpu.compiles", func(_ *harness.Lab, v *result.Verdict) error {
		if product.Warnings != "" {
			v.Warnings = append(v.Warnings, product.Warnings)
		}
		v.Message = "it compiles"
		return err
	})
	return product.Path, err
}

// vmmRun is what was seen of the student's program.
type vmmRun struct {
	log      *trap.Log
	evidence []string
	err      error // why there is no log
}

// runVMM runs the program in L1. An L1 that does not survive it is replaced and the
// program tried once more: a machine may have bad luck, but not twice.
func (g *grading) runVMM(stage, program string, limit time.Duration, inject bool) (run vmmRun) {
	for range 2 {
		l1, err := g.machine()
		if err != nil {
			return vmmRun{err: err}
		}
		run = g.watchVMM(stage, l1, program, limit, inject)
		if !brokeMachine(run) {
			return run
		}
		g.discardMachine()
	}
	if run.err != nil && !killedFromOutside(run.err) {
		run.err = theirs(fmt.Errorf("the machine that ran the program did not survive it, and neither did a second one: %w", run.err))
	}
	return run
}

// killedFromOutside tells whether SIGKILL ended the machine's VMM. Nothing in a
// guest can do that: as a rule the host had no memory left.
func killedFromOutside(err error) bool {
	var exit *machine.ExitError
	return result.OwnerOf(err) == result.VMM && errors.As(err, &exit) && exit.Signal == unix.SIGKILL.String()
}

// brokeMachine tells whether L1 is no place for another program.
func brokeMachine(run vmmRun) bool {
	if run.err == nil {
		return run.log.Ending == trap.CannotBeKilled
	}
	owner := result.OwnerOf(run.err)
	return owner == result.Guest || owner == result.VMM
}

// watchVMM runs the program in l1 under the trap observer.
func (g *grading) watchVMM(stage string, l1 *guest.Guest, program string, limit time.Duration, inject bool) (run vmmRun) {
	run.err = g.stage(stage, func(lab *harness.Lab) error {
		dir, err := l1.TempDir(lab.Ctx)
		if err != nil {
			return err
		}
		uploaded := dir + "/" + filepath.Base(program)
		if err := machine.Upload(lab.Ctx, l1, program, uploaded); err != nil {
			return err
		}
		var nonce []byte
		if inject { // all but the line feed: some print a line when it ends
			nonce = trap.Nonce(lab.Rand, len(guestText)-1)
		}
		run.log = lab.WatchFor(limit, l1, uploaded, nonce...)
		return nil
	})
	run.evidence = g.stages[len(g.stages)-1].files(g.opts.Dir)
	return run
}

// checkRun makes a check of what was seen of the program.
func (g *grading) checkRun(id string, run vmmRun, check func(*trap.Log, *result.Verdict) error) {
	g.check(id, func(_ *harness.Lab, v *result.Verdict) error {
		v.Evidence = append(v.Evidence, run.evidence...)
		if run.err != nil {
			return run.err
		}
		return check(run.log, v)
	})
}

// checkText asks for the transform of what the guest wrote, which has to be what
// the course's guest writes.
func (g *grading) checkText(log *trap.Log, v *result.Verdict) error {
	if err := trap.CheckGuest(log, guestText); err != nil {
		return err
	}
	transform, err := trap.ParseTransform(g.opts.Rubric.Transform)
	if err != nil {
		return err
	}
	text := transform.Apply(log.Emitted())
	v.Message = fmt.Sprintf("the guest wrote %q, and the program printed %q", log.Emitted(), text)
	return trap.CheckText(log, string(text))
}

func checkExits(log *trap.Log, v *result.Verdict) error {
	v.Message = fmt.Sprintf("%d VM exits", len(log.Exits))
	return trap.CheckExits(log, len(guestText))
}

// checkEnd asks for an end of a program that did run a guest.
func checkEnd(log *trap.Log, v *result.Verdict) error {
	if err := trap.CheckEnd(log); err != nil {
		return err
	}
	if len(log.Exits) == 0 {
		return trap.CheckGuest(log, guestText)
	}
	v.Message = fmt.Sprintf("it ended with status %d", log.ExitStatus)
	if log.ExitStatus != 0 {
		v.Warnings = append(v.Warnings, fmt.Sprintf("it ends with status %d, which says that it failed: a program that did its work returns 0", log.ExitStatus))
	}
	return nil
}

// checkTransform asks for the transform of bytes that nobody could know before.
func (g *grading) checkTransform(log *trap.Log, v *result.Verdict) error {
	transform, err := trap.ParseTransform(g.opts.Rubric.Transform)
	if err != nil {
		return err
	}
	if emitted := log.Emitted(); len(emitted) != len(guestText) {
		return trap.CheckGuest(log, guestText)
	}
	v.Message = fmt.Sprintf("the kvm_run page held %q, and the program printed %s of it", log.Trapped(), transform)
	return trap.CheckTransform(log, transform)
}

// discardMachine throws L1 away; who asks for it next gets a new one.
func (g *grading) discardMachine() {
	if g.l1 != nil {
		_ = g.l1.Close()
	}
	g.l1, g.l1err = nil, nil
}
