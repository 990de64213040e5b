package shot

import (
	"strings"
	"sync"
)

// What is kept of a VMM's words for people, in lines.
const (
	consoleTail = 40
	stderrTail  = 20
)

// tail keeps the last lines of a text. It is a Writer for a stream, or takes
// whole lines.
type tail struct {
	mu    sync.Mutex
	keep  int
	lines []string
	part  string
}

func newTail(keep int) *tail { return &tail{keep: keep} }

// Write takes a piece of a stream.
func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.part += string(p)
	for {
		before, after, found := strings.Cut(t.part, "\n")
		if !found {
			break
		}
		t.push(before)
		t.part = after
	}
	if len(t.part) >= maxLine {
		t.push(t.part)
		t.part = ""
	}
	return len(p), nil
}

// add takes a line.
func (t *tail) add(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.push(text)
}

func (t *tail) push(text string) {
	text = strings.TrimRight(text, "\r")
	if text == "" {
		return
	}
	t.lines = append(t.lines, text)
	t.lines = t.lines[max(0, len(t.lines)-t.keep):]
}

// text gives the lines, each behind prefix.
func (t *tail) text(prefix string) (out []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range t.lines {
		out = append(out, prefix+l)
	}
	if t.part != "" {
		out = append(out, prefix+t.part)
	}
	return out
}

// lastLine is the last of the lines, or nothing.
func (t *tail) lastLine() string {
	lines := t.text("")
	if len(lines) == 0 {
		return ""
	}
	return lines[len(lines)-1]
}
