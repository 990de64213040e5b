package vmm

import (
	"errors"
	"fmt"
	"strings"

	"virtlab/harness/result"
)

// GoKVM is the driver of gokvm (github.com/bobuhiro11/gokvm), a small VMM in Go
// with a PCI bus, one legacy virtio-blk disk (the kernel needs
// CONFIG_VIRTIO_PCI_LEGACY) and no ACPI.
//
// What a watchdog has to know, as seen with v0.0.8-0.20231003020000-f53faca69d28:
//   - On a terminal it ends with status 0 once every vCPU has left its loop: on a
//     triple fault, but also on any exit of KVM that it does not know, after
//     "err: ..." on its console. The status proves nothing. A guest that resets
//     leaves all its vCPUs but one in HLT, so with more than one it never ends.
//   - Without a terminal it never ends.
//   - After poweroff and halt the process stays ("System halted").
//   - Before the guest starts it writes a pattern over all of guest RAM, which thus
//     is resident in full.
//   - Its serial port never says that no interrupt is pending, so each write of the
//     guest's programs to the console costs 512 rounds of Linux's interrupt handler,
//     0.4 s on an emulated L1. A raw write of 2000 bytes stopped for good after 514.
//   - To every request that is no write its disk answers as to a read: its serial
//     number is the first 20 bytes of the disk.
type GoKVM struct {
	Binary string // a path on the machine that runs it
	// TSCkHz is the rate of the time-stamp counter that guests see, in kHz. Its
	// guests do not learn that they run under KVM, so they have no kvm-clock, and
	// cannot measure the counter's rate either: not told (0) they are left with a
	// clock of 10 ms.
	TSCkHz int
}

// Name is "gokvm".
func (GoKVM) Name() string { return "gokvm" }

// Traits of gokvm. It loads the initramfs at 240 MiB, and its RAM has no hole
// for devices below 4 GiB (both read in its source). A disk is synced to its file after each request. It has
// more than one vCPU, but with them no end.
func (GoKVM) Traits() Traits {
	return Traits{
		KVMOnly: true, Console: PTY, End: Reboot, BzImage: true, Vmlinux: true,
		MinMiB: 256, MaxMiB: 3072, MaxVCPUs: 1, MaxDisks: 1, Buffered: true, FileOnly: true,
	}
}

// Command is the gokvm command line for c.
func (g GoKVM) Command(c Config) ([]string, error) {
	if err := errors.Join(c.Validate(), g.Traits().refuse(g.Name(), c), needBinary(g.Name(), g.Binary)); err != nil {
		return nil, err
	}
	a := []string{g.Binary, "boot", "-c", fmt.Sprint(c.VCPUs), "-m", fmt.Sprintf("%dM", c.MemoryMiB),
		"-k", c.Kernel, "-p", words(c, g.words()...)}
	if c.Initramfs != "" {
		a = append(a, "-i", c.Initramfs)
	}
	for _, d := range c.Disks {
		a = append(a, "-d", d.Path)
	}
	return a, nil
}

func (g GoKVM) words() []string {
	// Its MP table names no interrupt of the I/O APIC: with it Linux waits for ever
	// for a timer, without it interrupts come through the PIC.
	own := []string{"noapic"}
	if g.TSCkHz > 0 {
		own = append(own, counterRate(g.TSCkHz)...)
	}
	return own
}

// Explain names the owner of gokvm's end. It tells its own faults on stderr, by
// Go's log package.
func (g GoKVM) Explain(err error, stderr string) error {
	said := strings.TrimSpace(stderr)
	switch {
	case strings.Contains(said, "/dev/kvm") || strings.Contains(said, "CreateVM: "):
		return result.Errorf(result.Host, "gokvm: %s", said).WithHint("it needs a KVM: run it on L1, or give this user access to /dev/kvm")
	case strings.Contains(said, "this is not terminal"):
		return result.Errorf(result.Host, "gokvm: %s", said).WithHint("it ends by itself on a terminal only: start it on a pty (shot.PTY)")
	case err != nil || said != "":
		return ended(g.Name(), err, said)
	default:
		return nil
	}
}
