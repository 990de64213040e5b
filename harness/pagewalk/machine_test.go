package pagewalk

import (
	"context"
	"fmt"
	"strings"
)

// fakeRAM is sparse physical memory of 16 GiB; words never written are zero.
type fakeRAM map[uint64]uint64

const fakeRAMSize = 16 << 30

func (m fakeRAM) ReadPhys(ctx context.Context, addr uint64) (uint64, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	if addr > fakeRAMSize-8 {
		return 0, fmt.Errorf("0x%x: %w", addr, ErrNoMemory)
	}
	return m[addr], nil
}

// entryBits are the flags that KVM and Linux put into entries: those of a table, of a
// 4 KiB page and of a large page.
type entryBits struct{ table, page, large Hex }

var (
	x86Bits = entryBits{table: 0x67, page: 0x8000000000000063, large: 0x80000000000000e3}
	nptBits = entryBits{table: 0x827, page: 0x667, large: 0xee7}
	eptBits = entryBits{table: 0x907, page: 0x0600000000000b77, large: 0x06000000000003f7}
)

// mapper builds tables; it shares no code with Translate.
type mapper struct {
	root  Root
	bits  entryBits
	next  Hex             // where the next table goes
	store func(at, e Hex) // writes an entry
	load  func(at Hex) Hex
}

// mapPage maps addr to out with a leaf at the given level and returns the walk.
func (m *mapper) mapPage(addr, out Hex, leaf int) Walk {
	names := map[int][]string{4: {"PTE", "PMD", "PUD", "PGD"}, 5: {"PTE", "PMD", "PUD", "P4D", "PGD"}}[m.root.Levels]
	w := Walk{Kind: m.root.Kind, Levels: m.root.Levels, Leaf: leaf, Address: seen(addr, 0), Output: seen(out, 0)}
	table := m.root.Table
	for level := m.root.Levels; ; level-- {
		index := int(addr>>(12+9*uint(level-1))) & 511
		at := table + Hex(index)*8
		e := m.entry(at, out, level, leaf)
		w.Indices = append(w.Indices, Index{Level: level, Name: names[level-1], Value: index})
		w.Steps = append(w.Steps, Step{Level: level, Name: names[level-1], Index: index, TableIndex: index, Scale: 8, Table: seen(table, 0), Entry: seen(e, 0)})
		if level == leaf {
			for l := leaf - 1; l > 0; l-- {
				w.Indices = append(w.Indices, Index{Level: l, Name: names[l-1], Value: int(addr>>(12+9*uint(l-1))) & 511})
			}
			return w
		}
		table = e & 0xffffffffff000
	}
}

func (m *mapper) entry(at, out Hex, level, leaf int) Hex {
	if e := m.load(at); e != 0 {
		return e
	}
	var e Hex
	switch {
	case level > leaf:
		e, m.next = m.next|m.bits.table, m.next+0x1000
	case level == 1:
		e = out&^0xfff | m.bits.page
	default:
		e = out&^(1<<(12+9*uint(level-1))-1) | m.bits.large
	}
	m.store(at, e)
	return e
}

// world is a machine with a guest in it, and the true walks of one address.
type world struct {
	ram   fakeRAM
	pair  Pair
	nonce Hex
}

type shape struct {
	host                   Kind
	hostLevels, hostLeaf   int
	guestLevels, guestLeaf int
}

func (s shape) String() string {
	return fmt.Sprintf("%s%d leaf%d, guest%d leaf%d", s.host, s.hostLevels, s.hostLeaf, s.guestLevels, s.guestLeaf)
}

func shapes() []shape {
	var out []shape
	for _, host := range []Kind{EPT, NPT} {
		for _, hostLevels := range []int{4, 5} {
			for _, guestLevels := range []int{4, 5} {
				for hostLeaf := 1; hostLeaf <= 3; hostLeaf++ {
					for guestLeaf := 1; guestLeaf <= 3; guestLeaf++ {
						out = append(out, shape{host, hostLevels, hostLeaf, guestLevels, guestLeaf})
					}
				}
			}
		}
	}
	return out
}

