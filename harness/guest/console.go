package guest

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strings"
	"sync"
	"time"
)

// Console takes what a guest prints on its serial console. It is for diagnosis
// only: it looks for the kernel's last words and keeps the text within bounds.
type Console struct {
	mu      sync.Mutex
	head    []byte // first consoleKeep bytes
	tail    []byte // last consoleKeep bytes after those
	dropped int64
	file    io.Writer // evidence; may be nil
	written int64
	moved   time.Time
	line    []byte   // the line being printed
	cut     bool     // line is not the beginning of its line
	fatal   []string // from the first fatal line on

	trouble chan struct{} // closed soon after the first fatal line
	once    sync.Once
}

const (
	consoleKeep = 512 << 10
	// fileLimit bounds the evidence of a guest that floods its console.
	fileLimit = 16 << 20
	// fatalLines is how much of an oops is worth showing.
	fatalLines = 40
	// settle is how long the console is read on after the first fatal line:
	// an oops takes a while to print.
	settle = 300 * time.Millisecond
)

// fatal lines of Linux: kernel/panic.c, arch/x86/kernel/dumpstack.c,
// mm/oom_kill.c, kernel/watchdog.c. A line is only what the kernel prints
// itself, so the text may follow nothing but a time stamp.
var fatal = regexp.MustCompile(`^(?:<\d>)?(?:\[ *\d+\.\d+\](?:\[ *[TC]\d+\])? )?(?:` + strings.Join([]string{
	`Kernel panic - not syncing`, `Oops: `, `BUG: `, `kernel BUG at `, `general protection fault`, `double fault`,
	// die(): "divide error: 0000 [#1] PREEMPT SMP".
	`[\w -]+: [0-9a-f]{4} \[#\d+\]`, `Out of memory: Killed process`, `Out of memory and no killable processes`,
	`watchdog: BUG: soft lockup`, `virtlab: error: `,
}, "|") + `)`)

// FatalLine tells whether a line of a console holds the kernel's last words: a
// panic, an oops, out of memory, or that PID 1 gave up.
func FatalLine(line string) bool { return fatal.MatchString(line) }

func newConsole(file io.Writer) *Console {
	return &Console{file: file, moved: time.Now(), trouble: make(chan struct{})}
}

func (c *Console) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.moved = time.Now()
	c.keep(p)
	c.scan(p)
	return len(p), nil
}

func (c *Console) keep(p []byte) {
	if c.file != nil && c.written < fileLimit {
		n := min(int64(len(p)), fileLimit-c.written)
		_, _ = c.file.Write(p[:n])
		if c.written += n; c.written == fileLimit {
			fmt.Fprintf(c.file, "\n[virtlab: the console went on past %d MiB]\n", fileLimit>>20)
		}
	}
	n := min(len(p), consoleKeep-len(c.head))
	c.head = append(c.head, p[:n]...)
	c.tail = append(c.tail, p[n:]...)
	if over := len(c.tail) - consoleKeep; over > consoleKeep {
		c.dropped += int64(over)
		c.tail = append([]byte(nil), c.tail[over:]...)
	}
}

// maxLine is how much of a line is looked at in one piece, in bytes.
const maxLine = 4096

// scan looks at whole lines; a line that never ends is looked at in pieces.
func (c *Console) scan(p []byte) {
	for len(p) > 0 {
		i := bytes.IndexByte(p, '\n')
		n := len(p)
		if i >= 0 {
			n = i
		}
		c.line = append(c.line, p[:n]...)
		if i < 0 && len(c.line) < maxLine {
			return
		}
		c.see(strings.TrimRight(string(c.line), "\r"))
		c.line, c.cut = c.line[:0], i < 0
		p = p[min(n+1, len(p)):]
	}
}

func (c *Console) see(line string) {
	if len(c.fatal) == 0 && (c.cut || !FatalLine(line)) {
		return
	}
	if len(c.fatal) < fatalLines {
		c.fatal = append(c.fatal, line)
	}
	c.once.Do(func() { time.AfterFunc(settle, func() { close(c.trouble) }) })
}

// Text is what was printed; the middle of a very long text is left out.
func (c *Console) Text() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := string(c.head)
	if c.dropped > 0 {
		s += fmt.Sprintf("\n[virtlab: %d bytes left out]\n", c.dropped)
	}
	return s + string(c.tail)
}

// Trouble is the kernel's last words: the first fatal line and what followed,
// or nothing.
func (c *Console) Trouble() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return append([]string(nil), c.fatal...)
}

// lastMoved is when the guest last printed anything.
func (c *Console) lastMoved() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.moved
}

// last gives the last n lines.
func (c *Console) last(n int) string {
	lines := strings.Split(strings.TrimSpace(c.Text()), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
