package vmm

import (
	"errors"
	"fmt"
	"strings"

	"virtlab/harness/machine"
	"virtlab/harness/result"
)

// MachineType is QEMU's -machine.
type MachineType string

const (
	PC      MachineType = "pc"      // i440FX: PCI, ACPI, ISA
	Q35     MachineType = "q35"     // PCI Express
	MicroVM MachineType = "microvm" // virtio-mmio only, no PCI
)

// QEMU is the driver of qemu-system-x86_64.
type QEMU struct {
	Type     MachineType
	Binary   string // "qemu-system-x86_64" or a path on the machine that runs it
	Firmware string // directory for -L; empty: QEMU's own
	// TSCkHz is the rate of the host's time-stamp counter, told to guests under
	// TCG. 0: not told.
	TSCkHz int
	// Sandbox has QEMU give up, once it is up, the system calls that it needs no
	// more: a second wall inside that of a sandbox, for a QEMU with foreign code.
	Sandbox bool
}

// Name is "qemu-pc", "qemu-q35" or "qemu-microvm".
func (q QEMU) Name() string { return "qemu-" + string(q.Type) }

// Traits of QEMU. pc and q35 end by ACPI. microvm ends quickest by a reset, of
// which -no-reboot makes QEMU's end. Its watchdog needs nothing special: a guest
// that panics resets the machine, thus ends QEMU with status 0; a guest that
// hangs leaves it running.
func (q QEMU) Traits() Traits {
	t := Traits{
		Console: Stdout, End: PowerOff, BzImage: true, Vmlinux: true,
		Serials: true, ReadOnly: true, Direct: true, Buffered: true,
		Ports: true, Monitor: true, QEMUDevices: true,
	}
	if q.Type == MicroVM {
		t.End = Reboot
	}
	return t
}

