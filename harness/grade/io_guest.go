package grade

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"virtlab/harness"
	"virtlab/harness/edu"
	"virtlab/harness/guest/wire"
	"virtlab/harness/machine"
	"virtlab/harness/result"
)

// Limits of what a student's code may take, in the guest's own time
// (harness.GuestTimeout). Everything but the boot takes a second or two.
const (
	sideTime   = 90 * time.Second // for all that is done in one guest
	testTime   = 20 * time.Second // for a run of the test program
	stepTime   = 10 * time.Second // for anything else
	testOutput = 1 << 20          // bytes, of each stream
	maxPaths   = 6                // operands that also go through the driver

	// bootStall is how long a guest under the student's QEMU may be silent. It
	// says its first word within a second.
	bootStall = 30 * time.Second
)

// ioSide is one of the two guests and what was seen in it. What comes from the
// guest under the student's QEMU is believed only where it is the right answer
// to something that was drawn.
type ioSide struct {
	work     *ioWork
	name     string
	stock    bool // under our QEMU
	lab      *harness.Lab
	guest    *harness.TriedEdu
	dead     error // why the guest does not answer any more
	evidence []string
	copied   bool // the test program is in the guest

	boot      error             // why there is no guest
	functions map[string]error  // of the stock functions, by check
	seen      map[string]string // what a check that passes says
	survey    edu.Heard         // of all registers
	heard     []edu.Heard       // for each of ioWork.asks; fewer where the device did not answer
	barred    error             // why they are fewer
	loaded    error             // of the student's driver
	test      testLog
	paths     []pathAnswer
	said      string // by QEMU, with its console
	trace     edu.Trace
	memory    edu.DriverMemory
}

// testLog is a run of the test program.
type testLog struct {
	stdout, stderr string
	dmesg          string // new since its start
	err            error
}

// pathAnswer is what came of operands through the driver.
type pathAnswer struct {
	operands edu.Values
	got      string
	err      error
}

// run does all that is to be done in this guest.
func (s *ioSide) run(g *grading) result.Stage {
	start := time.Now()
	s.functions, s.seen = map[string]error{}, map[string]string{}
	r := g.recorder(s.name)
	s.boot = r.run(func(lab *harness.Lab) error {
		s.lab = lab
		late := fmt.Errorf("not done after %s", sideTime)
		// For the boot: before it there is no guest whose time could count.
		var cancel context.CancelFunc
		lab.Ctx, cancel = context.WithTimeoutCause(lab.Ctx, 4*sideTime, late)
		defer cancel()
		if err := s.start(); err != nil {
			return err
		}
		lab.Ctx, cancel = harness.GuestTimeout(lab.Ctx, s.guest, sideTime, late)
		defer cancel()
		s.steps()
		return nil
	})
	if s.boot != nil && !s.stock {
		for _, id := range stockFunctions {
			s.functions[id] = s.boot
		}
	}
	r.cleanup()
	s.evidence = r.files(g.opts.Dir)
	return result.Stage{Name: s.name, Seconds: time.Since(start).Seconds()}
}

func (s *ioSide) start() (err error) {
	if s.stock {
		// Of all devices, so it is long: what is about this one is kept.
		trace := filepath.Join(s.lab.TempDir(), "trace")
		s.guest, err = s.lab.TryEdu(machine.Host, harness.Assets().QEMU, harness.TraceTo(trace))
		return err
	}
	s.guest, err = s.lab.TryEduSandboxed(s.work.device.path, harness.Stall(bootStall))
	if err != nil && s.guest != nil {
		err = fmt.Errorf("no guest comes up under your QEMU: %w%s", err, quoted("it printed", s.guest.Said()))
	}
	return err
}

// steps go from what is trusted most to what is trusted least: after the
// student's driver was loaded nothing in the guest can be relied on.
func (s *ioSide) steps() {
	s.stockFunctions() // of the stock device as well: the two are compared afterwards
	s.drive()
	if s.work.driver.err == nil {
		s.watch()
		// Ours waits for the device; his may sleep instead.
		_ = s.do("pacing", func(context.Context) error { return s.guest.Pace(s.lab.Ctx) })
		s.loaded = s.load()
		if s.work.test.err == nil && s.loaded == nil {
			s.test = s.runTest(testTime, s.testArgs(), "")
			s.runPaths()
		}
	}
	s.end()
}