// newWorld builds guest tables in guest memory and host tables that back it. Guest
// memory begins at hostBase, its 4 KiB pages in scrambled order.
func newWorld(s shape) world {
	const hostBase, nonce = 2 << 30, 0xfeed1234567
	ram := fakeRAM{}
	host := &mapper{root: Root{Kind: s.host, Levels: s.hostLevels, Table: 0x7000}, next: 0x8000, bits: eptBits,
		store: func(at, e Hex) { ram[uint64(at)] = uint64(e) },
		load:  func(at Hex) Hex { return Hex(ram[uint64(at)]) },
	}
	if s.host == NPT {
		host.bits = nptBits
	}
	back := func(gpa Hex) (Hex, Walk) {
		hpa := gpa + hostBase
		if s.hostLeaf == 1 {
			hpa ^= 0x15000
		}
		return hpa, host.mapPage(gpa, hpa, s.hostLeaf)
	}
	guest := &mapper{root: Root{Kind: GPT, Levels: s.guestLevels, Table: 0x1000000}, next: 0x1001000, bits: x86Bits}
	guest.store = func(at, e Hex) { hpa, _ := back(at); ram[uint64(hpa)] = uint64(e) }
	guest.load = func(at Hex) Hex { hpa, _ := back(at); return Hex(ram[uint64(hpa)]) }

	gva, gpa := Hex(0xffff8dba828c9b20), Hex(0x28c9b20)
	if s.guestLevels == 5 {
		gva = 0xff11146f428c9b20
	}
	g := guest.mapPage(gva, gpa, s.guestLeaf)
	hpa, h := back(gpa)
	ram[uint64(hpa)] = nonce
	g.Value, h.Value = seen(nonce, 0), seen(nonce, 0)
	return world{ram, Pair{g, h}, nonce}
}

// style is how render writes a log.
type style struct {
	course    bool // the course's code: EPT whatever it is, no large guest entry
	scale     int
	valueLast bool
}

func grouped(v Hex, groups ...int) string {
	total := 0
	for _, n := range groups {
		total += n
	}
	all := fmt.Sprintf("%064b", uint64(v))[64-total:]
	var out []string
	for _, n := range groups {
		out, all = append(out, all[:n]), all[n:]
	}
	return strings.Join(out, " ")
}

// render writes a walk as the kernel code does.
func render(w Walk, st style) string {
	var b strings.Builder
	line := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	prefix, root := string(w.Kind), map[Kind]string{GPT: "CR3", EPT: "EPTP", NPT: "NCR3", Shadow: "CR3"}[w.Kind]
	if w.Kind == Shadow {
		prefix = "SPT"
	}
	if st.course && !w.Kind.Guest() {
		prefix, root = "EPT", "EPTP"
	}
	if w.Kind.Guest() && w.Value.Seen && !st.valueLast {
		line("Value at GVA: %d", uint64(w.Value.Value))
	}
	if w.Asked.Seen {
		line("hypercall 22: vCPU 0 of process 93 asks for GPA 0x%x", uint64(w.Asked.Value))
	}
	renderHead(line, w, prefix)
	if !w.Kind.Guest() {
		line("This is %s", map[string]string{"EPT": "EPT", "NPT": "NPT", "SPT": "a shadow page table"}[prefix])
	}
	for i, s := range w.Steps {
		if st.course && w.Kind.Guest() && s.Level == w.Leaf && w.Leaf > 1 {
			break
		}
		above := root
		if i > 0 {
			above = w.Steps[i-1].Name
		}
		line(" NEXT_LVL_%s(%-5s =  %s  +   %d * %-3d", w.Kind.space(), above+")", grouped(s.Table.Value>>12, 40), max(st.scale, s.Scale), s.Index)
		line("")
		line(" %-3d: %s %s", s.Index, s.Name, grouped(s.Entry.Value, 12, 40, 12))
	}
	if w.Unmapped != nil {
		line("no mapping at level %d\n(%s)", w.Unmapped.Level, w.Unmapped.Reason)
		return b.String()
	}
	renderTail(line, w)
	if w.Kind.Guest() && w.Value.Seen && st.valueLast {
		line("Value at GVA: %d", uint64(w.Value.Value))
	}
	return b.String()
}

