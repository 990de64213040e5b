package pagewalk

import (
	"fmt"
	"strconv"
)

// Hex is a 64-bit address or table entry. In JSON it is a string such as
// "0x1f000", because a JSON number loses the upper bits in many readers.
type Hex uint64

// String returns h in hexadecimal with the prefix 0x.
func (h Hex) String() string { return "0x" + strconv.FormatUint(uint64(h), 16) }

// MarshalText writes h as String does.
func (h Hex) MarshalText() ([]byte, error) { return []byte(h.String()), nil }

// UnmarshalText reads what MarshalText wrote, or any Go integer literal.
func (h *Hex) UnmarshalText(text []byte) error {
	v, err := strconv.ParseUint(string(text), 0, 64)
	if err != nil {
		return fmt.Errorf("address or entry: %w", err)
	}
	*h = Hex(v)
	return nil
}

// Format is the layout of a table entry.
type Format string

const (
	// X86 is the layout of x86-64 page tables, used by guests, by AMD's nested
	// paging (APM 2, 15.25.5) and by KVM's shadow page tables.
	X86 Format = "x86"
	// EPTE is the layout of Intel's extended page tables (SDM 3, 29.3.2).
	EPTE Format = "ept"
)

const (
	frameMask = 0x000f_ffff_ffff_f000 // bits 51:12, SDM 3 table 4-20
	bitLarge  = 1 << 7                // PS: the entry maps a page above level 1
	eptRWX    = 7                     // bits 2:0
	eptMisc   = 0x78                  // bits 6:3, reserved in an entry that names a table
)

// Present says whether the processor would follow entry e. In EPT any of the
// read, write and execute bits will do (SDM 3, 29.3.2); elsewhere it is bit 0.
func (f Format) Present(e Hex) bool {
	if f == EPTE {
		return e&eptRWX != 0
	}
	return e&1 != 0
}

// AccessedDirty is the mask of the bits that the processor itself may set between
// the printing of an entry and a later look at memory: bits 5 and 6 (SDM 3, 4.8;
// APM 2, 5.4.2), in EPT bits 8 and 9 (SDM 3, 29.3.5). Software bits are not in it:
// nothing but a write by the hypervisor changes them.
func (f Format) AccessedDirty() Hex {
	if f == EPTE {
		return 3 << 8
	}
	return 3 << 5
}

// misconfigured says that an entry which counts as present faults all the same. EPT
// forbids write without read (SDM 3, 29.3.3.1), and bit 51 is reserved as long as no
// processor has 52 address bits; KVM marks MMIO with the one or the other.
func (f Format) misconfigured(e Hex) bool {
	if f == EPTE {
		return e&3 == 2
	}
	return e&(1<<51) != 0
}

// faults says that an entry that is followed has bits set which must be clear. In EPT
// those are write without read, bits 6:3 of an entry that names a table, and the memory
// types 2, 3 and 7 of a leaf (SDM 3, 29.3.3.1); in the leaf of a large page, the low bits
// of its frame, of which x86 uses the first for PAT (SDM 3, table 4-18).
func (f Format) faults(e Hex, level int, leaf bool) bool {
	low := offsetMask(level) &^ 0x1fff
	if f != EPTE {
		return leaf && level > 1 && e&low != 0
	}
	if !leaf {
		return e&3 == 2 || e&eptMisc != 0
	}
	low = offsetMask(level) &^ 0xfff
	memoryType := e >> 3 & 7
	return e&3 == 2 || memoryType == 2 || memoryType == 3 || memoryType == 7 || level > 1 && e&low != 0
}

// levelNames holds Linux' names from level 1 upwards.
var levelNames = []string{"PTE", "PMD", "PUD", "P4D", "PGD"}

// LevelName returns Linux' name of a table level: level 1 is PTE, the top level is
// PGD whether there are 4 or 5, and P4D exists only among 5.
func LevelName(level, levels int) string {
	switch {
	case level < 1 || level > levels || level > len(levelNames):
		return fmt.Sprintf("level %d", level)
	case level == levels:
		return "PGD"
	}
	return levelNames[level-1]
}

// levelOf is the inverse of LevelName; 0 means an unknown name.
func levelOf(name string, levels int) int {
	for level := levels; level > 0; level-- {
		if LevelName(level, levels) == name {
			return level
		}
	}
	return 0
}

// shift is the number of address bits below the index of a level.
func shift(level int) uint { return uint(12 + 9*(level-1)) }

// PageSize returns the bytes that a leaf at the given level maps: 4 KiB, 2 MiB or
// 1 GiB for levels 1 to 3, and 0 for a level that cannot map a page.
func PageSize(level int) uint64 {
	if level < 1 || level > 3 {
		return 0
	}
	return 1 << shift(level)
}

// IndexOf returns the 9 bits of addr that select the entry at level.
func IndexOf(addr Hex, level int) int { return int(addr >> shift(level) & 0x1ff) }

// FrameOf returns the physical address in an entry that names a table.
func FrameOf(entry Hex) Hex { return entry & frameMask }

// PageOf returns the physical address of the page that a leaf at level maps: bits
// 51:12, 51:21 or 51:30. The bits below belong to the flags; bit 12 of a large
// x86 leaf is PAT.
func PageOf(entry Hex, level int) Hex { return entry & frameMask &^ offsetMask(level) }

// offsetMask covers the offset in a page of the level.
func offsetMask(level int) Hex { return Hex(PageSize(level)) - 1 }

// signExtend copies the top address bit of a virtual address to all above it
// (SDM 1, 3.3.7.1): bit 47 with 4 levels, 56 with 5.
func signExtend(addr Hex, levels int) Hex {
	unused := 64 - shift(levels+1)
	return Hex(int64(addr) << unused >> unused)
}
