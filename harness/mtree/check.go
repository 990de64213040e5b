package mtree

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Names and addresses of a PC in QEMU.
const (
	SystemSpace = "memory"   // the address space that the processors share
	EduMMIO     = "edu-mmio" // BAR 0 of the edu device
	EduBARSize  = 1 << 20    // bytes

	fourGiB = 1 << 32
	ioAPIC  = 0xfec00000 // the fixed devices below 4 GiB begin here
)

// Span is a piece of the guest's memory.
type Span struct {
	Start  uint64 `json:"start"`  // first address in the system
	End    uint64 `json:"end"`    // last address, inclusive
	Backer string `json:"backer"` // the region that holds the bytes: "pc.ram"
	Offset uint64 `json:"offset"` // of Start in the backer
}

// String shows the span in the way of the tree.
func (s Span) String() string {
	return fmt.Sprintf("%016x-%016x (%s @%x)", s.Start, s.End, s.Backer, s.Offset)
}

// system is the root that the processors see.
func (t *Tree) system() (*Region, error) {
	space := t.Space(SystemSpace)
	if space == nil {
		return nil, fmt.Errorf("mtree: there is no address space %q", SystemSpace)
	}
	return space.Root, nil
}

// RAM lists the pieces of main memory: of the regions of memory directly below
// the system those with the same backer as the largest, which on a PC are the
// aliases ram-below-4g and ram-above-4g and, once the firmware has run, those
// of its shadow memory. Memory of devices, which lies below a bus, plugged-in
// DIMMs and the firmware of microvm, which is RAM too, do not count.
func (t *Tree) RAM() ([]Span, error) {
	system, err := t.system()
	if err != nil {
		return nil, err
	}
	var spans []Span
	var largest Span
	for _, r := range system.Children {
		if r.Disabled || !isMemory(r) {
			continue
		}
		span := spanOf(r)
		spans = append(spans, span)
		if largest.Backer == "" || span.End-span.Start > largest.End-largest.Start {
			largest = span
		}
	}
	return slices.DeleteFunc(spans, func(s Span) bool { return s.Backer != largest.Backer }), nil
}

// isMemory tells whether a child of the system is memory. With NUMA the target
// of the RAM aliases is a container and so they are i/o.
func isMemory(r *Region) bool {
	return r.Kind == RAM || r.Alias != nil && (r.Name == "ram-below-4g" || r.Name == "ram-above-4g")
}

func spanOf(r *Region) Span {
	if r.Alias == nil {
		return Span{Start: r.Start, End: r.End, Backer: r.Name}
	}
	return Span{Start: r.Start, End: r.End, Backer: r.Alias.Target, Offset: r.Alias.Start}
}

// CheckRAM returns an error unless main memory has exactly that many bytes.
// Bytes that appear at several addresses count once.
func (t *Tree) CheckRAM(bytes uint64) error {
	spans, err := t.RAM()
	if err != nil {
		return err
	}
	if len(spans) == 0 {
		return errors.New("mtree: there is no RAM below the system")
	}
	if have := distinctBytes(spans); have != bytes {
		return fmt.Errorf("mtree: the machine has %d bytes of RAM (%s), expected %d (%s):\n%s",
			have, mebibytes(have), bytes, mebibytes(bytes), list(spans))
	}
	return nil
}

// distinctBytes is the number of different bytes behind spans. Spans come from
// a machine that has its memory in 64 bits, so that the sum fits.
func distinctBytes(spans []Span) uint64 {
	sorted := slices.SortedFunc(slices.Values(spans), func(a, b Span) int {
		return cmp.Or(cmp.Compare(a.Backer, b.Backer), cmp.Compare(a.Offset, b.Offset))
	})
	var sum, next uint64 // next: offset after what was counted of the backer
	for i, s := range sorted {
		if i == 0 || s.Backer != sorted[i-1].Backer {
			next = 0
		}
		end := s.Offset + (s.End - s.Start) + 1
		if end > next {
			sum += end - max(next, s.Offset)
			next = end
		}
	}
	return sum
}

