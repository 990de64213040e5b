package harness

import (
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"

	"virtlab/harness/edu"
	"virtlab/harness/guest"
	"virtlab/harness/machine"
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
	l.must(e.traceMMIO())
	l.must(e.Modprobe(l.Ctx, driver, params...))
	return e
}

// traceMMIO has QEMU write down each access to a device's registers.
func (e *EduGuest) traceMMIO() error {
	m, err := e.Monitor(e.lab.Ctx)
	if err != nil {
		return err
	}
	return m.Execute(e.lab.Ctx, "trace-event-set-state", map[string]any{"name": "memory_region_ops_*", "enable": true}, nil)
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
	f, err := os.Open(e.trace)
	e.lab.must(err)
	defer f.Close()
	trace, err := edu.ReadTrace(f)
	e.lab.must(err)
	return trace
}

// Checksum is the test program's sum over data (FNV-1a, 32 bits).
func Checksum(data []byte) uint32 {
	h := fnv.New32a()
	_, _ = h.Write(data)
	return h.Sum32()
}
