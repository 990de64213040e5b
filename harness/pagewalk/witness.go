package pagewalk

import (
	"context"
	"errors"
	"fmt"
)

// Read compares a printed number with the memory it is said to come from.
type Read struct {
	Name    string `json:"name"`            // level name, or "value"
	Level   int    `json:"level,omitempty"` // 0 for the value
	Address Hex    `json:"address"`         // physical
	Printed Hex    `json:"printed"`
	Memory  Hex    `json:"memory"`
	Mask    Hex    `json:"mask"` // bits that may differ: accessed and dirty
	OK      bool   `json:"ok"`
	Line    int    `json:"line,omitempty"`
}

// Witness is what memory says to a host walk.
type Witness struct {
	Reads    []Read   `json:"reads"`
	Findings Findings `json:"findings,omitempty"`
}

// WitnessHost reads every entry that a host walk shows, and the value at its HPA, from
// the memory of the machine that printed it. The error is a failure of mem; what
// memory contradicts is a finding.
func WitnessHost(ctx context.Context, mem PhysReader, w Walk) (Witness, error) {
	var out Witness
	r := &report{walk: w}
	for _, claim := range claims(w) {
		got, err := read(ctx, mem, claim.Address)
		if errors.Is(err, ErrNoMemory) {
			r.add(Finding{Check: CheckMemory, Level: claim.Level, Line: claim.Line, Text: "there is no memory at " + claim.Address.String()})
			continue
		}
		if err != nil {
			return out, fmt.Errorf("compare %s with memory: %w", claim.Name, err)
		}
		claim.Memory, claim.OK = got, (got^claim.Printed)&^claim.Mask == 0
		out.Reads = append(out.Reads, claim)
		r.compare(claim)
	}
	if len(out.Reads) == 0 && len(r.findings) == 0 {
		r.add(Finding{Check: CheckMemory, Severity: Gap, Text: "the log shows nothing that could be compared with memory"})
	}
	out.Findings = r.findings
	return out, nil
}

// compare adds a finding unless the read agrees with what was printed.
func (r *report) compare(got Read) {
	if !got.OK {
		text := "memory at " + got.Address.String() + " does not hold what the log shows"
		r.add(Finding{Check: CheckMemory, Level: got.Level, Line: got.Line, Expected: got.Memory, Got: got.Printed, Text: text})
	}
}

// claims lists what a host walk says about memory, from the top table down.
func claims(w Walk) []Read {
	var out []Read
	mask := w.Format().AccessedDirty()
	next := Field{}
	for _, s := range w.Steps {
		if s.Table.Seen && s.Entry.Seen {
			out = append(out, Read{Name: s.Name, Level: s.Level, Address: s.EntryAddress(), Printed: s.Entry.Value, Mask: mask, Line: s.Entry.Line})
		}
		next = Field{Value: FrameOf(s.Entry.Value), Seen: s.Entry.Seen && w.Unmapped != nil && s.Level == w.Unmapped.Level+1}
	}
	if u := w.Unmapped; u != nil && u.Entry.Seen && next.Seen && w.Address.Seen {
		at := next.Value + 8*Hex(IndexOf(w.Address.Value, u.Level))
		out = append(out, Read{Name: w.Name(u.Level), Level: u.Level, Address: at, Printed: u.Entry.Value, Mask: mask, Line: u.Line})
	}
	if w.Value.Seen && w.Output.Seen {
		out = append(out, Read{Name: "value", Address: w.Output.Value, Printed: w.Value.Value, Line: w.Value.Line})
	}
	return out
}
