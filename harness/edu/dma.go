package edu

import "fmt"

// DMA is one transfer that was started.
type DMA struct {
	Src, Dst   uint64
	Count      uint64 // bytes
	FromDevice bool   // from the device's buffer to RAM
	WithIRQ    bool   // an interrupt was asked for
	Seen       bool   // a handler saw IRQDMA before the next transfer
	Line       int    // of the command in the trace
}

// Bus is the end of the transfer that lies in the guest's memory.
func (d DMA) Bus() uint64 {
	if d.FromDevice {
		return d.Dst
	}
	return d.Src
}

// Window is the end of the transfer that lies in the device's buffer.
func (d DMA) Window() uint64 {
	if d.FromDevice {
		return d.Src
	}
	return d.Dst
}

func (d DMA) String() string {
	return fmt.Sprintf("DMA of %d bytes %s, bus address 0x%x, device address 0x%x", d.Count, direction(d.FromDevice), d.Bus(), d.Window())
}

func direction(fromDevice bool) string {
	if fromDevice {
		return "from the device"
	}
	return "to the device"
}

// DMAs are the transfers that the trace shows, with the addresses and the count
// that were programmed when each was started.
func (t Trace) DMAs() []DMA {
	var all []DMA
	var regs dmaRegisters
	for _, a := range t {
		switch {
		case regs.take(a):
		case a.Write && a.Offset() == RegDMACmd && a.dmaSize() && a.Value&DMAStart != 0:
			all = append(all, regs.start(a))
		case len(all) > 0 && a.reads(RegIRQStatus) && a.Value&IRQDMA != 0:
			all[len(all)-1].Seen = true
		}
	}
	return all
}

// dmaSize tells whether the DMA registers take the access.
func (a Access) dmaSize() bool { return a.Size == 4 || a.Size == 8 }

// dmaRegisters hold what was written last. A 4-byte write clears the upper half.
type dmaRegisters struct{ src, dst, count uint64 }

func (r *dmaRegisters) take(a Access) bool {
	if !a.Write || !a.dmaSize() {
		return false
	}
	switch a.Offset() {
	case RegDMASrc:
		r.src = a.Value
	case RegDMADst:
		r.dst = a.Value
	case RegDMACount:
		r.count = a.Value
	default:
		return false
	}
	return true
}

func (r dmaRegisters) start(a Access) DMA {
	return DMA{
		Src: r.src, Dst: r.dst, Count: r.count, Line: a.Line,
		FromDevice: a.Value&DMAFromDevice != 0,
		WithIRQ:    a.Value&DMAWithIRQ != 0,
	}
}

// Range is a piece of memory.
type Range struct {
	Start uint64
	Size  uint64 // bytes
}

// Holds tells whether the n bytes at addr lie in the range.
func (r Range) Holds(addr, n uint64) bool {
	return addr >= r.Start && addr-r.Start <= r.Size && n <= r.Size-(addr-r.Start)
}

func (r Range) String() string { return fmt.Sprintf("0x%x-0x%x", r.Start, r.Start+r.Size-1) }

// DriverMemory is what is known about the memory of the driver under test.
type DriverMemory struct {
	// Buffers are its DMA buffers as bus addresses: what dma_alloc_coherent
	// gave, not what the pointer to them says. None: where they are is unknown,
	// and no address is judged by them.
	Buffers []Range
	// BAR is the kernel virtual address at which the driver has mapped BAR 0
	// (/proc/vmallocinfo shows it to a kernel booted with no_hash_pointers), or
	// 0 when it is not known.
	BAR uint64
}

// Problem is something wrong with a transfer.
type Problem struct {
	DMA DMA
	Why string
}

func (p Problem) String() string {
	return fmt.Sprintf("line %d of the trace: %s: %s", p.DMA.Line, p.DMA, p.Why)
}

// Problems tells what is wrong with the transfer; none if nothing is.
func (d DMA) Problems(m DriverMemory) []Problem {
	var all []Problem
	for _, why := range []string{d.windowProblem(), d.busProblem(m)} {
		if why != "" {
			all = append(all, Problem{d, why})
		}
	}
	return all
}

func (d DMA) windowProblem() string {
	buffer := Range{BufferStart, BufferSize}
	switch {
	case d.Count == 0:
		return "it moves nothing (QEMU before 9.1 aborts on that)"
	case !buffer.Holds(d.Window(), d.Count):
		return fmt.Sprintf("the device's buffer is %s: QEMU aborts, or from 9.1 to 11.0 damages its own memory", buffer)
	case d.Window()+d.Count == BufferStart+BufferSize:
		return "it ends exactly where the device's buffer does, on which QEMU before 8.2.1 aborts: leave the last byte out"
	}
	return ""
}

func (d DMA) busProblem(m DriverMemory) string {
	bus := d.Bus()
	const reach = 1 << BusBits
	switch {
	case m.pointer(bus):
		return fmt.Sprintf("0x%x is the low half of 0x%x, the virtual address of the mapped BAR plus 0x%x: the device wants a bus address, "+
			"so it %s unrelated memory. Take the address that dma_alloc_coherent or dma_map_single gives", bus, m.BAR+bus-low32(m.BAR), bus-low32(m.BAR), d.harm())
	case bus >= reach || d.Count > reach-bus:
		return fmt.Sprintf("the device drives %d address bits, so it %s 0x%x instead: set the DMA mask to %d bits", BusBits, d.harm(), bus%reach, BusBits)
	case len(m.Buffers) > 0 && !m.holds(bus, d.Count):
		return fmt.Sprintf("the bus address lies in none of the driver's DMA buffers %v, so it %s unrelated memory: "+
			"is it a virtual address, cut to 32 bits?", m.Buffers, d.harm())
	}
	return ""
}

func (d DMA) harm() string {
	if d.FromDevice {
		return "overwrites"
	}
	return "reads"
}

// pointer tells whether bus is a pointer into the mapped BAR, cut to 32 bits.
func (m DriverMemory) pointer(bus uint64) bool {
	return m.BAR != 0 && !m.holds(bus, 1) && Range{low32(m.BAR), BARSize}.Holds(bus, 1)
}

func (m DriverMemory) holds(addr, n uint64) bool {
	for _, b := range m.Buffers {
		if b.Holds(addr, n) {
			return true
		}
	}
	return false
}

func low32(v uint64) uint64 { return v & 0xffffffff }

// ConfirmDMA tells whether the trace shows a transfer of n bytes in the given
// direction between the device's buffer and one of the driver's, with nothing
// wrong about it.
func (t Trace) ConfirmDMA(fromDevice bool, n uint64, m DriverMemory) error {
	u := &Unconfirmed{
		Claim: fmt.Sprintf("%d bytes came by DMA %s", n, direction(fromDevice)),
		Why:   "no such transfer was started",
	}
	for _, d := range t.DMAs() {
		if d.FromDevice != fromDevice || d.Count != n {
			continue
		}
		problems := d.Problems(m)
		if len(problems) == 0 {
			return nil
		}
		u.Why, u.Line = problems[0].Why, d.Line
	}
	return u
}
