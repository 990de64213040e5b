package class

import (
	"fmt"
	"os"
	"strings"
	"sync"
)

// Limits of what is kept of a worker's output: how it began, and how it ended,
// which is where a crash says why.
const (
	logHead = 256 << 10
	logTail = 64 << 10
)

// boundedLog is a file that takes any amount of output and keeps a bounded part:
// the beginning as it comes, the end when it is closed.
type boundedLog struct {
	mu      sync.Mutex
	file    *os.File
	written int64 // to the file
	total   int64
	tail    []byte // what came after the head, its last logTail bytes at least
}

func newLog(path string) (*boundedLog, error) {
	f, err := os.Create(path)
	return &boundedLog{file: f}, err
}

// Write never fails: a full disk must not stop the program that is logged.
func (l *boundedLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total += int64(len(p))
	head := p[:min(int64(len(p)), logHead-l.written)]
	_, _ = l.file.Write(head)
	l.written += int64(len(head))
	l.tail = append(l.tail, p[len(head):]...)
	if len(l.tail) > 2*logTail {
		l.tail = append(l.tail[:0], l.tail[len(l.tail)-logTail:]...)
	}
	return len(p), nil
}

// close writes the end down. A log with nothing in it is removed.
func (l *boundedLog) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	tail := l.tail[max(0, len(l.tail)-logTail):]
	if cut := l.total - l.written - int64(len(tail)); cut > 0 {
		fmt.Fprintf(l.file, "\n[... %d bytes left out ...]\n", cut)
	}
	_, _ = l.file.Write(tail)
	l.file.Close()
	if l.total == 0 {
		_ = os.Remove(l.file.Name())
	}
}

// lastLines are the last lines that are not empty, n at most, for a message.
func (l *boundedLog) lastLines(n int) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := l.tail
	if len(text) < logTail { // it may have begun in the head
		head, _ := os.ReadFile(l.file.Name())
		text = append(head, text...)
	}
	lines := strings.FieldsFunc(string(text[max(0, len(text)-4096):]), func(r rune) bool { return r == '\n' })
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
