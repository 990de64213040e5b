package edu

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Habits are what a driver does wrong without being caught at once, as the trace
// shows it: where it lets the device write, results that it does not wait for,
// interrupts that it does not acknowledge. Each is told once, with how often.
func (t Trace) Habits(m DriverMemory) []string {
	var all habits
	for _, d := range t.DMAs() {
		for _, p := range d.Problems(m) {
			all.add("DMA: "+p.Why, d.Line)
		}
	}
	for _, f := range t.Factorials() {
		if len(f.Results) > 0 && !f.Waited {
			all.add(fmt.Sprintf("factorial: the result was read before bit 0x%02x of register 0x%02x was seen clear; "+
				"a sleep is no wait, the device may take longer", StatusBusy, RegStatus), f.Line)
		}
	}
	for _, line := range t.unacknowledged() {
		all.add(fmt.Sprintf("interrupt: its status was read at 0x%02x and not written to 0x%02x: an INTx line stays raised, and the handler is called again and again",
			RegIRQStatus, RegIRQAck), line)
	}
	return all.text()
}

// habits are faults with the lines of the trace where they were seen.
type habits struct {
	why   []string
	lines map[string][]int
}

func (h *habits) add(why string, line int) {
	if h.lines == nil {
		h.lines = map[string][]int{}
	}
	if h.lines[why] == nil {
		h.why = append(h.why, why)
	}
	h.lines[why] = append(h.lines[why], line)
}

func (h *habits) text() (all []string) {
	for _, why := range h.why {
		lines := h.lines[why]
		text := fmt.Sprintf("%s (line %d of the MMIO trace", why, lines[0])
		if n := len(lines); n > 1 {
			text += fmt.Sprintf(", and %d more", n-1)
		}
		all = append(all, text+")")
	}
	return all
}

// unacknowledged are the lines where an interrupt's status was read by a
// handler that did not clear it before it was read again.
func (t Trace) unacknowledged() (lines []int) {
	var open *Access
	for _, a := range t {
		switch {
		case a.reads(RegIRQStatus) && a.Value != 0:
			if open != nil {
				lines = append(lines, open.Line)
			}
			open = &a
		case open != nil && a.writes(RegIRQAck) && a.Value&open.Value == open.Value:
			open = nil
		}
	}
	if open != nil {
		lines = append(lines, open.Line)
	}
	return lines
}

// stockRegisters are those that QEMU's own device has.
var stockRegisters = []uint64{
	RegID, RegLive, RegFactorial, RegStatus, RegIRQStatus, RegIRQRaise, RegIRQAck, RegDMASrc, RegDMADst, RegDMACount, RegDMACmd,
}

// Added are the registers that were written or read and that QEMU's own device
// lacks, in order of their offsets. A driver that reads all of them, as the
// course's does, shows only those that it writes.
func (t Trace) Added() []uint64 {
	read, written := map[uint64]bool{}, map[uint64]bool{}
	for _, a := range t {
		if at := a.Offset(); !slices.Contains(stockRegisters, at&^7) && !slices.Contains(stockRegisters, at) {
			read[at] = true
			written[at] = written[at] || a.Write
		}
	}
	var all []uint64
	for at := range read {
		if written[at] || len(read) < 16 {
			all = append(all, at)
		}
	}
	slices.Sort(all)
	return all
}

// Writes tells whether value was written to the register at offset.
func (t Trace) Writes(offset, value uint64) bool {
	return slices.ContainsFunc(t, func(a Access) bool { return a.Write && a.Offset() == offset && a.Value == value })
}

var mappedLine = regexp.MustCompile(`^0x([0-9a-f]{1,16})-0x[0-9a-f]{1,16}\s.*\sphys=0x([0-9a-f]{1,16}) ioremap`)

// MappedAt finds in /proc/vmallocinfo the kernel virtual address at which the
// physical address is mapped by ioremap. A kernel booted without
// no_hash_pointers, or asked by another user than root, hides it.
func MappedAt(vmallocinfo string, phys uint64) (virt uint64, ok bool) {
	for line := range strings.Lines(vmallocinfo) {
		m := mappedLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		if at, err := strconv.ParseUint(m[2], 16, 64); err != nil || at != phys {
			continue
		}
		virt, err := strconv.ParseUint(m[1], 16, 64)
		return virt, err == nil && virt != 0
	}
	return 0, false
}

// BARAddress finds the bus address of BAR 0 in the sysfs file "resource" of a
// PCI device (Documentation/PCI/sysfs-pci.rst: start, end, flags).
func BARAddress(resource string) (uint64, error) {
	first, _, _ := strings.Cut(resource, " ")
	at, err := strconv.ParseUint(strings.TrimSpace(first), 0, 64)
	if err != nil || at == 0 {
		return 0, fmt.Errorf("the device has no BAR 0: %q", clip(resource))
	}
	return at, nil
}