// stockFunctions has our driver and test program use the device.
func (s *ioSide) stockFunctions() {
	d := s.work.draw
	if err := s.do("loading our driver", func(ctx context.Context) error { return s.guest.Modprobe(ctx, "pci") }); err != nil {
		for _, id := range stockFunctions {
			s.functions[id] = err
		}
		return
	}
	s.ask("io.factorial", []any{"factpoll", d.n, "fact", d.wrap, "fact", 10},
		want{"factpoll", edu.Factorial32(d.n), fmt.Sprintf("%d!", d.n)},
		want{"fact", edu.Factorial32(d.wrap), fmt.Sprintf("%d! modulo 2^32", d.wrap)}, want{"fact", edu.Factorial32(10), "10!"})
	s.ask("io.interrupt", []any{"irq", d.bits}, want{"irq_status", d.bits, fmt.Sprintf("the interrupt status after 0x%x was raised", d.bits)})
	s.ask("io.dma", []any{"dma", d.seed, d.size},
		want{"dma_sum", harness.Checksum(edu.Pattern(d.seed, d.size)), fmt.Sprintf("the sum of %d bytes that went to the device and back", d.size)})
	_ = s.do("unloading our driver", func(ctx context.Context) error {
		_, err := machine.Run(ctx, s.guest, "rmmod", "pci")
		return err
	})
}

// want is an answer of our test program: the next under its key.
type want struct {
	key   string
	value uint32
	what  string
}

// ask runs our test program for a check.
func (s *ioSide) ask(id string, args []any, wants ...want) {
	argv := []string{s.lab.Program(s.guest, "test")}
	for _, a := range args {
		argv = append(argv, fmt.Sprint(a))
	}
	out, errs, err := s.collect(stepTime, machine.Cmd{Args: argv})
	s.lab.Keep(strings.TrimPrefix(id, "io.")+".txt", out+errs)
	answers, perr := edu.ParseAnswers(out)
	var seen []string
	for _, w := range wants {
		text, werr := w.take(answers)
		if werr != nil { // says more than the program's status
			s.functions[id] = errors.Join(werr, stop(err), perr)
			return
		}
		seen = append(seen, text)
	}
	s.seen[id] = strings.Join(seen, "; ")
	s.functions[id] = errors.Join(err, perr)
}

// stop is err without the mere status of a program that failed.
func stop(err error) error {
	var exit *machine.ExitError
	if errors.As(err, &exit) {
		return nil
	}
	return err
}

// take takes the next answer off.
func (w want) take(answers edu.Answers) (seen string, err error) {
	if len(answers[w.key]) == 0 {
		return "", &ioDifference{about: w.what, expected: fmt.Sprintf("0x%x", w.value), got: "no answer"}
	}
	next := edu.Answers{w.key: answers[w.key][:1]}
	answers[w.key] = answers[w.key][1:]
	got, err := next.Uint32(w.key)
	if err != nil {
		return "", err
	}
	if got != w.value {
		return "", &ioDifference{about: w.what, expected: fmt.Sprintf("0x%x", w.value), got: fmt.Sprintf("0x%x", got)}
	}
	return fmt.Sprintf("%s is 0x%x", w.what, got), nil
}

// drive reads all registers and asks for the added function, past any driver.
func (s *ioSide) drive() {
	scripts := []edu.Script{s.work.survey}
	looks := 0
	if s.stock {
		looks = 10 // what is waited for never comes here
	}
	for _, v := range s.work.asks {
		scripts = append(scripts, s.work.op.Ask(v, looks))
	}
	heard, err := s.bar(append(scripts, edu.Script{{Do: edu.Write, Offset: edu.RegIRQAck, Width: 4, Value: edu.Absent}}))
	if s.barred = err; len(heard) > 0 {
		s.survey, s.heard = heard[0], heard[1:min(len(heard), 1+len(s.work.asks))]
	}
}

