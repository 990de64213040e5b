// Package vmm turns the description of a virtual machine into the command line
// of a virtual machine monitor, and what the monitor said into an error with
// an owner. It starts no machine.
package vmm

import (
	"fmt"
	"regexp"
	"strings"

	"virtlab/harness/machine"
	"virtlab/harness/result"
)

// Driver is a kind of VMM.
type Driver interface {
	// Name as it stands in results: "qemu-pc".
	Name() string
	// Traits are what the VMM can do; Command refuses what is beyond them.
	Traits() Traits
	// Command is the command line that runs c. It has no side effects;
	// a configuration that the VMM would refuse is an error here.
	Command(c Config) ([]string, error)
	// Explain says whose fault it is that the VMM ended with err after
	// printing stderr, and what to do.
	Explain(err error, stderr string) error
}

// Accel is how guest code is executed.
type Accel string

const (
	TCG Accel = "tcg" // QEMU translates guest code
	KVM Accel = "kvm" // the CPU runs it under /dev/kvm
)

// Config describes a virtual machine. Paths are on the machine that runs the
// VMM.
type Config struct {
	Accel     Accel
	CPU       string // QEMU's -cpu; empty: max under TCG, host under KVM
	VCPUs     int    // at least 1
	MemoryMiB int
	HugePages bool // back guest RAM with 2 MiB pages where the host gives them

	Kernel    string // bzImage, or a PVH vmlinux where the VMM takes one
	Initramfs string
	Cmdline   []string

	Disks   []Disk
	Ports   []Port   // virtio-serial ports
	Devices []string // more -device arguments: "edu", "virtio-rng-pci"

	Monitor string // unix socket of the QMP monitor
	// ConsoleSocket is the unix socket for the console of a VMM that has it on
	// one (Traits.Console).
	ConsoleSocket string
	// ConfigFile is where a VMM that is configured by a file finds it (Filer).
	ConfigFile string
	// TraceFile is where traced events are written once they are switched on
	// over the monitor (trace-event-set-state); QEMU's log backend is needed.
	TraceFile string
	// ICount makes guest time a function of executed instructions; TCG only.
	// Guest sleeps then cost nothing.
	ICount string
}

// Disk is a virtio-blk disk in raw format.
type Disk struct {
	ID       string // its serial number in the guest, by which PID 1 mounts it
	Path     string
	ReadOnly bool
	Direct   bool // O_DIRECT: past the page cache of the machine underneath
	// NoFlush keeps the guest's flushes from the machine underneath: for a disk
	// that is thrown away with its guest. QEMU only.
	NoFlush bool
}

// Port is a virtio-serial port of the guest that ends in a unix socket.
type Port struct {
	Name   string
	Socket string
}

var diskID = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9-]{0,19}$`)

// Validate finds what no VMM could run.
func (c Config) Validate() error {
	var f faults
	f.add(c.Accel != TCG && c.Accel != KVM, "accelerator %q is neither tcg nor kvm", c.Accel)
	f.add(c.VCPUs < 1, "%d vCPUs", c.VCPUs)
	f.add(c.MemoryMiB < 32, "%d MiB of memory: Linux needs 32 at least", c.MemoryMiB)
	f.add(c.Kernel == "", "no kernel")
	f.add(c.ICount != "" && c.Accel != TCG, "icount with %s: only TCG counts instructions", c.Accel)
	f.add(c.ICount != "" && c.VCPUs > 1, "icount with %d vCPUs: it runs them on one thread", c.VCPUs)
	for _, s := range append(sockets(c.Ports), c.Monitor, c.ConsoleSocket) {
		f.add(machine.CheckSocketPath(s) != nil, "the socket path %s has %d bytes, the limit is 107", s, len(s))
	}
	seen := map[string]bool{}
	for _, d := range c.Disks {
		// A serial number has 20 bytes (virtio 1.2, 5.2.6), and QEMU uses it as a name.
		f.add(!diskID.MatchString(d.ID), "disk %s: its ID %q is not 1 to 20 letters, digits and dashes that begin with a letter", d.Path, d.ID)
		f.add(seen[d.ID], "two disks have the ID %q", d.ID)
		seen[d.ID] = true
	}
	f.add(c.HugePages && c.MemoryMiB%2 != 0, "%d MiB of memory do not fit huge pages of 2 MiB", c.MemoryMiB)
	for _, p := range paths(c) {
		f.add(strings.ContainsAny(p, ",\n"), "the path %q has a comma or line break, which QEMU's options cannot carry", p)
	}
	return f.err("virtual machine configuration")
}

// faults are all that is wrong, to be told at once.
type faults []string

func (f *faults) add(bad bool, format string, args ...any) {
	if bad {
		*f = append(*f, fmt.Sprintf(format, args...))
	}
}

// err is the faults of what as one error, or nil where there are none.
func (f faults) err(what string) error {
	if len(f) == 0 {
		return nil
	}
	return result.Errorf(result.Host, "%s: %s", what, strings.Join(f, "; "))
}

func sockets(ports []Port) (out []string) {
	for _, p := range ports {
		out = append(out, p.Socket)
	}
	return out
}

// paths are the words that stand in a list of options.
func paths(c Config) []string {
	out := append(sockets(c.Ports), c.Monitor, c.ConsoleSocket)
	for _, p := range c.Ports {
		out = append(out, p.Name)
	}
	for _, d := range c.Disks {
		out = append(out, d.Path)
	}
	return append(out, c.TraceFile)
}

// toldToAll are the kernel's words for every guest, whichever VMM runs it.
var toldToAll = []string{
	"console=ttyS0", "quiet",
	// A panic ends the machine at once, with the reason on the console.
	"panic=-1", "oops=panic",
}

// The kernel's words for most guests.
const (
	// A reset by triple fault needs no device (Documentation/admin-guide/
	// kernel-parameters.txt). A VMM sees KVM_EXIT_SHUTDOWN and ends.
	tripleFault = "reboot=t"
	// QEMU's local APIC and KVM's count nanoseconds. Measured on a busy machine it
	// may come out wrong, and the guest is left without a timer.
	apicRate = "lapic_khz=1000000"
)

// words are the kernel's command line of a guest that is reset by triple fault.
func words(c Config, own ...string) string {
	all := append(append([]string{}, toldToAll...), tripleFault, apicRate)
	return strings.Join(append(append(all, own...), c.Cmdline...), " ")
}

// counterRate tells the kernel the rate of its time-stamp counter, so that it
// need not measure it, and that it may rely on it.
func counterRate(kHz int) []string {
	return []string{fmt.Sprintf("tsc_early_khz=%d", kHz), "tsc=reliable"}
}
