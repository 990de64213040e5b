package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"virtlab/harness/bench/stat"
)

// noiseSection is the A/A comparison, which comes before any other: what it
// shows is noise.
func (v view) noiseSection() section {
	s := section{ID: "noise", Title: "The noise: a VMM against itself"}
	pairs := stat.AA(v.Data)
	if len(pairs) == 0 {
		s.Text = []string{"Not measured: the plan has no A/A comparison, so nothing says how large a difference between equals is."}
		return s
	}
	s.Text = []string{"One VMM of each machine was measured as two. A difference between others that is no larger than what it shows against itself is not called one."}
	for _, p := range pairs {
		s.List = append(s.List, fmt.Sprintf("%s, on %s: %s", p.A, p.On, tally(p)))
		s.addTable(v.verdictTable(p))
	}
	return s
}

// verdictSections are one for each two VMMs of a machine.
func (v view) verdictSections() (all []section) {
	for _, p := range stat.Pairs(v.Data) {
		s := section{ID: pairName(p), Title: fmt.Sprintf("Verdicts: %s and %s, on %s", p.A, p.B, p.On)}
		if p.Label != "" {
			s.Text = []string{"All numbers: " + p.Label + "."}
		}
		s.Text = append(s.Text, tally(p))
		for _, verdict := range p.Verdicts {
			if verdict.Kind == stat.ABetter || verdict.Kind == stat.BBetter {
				s.List = append(s.List, fmt.Sprintf("%s: %s.", subject(verdict.Question), verdict))
			}
		}
		s.addFigure(pairFigure(p))
		s.addTable(v.verdictTable(p))
		all = append(all, s)
	}
	return all
}

// tally counts a pair's verdicts.
func tally(p stat.Pair) string {
	count := map[stat.Kind]int{}
	for _, v := range p.Verdicts {
		count[v.Kind]++
	}
	var parts []string
	for _, k := range []struct {
		kind stat.Kind
		what string
	}{
		{stat.ABetter, p.A + " is better in %d"}, {stat.BBetter, p.B + " is better in %d"},
		{stat.Equal, "%d equal"}, {stat.Within, "%d within the noise"}, {stat.Open, "%d not distinguishable"},
		{stat.TooFew, "%d with too few runs"}, {stat.NotMeasured, "%d not measured on one side"},
	} {
		if n := count[k.kind]; n > 0 {
			parts = append(parts, fmt.Sprintf(k.what, n))
		}
	}
	return fmt.Sprintf("Of %s: %s.", plural(strconv.Itoa(len(p.Verdicts)), "comparison"), strings.Join(parts, ", "))
}

// plural is a number of things: "1 thread", "4 threads".
func plural(n, what string) string {
	if n != "1" {
		what += "s"
	}
	return n + " " + what
}

// verdictTable has everything that a verdict was made from.
func (v view) verdictTable(p stat.Pair) *table {
	t := &table{
		Title: v.titled(fmt.Sprintf("All verdicts: %s and %s", p.A, p.B), p.On), Folded: true, Numbers: 4,
		Head: []string{"metric", "verdict", p.A, p.B, "p", "effect"},
	}
	for _, d := range p.Verdicts {
		u := unitOf(d.Metric.Unit, max(d.A.Median, d.B.Median))
		t.add(subject(d.Question), d.String(), median(d.A, u), median(d.B, u), adjusted(d), effect(d))
	}
	t.Notes = []string{
		"p: after Holm's correction over the comparisons of the table that could show something. " +
			"Effect: Cliff's delta, from -1 (every value of the first is below every one of the second) to 1.",
	}
	if p.Label != "" {
		t.Notes = append(t.Notes, "All numbers: "+p.Label+".")
	}
	return t
}

func median(s stat.Summary, u unit) string {
	if s.N == 0 {
		return "not measured"
	}
	value := s.Median * u.Factor
	return strings.TrimSpace(fixed(value, decimals(value)) + " " + u.Name)
}

func adjusted(d stat.Verdict) string {
	switch {
	case d.Kind == stat.NotMeasured || d.Kind == stat.TooFew:
		return ""
	case d.Adjusted < 0.0001:
		return "<0.0001"
	case d.Adjusted >= 0.995:
		return "1"
	}
	return fmt.Sprintf("%.2g", d.Adjusted)
}

func effect(d stat.Verdict) string {
	if d.Kind == stat.NotMeasured || math.IsNaN(d.Delta) {
		return ""
	}
	return fmt.Sprintf("%+.2f", d.Delta)
}

// pairFigure shows a pair's verdicts that have a ratio; nil without any.
func pairFigure(p stat.Pair) *figure {
	f := forest{A: p.A, B: p.B}
	for _, verdict := range p.Verdicts {
		if row, ok := forestRowOf(verdict); ok {
			f.Rows = append(f.Rows, row)
		}
	}
	if len(f.Rows) == 0 {
		return nil
	}
	caption := "How many times better one of the two is: 1 is equal. Lines are 95 % intervals, cut at the picture's edge; without a line there are too few runs for one."
	title := fmt.Sprintf("%s against %s, on %s", p.A, p.B, p.On)
	if p.Label != "" {
		title += " (" + p.Label + ")"
	}
	return &figure{pairName(p), title, caption, f.height(), f.draw}
}

// pairName is the name of what belongs to a pair: "verdicts-host-qemu-pc-gokvm".
func pairName(p stat.Pair) string {
	return strings.ToLower(fmt.Sprintf("verdicts-%s-%s-%s", p.On, p.A, p.B))
}