// bar runs scripts on the device's registers.
func (s *ioSide) bar(scripts []edu.Script) ([]edu.Heard, error) {
	text, err := json.Marshal(scripts)
	if err != nil {
		return nil, err
	}
	out, errs, err := s.collect(stepTime, machine.Cmd{Args: []string{s.lab.Program(s.guest, "virtlab"), "bar"}, Stdin: bytes.NewReader(text)})
	s.lab.Keep("bar.txt", out+errs)
	heard, perr := edu.ParseHeard(out)
	return heard, errors.Join(err, perr)
}

// watch has our QEMU trace what the student's driver does.
func (s *ioSide) watch() {
	if s.stock {
		_ = s.do("tracing", s.guest.TraceMMIO)
	}
}

// load loads the student's driver and makes the device nodes that his test
// program opens.
func (s *ioSide) load() error {
	if s.dead != nil {
		return s.dead
	}
	before, log := s.charDevices(), s.newDmesg()
	ko := wire.ModuleDir + "/" + driverName + ".ko"
	err := s.do("loading "+s.work.driver.file, func(ctx context.Context) error {
		if err := machine.Upload(ctx, s.guest, s.work.driver.path, ko); err != nil {
			return err
		}
		return s.guest.Modprobe(ctx, ko)
	})
	if err != nil {
		return result.Errorf(result.Submission, "the driver does not load: %w%s", err, quoted("the kernel's log", log()))
	}
	if err := s.bound(); err != nil {
		return result.Errorf(result.Submission, "the driver loads, but %w%s", err, quoted("the kernel's log", log()))
	}
	added := s.charDevices().without(before)
	if len(added) == 0 {
		return result.Errorf(result.Submission, "the driver loads, but there is no new character device in /proc/devices: did it call register_chrdev?%s", quoted("the kernel's log", log()))
	}
	s.seen["io.loads"] = "it took the device, and registered " + added.String()
	s.findBAR()
	return s.makeNodes(added)
}

// quoted is text for the end of a message, if there is any.
func quoted(what, text string) string {
	if text = strings.TrimSpace(text); text == "" {
		return ""
	}
	all := strings.Split(text, "\n")
	return fmt.Sprintf("\n%s:\n  %s", what, strings.Join(all[max(0, len(all)-10):], "\n  "))
}

// bound tells whether a driver has the device.
func (s *ioSide) bound() error {
	return s.do("looking at the device", func(ctx context.Context) error {
		text, err := machine.Run(ctx, s.guest, "lspci", "-nnk")
		if err != nil {
			return err
		}
		s.lab.Keep("lspci.txt", text)
		dev, err := edu.FindEdu(edu.ParseLspci(text))
		if err == nil && dev.Driver == "" {
			err = edu.CheckEdu(dev)
		}
		return err
	})
}

// charDevices are the character devices that the kernel has drivers for.
func (s *ioSide) charDevices() chars {
	var all chars
	_ = s.do("reading /proc/devices", func(ctx context.Context) error {
		text, err := s.guest.ReadFile(ctx, "/proc/devices")
		misc, _ := s.guest.ReadFile(ctx, "/proc/misc")
		all = parseChars(string(text), string(misc))
		return err
	})
	return all
}

