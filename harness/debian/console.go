package debian

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"time"

	"virtlab/harness/guest"
)

// consoleKeep bounds what is remembered of a console, in bytes.
const consoleKeep = 256 << 10

// console takes what a guest prints and looks for its kernel's last words.
type console struct {
	mu      sync.Mutex
	text    []byte // the last consoleKeep bytes
	line    []byte // the line that is being printed
	fatal   []string
	moved   time.Time
	file    io.Writer // evidence; may be nil
	trouble chan struct{}
	once    sync.Once
}

func newConsole(file io.Writer) *console {
	return &console{file: file, moved: time.Now(), trouble: make(chan struct{})}
}

func (c *console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.moved = time.Now()
	if c.file != nil {
		_, _ = c.file.Write(p)
	}
	c.text = append(c.text, p...)
	c.text = c.text[max(0, len(c.text)-consoleKeep):]
	c.line = append(c.line, p...)
	for {
		line, rest, found := bytes.Cut(c.line, []byte("\n"))
		if !found {
			c.line = c.line[max(0, len(c.line)-4096):]
			return len(p), nil
		}
		c.see(strings.TrimRight(string(line), "\r"))
		c.line = rest
	}
}

// see keeps the first fatal line and some after it.
func (c *console) see(line string) {
	if len(c.fatal) == 0 && !guest.FatalLine(line) {
		return
	}
	if len(c.fatal) < 40 {
		c.fatal = append(c.fatal, line)
	}
	// An oops takes a while to print.
	c.once.Do(func() { time.AfterFunc(300*time.Millisecond, func() { close(c.trouble) }) })
}

// idle is how long nothing was printed.
func (c *console) idle() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Since(c.moved)
}

// last gives the kernel's last words, or else the last lines.
func (c *console) last() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.fatal) > 0 {
		return strings.Join(c.fatal, "\n")
	}
	lines := strings.Split(strings.TrimSpace(string(c.text)), "\n")
	return strings.Join(lines[max(0, len(lines)-8):], "\n")
}