// Command is the QEMU command line for c. The guest's console is QEMU's
// standard output.
func (q QEMU) Command(c Config) ([]string, error) {
	if err := errors.Join(c.Validate(), q.Traits().refuse(q.Name(), c), q.validate(c)); err != nil {
		return nil, err
	}
	a := []string{q.Binary, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"}
	if q.Firmware != "" {
		a = append(a, "-L", q.Firmware)
	}
	if q.Sandbox {
		a = append(a, "-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny")
	}
	a = append(a, "-machine", q.machine(c), "-accel", q.accel(c), "-cpu", cpu(c),
		"-smp", fmt.Sprint(c.VCPUs), "-m", fmt.Sprintf("%dM", c.MemoryMiB))
	if c.HugePages {
		a = append(a, "-object", fmt.Sprintf("memory-backend-memfd,id=ram,size=%dM,hugetlb=on,hugetlbsize=2M", c.MemoryMiB))
	}
	if c.ICount != "" {
		a = append(a, "-icount", c.ICount)
	}
	a = append(a, "-kernel", c.Kernel, "-append", strings.Join(q.cmdline(c), " "))
	if c.Initramfs != "" {
		a = append(a, "-initrd", c.Initramfs)
	}
	a = append(a, "-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console")
	a = append(a, q.monitor(c)...)
	a = append(a, q.ports(c)...)
	a = append(a, q.disks(c)...)
	for _, d := range c.Devices {
		a = append(a, "-device", d)
	}
	if c.TraceFile != "" {
		// A pattern that no event has: it opens the log and traces nothing yet.
		// Traced from power-on, the log begins with all that a boot does to
		// every device.
		a = append(a, "-trace", "enable=no_event_has_this_name*", "-D", c.TraceFile)
	}
	return a, nil
}

func (q QEMU) validate(c Config) error {
	switch q.Type {
	case PC, Q35, MicroVM:
	default:
		return result.Errorf(result.Host, "machine type %q is none of pc, q35, microvm", q.Type)
	}
	if q.Binary == "" {
		return result.Errorf(result.Host, "no QEMU binary").WithHint("run make setup, which builds one")
	}
	for _, d := range c.Devices {
		if q.Type == MicroVM && (strings.HasPrefix(d, "edu") || strings.Contains(d, "-pci")) {
			return result.Errorf(result.Host, "device %s: microvm has no PCI bus", d)
		}
	}
	return nil
}

func (q QEMU) machine(c Config) string {
	m := string(q.Type)
	if q.Type == MicroVM {
		// Without the real-time clock Linux waits for it; pit and pic stay
		// on, as a guest under TCG hangs without them.
		m += ",rtc=on,isa-serial=on,auto-kernel-cmdline=on"
	}
	if c.HugePages {
		m += ",memory-backend=ram"
	}
	return m
}

func (q QEMU) accel(c Config) string {
	if c.Accel == TCG && c.VCPUs > 1 {
		// One thread for all CPUs. With one each, a CPU may still run the
		// translation of an instruction that another has replaced: Linux's
		// static keys rely on that not happening, and when KVM in L1 flips
		// one the kernel dies of a breakpoint that is no longer there.
		return "tcg,thread=single"
	}
	return string(c.Accel)
}

func cpu(c Config) string {
	switch {
	case c.CPU != "":
		return c.CPU
	case c.Accel == KVM:
		return "host"
	default:
		return "max"
	}
}

// cmdline is what every guest is told, then what the caller adds.
func (q QEMU) cmdline(c Config) []string {
	words := append([]string{}, toldToAll...)
	if q.Type == MicroVM {
		words = append(words, tripleFault)
	}
	if c.Accel == TCG && c.ICount == "" && q.TSCkHz > 0 {
		// Under TCG the guest reads the host's counter. With its rate given
		// nothing is calibrated, which on microvm hangs now and then for want
		// of a first timer tick. Without "reliable" a guest with two CPUs finds
		// them out of step, drops the counter, and is left with a clock of 10 ms.
		words = append(words, counterRate(q.TSCkHz)...)
	}
	words = append(words, apicRate)
	if c.Accel == TCG {
		// Linux tries for 40 ms whether the timer's interrupt arrives, and for 300
		// where a busy machine does not deliver it. Under KVM it leaves that out.
		words = append(words, "no_timer_check")
	}
	return append(words, c.Cmdline...)
}

func (q QEMU) monitor(c Config) []string {
	if c.Monitor == "" {
		return nil
	}
	return []string{"-chardev", "socket,id=qmp,server=on,wait=off,path=" + c.Monitor, "-mon", "chardev=qmp,mode=control"}
}

func (q QEMU) ports(c Config) []string {
	if len(c.Ports) == 0 {
		return nil
	}
	a := []string{"-device", q.serial(len(c.Ports))}
	for i, p := range c.Ports {
		a = append(a,
			"-chardev", fmt.Sprintf("socket,id=port%d,server=on,wait=off,path=%s", i, p.Socket),
			"-device", fmt.Sprintf("virtserialport,chardev=port%d,name=%s", i, p.Name))
	}
	return a
}

// serial is the virtio-serial device with room for n ports and the one kept for
// a console. Each port has two queues, and a guest sets up all there is room
// for: 64 by default.
func (q QEMU) serial(n int) string {
	d := fmt.Sprintf("%s,max_ports=%d", q.virtio("serial"), n+1)
	if q.Type == MicroVM {
		return d
	}
	// With neither legacy registers nor MSI-X the device has one BAR, not three.
	// Linux maps and unmaps each BAR as it probes, and every time QEMU draws up
	// its address spaces anew: 52 times for this device instead of 134.
	return d + ",disable-legacy=on,vectors=0"
}

func (q QEMU) disks(c Config) (a []string) {
	for _, d := range c.Disks {
		drive := fmt.Sprintf("if=none,id=%s,format=raw,file=%s", d.ID, d.Path)
		if d.ReadOnly {
			drive += ",readonly=on"
		}
		if d.Direct {
			drive += ",cache.direct=on,aio=native"
		}
		if d.NoFlush {
			drive += ",cache.no-flush=on"
		}
		a = append(a, "-drive", drive, "-device", fmt.Sprintf("%s,drive=%s,serial=%s", q.virtio("blk"), d.ID, d.ID))
	}
	return a
}

// virtio names a virtio device for the machine's bus: PCI, or MMIO slots
// (virtio 1.2, sections 4.1 and 4.2).
func (q QEMU) virtio(kind string) string {
	if q.Type == MicroVM {
		return "virtio-" + kind + "-device"
	}
	return "virtio-" + kind + "-pci"
}

// Explain names the owner of QEMU's end. QEMU prints its own complaints on
// stderr and ends with status 1.
func (q QEMU) Explain(err error, stderr string) error {
	stderr = strings.TrimSpace(stderr)
	var exit *machine.ExitError
	switch {
	case strings.Contains(stderr, "Could not access KVM") || strings.Contains(stderr, "failed to initialize kvm"):
		return result.Errorf(result.Host, "%s: %s", q.Name(), stderr).WithHint("use -accel tcg, or give this user access to /dev/kvm")
	case strings.Contains(stderr, "cannot set up guest memory") || strings.Contains(stderr, "unable to map backing store"):
		return result.Errorf(result.Host, "%s: %s", q.Name(), stderr).WithHint("give the guest less memory, or free some")
	case strings.Contains(stderr, "MSR 0x10a") || strings.Contains(stderr, "index=0x10a"):
		// QEMU aborts on it, so this comes before the signals.
		return result.Errorf(result.Host, "%s: %s", q.Name(), stderr).WithHint("this KVM needs -cpu host,-arch-capabilities")
	case errors.As(err, &exit) && exit.Signal != "":
		return result.Errorf(result.VMM, "%s was %w; it said: %q", q.Name(), err, stderr)
	case err != nil:
		return result.Errorf(result.VMM, "%s ended: %w; it said: %q", q.Name(), err, stderr)
	case complaints(stderr) != "":
		return result.Errorf(result.VMM, "%s ended with status 0; it said: %q", q.Name(), stderr)
	default:
		return nil
	}
}

// complaints is stderr without QEMU's warnings, which a machine survives.
func complaints(stderr string) string {
	var out []string
	for line := range strings.Lines(stderr) {
		if !strings.Contains(line, ": warning: ") {
			out = append(out, line)
		}
	}
	return strings.TrimSpace(strings.Join(out, ""))
}
