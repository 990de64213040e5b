package manifest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// setup is how a VMM was configured, by its command line where that says it
// and by the VMM's defaults where not.
type setup struct {
	words              string // the kernel's, as far as we pass them
	machine, execution string
	cpu, clock         string // clock: what the guest keeps time by
	irqchip, bus       string
	extra              string // devices beyond console and disk
	seccomp            string
	mapping, hugePages string
	touched            string // guest RAM that is resident before the guest runs
	cache, aio, queues string
	sync               string // when the disk's data is forced out
}

const (
	fullIRQChip = "all in KVM"
	direct      = "none (O_DIRECT)"
	pageCache   = "the host's page cache"
	onFlush     = "when the guest flushes"
	private     = "private, anonymous"
	notAdvised  = "not asked for"
	advised     = "asked for (MADV_HUGEPAGE)"
	kvmClock    = "kvm-clock"
	noKVMClock  = "the guest's own"
	oneByOne    = "off (one request at a time)"
	untouched   = "none"
	noExtra     = "none"
)

// setup reads the command line as the contender's VMM does. Of one that is not
// known nothing is said.
func (in Input) setup() setup {
	args := arguments(in.Argv)
	switch {
	case strings.HasPrefix(in.VMM, "qemu"):
		return args.qemu(in.VCPUs)
	case strings.HasPrefix(in.VMM, "stratovirt"):
		return args.stratovirt(in.VCPUs)
	case strings.HasPrefix(in.VMM, "gokvm"):
		return args.gokvm()
	case strings.HasPrefix(in.VMM, "firecracker"):
		return args.firecracker(in.Files)
	}
	return setup{}
}

// arguments are those of a command line.
type arguments []string

// all are the values of an option, which may be spelt -name value, --name value
// and --name=value.
func (a arguments) all(name string) (values []string) {
	for i, arg := range a {
		option := strings.TrimPrefix(strings.TrimPrefix(arg, "-"), "-")
		value, has := strings.CutPrefix(option, name+"=")
		switch {
		case option == arg:
		case has:
			values = append(values, value)
		case option == name && i+1 < len(a):
			values = append(values, a[i+1])
		}
	}
	return values
}

func (a arguments) one(name string) string {
	if v := a.all(name); len(v) > 0 {
		return v[len(v)-1]
	}
	return ""
}

func (a arguments) has(name string) bool {
	return slices.Contains(a, "-"+name) || slices.Contains(a, "--"+name)
}

// properties takes "first,key=value,..." apart. A key alone is on.
func properties(option string) (first string, keys map[string]string) {
	first, rest, _ := strings.Cut(option, ",")
	keys = map[string]string{}
	if k, v, ok := strings.Cut(first, "="); ok {
		keys[k] = v
	}
	for _, p := range strings.Split(rest, ",") {
		k, v, ok := strings.Cut(p, "=")
		if !ok {
			v = "on"
		}
		keys[k] = v
	}
	return first, keys
}

// block finds the -drive and the -device of the (first) virtio-blk disk.
func (a arguments) block() (drive, device map[string]string, ok bool) {
	for _, d := range a.all("device") {
		kind, props := properties(d)
		if !strings.HasPrefix(kind, "virtio-blk") {
			continue
		}
		for _, v := range a.all("drive") {
			if _, keys := properties(v); keys["id"] == props["drive"] {
				return keys, props, true
			}
		}
	}
	return nil, nil, false
}

// on reads the ways to say yes.
func on(s string) bool { return s == "on" || s == "true" || s == "yes" }

// or is s, or what it is by default.
func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}

func (a arguments) qemu(vcpus int) setup {
	machine, props := properties(a.one("machine"))
	accel, accelProps := properties(a.one("accel"))
	s := setup{
		words: a.one("append"), machine: machine, execution: a.one("accel"), cpu: a.one("cpu"),
		irqchip: "all in QEMU", clock: noKVMClock, bus: "PCI", extra: noExtra, seccomp: "off",
		mapping: private, hugePages: advised, touched: untouched,
	}
	if accel == "kvm" {
		s.clock = kvmClock
		s.irqchip = map[string]string{"": fullIRQChip, "on": fullIRQChip, "split": "APIC in KVM, the rest in QEMU", "off": "all in QEMU"}[or(accelProps["kernel-irqchip"], props["kernel-irqchip"])]
	}
	if machine == "microvm" {
		s.bus = "virtio-mmio"
	}
	if _, sandbox := properties(a.one("sandbox")); len(a.all("sandbox")) > 0 {
		s.seccomp = "QEMU's own, obsolete=" + or(sandbox["obsolete"], "allow")
	}
	if others := a.otherDevices(); len(others) > 0 {
		s.extra = strings.Join(others, ", ")
	}
	a.qemuMemory(&s)
	a.qemuDisk(&s, vcpus)
	return s
}

// otherDevices are those asked for beyond disks.
func (a arguments) otherDevices() (kinds []string) {
	for _, d := range a.all("device") {
		if kind, _ := properties(d); !strings.HasPrefix(kind, "virtio-blk") {
			kinds = append(kinds, kind)
		}
	}
	return kinds
}

func (a arguments) qemuMemory(s *setup) {
	for _, o := range a.all("object") {
		kind, props := properties(o)
		if !strings.HasPrefix(kind, "memory-backend-") {
			continue
		}
		s.mapping = strings.TrimPrefix(kind, "memory-backend-")
		if on(props["prealloc"]) {
			s.touched = "all (prealloc)"
		}
		if on(props["hugetlb"]) {
			s.hugePages = "hugetlb " + or(props["hugetlbsize"], "of the default size")
		}
	}
}

