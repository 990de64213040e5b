package manifest

import (
	"fmt"
	"strings"
)

// reading is a file of the machine and how it is read.
type reading struct {
	key   string
	paths []string // the first that can be read counts
	parse func(string) string
}

const cpu0 = "/sys/devices/system/cpu/cpu0/"

// readings are what of a machine bears on the numbers. Where a file is missing
// the machine has not got the thing, or does not show it.
var readings = []reading{
	{"kernel", []string{"/proc/sys/kernel/osrelease"}, line},
	{"CPU", []string{"/proc/cpuinfo"}, cpuModel},
	{"CPUs", []string{"/proc/cpuinfo"}, cpuCount},
	{"hypervisor underneath", []string{"/proc/cpuinfo"}, underHypervisor},
	{"memory", []string{"/proc/meminfo"}, field("MemTotal")},
	{"swap", []string{"/proc/meminfo"}, field("SwapTotal")},
	{"governor", []string{cpu0 + "cpufreq/scaling_governor"}, line},
	{"turbo", []string{"/sys/devices/system/cpu/intel_pstate/no_turbo"}, either("off", "on")},
	{"boost", []string{"/sys/devices/system/cpu/cpufreq/boost"}, either("on", "off")},
	{"SMT", []string{"/sys/devices/system/cpu/smt/active"}, either("on", "off")},
	{"THP", []string{"/sys/kernel/mm/transparent_hugepage/enabled"}, chosen},
	{"THP of shared memory", []string{"/sys/kernel/mm/transparent_hugepage/shmem_enabled"}, chosen},
	{"KSM", []string{"/sys/kernel/mm/ksm/run"}, either("on", "off")},
	{"clock", []string{"/sys/devices/system/clocksource/clocksource0/current_clocksource"}, line},
	{"nested paging", []string{"/sys/module/kvm_amd/parameters/npt", "/sys/module/kvm_intel/parameters/ept"}, either("on", "off")},
	{"halt polling", []string{"/sys/module/kvm/parameters/halt_poll_ns"}, nanoseconds},
	{"load before", []string{"/proc/loadavg"}, loadOfMinute},
}

func describeHost(read ReadFile) (entries []Entry) {
	for _, r := range readings {
		entries = append(entries, Entry{Host, r.key, known(r.from(read))})
	}
	return entries
}

func (r reading) from(read ReadFile) string {
	for _, path := range r.paths {
		if text, err := read(path); err == nil {
			return r.parse(string(text))
		}
	}
	return "not shown"
}

func line(s string) string { return strings.TrimSpace(s) }

// chosen is the word in brackets: "always [madvise] never".
func chosen(s string) string {
	_, s, _ = strings.Cut(s, "[")
	s, _, ok := strings.Cut(s, "]")
	if !ok {
		return ""
	}
	return s
}

// either reads 1 and Y as yes, 0 and N as no.
func either(yes, no string) func(string) string {
	return func(s string) string {
		switch line(s) {
		case "1", "Y":
			return yes
		case "0", "N":
			return no
		}
		return line(s)
	}
}

// field is a value of a file of "name: value" lines, the first of that name.
func field(name string) func(string) string {
	return func(s string) string {
		for l := range strings.Lines(s) {
			if key, value, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(key) == name {
				return strings.Join(strings.Fields(value), " ")
			}
		}
		return ""
	}
}

func cpuModel(s string) string { return field("model name")(s) }

func cpuCount(s string) string {
	n := 0
	for l := range strings.Lines(s) {
		if key, _, ok := strings.Cut(l, ":"); ok && strings.TrimSpace(key) == "processor" {
			n++
		}
	}
	return fmt.Sprint(n)
}

// underHypervisor goes by CPUID.1:ECX[31], which hypervisors set for guests
// (Documentation/virt/kvm/x86/cpuid.rst).
func underHypervisor(s string) string {
	for _, f := range strings.Fields(field("flags")(s)) {
		if f == "hypervisor" {
			return "yes"
		}
	}
	return "no"
}

func nanoseconds(s string) string { return line(s) + " ns" }

func loadOfMinute(s string) string {
	one, _, _ := strings.Cut(line(s), " ")
	return one
}