func mebibytes(n uint64) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }

func list(spans []Span) string {
	lines := make([]string, len(spans))
	for i, s := range spans {
		lines[i] = indent + s.String()
	}
	return strings.Join(lines, "\n")
}

// PCIHole returns the first and the last address between the RAM below 4 GiB
// and the fixed devices at 0xfec00000, where the BARs of PCI devices go.
func (t *Tree) PCIHole() (start, end uint64, err error) {
	spans, err := t.RAM()
	if err != nil {
		return 0, 0, err
	}
	system, _ := t.system()
	if pci := system.Find("pci"); pci == nil || pci.Disabled {
		return 0, 0, errors.New(`mtree: there is no region "pci" below the system: the machine has no PCI bus (microvm has none)`)
	}
	for _, s := range spans {
		if s.Start < fourGiB {
			start = max(start, s.End+1)
		}
	}
	if start == 0 || start >= ioAPIC {
		return 0, 0, fmt.Errorf("mtree: RAM leaves no hole for PCI below %#x:\n%s", uint64(ioAPIC), list(spans))
	}
	return start, ioAPIC - 1, nil
}

// CheckPCIHole returns an error unless there is a PCI bus and a hole for it
// that holds no main memory.
func (t *Tree) CheckPCIHole() error {
	start, end, err := t.PCIHole()
	if err != nil {
		return err
	}
	for _, addr := range []uint64{start, start + (end-start)/2, end} {
		if a, found := t.Resolve(SystemSpace, addr); found && a.Region.Kind == RAM && t.inRAM(a.Region.Name) {
			return fmt.Errorf("mtree: address %#x in the PCI hole %#x-%#x is RAM (%s)", addr, start, end, a.Region.Name)
		}
	}
	return nil
}

// inRAM tells whether the named region is main memory and not a device's.
func (t *Tree) inRAM(backer string) bool {
	spans, _ := t.RAM()
	return slices.ContainsFunc(spans, func(s Span) bool { return s.Backer == backer })
}

// EduBAR returns BAR 0 of the edu device as it is mapped now, or nil. It is
// mapped once firmware or the guest has given it an address and enabled it.
func (t *Tree) EduBAR() *Region {
	system, err := t.system()
	if err != nil {
		return nil
	}
	return system.Find(EduMMIO)
}

// CheckEdu returns an error unless the edu device's BAR is mapped in the way
// that it should: 1 MiB, aligned to its size, and answering. With present
// false it returns an error if the BAR is mapped at all.
func (t *Tree) CheckEdu(present bool) error {
	bar := t.EduBAR()
	if !present {
		if bar != nil {
			return fmt.Errorf("mtree: %s is mapped at %#x, but this machine should have no edu device", EduMMIO, bar.Start)
		}
		return nil
	}
	if bar == nil {
		return t.explainNoEdu()
	}
	if !bar.SizeIs(EduBARSize) {
		return fmt.Errorf("mtree: %s has %v bytes, expected %d", EduMMIO, bar.Size(), EduBARSize)
	}
	if bar.Start%EduBARSize != 0 {
		return fmt.Errorf("mtree: %s at %#x is not aligned to its size", EduMMIO, bar.Start)
	}
	if a, found := t.Resolve(SystemSpace, bar.Start); !found || a.Region != bar {
		return fmt.Errorf("mtree: %s is mapped at %#x but does not answer there: it is disabled or something covers it", EduMMIO, bar.Start)
	}
	return nil
}

// explainNoEdu tells a missing device from one that is not mapped: each PCI
// device has an address space of its name for its DMA.
func (t *Tree) explainNoEdu() error {
	if t.Space("edu") == nil {
		return errors.New("mtree: the machine has no edu device: add -device edu")
	}
	return fmt.Errorf("mtree: the edu device is there but %s is not mapped: "+
		"neither firmware nor a driver has enabled its memory BAR yet", EduMMIO)
}