func (k Kind) space() string {
	if k.Guest() {
		return "GPA"
	}
	return "HPA"
}

func renderHead(line func(string, ...any), w Walk, prefix string) {
	groups, row, head := []int{}, "", ""
	for _, i := range w.Indices {
		line(" %s %s index: %d", prefix, i.Name, i.Value)
		row += fmt.Sprintf("       %d", i.Value)
		head += "[" + i.Name + " IDX] "
		groups = append(groups, 9)
	}
	line("   %s", row)
	line(" %s %s[  Offset  ]", w.Kind.address(), head)
	line(" %s %s", w.Kind.address(), grouped(w.Address.Value, append(groups, 12)...))
	line("")
}

func renderTail(line func(string, ...any), w Walk) {
	if w.Kind.Guest() {
		if w.Leaf > 1 {
			line("Large %s detected!", w.Name(w.Leaf))
		}
		line(" GPA            =      %s", grouped(w.Output.Value, 40, 12))
		return
	}
	line([]string{"Normal Page (4k) at level 1 detected!", "Huge Page (2M) at level 2 detected!", "Huge Page (1G) at level 3 detected!"}[w.Leaf-1])
	line("[e.g]   [Rsvd./Ign.] [  Host Physical Frame Number, 40 Bits ] [   Flags  ]")
	for _, d := range w.Details {
		line(" %-6s %s (explained)", d.Name, grouped(d.Value, 12, 40, 12))
	}
	line(strings.Repeat("-", 93))
	line("HPA   %s", grouped(w.Output.Value, 12, 40, 12))
	if w.Unread != "" {
		line("no value at HPA: %s", w.Unread)
	} else if w.Value.Seen {
		line("Value at HPA: %d", uint64(w.Value.Value))
	}
}

// withDetails adds the explaining lines that belong to a host walk.
func withDetails(w Walk) Walk {
	mask := Hex(1)<<(12+9*uint(w.Leaf-1)) - 1
	entry, frames := w.Steps[len(w.Steps)-1].Entry.Value, 0xffffffffff000&^mask
	w.Details = []Detail{
		{Name: w.Steps[len(w.Steps)-1].Name, Value: entry}, {Name: "Mask1", Value: frames}, {Name: "HFN", Value: entry & frames},
		{Name: w.Kind.address(), Value: w.Address.Value}, {Name: "Mask2", Value: mask}, {Name: "Offset", Value: w.Address.Value & mask},
	}
	return w
}

// unlined drops what only a text has: line numbers and notes.
func unlined(w Walk) Walk {
	w.First, w.Last, w.LeafLine, w.Notes, w.Source = 0, 0, 0, nil, ""
	for _, f := range []*Field{&w.Address, &w.Asked, &w.Output, &w.Value} {
		f.Line, f.Torn = 0, false
	}
	w.Indices, w.Steps, w.Details = append([]Index(nil), w.Indices...), append([]Step(nil), w.Steps...), append([]Detail(nil), w.Details...)
	for i := range w.Indices {
		w.Indices[i].Line = 0
	}
	for i := range w.Steps {
		w.Steps[i].Table.Line, w.Steps[i].Entry.Line = 0, 0
	}
	for i := range w.Details {
		w.Details[i].Line = 0
	}
	if w.Unmapped != nil {
		u := *w.Unmapped
		u.Line, u.Entry.Line = 0, 0
		w.Unmapped = &u
	}
	return w
}
