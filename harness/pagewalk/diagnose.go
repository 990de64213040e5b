package pagewalk

// Cause names why a log is as it is where that is not the fault of who wrote the code.
type Cause string

// FiveLevelPaging is the cause where a walker made for 4 levels met 5: with LA57
// (QEMU's -cpu max has it) the kernel's top table is one level further up, so the
// walker takes bits 47:39 for an index into the table of bits 56:48.
const FiveLevelPaging Cause = "5-level paging"

// Diagnosis blames the environment, which must be set right before anything is graded.
type Diagnosis struct {
	Cause Cause `json:"cause"`
	Walk  Kind  `json:"walk"`
	// Certain is false where the same log could come from broken code.
	Certain bool   `json:"certain"`
	Line    int    `json:"line,omitempty"`
	Reason  string `json:"reason"`
	Cure    string `json:"cure"`
}

const cureLA57 = "boot the guests without LA57, e.g. -cpu max,la57=off, or use a walker that knows P4D"

// Diagnose looks for causes outside the code that printed the pair; a field of the
// pair may be the zero Walk.
func Diagnose(p Pair) []Diagnosis {
	var out []Diagnosis
	guest, ok := diagnoseGuest(p.Guest)
	if ok {
		out = append(out, guest)
	}
	if host, ok := diagnoseHost(p.Host); ok {
		// A guest has LA57 only if the machine around it has, and then KVM's NPT has
		// 5 levels there too.
		if guest.Certain {
			host.Certain = true
		}
		out = append(out, host)
	}
	return out
}

// diagnoseGuest knows a 4-level walk of a 5-level table by its address. The direct map
// of a kernel with 4 levels lies in the upper half, so bit 47 is set; with 5 levels
// bit 47 is any. GVA and GPA that agree in 30 bits are of the direct map.
func diagnoseGuest(w Walk) (Diagnosis, bool) {
	if w.Kind != GPT || w.Levels != 4 || !w.Address.Seen || !w.Output.Seen || arrives(w) {
		return Diagnosis{}, false
	}
	const low30, bit47 = 1<<30 - 1, 1 << 47
	direct := (w.Address.Value^w.Output.Value)&low30 == 0
	d := Diagnosis{Cause: FiveLevelPaging, Walk: w.Kind, Line: w.Address.Line, Cure: cureLA57}
	switch {
	case direct && w.Address.Value&bit47 == 0:
		d.Certain = true
		d.Reason = "an address of the kernel's direct map has bit 47 clear, which 4-level paging does not allow, and the 4-level walk does not reach its GPA"
	case direct && len(w.Steps) == 0:
		d.Reason = "a mapped kernel address has no entry in the top table of a 4-level walk"
	default:
		return Diagnosis{}, false
	}
	return d, true
}

// arrives says that a walk has entries and that its leaf yields its output.
func arrives(w Walk) bool {
	s, ok := w.Step(w.Leaf)
	if w.Leaf > 1 && !ok { // the course's module prints no large leaf
		return len(w.Steps) > 0
	}
	return ok && s.Entry.Seen && PageOf(s.Entry.Value, w.Leaf)+w.Address.Value&offsetMask(w.Leaf) == w.Output.Value
}

// diagnoseHost knows it by a walk that ends in silence below a present entry: the
// table of one level was indexed with the address bits of the next lower one.
func diagnoseHost(w Walk) (Diagnosis, bool) {
	n := len(w.Steps)
	if w.Kind.Guest() || w.Levels != 4 || n == 0 || w.Leaf != 0 || w.Unmapped != nil || w.Output.Seen {
		return Diagnosis{}, false
	}
	last := w.Steps[n-1]
	if !last.Entry.Seen || last.Level == 1 || !w.Format().Present(last.Entry.Value) || last.Entry.Value&bitLarge != 0 {
		return Diagnosis{}, false
	}
	return Diagnosis{Cause: FiveLevelPaging, Walk: w.Kind, Line: last.Entry.Line, Cure: cureLA57,
		Reason: "the walk stops without a word below a present " + last.Name + " entry, as a 4-level walk of 5 levels does (or the log is cut there)"}, true
}
