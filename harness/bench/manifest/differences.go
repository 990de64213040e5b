package manifest

import (
	"slices"
	"strings"
)

// Difference is a condition that two contenders do not share.
type Difference struct {
	Group, Key string
	A, B       string // the values; of the kernel's words only those the other has not
	// Means says what it does to the comparison; empty: not known.
	Means string
}

// Differences are the conditions in which two sides differ, those first that
// spoil most.
func Differences(a, b Side) []Difference {
	var out []Difference
	for _, e := range union(a, b) {
		d := Difference{Group: e.Group, Key: e.Key, A: a.Get(e.Group, e.Key), B: b.Get(e.Group, e.Key)}
		if d.A == d.B || e.Group == Own || e.Key == "load before" {
			continue
		}
		d.Means = means(d, a, b)
		if d.Key == "kernel words" {
			d.A, d.B = without(d.A, d.B), without(d.B, d.A)
		}
		out = append(out, d)
	}
	slices.SortStableFunc(out, func(d, e Difference) int { return rank(d) - rank(e) })
	return out
}

// union lists the entries of both, a's first.
func union(a, b Side) []Entry {
	entries := slices.Clone(a.Entries)
	for _, e := range b.Entries {
		if a.Get(e.Group, e.Key) == "" {
			entries = append(entries, e)
		}
	}
	return entries
}

// without are the words that other has not.
func without(words, other string) string {
	theirs := strings.Fields(other)
	return strings.Join(slices.DeleteFunc(strings.Fields(words), func(w string) bool { return slices.Contains(theirs, w) }), " ")
}

// meaning says what a difference does to the comparison.
type meaning struct {
	group, key string
	text       string
}

// meanings are in the order in which they spoil a comparison.
var meanings = []meaning{
	{Guest, "kernel", "The guests run different kernels: no number compares the VMMs alone."},
	{Guest, "kernel release", "The guests run different kernels: no number compares the VMMs alone."},
	{Guest, BootInitramfs, "The guests start different programs: boot times and memory do not compare."},
	{Guest, Initramfs, "The guests start different programs: what they measure does not compare."},
	{Guest, DiskImage, "The guests have different disks: what runs from them does not compare."},
	{Guest, DebianImage, "The guests have different disks: times to multi-user do not compare."},
	{Guest, "memory", "Guests of different size: memory does not compare, nor boot times, as the kernel prepares every page."},
	{Guest, "vCPUs", "Different numbers of vCPUs: throughput does not compare."},
	{Guest, "sysbench", "Different versions of sysbench: its numbers do not compare."},
	{Guest, "HZ", "Different timer rates: the one with more has more exits and less throughput."},
	{Machine, "execution", "Guest code is executed in different ways: that, not the VMM, decides all speeds."},
	{Host, "machine", "The VMMs ran on different machines: nothing compares."},
	{Host, "kernel", "The VMMs ran on different host kernels: nothing compares."},
	{Disk, "cache", "One side's disk is answered from the host's page cache, which is memory: its reads and writes do not compare with those of a disk."},
	{Disk, "sync", "Data is forced to the disk at different times: the side that does it more often waits more, and loses less in a crash."},
	{Disk, "aio", "Requests reach the host's kernel in different ways: with many at a time, native and io_uring are ahead of threads and of one by one."},
	{Disk, "queues", "Different numbers of queues: with several vCPUs the side with more contends less."},
	{Memory, "huge pages", ""}, // depends on the host: hugePages
	{Memory, "touched at the start", "One side fills guest RAM before the guest runs: that takes time at the start and makes all of it resident, which says nothing of the guest."},
	{Memory, "mapping", "Guest RAM is mapped in different ways: a shared mapping counts as shared memory in RSS, and its huge pages are a setting of their own."},
	{Machine, "CPU", "The guests see different CPUs: they may use other instructions and other mitigations."},
	{Machine, "clock", "The guests keep time in different ways: where the host is busy a guest without kvm-clock may lose some, and its own timings with it."},
	{Machine, "irqchip", "Interrupts are delivered in different places: one that is not in KVM costs an exit to the VMM for each."},
	{Machine, "bus", "The devices are on different buses: PCI is enumerated at boot and has per-queue interrupts. This is the VMM's design, and part of what is compared."},
	{Machine, "more devices", "One side has devices that nobody uses: the guest probes them at boot, and the VMM keeps memory for them."},
	{Machine, "type", "Different machine types: firmware and devices differ. This is the VMM's design, and part of what is compared."},
	{Machine, "seccomp", "One side filters its system calls more: each costs it a little more, and a break-out as well."},
	{Guest, "kernel words", "Each VMM needs words of its own; one that skips a probe or a calibration shortens the boot."},
}

// rank is a difference's place: known ones first, in their order.
func rank(d Difference) int {
	i := slices.IndexFunc(meanings, d.is)
	if i < 0 {
		return len(meanings)
	}
	return i
}

func (d Difference) is(m meaning) bool { return m.group == d.Group && m.key == d.Key }

func means(d Difference, a, b Side) string {
	switch i := slices.IndexFunc(meanings, d.is); {
	case d.A == unknown || d.B == unknown || d.A == "" || d.B == "":
		return "Not known of one side: it may be a difference or none."
	case d.Group == Memory && d.Key == "huge pages":
		return hugePages(d, a)
	case d.Group == Guest && d.Key == "kernel" && sameRelease(a, b):
		return "Different files of the same release: where one is compressed (bzImage) and the other not (vmlinux), the boot time of the first includes the unpacking."
	case i >= 0:
		return meanings[i].text
	case d.Group == Host:
		return "The machine was not the same, or changed in between."
	}
	return ""
}

func sameRelease(a, b Side) bool {
	release := a.Get(Guest, "kernel release")
	return release != "" && release != unknown && release == b.Get(Guest, "kernel release")
}

// hugePages: advice counts only where the host leaves it to advice
// (Documentation/admin-guide/mm/transhuge.rst).
func hugePages(d Difference, a Side) string {
	thp := a.Get(Host, "THP")
	switch {
	case strings.HasPrefix(d.A, "hugetlb") || strings.HasPrefix(d.B, "hugetlb"):
		return "One side's RAM is in reserved huge pages: it has fewer page faults and TLB misses, and its RSS is not counted by the kernel."
	case thp == "madvise":
		return "Huge pages are given to those who ask (THP is madvise): that side has fewer page faults and TLB misses, and more guest RAM resident. Set THP to never or always for equal conditions."
	case thp == "never":
		return "No effect here: THP is never."
	case thp == "always":
		return "Little effect here: THP is always, advice only makes the kernel try harder."
	}
	return "Whether this host gives huge pages is not known."
}
