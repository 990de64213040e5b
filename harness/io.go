package harness

import (
	"bytes"
	"context"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"path/filepath"
	"sync"

	"virtlab/harness/edu"
	"virtlab/harness/guest"
	"virtlab/harness/machine"
	"virtlab/harness/sandbox"
	"virtlab/harness/vmm"
)

// EduGuest is a guest with the edu device and our driver loaded.
type EduGuest struct {
	*guest.Guest
	lab   *Lab
	trace string
}

// EduGuest boots a guest with the edu device under the given QEMU and loads the
// driver with params. Each access to the device is traced from outside.
func (l *Lab) EduGuest(qemu string, params ...string) *EduGuest {
	l.t.Helper()
	return l.EduGuestWith("pci", qemu, params...)
}

// EduGuestWith is EduGuest with another driver than ours.
func (l *Lab) EduGuestWith(driver, qemu string, params ...string) *EduGuest {
	l.t.Helper()
	e := &EduGuest{lab: l, trace: filepath.Join(l.Evidence, "mmio-trace.txt")}
	e.Guest = l.BootHost("edu", QEMUBinary(qemu), MachineType(vmm.PC), Device("edu"), WithTools(), TraceTo(e.trace))
	l.must(traceMMIO(l.Ctx, e.Guest))
	l.must(e.Modprobe(l.Ctx, driver, params...))
	return e
}

// TriedEdu is a guest with the edu device for a driver that is not ours, under a
// QEMU that may not be ours either.
type TriedEdu struct {
	*guest.Guest
	said  *transcript
	trace string
}

// TryEdu boots a guest with the edu device on a machine: the host, or a sandbox
// for a QEMU that is not ours. It is emulated, so that sleeps cost it nothing,
// and its kernel hides no addresses. What fails is returned.
func (l *Lab) TryEdu(on machine.Machine, qemu string, opts ...Option) (*TriedEdu, error) {
	l.t.Helper()
	e := &TriedEdu{said: &transcript{}}
	opts = append([]Option{
		Foreign(), QEMUBinary(qemu), MachineType(vmm.PC), Device("edu"), WithTools(), quickSleep, Kernel("no_hash_pointers"),
	}, opts...)
	cfg := guestConfig(machine.Host, "edu", l.Evidence, opts)
	e.trace = cfg.TraceFile
	var err error
	if e.Guest, err = guest.Boot(l.Ctx, overheard{on, e.said}, cfg); err != nil {
		return e, err
	}
	l.t.Cleanup(func() { _ = e.Close() })
	return e, nil
}

// quickSleep makes the guest's time a function of its instructions, as FreeSleep
// does, with fewer of them to a second: 31 million. A guest in which something is
// always running (Pace) then sleeps a second in about a tenth of one.
func quickSleep(c *guest.Config) { c.ICount = "shift=5,sleep=off" }

// Pace keeps the guest from being idle until ctx ends. Otherwise its sleeps would
// take no time at all, and what the device computes meanwhile, in a thread of its
// own, would not be done after them.
func (e *TriedEdu) Pace(ctx context.Context) error {
	_, err := e.Start(ctx, machine.Cmd{Args: []string{AssetsOn(e).Programs + "/virtlab", "bar", "-pace"}})
	return err
}

// TryEduSandboxed is TryEdu under a QEMU that may be anyone's, in a sandbox.
func (l *Lab) TryEduSandboxed(qemu string, opts ...Option) (*TriedEdu, error) {
	l.t.Helper()
	a := Assets()
	return l.TryEdu(sandbox.Machine(sandbox.VMM, qemu, a.Firmware, a.BzImage, a.Vmlinux, a.Initramfs, a.Tools), qemu, opts...)
}

// Said is what QEMU itself printed, and with it the guest's console. It is
// complete once QEMU has ended, as it buffers what it prints.
func (e *TriedEdu) Said() string { return e.said.String() }

// TraceMMIO begins to trace each access to the device's registers (TraceTo).
func (e *TriedEdu) TraceMMIO(ctx context.Context) error { return traceMMIO(ctx, e.Guest) }

