package manifest

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// Input is what is known of a contender when it is about to be measured.
type Input struct {
	VMM, On string
	Label   string // bench.Nested, or nothing
	Version string // as the VMM tells it
	Argv    []string
	// Files are what the VMM reads besides, path to content: Firecracker's
	// configuration.
	Files map[string]string

	Binary File
	Kernel File    // the very file that this VMM boots
	Images []Image // what guests find in their memory and on their disk

	GuestKernel  string // uname -r in the guest; empty: not known yet
	KernelConfig string // the guest kernel's .config; empty: not known
	Sysbench     string // version line of sysbench in the guest
	MemoryMiB    int
	VCPUs        int
	// Work says what the guest is given to do: data set, O_DIRECT, syncs, time of a
	// cell. The entries' groups are not looked at.
	Work []Entry
}

// What an Image is.
const (
	BootInitramfs = "initramfs of boots"
	Initramfs     = "initramfs"
	DiskImage     = "disk image"
	DebianImage   = "Debian image"
)

// Image is a file that guests get beside the kernel.
type Image struct {
	What string
	File
}

// ReadFile reads a file of the machine on which the VMM runs, as os.ReadFile
// does.
type ReadFile func(path string) ([]byte, error)

// Describe collects a contender's conditions. What cannot be read is said to be
// unknown.
func Describe(in Input, read ReadFile) Side {
	host := describeHost(read)
	return Side{VMM: in.VMM, On: in.On, Entries: slices.Concat(
		in.own(), in.guest(), in.configured(), work(in), []Entry{{Host, "machine", known(named(in.On, in.Label))}}, host,
	)}
}

func (in Input) own() []Entry {
	entries := []Entry{
		{Own, "name", in.VMM},
		{Own, "version", known(in.Version)},
		{Own, "binary", in.Binary.String()},
		{Own, "command line", quoted(in.Argv)},
	}
	for _, path := range sortedKeys(in.Files) {
		entries = append(entries, Entry{Own, "file " + path, in.Files[path]})
	}
	return entries
}

func (in Input) guest() []Entry {
	entries := []Entry{
		{Guest, "kernel", in.Kernel.named()},
		{Guest, "kernel release", known(in.GuestKernel)},
		{Guest, "HZ", known(setting(in.KernelConfig, "CONFIG_HZ"))},
		{Guest, "kernel words", known(in.setup().words)},
		{Guest, "memory", fmt.Sprintf("%d MiB", in.MemoryMiB)},
		{Guest, "vCPUs", fmt.Sprint(in.VCPUs)},
		{Guest, "sysbench", known(in.Sysbench)},
	}
	for _, image := range in.Images {
		entries = append(entries, Entry{Guest, image.What, image.String()})
	}
	return entries
}

// configured is what the command line and the VMM's defaults come to.
func (in Input) configured() []Entry {
	s := in.setup()
	return []Entry{
		{Machine, "type", known(s.machine)},
		{Machine, "execution", known(s.execution)},
		{Machine, "CPU", known(s.cpu)},
		{Machine, "clock", known(s.clock)},
		{Machine, "irqchip", known(s.irqchip)},
		{Machine, "bus", known(s.bus)},
		{Machine, "more devices", known(s.extra)},
		{Machine, "seccomp", known(s.seccomp)},
		{Memory, "mapping", known(s.mapping)},
		{Memory, "huge pages", known(s.hugePages)},
		{Memory, "touched at the start", known(s.touched)},
		{Disk, "cache", known(s.cache)},
		{Disk, "aio", known(s.aio)},
		{Disk, "queues", known(s.queues)},
		{Disk, "sync", known(s.sync)},
	}
}

func work(in Input) (entries []Entry) {
	for _, e := range in.Work {
		entries = append(entries, Entry{Work, e.Key, e.Value})
	}
	return entries
}

const unknown = "unknown"

func known(s string) string {
	if s = strings.TrimSpace(s); s == "" {
		return unknown
	}
	return s
}

func named(name, label string) string {
	if label == "" {
		return name
	}
	return name + " (" + label + ")"
}

// setting reads a number or word of a kernel's .config.
func setting(config, name string) string {
	m := regexp.MustCompile(`(?m)^` + name + `=(.*)$`).FindStringSubmatch(config)
	if m == nil {
		return ""
	}
	return strings.Trim(m[1], `"`)
}

var plain = regexp.MustCompile(`^[A-Za-z0-9_@%+=:,./-]+$`)

// quoted is a command line as a shell takes it.
func quoted(argv []string) string {
	words := make([]string, len(argv))
	for i, w := range argv {
		if words[i] = w; !plain.MatchString(w) {
			words[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(words, " ")
}
