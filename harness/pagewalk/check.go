package pagewalk

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// CheckWalk checks one walk by arithmetic alone: indices against the address, each
// entry against the next table, present and large-page bits, offset and output.
// Findings are ordered from the top level down.
func CheckWalk(w Walk) Findings {
	r := &report{walk: w}
	if w.Kind.Guest() && w.Address.Seen {
		r.equal(CheckCanonical, 0, signExtend(w.Address.Value, w.Levels), w.Address, "GVA is not canonical")
	}
	for level := w.Levels; level > 0; level-- {
		r.checkLevel(level)
	}
	r.checkOutput()
	r.checkDetails()
	r.checkUnmapped()
	r.advise()
	for _, n := range w.Notes {
		if n.Kind == NoteMissing {
			r.add(Finding{Check: cmp.Or(n.About, CheckMissing), Severity: r.gapSeverity(n), Level: n.Level, Text: n.Text})
		}
	}
	return r.findings
}

// gapSeverity excuses what can be spared: the entry of a large page, which the course's
// module never prints, and a NEXT_LVL line that only repeats the entry above it.
func (r *report) gapSeverity(n Note) Severity {
	if r.walk.Kind.Guest() && r.walk.Leaf > 1 && n.Level == r.walk.Leaf {
		return Advice
	}
	s, _ := r.walk.Step(n.Level)
	above, _ := r.walk.Step(n.Level + 1)
	if s.Entry.Seen && above.Entry.Seen {
		return Advice
	}
	return Gap
}

func (r *report) checkLevel(level int) {
	for _, i := range r.walk.Indices {
		if i.Level == level {
			r.checkIndex(level, i.Value, i.Line, "index line differs from the bits of the address")
		}
	}
	s, ok := r.walk.Step(level)
	if !ok {
		return
	}
	if above, ok := r.walk.Step(level + 1); ok && above.Entry.Seen {
		r.equal(CheckTable, level, FrameOf(above.Entry.Value), s.Table, "table is not the frame in the "+above.Name+" entry")
	}
	if s.TableIndex >= 0 {
		r.checkIndex(level, s.TableIndex, s.Table.Line, "index after NEXT_LVL differs from the bits of the address")
	}
	if s.Entry.Seen {
		r.checkIndex(level, s.Index, s.Entry.Line, "index before the entry differs from the bits of the address")
		r.checkEntry(s)
	}
}

func (r *report) checkIndex(level, got, line int, text string) {
	if r.walk.Address.Seen {
		r.equal(CheckIndex, level, Hex(IndexOf(r.walk.Address.Value, level)), seen(Hex(got), line), text)
	}
}

func (r *report) checkEntry(s Step) {
	e, bad := s.Entry.Value, Finding{Level: s.Level, Line: s.Entry.Line, Expected: s.Entry.Value, Got: s.Entry.Value}
	report := func(c Check, text string) {
		bad.Check, bad.Text = c, text
		r.add(bad)
	}
	large := e&bitLarge != 0
	unmapped := r.walk.Unmapped != nil && r.walk.Unmapped.Level == s.Level
	switch {
	case unmapped:
	case !r.walk.Format().Present(e):
		report(CheckPresent, "entry "+e.String()+" is not present")
	case r.walk.Leaf > s.Level:
		report(CheckLarge, "the walk goes on below the "+r.walk.Name(r.walk.Leaf)+" entry that maps the page")
	case large && s.Level > 3:
		report(CheckReserved, "bit 7 of entry "+e.String()+" is set, and no page is that large")
	case large && s.Level > 1 && r.walk.Leaf != 0 && r.walk.Leaf != s.Level:
		report(CheckLarge, "entry "+e.String()+" has bit 7 and maps a large page, but the walk goes on")
	case !large && s.Level > 1 && r.walk.Leaf == s.Level:
		report(CheckLarge, "entry "+e.String()+" lacks bit 7, so it does not map a large page")
	case r.walk.Format().faults(e, s.Level, r.walk.Leaf == s.Level):
		report(CheckReserved, "entry "+e.String()+" has reserved bits set, on which the processor faults")
	}
}

