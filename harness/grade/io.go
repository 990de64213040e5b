package grade

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"virtlab/harness"
	"virtlab/harness/build"
	"virtlab/harness/compile"
	"virtlab/harness/edu"
	"virtlab/harness/result"
	"virtlab/harness/submission"
)

// Experiment 3. The student's device, driver and test program.
var ioChecks = []result.Check{
	{ID: "io.device-builds", Lab: result.IO, Title: "edu_modified.c builds in QEMU", Page: "docs/io.md#handing-in"},
	{ID: "io.driver-builds", Lab: result.IO, Title: "pci_modified.c builds", Page: "docs/io.md#handing-in"},
	{ID: "io.test-builds", Lab: result.IO, Title: "test_modified.c builds", Page: "docs/io.md#handing-in"},
	{ID: "io.loads", Lab: result.IO, Title: "the driver loads and takes the device", Page: "docs/io.md#what-is-checked"},
	{ID: "io.factorial", Lab: result.IO, Title: "the device still computes factorials", Page: "docs/io.md#what-is-checked"},
	{ID: "io.interrupt", Lab: result.IO, Title: "the device still raises interrupts", Page: "docs/io.md#what-is-checked"},
	{ID: "io.dma", Lab: result.IO, Title: "the device still does DMA", Page: "docs/io.md#what-is-checked"},
	{ID: "io.test-runs", Lab: result.IO, Title: "the test program runs to its end", Page: "docs/io.md#what-is-checked"},
	{ID: "io.function", Lab: result.IO, Title: "the device has a function of its own", Page: "docs/edu-op.md"},
}

// stockFunctions are the checks of what the device could do before.
var stockFunctions = []string{"io.factorial", "io.interrupt", "io.dma"}

// ioWork is what the checks are about, and what was seen of it.
type ioWork struct {
	device, driver, test product
	op                   *edu.Op // nil: evidence mode
	opProblem            error   // why there is none
	asks                 []edu.Values
	survey               edu.Script
	opened               string // the sources in which the test program's device nodes are named
	draw                 ioDraw

	his, stock *ioSide // the guest under the student's QEMU, and that under ours
}

// product is what came of one of the student's sources.
type product struct {
	file     string // as he calls it
	path     string // of what was built
	warnings string
	err      error // why there is none; a notGraded where there is no source
}

// ioDraw is what the stock functions are asked.
type ioDraw struct {
	live    uint32
	n, wrap uint32 // n! fits 32 bits, wrap! does not
	bits    uint32 // of an interrupt
	seed    uint32 // of DMA's data
	size    int
}

func (g *grading) io() {
	w := &ioWork{}
	err := g.stage("io.build", func(lab *harness.Lab) error {
		w.prepare(g, lab)
		return nil
	})
	if err != nil {
		for _, c := range ioChecks {
			g.settleAll(err, c.ID)
		}
		return
	}
	w.run(g)
	g.ioSettle(w)
}

// prepare builds the three programs side by side, reads edu-op.json and draws.
func (w *ioWork) prepare(g *grading, lab *harness.Lab) {
	w.draw = ioDraw{
		live: lab.Rand.Uint32(), n: 5 + lab.Rand.Uint32N(8), wrap: 13 + lab.Rand.Uint32N(12), // beyond any table that stops at 10!
		bits: 2 + lab.Rand.Uint32N(0x7e)<<1,
	}
	w.draw.seed, w.draw.size = edu.DrawDMA(lab.Rand)
	w.survey = edu.Survey(w.draw.live)
	w.readOp(g)
	if w.op != nil {
		w.asks = w.op.Draw(lab.Rand)
	}
	w.opened = g.sources(submission.Test, submission.Header)
	var all sync.WaitGroup
	add := func(p *product, role submission.Role, name string, make func(compile.Source, string) (compile.Product, error)) {
		dir := lab.TempDir()
		all.Go(func() { *p = g.build(role, name, dir, make) })
	}
	assets := harness.Assets()
	add(&w.device, submission.Edu, "edu_modified.c", func(src compile.Source, out string) (compile.Product, error) {
		return compile.Device(lab.Ctx, assets.QEMUDir, src, out)
	})
	add(&w.driver, submission.Driver, "pci_modified.c", func(src compile.Source, out string) (compile.Product, error) {
		return compile.Module(lab.Ctx, build.Kernel{Dir: assets.Kernel}, src, driverName, out)
	})
	add(&w.test, submission.Test, "test_modified.c", func(src compile.Source, out string) (compile.Product, error) {
		return compile.Program(lab.Ctx, src, out)
	})
	all.Wait()
}

// driverName is the name that the student's module gets.
const driverName = "pci_modified"

// build builds the source with a role; name is what the course calls it.
func (g *grading) build(role submission.Role, name, dir string, make func(compile.Source, string) (compile.Product, error)) product {
	if _, ok := g.path(role); !ok {
		return product{file: name, err: notGraded(fmt.Sprintf("the submission has no %s", name))}
	}
	file := g.answer.Files[role][0].Path
	out, err := make(compile.Source{Root: g.sub.Dir, File: file}, dir)
	return product{file: filepath.Base(file), path: out.Path, warnings: out.Warnings, err: err}
}

// sources are the texts of the files with these roles.
func (g *grading) sources(roles ...submission.Role) string {
	var all strings.Builder
	for _, role := range roles {
		for _, f := range g.answer.Files[role] {
			text, _ := os.ReadFile(filepath.Join(g.sub.Dir, filepath.FromSlash(f.Path)))
			all.Write(append(text, '\n'))
		}
	}
	return all.String()
}