// qemuDisk: cache=none is cache.direct=on (qemu(1), -drive). Without an aio=
// QEMU uses threads; a disk on PCI has a queue a vCPU, one on MMIO one queue.
func (a arguments) qemuDisk(s *setup, vcpus int) {
	drive, device, ok := a.block()
	if !ok {
		return
	}
	s.cache, s.sync, s.aio = pageCache, onFlush, or(drive["aio"], "threads")
	mode := drive["cache"]
	if on(drive["cache.direct"]) || mode == "none" || mode == "directsync" {
		s.cache = direct
	}
	switch {
	case mode == "unsafe" || on(drive["cache.no-flush"]):
		s.sync = "never"
	case mode == "writethrough" || mode == "directsync" || drive["cache.writeback"] == "off":
		s.sync = "after each write"
	}
	queues := "1"
	if s.bus == "PCI" {
		queues = fmt.Sprint(vcpus)
	}
	s.queues = or(device["num-queues"], queues)
}

// stratovirt: defaults by its configuration guidebook (2.5): direct=true,
// aio=native with it, a queue a vCPU. Its KVM code makes the full irqchip and the
// PIT, and no code of it advises huge pages. Its microvm has devices that nobody
// asked for.
func (a arguments) stratovirt(vcpus int) setup {
	machine, props := properties(a.one("machine"))
	s := setup{
		words: a.one("append"), machine: machine, execution: "kvm", cpu: or(a.one("cpu"), "host"),
		irqchip: fullIRQChip, clock: kvmClock, bus: "PCI", extra: noExtra, seccomp: "StratoVirt's own",
		mapping: private, hugePages: notAdvised, touched: untouched,
	}
	if strings.HasPrefix(machine, "microvm") {
		s.bus, s.extra = "virtio-mmio", "disks without media up to four, two network devices without a network"
	}
	if a.has("disable-seccomp") {
		s.seccomp = "off"
	}
	if on(props["mem-share"]) {
		s.mapping = "memfd, shared"
	}
	if path := a.one("mem-path"); path != "" {
		s.mapping = "file " + path
	}
	drive, device, ok := a.block()
	if !ok {
		return s
	}
	s.cache, s.aio, s.sync = direct, or(drive["aio"], "native"), onFlush
	if !on(or(drive["direct"], "true")) {
		s.cache, s.aio = pageCache, or(drive["aio"], "off")
	}
	if s.aio == "off" {
		s.aio = oneByOne
	}
	s.queues = or(device["num-queues"], fmt.Sprint(vcpus))
	return s
}

// gokvm has few choices. Its source (v0.0.8): KVM's irqchip and PIT, no sign of KVM
// in the guest's CPUID, virtio over PCI, one shared anonymous mapping that is
// filled with a pattern, one thread that reads and writes the file and calls fsync
// after each request, reads too.
func (a arguments) gokvm() setup {
	s := setup{
		words: or(a.one("p"), a.one("params")), machine: "gokvm's own", execution: "kvm", cpu: "host", clock: noKVMClock,
		irqchip: fullIRQChip, bus: "PCI", extra: noExtra, seccomp: "off",
		mapping: "shared, anonymous", hugePages: notAdvised, touched: "all (filled with a pattern)",
	}
	if or(a.one("d"), a.one("disk")) != "" {
		s.cache, s.aio, s.queues, s.sync = pageCache, oneByOne, "1", "after each request, reads too"
	}
	return s
}

// microVM is what is read of Firecracker's configuration.
type microVM struct {
	Boot struct {
		Args string `json:"boot_args"`
	} `json:"boot-source"`
	Machine struct {
		HugePages string `json:"huge_pages"`
		Template  string `json:"cpu_template"`
	} `json:"machine-config"`
	Drives []struct {
		Cache  string `json:"cache_type"`
		Engine string `json:"io_engine"`
	} `json:"drives"`
}

// firecracker: defaults by its API specification and its block device's
// documentation: cache_type Unsafe, which ignores flushes, io_engine Sync.
func (a arguments) firecracker(files map[string]string) setup {
	var vm microVM
	if err := json.Unmarshal([]byte(files[a.one("config-file")]), &vm); err != nil {
		return setup{}
	}
	s := setup{
		words: vm.Boot.Args, machine: "microVM", execution: "kvm", cpu: or(vm.Machine.Template, "host"), clock: kvmClock,
		irqchip: fullIRQChip, bus: "virtio-mmio", extra: noExtra, seccomp: "Firecracker's own",
		mapping: private, hugePages: notAdvised, touched: untouched,
	}
	if a.has("no-seccomp") {
		s.seccomp = "off"
	}
	if vm.Machine.HugePages == "2M" {
		s.hugePages = "hugetlb 2M"
	}
	if len(vm.Drives) == 0 {
		return s
	}
	s.cache, s.aio, s.queues, s.sync = pageCache, oneByOne, "1", "never"
	if vm.Drives[0].Engine == "Async" {
		s.aio = "io_uring"
	}
	if vm.Drives[0].Cache == "Writeback" {
		s.sync = onFlush
	}
	return s
}

func sortedKeys(m map[string]string) []string { return slices.Sorted(maps.Keys(m)) }
