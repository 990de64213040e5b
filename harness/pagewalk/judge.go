package pagewalk

import (
	"fmt"
	mathbits "math/bits"
	"slices"
	"strings"
)

// Fault is why walks do not pass: what they show is wrong, or they lack what is needed
// to tell. It is an error with the parts of a message that compares.
type Fault struct {
	// Findings are those that count, in the order of the walk: the first names the first
	// wrong level. All are Wrong, or all are Gaps.
	Findings Findings
	// Unread are the lines of the log that are torn, where that may be why it lacks some.
	Unread []Note
}

// Cut says that nothing is wrong in the log, but lines are missing or torn.
func (f *Fault) Cut() bool { return f.Findings[0].Severity == Gap }

// shown is how many findings a message has, and how many torn lines.
const shown = 3

func (f *Fault) Error() string {
	var lines []string
	for _, finding := range f.Findings[:min(shown, len(f.Findings))] {
		lines = append(lines, finding.String()+finding.differing())
	}
	if more := len(f.Findings) - shown; more > 0 {
		lines = append(lines, fmt.Sprintf("and %d more like these", more))
	}
	if !f.Cut() {
		return strings.Join(lines, "\n")
	}
	for _, n := range f.Unread[:min(shown, len(f.Unread))] {
		lines = append(lines, n.String())
	}
	return "cut: " + strings.Join(lines, "\n") + "\nWhat is there is right, but a log has to be whole to be confirmed: save dmesg right after the run, all of it."
}

// Parts are what the first finding compares.
func (f *Fault) Parts() (expected, got, difference string) {
	first := f.Findings[0]
	expected, got = first.values()
	if expected == got {
		expected, got = "", ""
	}
	return expected, got, first.where() + ": " + first.Text + first.differing()
}

// differing tells which bits of an address or entry differ, as long as they are few.
func (f Finding) differing() string {
	d := uint64(f.Expected ^ f.Got)
	if n := mathbits.OnesCount64(d); n == 0 || n > shown {
		return ""
	}
	var at []string
	for ; d != 0; d &= d - 1 {
		at = append(at, fmt.Sprint(mathbits.TrailingZeros64(d)))
	}
	if len(at) == 1 {
		return " (they differ in bit " + at[0] + ")"
	}
	return " (they differ in bits " + strings.Join(at, ", ") + ")"
}

// Judge gives one error for the findings about a log: nil where nothing is wrong and
// nothing needed is missing, else a *Fault, which quotes the log's notes on torn lines
// where something is missing. Advice does not count.
func (fs Findings) Judge(notes []Note) error {
	if wrong := fs.With(Wrong); len(wrong) > 0 {
		return &Fault{Findings: wrong}
	}
	gaps := fs.With(Gap)
	if len(gaps) == 0 {
		return nil
	}
	var unread []Note
	for _, n := range notes {
		if n.Kind == NoteCut {
			unread = append(unread, n)
		}
	}
	return &Fault{Findings: gaps, Unread: unread}
}

// About returns the findings of some checks.
func (fs Findings) About(checks ...Check) Findings {
	return slices.DeleteFunc(slices.Clone(fs), func(f Finding) bool { return !slices.Contains(checks, f.Check) })
}

// Without returns the findings but those of some checks.
func (fs Findings) Without(checks ...Check) Findings {
	return slices.DeleteFunc(slices.Clone(fs), func(f Finding) bool { return slices.Contains(checks, f.Check) })
}
