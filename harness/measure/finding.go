package measure

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Severity says what a finding means for a verdict.
type Severity string

// The severities, the worst first.
const (
	Wrong       Severity = "wrong"       // it contradicts itself, the task or what is stated
	Implausible Severity = "implausible" // it can hardly be, which is no proof
	Advice      Severity = "advice"      // worth knowing
)

// Finding is one result of a check, or one thing that could not be read.
type Finding struct {
	Severity Severity
	Pos      Pos
	Row      string // what the row measures; empty where it is about none
	Expected string // empty where nothing is compared
	Got      string
	Text     string // what is wrong, why, and what to do
}

// String is the finding in one line: where, which row, and what.
func (f Finding) String() string {
	var parts []string
	for _, p := range []string{f.Pos.String(), f.Row, f.Text} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	return strings.Join(parts, ": ")
}

// maxProblems are kept of what could not be read: a file of garbage has one on
// each line.
const maxProblems = 50

// problem notes what could not be read.
func (t *Table) problem(pos Pos, format string, args ...any) {
	if len(t.Problems) == maxProblems {
		t.dropped++
		return
	}
	t.Problems = append(t.Problems, Finding{Severity: Wrong, Pos: pos, Text: fmt.Sprintf(format, args...)})
}

// maxNotes are kept of what was not used.
const maxNotes = 20

// note keeps a remark, once.
func (t *Table) note(format string, args ...any) {
	s := fmt.Sprintf(format, args...)
	for _, n := range t.Notes {
		if n == s {
			return
		}
	}
	if len(t.Notes) < maxNotes {
		t.Notes = append(t.Notes, s)
	}
}

// maxQuote is how much of a file's text a message repeats, in characters.
const maxQuote = 40

// quote is text of a file in a message: one line, not long, nothing that a
// terminal or a spreadsheet would obey.
func quote(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return '\uFFFD'
		}
		return r
	}, strings.TrimSpace(s))
	if utf8.RuneCountInString(s) > maxQuote {
		s = string([]rune(s)[:maxQuote]) + "..."
	}
	return `"` + s + `"`
}
