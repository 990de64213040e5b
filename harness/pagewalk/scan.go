package pagewalk

import (
	"regexp"
	"strings"
)

// segment is a piece of console text that one kernel message can have: at most one
// physical line, and split again where another kernel's timestamp cuts into it.
type segment struct {
	line    int    // of the text, from 1
	source  string // prefix of the line such as "L2"
	text    string
	stamped bool // a timestamp came before it
	cut     bool // a timestamp ended it
	unended bool // the text ends in it, without a line end
}

var (
	reStamp  = regexp.MustCompile(`\[ *\d{1,9}\.\d{6}\](?: ?\[ *[TC]\d+\])?`)
	reSource = regexp.MustCompile(`^\s*(L\d)\s+`)
	rePrintk = regexp.MustCompile(`^\s*<\d{1,3}>`)
)

// segments cuts a text into the pieces that messages are made of. Carriage returns
// end a piece: on a console that two kernels share they stand in mid-line.
func segments(text string) []segment {
	var out []segment
	for i, line := range strings.Split(text, "\n") {
		for part := range strings.SplitSeq(line, "\r") {
			out = append(out, splitLine(i+1, part)...)
		}
	}
	if n := len(out); n > 0 && !strings.HasSuffix(text, "\n") && !strings.HasSuffix(text, "\r") {
		out[n-1].unended = true
	}
	return out
}

// splitLine cuts one line at its timestamps, which it drops with the printk level
// and the source prefix.
func splitLine(no int, line string) []segment {
	source := ""
	if m := reSource.FindStringSubmatch(line); m != nil {
		rest := rePrintk.ReplaceAllString(line[len(m[0]):], "")
		if at := reStamp.FindStringIndex(rest); at == nil || at[0] == 0 {
			source, line = m[1], rest
		}
	}
	line = rePrintk.ReplaceAllString(line, "")
	var out []segment
	start, stamped := 0, false
	for _, at := range reStamp.FindAllStringIndex(line, -1) {
		out = appendText(out, segment{line: no, source: source, text: line[start:at[0]], stamped: stamped, cut: true})
		start, stamped = at[1], true
	}
	return appendText(out, segment{line: no, source: source, text: line[start:], stamped: stamped})
}

func appendText(out []segment, s segment) []segment {
	if strings.TrimSpace(s.text) == "" {
		return out
	}
	return append(out, s)
}