// Trace is what the device saw, once QEMU has ended.
func (e *TriedEdu) Trace() (edu.Trace, error) { return readTrace(e.trace) }

// overheard is a machine on which a VMM's output is written down.
type overheard struct {
	machine.Machine
	said *transcript
}

func (o overheard) Start(ctx context.Context, cmd machine.Cmd) (machine.Process, error) {
	cmd.Stdout = io.MultiWriter(cmd.Stdout, o.said)
	cmd.Stderr = io.MultiWriter(cmd.Stderr, o.said)
	return o.Machine.Start(ctx, cmd)
}

// transcript keeps the first MiB of what is written to it.
type transcript struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (t *transcript) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if room := 1<<20 - t.b.Len(); room > 0 {
		t.b.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

func (t *transcript) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.b.String()
}

// traceMMIO has QEMU write down each access to a device's registers.
func traceMMIO(ctx context.Context, g *guest.Guest) error {
	m, err := g.Monitor(ctx)
	if err != nil {
		return err
	}
	return m.Execute(ctx, "trace-event-set-state", map[string]any{"name": "memory_region_ops_*", "enable": true}, nil)
}

// PCI is the edu device as lspci in the guest shows it.
func (e *EduGuest) PCI() edu.PCIDevice {
	e.lab.t.Helper()
	text, err := machine.Run(e.lab.Ctx, e, "lspci", "-nnk")
	e.lab.must(err)
	e.lab.Keep("lspci.txt", text)
	dev, err := edu.FindEdu(edu.ParseLspci(text))
	e.lab.must(err)
	return dev
}

// Major is the major number of the driver's character device.
func (e *EduGuest) Major() int {
	e.lab.t.Helper()
	devices, err := e.ReadFile(e.lab.Ctx, "/proc/devices")
	e.lab.must(err)
	e.lab.Keep("devices.txt", string(devices))
	major, err := edu.CharMajor(string(devices), "pci_edu")
	e.lab.must(err)
	return major
}

// Test runs the test program with commands and operands and gives its answers.
// err is the program's own failure.
func (e *EduGuest) Test(args ...any) (answers edu.Answers, err error) {
	e.lab.t.Helper()
	argv := []string{e.lab.Program(e, "test")}
	for _, a := range args {
		argv = append(argv, fmt.Sprint(a))
	}
	out, err := machine.Run(e.lab.Ctx, e, argv...)
	answers, perr := edu.ParseAnswers(out)
	e.lab.must(perr)
	return answers, err
}

// MustTest is Test for commands that have to succeed.
func (e *EduGuest) MustTest(args ...any) edu.Answers {
	e.lab.t.Helper()
	answers, err := e.Test(args...)
	e.lab.must(err)
	return answers
}

// Number is one answer.
func (e *EduGuest) Number(answers edu.Answers, key string) uint32 {
	e.lab.t.Helper()
	v, err := answers.Uint32(key)
	e.lab.must(err)
	return v
}

// Buffer is where the driver's DMA buffer lies on the bus.
func (e *EduGuest) Buffer(info edu.Answers) edu.DriverMemory {
	e.lab.t.Helper()
	bus, err := info.Uint("dma_bus")
	e.lab.must(err)
	return edu.DriverMemory{Buffers: []edu.Range{{Start: bus, Size: edu.BufferSize}}}
}

// Trace powers the guest off, keeps its kernel log, and gives what the device
// saw.
func (e *EduGuest) Trace() edu.Trace {
	e.lab.t.Helper()
	dmesg, err := e.Dmesg(e.lab.Ctx)
	e.lab.must(err)
	e.lab.Keep("dmesg.txt", dmesg)
	// In order, so that QEMU writes the trace out to its end.
	e.lab.must(e.PowerOff(e.lab.Ctx))
	trace, err := readTrace(e.trace)
	e.lab.must(err)
	return trace
}

func readTrace(file string) (edu.Trace, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return edu.ReadTrace(f)
}

// Checksum is the test program's sum over data (FNV-1a, 32 bits).
func Checksum(data []byte) uint32 {
	h := fnv.New32a()
	_, _ = h.Write(data)
	return h.Sum32()
}