func (r *report) checkOutput() {
	w := r.walk
	if w.Asked.Seen && w.Address.Seen && w.Kind != Shadow { // printed are the bits that tables translate
		translated := w.Asked.Value & (1<<shift(w.Levels+1) - 1)
		r.equal(CheckLink, 0, translated, w.Address, "the walk is of another GPA than the hypercall asked for")
	}
	if w.Leaf == 0 || !w.Address.Seen || !w.Output.Seen {
		return
	}
	mask := offsetMask(w.Leaf)
	offset := w.Address.Value & mask
	low := seen(w.Output.Value&mask, w.Output.Line)
	if !r.equal(CheckOffset, 0, offset, low, "offset of the "+w.Kind.output()+" is not that of the "+w.Kind.address()) {
		return
	}
	if s, ok := w.Step(w.Leaf); ok && s.Entry.Seen {
		r.equal(CheckOutput, 0, PageOf(s.Entry.Value, w.Leaf)+offset, w.Output, w.Kind.output()+" is not the "+s.Name+" entry's frame plus the offset")
	}
}

// checkDetails follows the lines below the leaf: entry, Mask1, HFN, GPA, Mask2, Offset.
func (r *report) checkDetails() {
	w, got := r.walk, map[string]Field{}
	for _, d := range w.Details {
		got[d.Name] = seen(d.Value, d.Line)
	}
	if w.Leaf == 0 {
		return
	}
	name := w.Name(w.Leaf)
	if s, ok := w.Step(w.Leaf); ok && s.Entry.Seen {
		r.equal(CheckDetail, w.Leaf, s.Entry.Value, got[name], "leaf entry differs from the walk's")
	}
	end := w.Kind.address()
	if w.Address.Seen {
		if end == "GVA" && got[end].Seen { // printed are the bits that tables translate
			got[end] = seen(signExtend(got[end].Value, w.Levels), got[end].Line)
		}
		r.equal(CheckDetail, 0, w.Address.Value, got[end], end+" differs from the walk's")
	}
	r.equal(CheckDetail, 0, offsetMask(w.Leaf), got["Mask2"], "Mask2 does not fit the page size")
	if m := got["Mask1"]; m.Seen && !isFrameMask(m.Value, w.Leaf) {
		r.equal(CheckDetail, 0, frameMask&^offsetMask(w.Leaf), m, "Mask1 is not a mask of the frame's bits")
	}
	if e, m := got[name], got["Mask1"]; e.Seen && m.Seen {
		r.equal(CheckDetail, 0, e.Value&m.Value, got["HFN"], "HFN is not the entry under Mask1")
	}
	if a, m := got[end], got["Mask2"]; a.Seen && m.Seen {
		r.equal(CheckDetail, 0, a.Value&m.Value, got["Offset"], "Offset is not the "+end+" under Mask2")
	}
	if f, o := got["HFN"], got["Offset"]; f.Seen && o.Seen {
		r.equal(CheckDetail, 0, f.Value+o.Value, w.Output, "HPA is not HFN plus Offset")
	}
}

// checkUnmapped questions a claim that nothing is mapped. KVM marks MMIO with entries
// that are present and fault on a reserved bit, so for a host this is advice.
func (r *report) checkUnmapped() {
	u := r.walk.Unmapped
	if u == nil || !u.Entry.Seen || !r.walk.Format().Present(u.Entry.Value) || r.walk.Format().misconfigured(u.Entry.Value) {
		return
	}
	severity := Advice
	if r.walk.Kind.Guest() {
		severity = Wrong
	}
	r.add(Finding{Check: CheckPresent, Severity: severity, Level: u.Level, Line: u.Line, Text: "entry " + u.Entry.Value.String() + " counts as present, but the log says that nothing is mapped"})
}

// isFrameMask says that m covers the bits of a frame number up to one of the top bits: a
// kernel leaves out those that its processor does not have. Below, the course's patch
// counts from bit 12 whatever the page size.
func isFrameMask(m Hex, leaf int) bool {
	for _, low := range []Hex{1 << shift(1), 1 << shift(leaf)} {
		if top := m + low; m != 0 && m <= frameMask && m&(low-1) == 0 && top&(top-1) == 0 {
			return true
		}
	}
	return false
}

// vmalloc is where the area of vmalloc begins with 4 levels and no KASLR
// (Documentation/x86/x86_64/mm.rst); what lies there is not in the direct map.
const vmalloc = 0xffffc90000000000

