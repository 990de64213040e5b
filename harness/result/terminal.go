package result

import (
	"fmt"
	"strings"
)

// sign is an outcome at a glance; it never stands without its word or its
// points.
func (v *Verdict) sign() string {
	switch {
	case v.ByHand():
		return "✎"
	case v.Outcome == Pass:
		return "✓"
	case v.Outcome == Fail:
		return "✗"
	case v.Outcome == NotGraded:
		return "–"
	}
	return "!"
}

// word is an outcome in a word.
func (v *Verdict) word() string {
	if v.ByHand() {
		return "by hand"
	}
	return string(v.Outcome)
}

// Text is a report for a terminal. All that a student controls is indented, so
// that no line of it can pass for one of ours.
func Text(r *Report) ([]byte, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n%s\n", r.heading(), indent(strings.TrimRight(r.preface(), "\n"), "  "))
	for _, lab := range r.ByLab() {
		fmt.Fprintf(&b, "\n%s: %s\n", lab.Lab.Title(), lab.points())
		for _, v := range lab.Verdicts {
			v.writeText(&b)
		}
	}
	return []byte(b.String()), nil
}

// heading names the submission.
func (r *Report) heading() string {
	s := r.who()
	if r.ID != "" {
		s += " (" + Line(r.ID) + ")"
	}
	if source := Line(r.Source); source != "" && source != r.who() {
		s += ", " + source
	}
	return s
}

// points says what a lab came to.
func (s *LabScore) points() string {
	if s.Lab == ByHand {
		return fmt.Sprintf("up to %s points by hand", Points(s.Max))
	}
	return fmt.Sprintf("%s of %s points", Points(s.Points), Points(s.Max))
}

func (v *Verdict) writeText(b *strings.Builder) {
	fmt.Fprintf(b, "  %s %-10s %9s  %-16s %s\n", v.sign(), v.word(), v.share(), v.local(), Line(v.Title))
	if v.Outcome == Pass && len(v.Warnings) == 0 && v.Points == v.Max {
		return
	}
	fmt.Fprintf(b, "%s\n", indent(v.paragraphs(), "      "))
}

// share is the verdict's points: "2.5 / 5".
func (v *Verdict) share() string {
	if v.ByHand() {
		return "/ " + Points(v.Max)
	}
	return Points(v.Points) + " / " + Points(v.Max)
}
