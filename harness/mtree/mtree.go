// Package mtree reads the memory maps that QEMU's human monitor prints:
// "info mtree" (a tree of regions with priorities and aliases) and
// "info mtree -f" (the flat views that QEMU renders from it), with or without
// the flags -o (owners) and -D (disabled regions).
//
// The formats are those of mtree_info in QEMU's softmmu/memory.c
// (system/memory.c since 8.2); the rules by which a region answers at an
// address are in QEMU's docs/devel/memory.rst.
package mtree

import (
	"fmt"
	"iter"
	"math/big"
	"strings"
)

// Kind is what QEMU says is behind a region. An alias has its target's kind.
type Kind string

// The kinds that QEMU prints. A pure container is printed as IO.
const (
	IO   Kind = "i/o"
	RAM  Kind = "ram"
	ROM  Kind = "rom"
	ROMD Kind = "romd" // reads like memory, writes trap
	RAMD Kind = "ramd" // memory of a device that is passed through
)

// Tree is the output of "info mtree".
type Tree struct {
	Spaces  []AddressSpace `json:"spaces"`
	Targets []Target       `json:"targets"` // of aliases

	// answering holds the names seen in flat views, nil if none were learned.
	answering map[string]bool
}

// AddressSpace is what some processor or device sees. Spaces that QEMU prints
// as one block share their Root.
type AddressSpace struct {
	Name string  `json:"name"`
	Root *Region `json:"root"`
}

// Target is a region that some alias shows a part of. Its addresses are
// relative to the container that it is in, if any, and not to the system.
type Target struct {
	Name string  `json:"name"`
	Root *Region `json:"root"`
}

// Region is one line of the tree, with what lies below it.
type Region struct {
	Start    uint64 `json:"start"` // first address
	End      uint64 `json:"end"`   // last address, inclusive as QEMU prints it
	Priority int    `json:"priority"`
	Kind     Kind   `json:"kind,omitempty"`
	Name     string `json:"name"`

	Nonvolatile bool   `json:"nonvolatile,omitempty"`
	Disabled    bool   `json:"disabled,omitempty"`
	Overflow    bool   `json:"overflow,omitempty"` // QEMU found that the addresses wrap around
	Owner       string `json:"owner,omitempty"`    // as printed with -o: "owner:{dev path=...}"

	// Hidden marks a disabled region that QEMU did not print (it does with
	// -D). It has neither name nor addresses, only children.
	Hidden bool `json:"hidden,omitempty"`

	Alias    *Alias    `json:"alias,omitempty"`
	Children []*Region `json:"children,omitempty"`
}

// Alias says which part of another region is shown. Start and End are offsets
// in the target, End inclusive.
type Alias struct {
	Target string `json:"target"`
	Start  uint64 `json:"start"`
	End    uint64 `json:"end"`
}

// Size is the number of bytes the region spans. The whole of a 64-bit address
// space is 2^64 bytes, which is why this is no uint64. QEMU prints a region of
// no bytes like one of one byte, and that is what it is here.
func (r *Region) Size() *big.Int { return spanSize(r.Start, r.End) }

// SizeIs tells whether the region spans n bytes.
func (r *Region) SizeIs(n uint64) bool { return n != 0 && r.End-r.Start == n-1 }

// Contains tells whether addr is within the region. A hidden region, whose
// addresses are unknown, contains nothing.
func (r *Region) Contains(addr uint64) bool {
	return !r.Hidden && r.Start <= addr && addr <= r.End
}

// spanSize is end-start+1 without overflow.
func spanSize(start, end uint64) *big.Int {
	size := new(big.Int).SetUint64(end - start)
	return size.Add(size, big.NewInt(1))
}

// Walk yields the region and all below it, in the order of the text, except
// hidden ones. It does not follow aliases.
func (r *Region) Walk() iter.Seq[*Region] {
	return func(yield func(*Region) bool) { r.walk(yield) }
}

func (r *Region) walk(yield func(*Region) bool) bool {
	if !r.Hidden && !yield(r) {
		return false
	}
	for _, child := range r.Children {
		if !child.walk(yield) {
			return false
		}
	}
	return true
}

// Find returns the first region of that name in the subtree, or nil.
func (r *Region) Find(name string) *Region {
	for region := range r.Walk() {
		if region.Name == name {
			return region
		}
	}
	return nil
}

// All yields the regions of all address spaces and then of all targets, each
// as often as QEMU printed it.
func (t *Tree) All() iter.Seq[*Region] {
	return func(yield func(*Region) bool) {
		for _, root := range t.roots() {
			if !root.walk(yield) {
				return
			}
		}
	}
}

// roots are the roots of the printed blocks.
func (t *Tree) roots() []*Region {
	var roots []*Region
	for i, space := range t.Spaces {
		if i == 0 || space.Root != t.Spaces[i-1].Root {
			roots = append(roots, space.Root)
		}
	}
	for _, target := range t.Targets {
		roots = append(roots, target.Root)
	}
	return roots
}

// Find returns the first region of that name anywhere, or nil. Names need not
// be unique.
func (t *Tree) Find(name string) *Region {
	for region := range t.All() {
		if region.Name == name {
			return region
		}
	}
	return nil
}

// Space returns the address space of that name, or nil. The one that the
// processors of a PC share is called "memory".
func (t *Tree) Space(name string) *AddressSpace {
	for i := range t.Spaces {
		if t.Spaces[i].Name == name {
			return &t.Spaces[i]
		}
	}
	return nil
}

// target returns the region that an alias of that name shows, or nil.
func (t *Tree) target(name string) *Region {
	for i := range t.Targets {
		if t.Targets[i].Name == name {
			return t.Targets[i].Root
		}
	}
	return nil
}

// String prints the tree as QEMU does, with LF line ends.
func (t *Tree) String() string {
	var b strings.Builder
	for i, space := range t.Spaces {
		fmt.Fprintf(&b, "%s%s\n", spacePrefix, space.Name)
		if i+1 < len(t.Spaces) && t.Spaces[i+1].Root == space.Root {
			continue
		}
		space.Root.print(&b, 1)
		b.WriteByte('\n')
	}
	for _, target := range t.Targets {
		fmt.Fprintf(&b, "%s%s\n", targetPrefix, target.Name)
		target.Root.print(&b, 1)
		b.WriteByte('\n')
	}
	return b.String()
}

// print writes the region's line and those of its children.
func (r *Region) print(b *strings.Builder, level int) {
	if !r.Hidden {
		if r.Overflow {
			b.WriteString(overflowMark)
		}
		b.WriteString(strings.Repeat(indent, level))
		b.WriteString(r.String())
		b.WriteByte('\n')
	}
	for _, child := range r.Children {
		child.print(b, level+1)
	}
}

// String is the region's line as QEMU prints it, without indentation.
func (r *Region) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%016x-%016x (prio %d, %s%s): ", r.Start, r.End, r.Priority, volatility(r.Nonvolatile), r.Kind)
	if r.Alias != nil {
		fmt.Fprintf(&b, "alias %s @%s %016x-%016x", r.Name, r.Alias.Target, r.Alias.Start, r.Alias.End)
	} else {
		b.WriteString(r.Name)
	}
	if r.Disabled {
		b.WriteString(disabledMark)
	}
	if r.Owner != "" {
		b.WriteString(" " + r.Owner)
	}
	return b.String()
}

// volatility is the prefix of the kind.
func volatility(nonvolatile bool) string {
	if nonvolatile {
		return "nv-"
	}
	return ""
}
