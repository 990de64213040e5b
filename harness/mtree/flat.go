package mtree

import (
	"fmt"
	"math/big"
	"regexp"
	"strconv"
	"strings"
)

// FlatView is one view of the output of "info mtree -f": the ranges that
// answer, sorted by address, with nothing overlapping.
type FlatView struct {
	Number        int         `json:"number"`
	AddressSpaces []FlatSpace `json:"addressSpaces"` // that share the view
	Root          string      `json:"root"`          // region's name, "(none)" if there is none
	Ranges        []Range     `json:"ranges"`
}

// FlatSpace is an address space that uses a FlatView.
type FlatSpace struct {
	Name  string `json:"name"`
	Root  string `json:"root"`
	Alias string `json:"alias,omitempty"` // what the root is an alias of
}

// Range is a part of a FlatView that one region answers.
type Range struct {
	Start       uint64   `json:"start"` // first address
	End         uint64   `json:"end"`   // last address, inclusive
	Priority    int      `json:"priority"`
	Kind        Kind     `json:"kind"` // ROM also for memory that is mapped read-only
	Name        string   `json:"name"`
	Offset      uint64   `json:"offset"` // of Start in the region
	Nonvolatile bool     `json:"nonvolatile,omitempty"`
	Owner       string   `json:"owner,omitempty"`
	Accel       []string `json:"accel,omitempty"` // accelerators that know the range: "KVM"
}

// Size is the number of bytes of the range, up to 2^64.
func (r Range) Size() *big.Int { return spanSize(r.Start, r.End) }

const noView = "  No rendered FlatView"

var (
	viewLine  = regexp.MustCompile(`^FlatView #([0-9]+)$`)
	spaceLine = regexp.MustCompile(`^ AS "(.*)", root: (.*?)(?:, alias (.*))?$`)
	rootLine  = regexp.MustCompile(`^ Root memory region: (.*)$`)
	rangeLine = regexp.MustCompile(`^  ([0-9a-f]{16})-([0-9a-f]{16}) \(prio (-?[0-9]+), (nv-)?([a-z/]+)\): ` +
		`(.*?)(?: @([0-9a-f]{16}))?` + ownerPattern + `((?: (?:KVM|HVF|WHPX|NVMM|MSHV))*)$`)
)

// ParseFlat reads the output of "info mtree -f". Line ends may be LF or CRLF.
func ParseFlat(text string) ([]FlatView, error) {
	var views []FlatView
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSuffix(line, "\r")
		if line == "" || line == noView {
			continue
		}
		if m := viewLine.FindStringSubmatch(line); m != nil {
			number, err := strconv.Atoi(m[1])
			if err != nil {
				return nil, lineError(i+1, line, "no number")
			}
			views = append(views, FlatView{Number: number})
			continue
		}
		if len(views) == 0 {
			return nil, lineError(i+1, line, "text outside of a FlatView")
		}
		if why := views[len(views)-1].line(line); why != "" {
			return nil, lineError(i+1, line, why)
		}
	}
	if len(views) == 0 {
		return nil, fmt.Errorf("mtree: no FlatView in %d bytes of text: is it the output of info mtree -f?", len(text))
	}
	return views, nil
}

// line takes one line of the view and says what is wrong with it, or "".
func (v *FlatView) line(line string) string {
	if m := spaceLine.FindStringSubmatch(line); m != nil {
		v.AddressSpaces = append(v.AddressSpaces, FlatSpace{Name: m[1], Root: m[2], Alias: m[3]})
		return ""
	}
	if m := rootLine.FindStringSubmatch(line); m != nil {
		v.Root = m[1]
		return ""
	}
	m := rangeLine.FindStringSubmatch(line)
	if m == nil {
		return "not a range of a flat view"
	}
	priority, err := strconv.ParseInt(m[3], 10, 32)
	if err != nil {
		return "the priority is no 32-bit number"
	}
	r := Range{
		Start: hex(m[1]), End: hex(m[2]), Priority: int(priority), Nonvolatile: m[4] != "",
		Kind: Kind(m[5]), Name: m[6], Offset: hex(m[7]), Owner: m[8], Accel: strings.Fields(m[9]),
	}
	if r.End < r.Start {
		return "the range ends before it starts"
	}
	if n := len(v.Ranges); n > 0 && r.Start <= v.Ranges[n-1].End {
		return "the range overlaps the one before"
	}
	v.Ranges = append(v.Ranges, r)
	return ""
}

// At returns the range that answers at addr, or nil.
func (v *FlatView) At(addr uint64) *Range {
	for i := range v.Ranges {
		if r := &v.Ranges[i]; r.Start <= addr && addr <= r.End {
			return r
		}
	}
	return nil
}

// ViewOf returns the view of the named address space, or nil.
func ViewOf(views []FlatView, space string) *FlatView {
	for i := range views {
		for _, s := range views[i].AddressSpaces {
			if s.Name == space {
				return &views[i]
			}
		}
	}
	return nil
}

// String prints the view as QEMU does, with the blank line that ends it.
func (v FlatView) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "FlatView #%d\n", v.Number)
	for _, s := range v.AddressSpaces {
		fmt.Fprintf(&b, " AS %s, root: %s", `"`+s.Name+`"`, s.Root)
		if s.Alias != "" {
			b.WriteString(", alias " + s.Alias)
		}
		b.WriteByte('\n')
	}
	fmt.Fprintf(&b, " Root memory region: %s\n", v.Root)
	if len(v.Ranges) == 0 {
		b.WriteString(noView + "\n")
	}
	for _, r := range v.Ranges {
		b.WriteString(indent + r.String() + "\n")
	}
	b.WriteByte('\n')
	return b.String()
}

// String is the range's line as QEMU prints it, without indentation.
func (r Range) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%016x-%016x (prio %d, %s%s): %s", r.Start, r.End, r.Priority, volatility(r.Nonvolatile), r.Kind, r.Name)
	if r.Offset != 0 {
		fmt.Fprintf(&b, " @%016x", r.Offset)
	}
	for _, s := range append([]string{r.Owner}, r.Accel...) {
		if s != "" {
			b.WriteString(" " + s)
		}
	}
	return b.String()
}
