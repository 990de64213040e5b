package shot

import (
	"bytes"
	"strings"
	"sync/atomic"
	"time"
)

// line is a line of the console without its end, and when its last byte came.
type line struct {
	text string
	at   time.Time
}

const (
	// maxLine is how much of a line is handled in one piece, in bytes.
	maxLine = 4096
	// lineQueue is how many lines wait while the VMM's memory is looked at. A VMM
	// whose console nobody reads stands still.
	lineQueue = 4096
)

// console takes the bytes of a guest's console as they come and makes lines of
// them. Lines must be read until the channel is closed.
type console struct {
	lines chan line
	ended chan struct{} // closed when the VMM's process has ended
	base  time.Time
	moved atomic.Int64 // time.Duration since base
	part  []byte       // of the line that is being printed
}

func newConsole() *console {
	return &console{lines: make(chan line, lineQueue), ended: make(chan struct{}), base: time.Now()}
}

// Write takes bytes that have just come.
func (c *console) Write(p []byte) (int, error) {
	now := time.Now()
	c.moved.Store(int64(now.Sub(c.base)))
	for rest := p; len(rest) > 0; {
		i := bytes.IndexByte(rest, '\n')
		end := i
		if i < 0 {
			end = len(rest)
		}
		c.part = append(c.part, rest[:end]...)
		if i < 0 && len(c.part) < maxLine {
			break
		}
		c.send(now)
		rest = rest[min(end+1, len(rest)):]
	}
	return len(p), nil
}

func (c *console) send(at time.Time) {
	c.lines <- line{strings.TrimRight(string(c.part), "\r"), at}
	c.part = c.part[:0]
}

// finish ends the console; a line without an end is one, too.
func (c *console) finish() {
	if len(c.part) > 0 {
		c.send(time.Now())
	}
	close(c.lines)
}

// lastMoved is when a byte last came.
func (c *console) lastMoved() time.Time { return c.base.Add(time.Duration(c.moved.Load())) }
