package main

import (
	"regexp"
	"slices"
	"strings"
)

// maxLines is how much of a message the closing report quotes.
const maxLines = 6

// message is the first lines of why t ended as it did: what did not compile,
// its panic, its failed assertion, or the last thing it logged.
func (s *stream) message(t *testRun) string {
	lines := s.builds[t.failedBuild]
	if len(lines) == 0 {
		lines = excerpt(t.output)
	}
	if len(lines) == 0 && t.end == "" {
		return "it never ended, and said nothing"
	}
	text := strings.TrimRight(strings.ReplaceAll(strings.Join(lines, ""), "\t", "  "), "\n")
	lines = dedent(strings.Split(text, "\n"))
	if len(lines) > maxLines {
		lines = append(lines[:maxLines], "...")
	}
	return strings.Join(lines, "\n")
}

// logged begins a message of t.Log, t.Error or t.Skip.
var logged = regexp.MustCompile(`^\s*[^\s:]+\.go:\d+: `)

// excerpt picks the lines that matter from a test's output.
func excerpt(output []string) []string {
	if i := slices.IndexFunc(output, isPanic); i >= 0 {
		return output[i:]
	}
	if lines := assertion(output); lines != nil {
		return lines
	}
	for i := len(output) - 1; i >= 0; i-- {
		if logged.MatchString(output[i]) {
			return output[i:]
		}
	}
	return output
}

func isPanic(line string) bool { return strings.HasPrefix(line, "panic: ") }

// label begins a section of a failed assertion of testify.
var label = regexp.MustCompile(`^(\s+)(Error Trace|Error|Test|Messages):(\s+)`)

// assertion is testify's first failed assertion: the caller's message, which
// says what was checked, and then what was found.
func assertion(output []string) []string {
	sections := map[string][]string{}
	current := ""
	for _, line := range output {
		switch m := label.FindStringSubmatch(line); {
		case m != nil && len(sections[m[2]]) > 0:
			return slices.Concat(sections["Messages"], sections["Error"]) // the second one begins
		case m != nil:
			current = m[2]
			line = strings.Replace(line, current+":", strings.Repeat(" ", len(current)+1), 1)
		case logged.MatchString(line):
			current = ""
		}
		if strings.HasPrefix(strings.TrimSpace(line), "Diff:") {
			current = "" // repeats what was expected and what came
		}
		if current != "" && strings.TrimSpace(line) != "" {
			sections[current] = append(sections[current], line)
		}
	}
	return slices.Concat(sections["Messages"], sections["Error"])
}

// dedent removes the white space that all lines begin with, and what is at
// their ends.
func dedent(lines []string) []string {
	margin := -1
	for i, l := range lines {
		lines[i] = strings.TrimRight(l, " \r")
		if indent := len(l) - len(strings.TrimLeft(l, " ")); lines[i] != "" && (margin < 0 || indent < margin) {
			margin = indent
		}
	}
	for i, l := range lines {
		lines[i] = l[min(max(margin, 0), len(l)):]
	}
	return lines
}
