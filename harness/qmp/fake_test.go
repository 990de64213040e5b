package qmp

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const greeting = `{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": "Debian"}, "capabilities": ["oob"]}}` + "\r\n"

// received is a command as the fake VMM got it.
type received struct {
	Execute   string          `json:"execute"`
	Arguments json.RawMessage `json:"arguments"`
	ID        json.RawMessage `json:"id"`
}

// fakeVMM is the other end of a monitor connection. It answers commands with
// the scripts given for them, in the reader's goroutine.
type fakeVMM struct {
	t       *testing.T
	conn    net.Conn
	scripts map[string]func(v *fakeVMM, cmd received)

	mu  sync.Mutex
	got []received
}

// send writes text as it is. The client may be gone by then.
func (v *fakeVMM) send(format string, args ...any) {
	_, _ = fmt.Fprintf(v.conn, format, args...)
}

// reply answers cmd with a "return".
func (v *fakeVMM) reply(cmd received, value string) {
	v.send(`{"return": %s, "id": %s}`+"\r\n", value, cmd.ID)
}

// seen is the list of the commands received.
func (v *fakeVMM) seen() []received {
	v.mu.Lock()
	defer v.mu.Unlock()
	return append([]received(nil), v.got...)
}

// serve greets, then answers until the connection ends.
func (v *fakeVMM) serve() {
	defer v.conn.Close()
	v.send(greeting)
	dec := json.NewDecoder(v.conn)
	for {
		var cmd received
		if dec.Decode(&cmd) != nil {
			return
		}
		v.mu.Lock()
		v.got = append(v.got, cmd)
		v.mu.Unlock()
		if script := v.scripts[cmd.Execute]; script != nil {
			script(v, cmd)
		} else {
			v.reply(cmd, "{}")
		}
	}
}

type scripts map[string]func(v *fakeVMM, cmd received)

// transports are the connections that each test runs over: net.Pipe blocks a
// writer until the other end reads, a unix socket buffers.
var transports = map[string]func(t *testing.T) (client, server net.Conn){
	"pipe": func(*testing.T) (net.Conn, net.Conn) { return net.Pipe() },
	"unix": unixPair,
}

func unixPair(t *testing.T) (net.Conn, net.Conn) {
	path := filepath.Join(t.TempDir(), "q")
	listener, err := net.Listen("unix", path)
	require.NoError(t, err)
	defer listener.Close()
	client, err := Unix(path)(t.Context())
	require.NoError(t, err)
	server, err := listener.Accept()
	require.NoError(t, err)
	return client, server
}

// monitorTest is a test of m, which is not connected yet, against v.
type monitorTest func(t *testing.T, ctx context.Context, m *Monitor, v *fakeVMM)

// overEach runs test over each transport.
func overEach(t *testing.T, opts Options, s scripts, test monitorTest) {
	for name, pair := range transports {
		t.Run(name, func(t *testing.T) {
			client, server := pair(t)
			over(t, client, server, opts, s, test)
		})
	}
}

// overUnix runs test over a unix socket only, for it is long.
func overUnix(t *testing.T, opts Options, s scripts, test monitorTest) {
	client, server := unixPair(t)
	over(t, client, server, opts, s, test)
}

// over runs test with a fake VMM that serves on server.
func over(t *testing.T, client, server net.Conn, opts Options, s scripts, test monitorTest) {
	v := &fakeVMM{t: t, conn: server, scripts: s}
	ended := make(chan struct{})
	go func() { defer close(ended); v.serve() }()
	m, err := NewConn(client, opts)
	require.NoError(t, err)
	t.Cleanup(func() {
		require.NoError(t, m.Disconnect())
		client.Close()
		<-ended
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	test(t, ctx, m, v)
}

// overEachConnected is overEach with a connected Monitor.
func overEachConnected(t *testing.T, s scripts, test monitorTest) {
	overEach(t, Options{}, s, func(t *testing.T, ctx context.Context, m *Monitor, v *fakeVMM) {
		require.NoError(t, m.ConnectContext(ctx))
		test(t, ctx, m, v)
	})
}

// silentConn is a monitor that takes everything and says nothing.
func silentConn(t *testing.T) net.Conn {
	client, server := net.Pipe()
	go func() { _, _ = io.Copy(io.Discard, server) }()
	t.Cleanup(func() { server.Close() })
	return client
}