// readOp reads edu-op.json. One that cannot be used leaves evidence mode.
func (w *ioWork) readOp(g *grading) {
	path, ok := g.path(submission.EduOp)
	if !ok {
		w.opProblem = errors.New("there is no edu-op.json")
		return
	}
	text, err := os.ReadFile(path)
	if err == nil {
		w.op, err = edu.ParseOp(text)
	}
	if err != nil {
		w.op, w.opProblem = nil, fmt.Errorf("edu-op.json could not be used: %w", err)
	}
}

// run boots the two guests side by side: one under the student's QEMU, in a
// sandbox, and one under ours, whose trace can be trusted.
func (w *ioWork) run(g *grading) {
	var both sync.WaitGroup
	var stages [2]result.Stage
	if w.device.err == nil {
		w.his = &ioSide{work: w, name: "io.device"}
		both.Go(func() { stages[0] = w.his.run(g) })
	}
	if w.his != nil || w.driver.err == nil {
		w.stock = &ioSide{work: w, name: "io.stock", stock: true}
		both.Go(func() { stages[1] = w.stock.run(g) })
	}
	both.Wait()
	for _, s := range stages {
		if s.Name != "" {
			g.report.Stages = append(g.report.Stages, s)
		}
	}
}

// ioSettle makes the checks of what was seen.
func (g *grading) ioSettle(w *ioWork) {
	for id, p := range map[string]product{"io.device-builds": w.device, "io.driver-builds": w.driver, "io.test-builds": w.test} {
		g.check(id, func(_ *harness.Lab, v *result.Verdict) error {
			if p.warnings != "" {
				v.Warnings = append(v.Warnings, p.warnings)
			}
			v.Message = p.file + " builds"
			return p.err
		})
	}
	for _, id := range stockFunctions {
		g.check(id, func(_ *harness.Lab, v *result.Verdict) error {
			if w.his == nil {
				return w.device.missing()
			}
			v.Evidence = append(v.Evidence, w.his.evidence...)
			v.Message = w.his.seen[id]
			return w.blame(w.his.functions[id])
		})
	}
	g.check("io.loads", w.checkLoads)
	g.check("io.test-runs", w.checkTestRuns)
	g.check("io.function", w.checkFunction)
}

// missing is why nothing can be said of what p should be part of.
func (p product) missing() error {
	var none notGraded
	if p.err == nil || errors.As(p.err, &none) {
		return p.err
	}
	if result.OwnerOf(p.err) != result.Submission {
		return p.err
	}
	return notGraded(p.file + " does not build")
}

// tried is the guest in which driver and test program are judged: the one with
// the student's device, or, where that cannot be had, the one with the stock
// device.
func (w *ioWork) tried(v *result.Verdict) *ioSide {
	switch {
	case w.his == nil && w.stock == nil:
		return nil
	case w.his != nil && w.his.boot == nil:
		v.Evidence = append(v.Evidence, w.his.evidence...)
		return w.his
	}
	v.Warnings = append(v.Warnings, "tried with the stock device, as there is none of yours that runs")
	v.Evidence = append(v.Evidence, w.stock.evidence...)
	return w.stock
}

// blame finds who is at fault for an error of the guest under the student's
// QEMU. That QEMU may say and do anything, so where the same guest boots under
// ours nothing but its own is to blame.
func (w *ioWork) blame(err error) error {
	switch {
	case err == nil, w.stock != nil && w.stock.boot != nil, result.OwnerOf(err) == result.Submission:
		return err
	}
	var skip notGraded
	if errors.As(err, &skip) {
		return err
	}
	return result.Errorf(result.Submission, "%w", err)
}

// checkLoads asks for a driver that is bound to the device and can be reached.
func (w *ioWork) checkLoads(_ *harness.Lab, v *result.Verdict) error {
	if w.driver.err != nil {
		return w.driver.missing()
	}
	side := w.tried(v)
	if side.boot != nil {
		return side.boot
	}
	v.Message = side.seen["io.loads"]
	return w.blame(side.loaded)
}

// checkTestRuns asks for a test program that ends by itself, and keeps its log.
func (w *ioWork) checkTestRuns(lab *harness.Lab, v *result.Verdict) error {
	for _, p := range []product{w.driver, w.test} {
		if p.err != nil {
			return p.missing()
		}
	}
	side := w.tried(v)
	switch {
	case side.boot != nil:
		return side.boot
	case side.loaded != nil:
		return notGraded("the driver did not load")
	}
	lab.Keep("test.txt", side.test.stdout+side.test.stderr)
	lab.Keep("dmesg.txt", side.test.dmesg)
	if side.stock && side.test.err != nil {
		return notGraded(fmt.Sprintf("with QEMU's own device, which may lack what it needs, %s",
			strings.TrimPrefix(side.test.err.Error(), "submission: ")))
	}
	v.Warnings = append(v.Warnings, w.habits()...)
	v.Message = fmt.Sprintf("%s ended well after printing %s, with %s in the kernel's log", w.test.file,
		lines(side.test.stdout), lines(side.test.dmesg))
	return w.blame(side.test.err)
}

func lines(text string) string {
	n := strings.Count(text, "\n")
	if n == 1 {
		return "1 line"
	}
	return fmt.Sprintf("%d lines", n)
}

// habits are what the trusted trace of the stock device says about the driver.
func (w *ioWork) habits() []string {
	if w.stock == nil || w.stock.boot != nil {
		return nil
	}
	return w.stock.trace.Habits(w.stock.memory)
}
