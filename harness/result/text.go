package result

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// visible makes text that a student may control fit to be shown: what a
// terminal, a browser or a parser would act on instead of showing it stands
// there as a sign of its own. Line feeds and tabs remain.
//
//	control characters    ESC as ␛, NUL as ␀, CR as ␍ (Unicode's control pictures)
//	what has no picture   [U+202E]: C1 controls, bidirectional overrides, zero width, unassigned
//	bytes that are no UTF-8   \xff
func visible(s string) string {
	if isPlain(s) {
		return s
	}
	var b strings.Builder
	b.Grow(len(s))
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && size == 1 {
			fmt.Fprintf(&b, `\x%02x`, s[0])
		} else {
			b.WriteString(visibleRune(r))
		}
		s = s[size:]
	}
	return b.String()
}

// isPlain says whether there is nothing to make visible, which is the rule.
func isPlain(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < ' ' && c != '\n' && c != '\t') || c >= 0x7f {
			return false
		}
	}
	return true
}

func visibleRune(r rune) string {
	switch {
	case r == '\n' || r == '\t':
		return string(r)
	case r < ' ':
		return string('␀' + r)
	case r == 0x7f:
		return "␡"
	case invisible(r):
		return fmt.Sprintf("[U+%04X]", r)
	}
	return string(r)
}

// invisible says whether r shows nothing by itself but may change how other
// characters are shown. Spaces are no such: Chinese text has one of its own.
func invisible(r rune) bool {
	return r != '\n' && r != '\t' && !unicode.IsPrint(r) && !unicode.Is(unicode.Zs, r)
}

// Line makes text that a student may control fit for one line of output, such as
// a name: visible, and nothing in it begins a line.
func Line(s string) string {
	return strings.NewReplacer("\n", "␊", "\t", "␉").Replace(visible(s))
}

// clip shortens text to at most max bytes and says what it left out. What
// matters is at the beginning of a message and at the end of a log, so both stay.
func clip(s string, max int) string {
	if len(s) <= max {
		return s
	}
	head, tail := cutBefore(s, max*3/4), s[cutAfter(s, len(s)-max/4):]
	return fmt.Sprintf("%s\n[... %d bytes left out ...]\n%s", s[:head], len(s)-head-len(tail), tail)
}

// cutBefore is the last place at or before at where s can be cut without
// tearing a character; in what is no UTF-8 it is at.
func cutBefore(s string, at int) int {
	for i := at; i >= 0 && i > at-utf8.UTFMax; i-- {
		if !inside(s, i) {
			return i
		}
	}
	return at
}

// cutAfter is the first such place at or after at.
func cutAfter(s string, at int) int {
	for i := at; i < at+utf8.UTFMax; i++ {
		if !inside(s, i) {
			return i
		}
	}
	return at
}

// inside says whether at is within a character.
func inside(s string, at int) bool { return at < len(s) && !utf8.RuneStart(s[at]) }

// shown is visible text of at most about max bytes; making text visible can
// make it longer.
func shown(s string, max int) string { return clip(visible(clip(s, max)), 2*max) }

// indent puts prefix before each line.
func indent(s, prefix string) string {
	return prefix + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n"+prefix)
}

// hang indents all lines but the first, which follows a label.
func hang(s string) string { return strings.TrimSpace(indent(s, "    ")) }

// Most that is shown of one text, in bytes. A log of any length is evidence, a
// file beside the report.
const (
	shownBytes = 16 << 10 // of a message
	briefBytes = 2 << 10  // where many stand together
	shownItems = 20       // of a list
)

// show is text as it is shown alone, brief as it is shown among others.
func show(s string) string          { return shown(s, shownBytes) }
func brief(s string) string         { return shown(s, briefBytes) }
func briefs(list []string) []string { return few(list, brief) }

// paragraphs is all that a verdict says, for formats that have one field for
// it: made visible, and of a length that a person reads.
func (v *Verdict) paragraphs() string {
	var b strings.Builder
	add := func(label, s string) {
		if s != "" {
			fmt.Fprintf(&b, "%s%s\n", label, strings.TrimRight(s, "\n"))
		}
	}
	add("", v.state())
	add("", show(v.Message))
	for _, part := range v.parts() {
		add(part.label+":\n", indent(brief(part.text), "    "))
	}
	for _, w := range v.warnings() {
		add("warning: ", hang(w))
	}
	add("explained in: ", Line(v.Page))
	if v.Outcome != Pass && !v.ByHand() {
		add("again: ", Line(v.Replay))
	}
	return b.String()
}

// warnings are the warnings, fit to be shown.
func (v *Verdict) warnings() []string {
	return briefs(v.Warnings)
}

// few shows the first items of a list and says how many there are more.
func few(list []string, show func(string) string) []string {
	var out []string
	for i, s := range list {
		if i == shownItems {
			return append(out, fmt.Sprintf("... and %d more", len(list)-i))
		}
		out = append(out, show(s))
	}
	return out
}

type part struct{ label, text string }

// parts are those parts of the comparison that the message does not quote.
func (v *Verdict) parts() (parts []part) {
	for _, p := range []part{{"expected", v.Expected}, {"got", v.Got}, {"first difference", v.Difference}} {
		if p.text != "" && !strings.Contains(v.Message, p.text) {
			parts = append(parts, p)
		}
	}
	return parts
}

// state says what an outcome means where its name alone does not.
func (v *Verdict) state() string {
	switch {
	case v.ByHand():
		return fmt.Sprintf("By hand: a person reads this and gives up to %s points.", Points(v.Max))
	case v.Outcome == NotGraded:
		return "Not graded."
	case v.Outcome == Broken:
		return "Error of the grader, not of the submission: this check has to be repeated."
	case v.Outcome == Pass && v.Points < v.Max:
		return fmt.Sprintf("Passed for part of the points: %s of %s.", Points(v.Points), Points(v.Max))
	}
	return ""
}