// makeNodes makes the nodes that are missing, as the course's mknod does.
func (s *ioSide) makeNodes(added chars) error {
	for _, n := range nodes(s.work.opened, added) {
		err := s.do("making "+n.path, func(ctx context.Context) error {
			_, err := machine.Run(ctx, s.guest, "mknod", n.path, "c", strconv.Itoa(n.major), "0")
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// findBAR finds where the driver has mapped the device's registers.
func (s *ioSide) findBAR() {
	if !s.stock {
		return
	}
	_ = s.do("looking for the mapped BAR", func(ctx context.Context) error {
		slot, err := s.slot(ctx)
		if err != nil {
			return err
		}
		resource, err := s.guest.ReadFile(ctx, path.Join("/sys/bus/pci/devices", slot, "resource"))
		if err != nil {
			return err
		}
		phys, err := edu.BARAddress(string(resource))
		if err != nil {
			return err
		}
		maps, err := s.guest.ReadFile(ctx, "/proc/vmallocinfo")
		s.memory.BAR, _ = edu.MappedAt(string(maps), phys)
		return err
	})
}

// slot is the device's, with its domain.
func (s *ioSide) slot(ctx context.Context) (string, error) {
	text, err := machine.Run(ctx, s.guest, "lspci", "-D", "-nn")
	if err != nil {
		return "", err
	}
	dev, err := edu.FindEdu(edu.ParseLspci(text))
	return dev.Slot, err
}

func (s *ioSide) testArgs() []string {
	if s.work.op == nil {
		return nil
	}
	return s.work.op.Test.Args
}

// runTest runs the student's test program.
func (s *ioSide) runTest(limit time.Duration, args []string, stdin string) (t testLog) {
	if t.err = s.dead; t.err != nil {
		return t
	}
	if t.err = s.copyTest(); t.err != nil {
		return t
	}
	log := s.newDmesg()
	t.stdout, t.stderr, t.err = s.collect(limit, machine.Cmd{Args: append([]string{testProgram}, args...), Dir: "/tmp", Stdin: strings.NewReader(stdin)})
	if t.err != nil {
		t.err = result.Errorf(result.Submission, "%s %w%s", s.work.test.file, t.err, quoted("it said", t.stdout+t.stderr))
	}
	t.dmesg = log()
	if s.dead != nil && t.err == nil {
		t.err = s.dead
	}
	return t
}

// testProgram is the student's test program in the guest.
const testProgram = "/tmp/test_modified"

// copyTest brings the test program into the guest, once.
func (s *ioSide) copyTest() error {
	if s.copied {
		return nil
	}
	s.copied = true
	return s.do("copying the test program", func(ctx context.Context) error {
		return machine.Upload(ctx, s.guest, s.work.test.path, testProgram)
	})
}

// runPaths sends some of the operands through the driver.
func (s *ioSide) runPaths() {
	op := s.work.op
	if op == nil || op.Driver == nil {
		return
	}
	for _, v := range spread(s.work.asks, maxPaths) {
		a := pathAnswer{operands: v}
		args, stdin, err := op.Command(v)
		if err == nil {
			a.got, err = s.through(args, stdin)
		}
		a.err = err
		s.paths = append(s.paths, a)
	}
}

// through is the answer that the test program gives for its arguments.
func (s *ioSide) through(args []string, stdin string) (string, error) {
	t := s.runTest(stepTime, args, stdin)
	text := t.stdout
	switch s.work.op.Driver.In {
	case edu.QEMUOutput:
		return "", t.err // it shows when QEMU has ended
	case edu.Dmesg:
		text = t.dmesg
	}
	got, err := s.work.op.Answer(text)
	if err != nil && t.err != nil {
		err = t.err
	}
	return got, err
}

// spread picks n of all, the first and the last among them.
func spread[T any](all []T, n int) []T {
	if len(all) <= n {
		return all
	}
	var some []T
	for i := range n {
		some = append(some, all[i*(len(all)-1)/(n-1)])
	}
	return some
}

// end ends the guest in order, so that QEMU's output and trace are whole.
func (s *ioSide) end() {
	_ = s.do("powering off", func(ctx context.Context) error { return s.guest.PowerOff(ctx) })
	_ = s.guest.Close()
	s.said = s.guest.Said()
	s.lab.Keep("qemu.txt", s.said)
	if s.stock && s.work.driver.err == nil {
		s.keepTrace()
	}
}

func (s *ioSide) keepTrace() {
	s.trace, _ = s.guest.Trace() // what can be read of it is better than nothing
	var text strings.Builder
	for _, a := range s.trace {
		fmt.Fprintln(&text, a)
	}
	s.lab.Keep("mmio-trace.txt", text.String())
}