func (r *report) advise() {
	w := r.walk
	if w.Kind == EPT && w.Format() == X86 {
		r.add(Finding{Check: CheckLabel, Severity: Advice, Line: w.First, Text: "the entries are those of AMD's NPT, whatever the heading says"})
	}
	const low30 = 1<<30 - 1
	if a, o := w.Address, w.Output; w.Kind.Guest() && a.Seen && o.Seen && a.Value < vmalloc && a.Value&low30 != o.Value&low30 {
		r.add(Finding{Check: CheckDirectMap, Severity: Advice, Line: o.Line, Expected: a.Value & low30, Got: o.Value & low30,
			Text: "GVA and GPA differ in the low 30 bits: for kmalloc'ed memory they agree"})
	}
	for _, s := range w.Steps {
		if s.Scale != 0 && s.Scale != 8 {
			r.add(Finding{Check: CheckScale, Severity: Advice, Level: s.Level, Line: s.Table.Line, Expected: 8, Got: Hex(s.Scale), Text: "size of an entry in bytes"})
			return
		}
	}
}

// CheckPair checks both walks of a pair, and that the host translated the very GPA in
// which the guest's walk ended and found the same number there.
func CheckPair(p Pair) Findings {
	return slices.Concat(CheckWalk(p.Guest), CheckWalk(p.Host), CheckJoint(p))
}

// CheckJoint checks only what the two walks of a pair have in common: the GPA, the
// number, and the guest's root, which is in CR3 at the hypercall. A kernel that isolates
// its page table from user mode has two roots; a hypercall comes from kernel mode, in
// which CR3 holds the one that a module walks.
func CheckJoint(p Pair) Findings {
	r := &report{walk: p.Host}
	if p.Guest.Output.Seen {
		r.equal(CheckLink, 0, p.Guest.Output.Value, p.Host.GPA(), "GPA is not the one in which the guest's walk ended")
	}
	r.checkValue(p.Guest.Value)
	if p.Host.CR3.Seen { // below the frame lies the PCID (SDM 3, 4.5.2)
		g := &report{walk: p.Guest}
		g.equal(CheckRoot, p.Guest.Levels, FrameOf(p.Host.CR3.Value), p.Guest.Root(), "the walk does not begin at the page table that CR3 names, as KVM saw it at the hypercall")
		return append(g.findings, r.findings...)
	}
	return r.findings
}

// checkValue compares the number at GVA with the host walk's. Where the log ends in the
// middle of one, that may be why they differ.
func (r *report) checkValue(guest Field) {
	host := r.walk.Value
	a, b := fmt.Sprintf("%d", guest.Value), fmt.Sprintf("%d", host.Value)
	switch {
	case !guest.Seen || !host.Seen || a == b:
	case guest.Torn && strings.HasPrefix(b, a), host.Torn && strings.HasPrefix(a, b):
		r.add(Finding{Check: CheckValue, Severity: Gap, Line: host.Line, Expected: guest.Value, Got: host.Value, Text: "the number is torn"})
	default:
		r.add(Finding{Check: CheckValue, Line: host.Line, Expected: guest.Value, Got: host.Value, Text: "value at HPA is not the value at GVA"})
	}
}

// CheckNonce checks that both walks of a pair show the number that was asked for.
func CheckNonce(p Pair, nonce uint64) Findings {
	var out Findings
	for _, w := range []Walk{p.Guest, p.Host} {
		r := &report{walk: w}
		r.equal(CheckValue, 0, Hex(nonce), w.Value, "value at "+w.end()+" is not the number of this run")
		if !w.Value.Seen {
			r.add(Finding{Check: CheckValue, Severity: Gap, Text: "the log shows no value"})
		}
		out = append(out, r.findings...)
	}
	return out
}

// CheckRoots compares the roots of several host walks of one VM. KVM may change the
// root at any time (a memory slot that moves is enough), so a difference is advice.
func CheckRoots(walks []Walk) Findings {
	var first Field
	r := &report{}
	for _, w := range walks {
		root := w.Root()
		if w.Kind.Guest() || !root.Seen {
			continue
		}
		if !first.Seen {
			first = root
		}
		if root.Value != first.Value {
			r.walk = w
			r.add(Finding{Check: CheckRoot, Severity: Advice, Line: root.Line, Expected: first.Value, Got: root.Value, Text: "root differs from that of the first host walk"})
		}
	}
	return r.findings
}
