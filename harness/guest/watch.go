package guest

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"virtlab/harness/result"
)

// livelyConn remembers when the guest was last heard.
type livelyConn struct {
	net.Conn
	heard atomic.Int64 // time.Duration since began
	began time.Time
}

func newLivelyConn(c net.Conn) *livelyConn { return &livelyConn{Conn: c, began: time.Now()} }

func (c *livelyConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		c.heard.Store(int64(time.Since(c.began)))
	}
	return n, err
}

func (c *livelyConn) lastHeard() time.Time { return c.began.Add(time.Duration(c.heard.Load())) }

// silence is how long the guest has neither printed nor answered anything.
func (g *Guest) silence() time.Duration {
	return min(time.Since(g.wire.lastHeard()), time.Since(g.console.lastMoved()))
}

// keepWatch finds a guest that hangs after its boot. One that is silent is asked
// for a sign of life; where none comes, the CPUs' registers are kept and the
// connection is closed, so that whatever waits for the guest ends, and says why.
func (g *Guest) keepWatch(cfg Config) {
	tick := time.NewTicker(g.stall / 12)
	defer tick.Stop()
	answered := make(chan struct{}, 1)
	asking := false // one question at a time
	for {
		select {
		case <-g.exited:
			return
		case <-answered:
			asking = false
			continue
		case <-tick.C:
		}
		switch silent := g.silence(); {
		case silent > g.stall:
			g.keepRegisters(cfg)
			close(g.hung)
			_ = g.ssh.Close()
			return
		case silent > g.stall/6 && !asking:
			asking = true
			go func() {
				// Any answer is a sign of life; "unknown request" is the usual one.
				_, _, _ = g.ssh.SendRequest("keepalive@virtlab", true, nil)
				answered <- struct{}{}
			}()
		}
	}
}

// hangs is the error of a guest that stands still. It says the limit, not how
// late a busy machine noticed: the same submission gets the same words.
func (g *Guest) hangs() error {
	return result.Errorf(result.Guest, "it hangs: nothing on the console and no answer for %s; the last lines were:\n%s",
		g.stall, g.console.last(10))
}

// keepRegisters writes the CPUs' registers to the evidence: they show where a
// guest hangs. A guest in a guest may hang because the one around it does, so
// those are kept as well.
func (g *Guest) keepRegisters(cfg Config) {
	if cfg.Evidence == "" {
		return
	}
	for at := g; at != nil; at, _ = at.on.(*Guest) {
		file := filepath.Join(cfg.Evidence, at.name+".registers.txt")
		_ = os.WriteFile(file, []byte(at.registers()), 0o644)
	}
}

// registers is what the monitor says of the CPUs, several times: whether they
// move can be seen as well.
func (g *Guest) registers() string {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	m, err := g.Monitor(ctx)
	if err != nil {
		return fmt.Sprintln("the monitor does not answer:", err)
	}
	var all strings.Builder
	for range 5 {
		for _, what := range []string{"info status", "info registers -a", "info lapic", "info pic"} {
			text, err := m.HMP(ctx, what)
			fmt.Fprintf(&all, "== %s %v\n%s\n", what, err, text)
		}
	}
	return all.String()
}
