package shot

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// said gives the lines that a console makes of pieces.
func said(pieces ...string) (out []string) {
	c := newConsole()
	go func() {
		for _, p := range pieces {
			_, _ = c.Write([]byte(p))
		}
		c.finish()
	}()
	for l := range c.lines {
		out = append(out, l.text)
	}
	return out
}

func TestConsoleMakesLines(t *testing.T) {
	assert.Equal(t, []string{"one", "two", "", "three"}, said("o", "ne\r\ntw", "o\n\n", "three"))
	assert.Empty(t, said())
	long := strings.Repeat("x", maxLine)
	assert.Equal(t, []string{long, "y"}, said(long, "y\n"), "a line without an end is handled in pieces")
}

func TestConsoleStampsTheLastByte(t *testing.T) {
	c := newConsole()
	_, _ = c.Write([]byte("begun"))
	begun := c.lastMoved()
	time.Sleep(20 * time.Millisecond)
	_, _ = c.Write([]byte(" and ended\n"))
	l := <-c.lines
	assert.Equal(t, "begun and ended", l.text)
	assert.GreaterOrEqual(t, l.at.Sub(begun), 20*time.Millisecond)
}

func FuzzConsole(f *testing.F) {
	f.Add("a\r\nb", "c\n")
	f.Fuzz(func(t *testing.T, a, b string) {
		whole := strings.Join(said(a+b), "|")
		if len(a+b) < maxLine {
			assert.Equal(t, whole, strings.Join(said(a, b), "|"), "where the pieces end does not matter")
		}
	})
}

func TestTail(t *testing.T) {
	tl := newTail(3)
	_, _ = tl.Write([]byte("1\n2\r\n\n3\n4"))
	assert.Equal(t, []string{"> 1", "> 2", "> 3", "> 4"}, tl.text("> "), "the last line has no end yet")
	_, _ = tl.Write([]byte("\n"))
	assert.Equal(t, []string{"2", "3", "4"}, tl.text(""))
	assert.Equal(t, "4", tl.lastLine())
	assert.Empty(t, newTail(1).lastLine())
}
