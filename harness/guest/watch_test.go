package guest

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"virtlab/harness/guest/wire"
	"virtlab/harness/machine"
	"virtlab/harness/result"
	"virtlab/harness/vmm"
)

// nowhere is a machine on which nothing listens: the guest's monitor is silent.
type nowhere struct{ machine.Machine }

func (nowhere) Dial(context.Context, string) (net.Conn, error) {
	return nil, fmt.Errorf("nobody listens")
}

// buffered is an end of a net.Pipe whose writes do not wait for the reader: SSH
// begins with both sides writing.
type buffered struct {
	net.Conn
	out    chan []byte
	closed chan struct{}
	once   sync.Once
}

func newBuffered(c net.Conn) *buffered {
	b := &buffered{Conn: c, out: make(chan []byte, 64), closed: make(chan struct{})}
	go func() {
		for {
			select {
			case p := <-b.out:
				_, _ = c.Write(p)
			case <-b.closed:
				return
			}
		}
	}()
	return b
}

func (b *buffered) Write(p []byte) (int, error) {
	select {
	case b.out <- bytes.Clone(p):
		return len(p), nil
	case <-b.closed:
		return 0, net.ErrClosed
	}
}

func (b *buffered) Close() error {
	b.once.Do(func() { close(b.closed) })
	return b.Conn.Close()
}

// answering is a guest whose SSH server answers until silent is closed.
func answering(t *testing.T, cfg Config, silent <-chan struct{}) *Guest {
	t.Helper()
	a, b := net.Pipe()
	here, there := newBuffered(a), newBuffered(b)
	_, key, err := ed25519.GenerateKey(nil)
	require.NoError(t, err)
	signer, err := ssh.NewSignerFromKey(key)
	require.NoError(t, err)
	server := &ssh.ServerConfig{Config: wire.Algorithms(), NoClientAuth: true}
	server.AddHostKey(signer)
	go func() {
		_, chans, reqs, err := ssh.NewServerConn(there, server)
		if err != nil {
			return
		}
		for {
			select {
			case r := <-reqs:
				if r == nil {
					return
				}
				_ = r.Reply(false, nil)
			case <-chans:
			case <-silent:
				return // the pipe stays open: it hangs
			}
		}
	}()
	g := &Guest{name: cfg.Name, on: nowhere{}, driver: cfg.Driver, console: newConsole(nil), stall: cfg.stall(), exited: make(chan struct{}), hung: make(chan struct{})}
	g.wire = newLivelyConn(here)
	c, chans, reqs, err := ssh.NewClientConn(g.wire, cfg.Name, &ssh.ClientConfig{
		Config: wire.Algorithms(), User: "root", HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	require.NoError(t, err)
	g.ssh = ssh.NewClient(c, chans, reqs)
	t.Cleanup(func() {
		g.ssh.Close()
		there.Close()
	})
	return g
}

func TestWatchLeavesAGuestThatAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{Name: "L1", Driver: vmm.QEMU{}}
		g := answering(t, cfg, nil)
		go g.keepWatch(cfg)
		time.Sleep(time.Hour)
		select {
		case <-g.hung:
			t.Error("a guest that answers was taken for one that hangs")
		default:
		}
		assert.Less(t, g.silence(), time.Minute)
		close(g.exited)
	})
}

func TestWatchFindsAGuestThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := Config{Name: "L1", Driver: vmm.QEMU{}, Evidence: t.TempDir()}
		silent := make(chan struct{})
		g := answering(t, cfg, silent)
		go g.keepWatch(cfg)
		time.Sleep(10 * time.Minute)
		fmt.Fprintln(g.console, "the last words")
		close(silent)
		began := time.Now()

		_, err := machine.Run(t.Context(), g, "uname")

		assert.Equal(t, result.Guest, result.OwnerOf(err), "%v", err)
		assert.ErrorContains(t, err, "it hangs: nothing on the console and no answer for 1m0s;")
		assert.ErrorContains(t, err, "the last words")
		assert.InDelta(t, time.Minute, time.Since(began), float64(10*time.Second))
		registers, err := os.ReadFile(filepath.Join(cfg.Evidence, "L1.registers.txt"))
		require.NoError(t, err)
		assert.Contains(t, string(registers), "nobody listens")
	})
}
