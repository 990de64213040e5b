package pagewalk

import (
	"context"
	"errors"
	"fmt"
)

// PhysReader reads the physical memory of the machine whose KVM printed the host log
// (L1): the 8 bytes at addr, little endian. The machine must stand still from the
// printing to the last read, or KVM may change its tables meanwhile. A read where
// that machine has no memory returns an error that wraps ErrNoMemory.
type PhysReader interface {
	ReadPhys(ctx context.Context, addr uint64) (uint64, error)
}

var (
	// ErrNoMemory says that nothing answers at a physical address. A log that names
	// such an address is wrong, whereas any other read error is the harness's.
	ErrNoMemory = errors.New("no memory at this physical address")
	// ErrNotMapped says that a translation ended at an entry that is not present.
	ErrNotMapped = errors.New("address is not mapped")
	// ErrIncomplete says that a log does not show enough to start from.
	ErrIncomplete = errors.New("log is incomplete")
)

// Root is where a translation starts.
type Root struct {
	Kind   Kind `json:"kind"`   // decides the format of the entries
	Levels int  `json:"levels"` // 4 or 5
	Table  Hex  `json:"table"`  // physical address of the top table
}

// RootOf returns the root that a walk claims, or ErrIncomplete if it shows none.
// A walk that is called EPT but has NPT entries counts as NPT.
func RootOf(w Walk) (Root, error) {
	table := w.Root()
	if !table.Seen {
		return Root{}, fmt.Errorf("%w: the %s walk lacks its first NEXT_LVL line, so its root is unknown", ErrIncomplete, w.Kind)
	}
	kind := w.Kind
	if kind == EPT && w.Format() == X86 {
		kind = NPT
	}
	return Root{Kind: kind, Levels: w.Levels, Table: table.Value}, nil
}

// Translate walks the tables in memory from root down and returns the walk, without
// Value. Where addr is not mapped the walk has Unmapped set, and the error wraps
// ErrNotMapped. Permissions and the processor's physical address width are not
// looked at.
func Translate(ctx context.Context, mem PhysReader, root Root, addr uint64) (Walk, error) {
	return translate(ctx, root, Hex(addr), func(ctx context.Context, s Step) (Hex, error) {
		return read(ctx, mem, s.EntryAddress())
	})
}

// read reads 8 bytes and says in the error where.
func read(ctx context.Context, mem PhysReader, addr Hex) (Hex, error) {
	v, err := mem.ReadPhys(ctx, uint64(addr))
	if err != nil {
		return 0, fmt.Errorf("read physical memory at %v: %w", addr, err)
	}
	return Hex(v), nil
}

// fetch returns the entry of a step whose table and index are known.
type fetch func(ctx context.Context, s Step) (Hex, error)

func translate(ctx context.Context, root Root, addr Hex, entryOf fetch) (Walk, error) {
	w := Walk{Kind: root.Kind, Levels: root.Levels, Address: seen(addr, 0)}
	if root.Levels != 4 && root.Levels != 5 {
		return w, fmt.Errorf("%s root %v: %d levels: x86-64 has 4 or 5", root.Kind, root.Table, root.Levels)
	}
	table := FrameOf(root.Table)
	for level := root.Levels; level > 0; level-- {
		s := Step{Level: level, Name: w.Name(level), Index: IndexOf(addr, level), TableIndex: IndexOf(addr, level), Scale: 8, Table: seen(table, 0)}
		e, err := entryOf(ctx, s)
		if err != nil {
			return w, fmt.Errorf("%s %s entry for %v: %w", root.Kind, s.Name, addr, err)
		}
		s.Entry = seen(e, 0)
		f := w.Format()
		if !f.Present(e) || f.misconfigured(e) || level > 3 && e&bitLarge != 0 {
			w.Unmapped = &Unmapped{Level: level, Entry: s.Entry}
			return w, fmt.Errorf("%s: %v: %w: %s entry is %v", root.Kind, addr, ErrNotMapped, s.Name, e)
		}
		w.Steps = append(w.Steps, s)
		if level == 1 || e&bitLarge != 0 {
			w.Leaf = level
			w.Output = seen(PageOf(e, level)+addr&offsetMask(level), 0)
			break
		}
		table = FrameOf(e)
	}
	return w, nil
}
