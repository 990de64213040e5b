package pagewalk

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
)

// Best chooses, of the walks that logs tell of, the pair that does most for whoever wrote
// them: a guest walk and a host walk of its GPA, with the least that is wrong, then the
// least that is missing, the earlier of equals. Where no host walk begins at a guest
// walk's GPA they are chosen each for itself, and linked is false. A side without a walk
// is the zero Walk.
func Best(guests, hosts []Walk) (p Pair, linked bool) {
	g, h := rate(Merge(guests)), rate(Merge(hosts))
	var best *candidate
	for _, guest := range g {
		for _, host := range h {
			if gpa := host.GPA(); !guest.Output.Seen || !gpa.Seen || gpa.Value != guest.Output.Value {
				continue
			}
			joint := CheckJoint(Pair{guest.Walk, host.Walk})
			c := &candidate{Walk: guest.Walk, host: host.Walk, wrong: guest.wrong + host.wrong + len(joint.With(Wrong)), gaps: guest.gaps + host.gaps}
			if best == nil || c.compare(*best) < 0 {
				best = c
			}
		}
	}
	if best != nil {
		return Pair{best.Walk, best.host}, true
	}
	return Pair{first(g), first(h)}, false
}

// candidate is a walk, or two, with what counts against it.
type candidate struct {
	Walk
	host        Walk
	wrong, gaps int
}

func (c candidate) compare(d candidate) int {
	return cmp.Or(cmp.Compare(c.wrong, d.wrong), cmp.Compare(c.gaps, d.gaps))
}

// rate puts the best walk first. That an address is not mapped is less than a walk to its
// end.
func rate(walks []Walk) []candidate {
	var out []candidate
	for _, w := range walks {
		fs := CheckWalk(w)
		c := candidate{Walk: w, wrong: len(fs.With(Wrong)), gaps: len(fs.With(Gap))}
		if w.Unmapped != nil {
			c.gaps += w.Levels
		}
		out = append(out, c)
	}
	slices.SortStableFunc(out, candidate.compare)
	return out
}

func first(cs []candidate) Walk {
	if len(cs) == 0 {
		return Walk{}
	}
	return cs[0].Walk
}

// Fingerprint stands for what a walk translates to what, and hides it: the same for every
// copy of a walk, in whatever text. It is empty for a walk that lacks either end.
func (w Walk) Fingerprint() string {
	if !w.Address.Seen || !w.Output.Seen {
		return ""
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%t %v %v", w.Kind.Guest(), w.Address.Value, w.Output.Value))
	return hex.EncodeToString(sum[:8])
}

// published are the fingerprints of the two walks in the course's text (GiantVM/Book,
// chapter 3).
var published = []string{"4230818ef01a518e", "70c5dd11371dad83"}

// Published says that a walk is one of those in the course's own text, which everybody
// can copy.
func (w Walk) Published() bool { return slices.Contains(published, w.Fingerprint()) }
