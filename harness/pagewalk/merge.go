package pagewalk

import (
	"cmp"
	"fmt"
	"slices"
)

// Merge puts walks together that tell of the same translation: copies, such as a
// console's messages and the dmesg output that repeats them, and fragments that each
// lack what the other has. Walks belong together when they translate the same
// address, agree in all they both show, and have at least one entry, output or value
// in common. The result keeps the order of the first fragments.
func Merge(walks []Walk) []Walk {
	var out []Walk
next:
	for _, w := range walks {
		for i := range out {
			if sameTranslation(out[i], w) {
				out[i] = join(out[i], w)
				continue next
			}
		}
		out = append(out, w)
	}
	return out
}

func sameTranslation(a, b Walk) bool {
	if a.Kind != b.Kind || a.Levels != b.Levels || !a.Address.Seen || a.Address.Value != b.Address.Value {
		return false
	}
	common := 0
	for _, s := range a.Steps {
		t, ok := b.Step(s.Level)
		if ok && (!agree(&common, s.Entry, t.Entry) || !agree(new(int), s.Table, t.Table)) {
			return false
		}
	}
	leaves := a.Leaf == b.Leaf || a.Leaf == 0 || b.Leaf == 0
	mapped := (a.Unmapped == nil) == (b.Unmapped == nil)
	return leaves && mapped && agree(new(int), a.Asked, b.Asked) && agree(new(int), a.CR3, b.CR3) && agree(&common, a.Output, b.Output) && agree(&common, a.Value, b.Value) && common > 0
}

// agree says that two fields do not contradict each other and counts the equal ones.
func agree(common *int, a, b Field) bool {
	if !a.Seen || !b.Seen {
		return true
	}
	*common++
	return a.Value == b.Value
}

// join adds to a what only b has.
func join(a, b Walk) Walk {
	a.Notes = slices.DeleteFunc(slices.Clone(a.Notes), func(n Note) bool { return n.Kind == NoteMissing })
	a.Notes = append(a.Notes, Note{Kind: NoteMerged, Line: b.First,
		Text: fmt.Sprintf("lines %d to %d tell of the same translation as lines %d to %d", b.First, b.Last, a.First, a.Last)})
	a.Steps = joinSteps(a.Steps, b.Steps)
	a.Address, a.Output, a.Value = either(a.Address, b.Address), either(a.Output, b.Output), either(a.Value, b.Value)
	a.Asked, a.CR3 = either(a.Asked, b.Asked), either(a.CR3, b.CR3)
	a.Leaf, a.Unread = cmp.Or(a.Leaf, b.Leaf), cmp.Or(a.Unread, b.Unread)
	a.LeafLine = cmp.Or(a.LeafLine, b.LeafLine)
	if len(a.Indices) < len(b.Indices) {
		a.Indices = b.Indices
	}
	if len(a.Details) < len(b.Details) {
		a.Details = b.Details
	}
	a.Notes = append(a.Notes, a.missing()...)
	return a
}

func joinSteps(a, b []Step) []Step {
	out := slices.Clone(a)
	for _, t := range b {
		i := slices.IndexFunc(out, func(s Step) bool { return s.Level == t.Level })
		if i < 0 {
			out = append(out, t)
			continue
		}
		out[i] = joinStep(out[i], t)
	}
	slices.SortStableFunc(out, func(s, t Step) int { return cmp.Compare(t.Level, s.Level) })
	return out
}

func joinStep(s, t Step) Step {
	if !s.Entry.Seen && t.Entry.Seen {
		s.Entry, s.Index = t.Entry, t.Index
	}
	if !s.Table.Seen && t.Table.Seen {
		s.Table, s.TableIndex, s.Scale = t.Table, t.TableIndex, t.Scale
	}
	return s
}

func either(a, b Field) Field {
	if a.Seen {
		return a
	}
	return b
}

// Pair is a guest walk and the host walk of the address in which it ended.
type Pair struct {
	Guest Walk `json:"guest"`
	Host  Walk `json:"host"`
}

// Pairs merges the walks of one or several logs and returns each guest walk with the
// host walk of its GPA: of several, the one that shows the same value, or the first.
// A guest walk without GPA, or whose GPA no host walk has, is left out.
func Pairs(logs ...Log) []Pair {
	var guests, hosts []Walk
	for _, l := range logs {
		guests, hosts = append(guests, l.Guests()...), append(hosts, l.Hosts()...)
	}
	hosts = Merge(hosts)
	var out []Pair
	for _, g := range Merge(guests) {
		if h, ok := hostOf(g, hosts); ok {
			out = append(out, Pair{g, h})
		}
	}
	return out
}

func hostOf(g Walk, hosts []Walk) (Walk, bool) {
	continued := func(h Walk) bool {
		gpa := h.GPA()
		return g.Output.Seen && gpa.Seen && gpa.Value == g.Output.Value
	}
	i := slices.IndexFunc(hosts, func(h Walk) bool { return continued(h) && h.Value.Seen && h.Value.Value == g.Value.Value })
	if i < 0 {
		i = slices.IndexFunc(hosts, continued)
	}
	if i < 0 {
		return Walk{}, false
	}
	return hosts[i], true
}
