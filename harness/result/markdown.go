package result

import (
	"fmt"
	"strings"
)

// Markdown is a report for a student, in GitHub's Markdown. All that a student
// controls stands in code, where nothing is rendered, linked or notified.
func Markdown(r *Report) ([]byte, error) {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n%s\n\n", code(r.heading()), fenced(r.preface()))
	b.WriteString("| | check | points | outcome |\n|---|---|---:|---|\n")
	for _, lab := range r.ByLab() {
		fmt.Fprintf(&b, "| | **%s** | **%s** | |\n", lab.Lab.Title(), strings.TrimSuffix(lab.points(), " points"))
		for _, v := range lab.Verdicts {
			fmt.Fprintf(&b, "| %s | `%s` %s | %s | %s |\n", v.sign(), v.ID, v.Title, v.share(), v.word())
		}
	}
	for _, lab := range r.ByLab() {
		for _, v := range lab.Verdicts {
			if v.Outcome != Pass || len(v.Warnings) > 0 || v.Points < v.Max {
				fmt.Fprintf(&b, "\n### `%s` %s\n\n%s\n", v.ID, v.Title, fenced(v.paragraphs()))
			}
		}
	}
	return []byte(b.String()), nil
}

// code is text as a code span. Its fence is longer than any run of backticks
// in the text, so that the text cannot end it (CommonMark 0.31, 6.1).
func code(s string) string {
	s = Line(s)
	fence := strings.Repeat("`", longestRun(s, '`')+1)
	return fence + " " + s + " " + fence
}

// fenced is text as a code block, fenced in the same manner (CommonMark 4.5).
func fenced(s string) string {
	fence := strings.Repeat("`", max(3, longestRun(s, '`')+1))
	return fence + "text\n" + strings.TrimRight(s, "\n") + "\n" + fence
}

// longestRun is the length of the longest run of c in s.
func longestRun(s string, c byte) (longest int) {
	run := 0
	for i := range len(s) {
		if s[i] != c {
			run = 0
			continue
		}
		run++
		longest = max(longest, run)
	}
	return longest
}
