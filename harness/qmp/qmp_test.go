package qmp

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	gqmp "github.com/digitalocean/go-qemu/qmp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestConnectReadsVersionAndNegotiates(t *testing.T) {
	overEachConnected(t, nil, func(t *testing.T, _ context.Context, m *Monitor, v *fakeVMM) {
		assert.Equal(t, "7.2.22", m.Version().String())
		assert.Equal(t, "Debian", m.Version().Package)
		require.Len(t, v.seen(), 1)
		assert.Equal(t, "qmp_capabilities", v.seen()[0].Execute)
		assert.JSONEq(t, `"virtlab-1"`, string(v.seen()[0].ID), "StratoVirt takes string ids only")
		assert.ErrorContains(t, m.Connect(), "connected already")
	})
}

func TestExecutePassesArgumentsAndResult(t *testing.T) {
	s := scripts{"query-status": func(v *fakeVMM, cmd received) {
		v.reply(cmd, `{"running": true, "singlestep": false, "status": "running"}`)
	}}
	overEachConnected(t, s, func(t *testing.T, ctx context.Context, m *Monitor, v *fakeVMM) {
		status, err := m.Status(ctx)
		require.NoError(t, err)
		assert.Equal(t, Status{Running: true, Status: "running"}, status)

		require.NoError(t, m.Execute(ctx, "migrate", map[string]string{"uri": "exec:cat > F"}, nil))
		assert.JSONEq(t, `{"uri": "exec:cat > F"}`, string(v.seen()[2].Arguments))

		require.NoError(t, m.Stop(ctx))
		require.NoError(t, m.Cont(ctx))
		assert.Equal(t, "stop", v.seen()[3].Execute)
		assert.Equal(t, "cont", v.seen()[4].Execute)

		var number int
		assert.ErrorContains(t, m.Execute(ctx, "query-status", nil, &number), "expected form")
	})
}

func TestRunReturnsTheWholeReplyUnderTheCallersID(t *testing.T) {
	s := scripts{"query-name": func(v *fakeVMM, cmd received) { v.reply(cmd, `{"name": "x"}`) }}
	overEachConnected(t, s, func(t *testing.T, _ context.Context, m *Monitor, _ *fakeVMM) {
		out, err := m.Run([]byte(`{"execute": "query-name", "id": 7}`))
		require.NoError(t, err)
		assert.JSONEq(t, `{"return": {"name": "x"}, "id": 7}`, string(out))

		command, err := json.Marshal(gqmp.Command{Execute: "query-name"})
		require.NoError(t, err)
		out, err = m.Run(command)
		require.NoError(t, err)
		assert.JSONEq(t, `{"return": {"name": "x"}}`, string(out))

		_, err = m.Run([]byte(`query-name`))
		assert.ErrorContains(t, err, "not a JSON object")
		_, err = m.Run([]byte(`{"arguments": {}}`))
		assert.ErrorContains(t, err, `no "execute"`)
	})
}

func TestReplyOfOneMegabyteSurvivesWhatFollows(t *testing.T) {
	big := strings.Repeat("0123456789abcdef", 1<<16) // 1 MiB
	s := scripts{"big": func(v *fakeVMM, cmd received) {
		v.reply(cmd, `"`+big+`"`)
		for range 100 { // would land in a shared buffer
			v.send(`{"event": "NOISE", "data": {"x": "%s"}, "timestamp": {"seconds": 1, "microseconds": 2}}`, strings.Repeat("x", 4096))
		}
	}}
	overEachConnected(t, s, func(t *testing.T, ctx context.Context, m *Monitor, _ *fakeVMM) {
		reply, err := m.RunContext(ctx, []byte(`{"execute": "big"}`))
		require.NoError(t, err)
		require.NoError(t, m.Stop(ctx), "the next command is not poisoned")
		assert.Equal(t, `{"return":"`+big+`"}`, string(reply))

		var out string
		require.NoError(t, m.Execute(ctx, "big", nil, &out))
		assert.Equal(t, big, out)
	})
}

func TestReplyBeyondTheLimitEndsTheConnection(t *testing.T) {
	answer := func(size int) func(*fakeVMM, received) {
		return func(v *fakeVMM, cmd received) { v.reply(cmd, `"`+strings.Repeat("x", size)+`"`) }
	}
	s := scripts{"big": answer(1 << 20), "fair": answer(1 << 15)}
	overEach(t, Options{MaxReply: 1 << 16}, s, func(t *testing.T, ctx context.Context, m *Monitor, _ *fakeVMM) {
		require.NoError(t, m.ConnectContext(ctx))
		for range 10 { // the limit is for one message, not for the connection
			require.NoError(t, m.Execute(ctx, "fair", nil, nil))
		}
		require.ErrorIs(t, m.Execute(ctx, "big", nil, nil), ErrReplyTooLong)
		require.ErrorIs(t, m.Stop(ctx), ErrReplyTooLong)
	})
}

func TestErrorReplyIsTyped(t *testing.T) {
	tests := []struct{ name, body, text string }{
		{"QEMU", `{"class": "CommandNotFound", "desc": "The command x has not been found"}`,
			"qmp: x: the VMM refused: CommandNotFound: The command x has not been found"},
		{"StratoVirt leaves desc empty", `{"class": "GenericError", "desc": ""}`,
			"qmp: x: the VMM refused: GenericError: no description given"},
		{"nothing at all", `{}`, "qmp: x: the VMM refused: error of no class: no description given"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := scripts{"x": func(v *fakeVMM, cmd received) { v.send(`{"error": %s, "id": %s}`, test.body, cmd.ID) }}
			overEachConnected(t, s, func(t *testing.T, ctx context.Context, m *Monitor, _ *fakeVMM) {
				err := m.Execute(ctx, "x", nil, nil)
				var refused *Error
				require.ErrorAs(t, err, &refused)
				assert.Equal(t, "x", refused.Command)
				assert.EqualError(t, err, test.text)
				_, err = m.Run([]byte(`{"execute": "x"}`))
				require.ErrorAs(t, err, &refused)
				require.NoError(t, m.Stop(ctx), "the connection stays usable")
			})
		})
	}
}

func TestReplyWithoutIDGoesToTheOldestCommand(t *testing.T) {
	s := scripts{"x": func(v *fakeVMM, cmd received) {
		v.send(`{"return": {}, "id": 12}{"return": {}, "id": "foreign"}{"error": {"class": "GenericError", "desc": "JSON parse error"}}`)
	}}
	overEachConnected(t, s, func(t *testing.T, ctx context.Context, m *Monitor, _ *fakeVMM) {
		require.ErrorContains(t, m.Execute(ctx, "x", nil, nil), "JSON parse error")
		require.NoError(t, m.Stop(ctx))
	})
}

func TestRepliesOutOfOrder(t *testing.T) {
	var first received
	s := scripts{
		"slow": func(_ *fakeVMM, cmd received) { first = cmd },
		"fast": func(v *fakeVMM, cmd received) { v.reply(cmd, `"fast"`); v.reply(first, `"slow"`) },
	}
	overEachConnected(t, s, func(t *testing.T, ctx context.Context, m *Monitor, v *fakeVMM) {
		answers := make(map[string]string)
		var slow string
		done := make(chan error, 1)
		go func() { done <- m.Execute(ctx, "slow", nil, &slow) }()
		require.Eventually(t, func() bool { return len(v.seen()) == 2 }, 5*time.Second, time.Millisecond)
		var fast string
		require.NoError(t, m.Execute(ctx, "fast", nil, &fast))
		require.NoError(t, <-done)
		answers["slow"], answers["fast"] = slow, fast
		assert.Equal(t, map[string]string{"slow": "slow", "fast": "fast"}, answers)
	})
}

func TestCancelledContextLeavesTheConnectionUsable(t *testing.T) {
	var late received
	s := scripts{
		"hang": func(_ *fakeVMM, cmd received) { late = cmd },
		"next": func(v *fakeVMM, cmd received) { v.reply(late, `"late"`); v.reply(cmd, `"mine"`) },
	}
	overEachConnected(t, s, func(t *testing.T, ctx context.Context, m *Monitor, v *fakeVMM) {
		panicked := errors.New("the guest panicked")
		short, cancel := context.WithCancelCause(ctx)
		go func() {
			for len(v.seen()) < 2 {
				time.Sleep(time.Millisecond)
			}
			cancel(panicked)
		}()
		err := m.Execute(short, "hang", nil, nil)
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, panicked)
		require.ErrorContains(t, err, "qmp: hang: no reply")

		var out string
		require.NoError(t, m.Execute(ctx, "next", nil, &out))
		assert.Equal(t, "mine", out)
	})
}

func TestRunEndsByTheTimeout(t *testing.T) {
	s := scripts{"hang": func(*fakeVMM, received) {}}
	overEach(t, Options{Timeout: 50 * time.Millisecond}, s, func(t *testing.T, ctx context.Context, m *Monitor, _ *fakeVMM) {
		require.NoError(t, m.ConnectContext(ctx))
		_, err := m.Run([]byte(`{"execute": "hang"}`))
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

func TestVMMThatDoesNotReadBlocksNobodyForever(t *testing.T) {
	client, server := net.Pipe() // each write waits for a reader
	defer server.Close()
	m, err := NewConn(client, Options{Timeout: 50 * time.Millisecond})
	require.NoError(t, err)
	go func() { _, _ = io.WriteString(server, greeting) }()
	require.ErrorIs(t, m.Connect(), context.DeadlineExceeded)
}

func TestDeadVMMMidReplyEndsEveryCall(t *testing.T) {
	s := scripts{"die": func(v *fakeVMM, cmd received) {
		v.send(`{"return": {"half": "of a`)
		v.conn.Close()
	}, "hang": func(*fakeVMM, received) {}}
	overEachConnected(t, s, func(t *testing.T, ctx context.Context, m *Monitor, v *fakeVMM) {
		events, err := m.Events(ctx)
		require.NoError(t, err)
		var wg sync.WaitGroup
		for range 5 {
			wg.Go(func() {
				err := m.Execute(ctx, "hang", nil, nil)
				assert.ErrorIs(t, err, io.EOF)
				assert.ErrorContains(t, err, "the VMM closed its monitor")
			})
		}
		require.Eventually(t, func() bool { return len(v.seen()) == 6 }, 5*time.Second, time.Millisecond)
		err = m.Execute(ctx, "die", nil, nil)
		require.ErrorIs(t, err, io.EOF)
		require.EqualError(t, err, "qmp: die: the VMM closed its monitor: EOF in the middle of a message")
		wg.Wait()

		_, open := <-events
		assert.False(t, open, "event channels close")
		<-m.Done()
		require.ErrorIs(t, m.Stop(ctx), ErrVMMClosed)
		_, err = m.Events(ctx)
		require.ErrorIs(t, err, ErrVMMClosed)
	})
}

func TestQuitTakesTheEndForAnAnswer(t *testing.T) {
	s := scripts{"quit": func(v *fakeVMM, _ received) { v.conn.Close() }}
	overEachConnected(t, s, func(t *testing.T, ctx context.Context, m *Monitor, _ *fakeVMM) {
		require.NoError(t, m.Quit(ctx))
		<-m.Done()
	})
}

func TestDisconnectEndsWaitingCalls(t *testing.T) {
	s := scripts{"hang": func(*fakeVMM, received) {}}
	overEachConnected(t, s, func(t *testing.T, ctx context.Context, m *Monitor, v *fakeVMM) {
		done := make(chan error, 1)
		go func() { done <- m.Execute(ctx, "hang", nil, nil) }()
		require.Eventually(t, func() bool { return len(v.seen()) == 2 }, 5*time.Second, time.Millisecond)
		require.NoError(t, m.Disconnect())
		require.ErrorIs(t, <-done, net.ErrClosed)
		require.NoError(t, m.Disconnect())
		require.ErrorContains(t, m.Stop(ctx), "not connected")
		<-m.Done()
		require.ErrorContains(t, m.Connect(), "used up")
	})
}

func TestReconnect(t *testing.T) {
	dial := func(context.Context) (net.Conn, error) {
		client, server := net.Pipe()
		go (&fakeVMM{t: t, conn: server}).serve()
		return client, nil
	}
	m, err := New(dial, Options{})
	require.NoError(t, err)
	for range 3 {
		require.NoError(t, m.Connect())
		events, err := m.Events(t.Context())
		require.NoError(t, err)
		require.NoError(t, m.Stop(t.Context()))
		require.NoError(t, m.Disconnect())
		_, open := <-events
		require.False(t, open)
	}
}

func TestConnectFailures(t *testing.T) {
	short := Options{Timeout: 50 * time.Millisecond}
	connect := func(t *testing.T, dial Dialer) error {
		m, err := New(dial, short)
		require.NoError(t, err)
		return m.Connect()
	}
	t.Run("nobody there", func(t *testing.T) {
		err := connect(t, Unix(t.TempDir()+"/none"))
		require.ErrorIs(t, err, os.ErrNotExist)
		require.ErrorContains(t, err, "cannot reach the monitor")
	})
	t.Run("no greeting", func(t *testing.T) {
		err := connect(t, Once(silentConn(t)))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorContains(t, err, "is another connected?")
	})
	t.Run("human monitor", func(t *testing.T) {
		client, server := net.Pipe()
		go func() {
			_, _ = io.WriteString(server, "QEMU 7.2.22 monitor - type 'help' for more information\r\n(qemu) ")
		}()
		require.ErrorContains(t, connect(t, Once(client)), "is this a human monitor?")
	})
	t.Run("closed at once", func(t *testing.T) {
		client, server := net.Pipe()
		server.Close()
		require.ErrorIs(t, connect(t, Once(client)), ErrVMMClosed)
	})
	t.Run("not an object", func(t *testing.T) {
		client, server := net.Pipe()
		go func() { _, _ = io.WriteString(server, "[1, 2]") }()
		require.ErrorContains(t, connect(t, Once(client)), "not QMP")
	})
}

func TestOptionsAreValidated(t *testing.T) {
	for _, bad := range []Options{{MaxCommand: -1}, {MaxReply: -1}, {EventQueue: -1}, {Timeout: -1}} {
		_, err := New(nil, bad)
		require.ErrorContains(t, err, "negative")
	}
}

func TestStratoVirtGetsOneCommandAtATime(t *testing.T) {
	var mu sync.Mutex
	outstanding, most := 0, 0
	s := scripts{"x": func(v *fakeVMM, cmd received) {
		mu.Lock()
		outstanding++
		most = max(most, outstanding)
		mu.Unlock()
		go func() { // keeps reading, so that a pipelined command would be seen
			time.Sleep(5 * time.Millisecond)
			mu.Lock()
			outstanding--
			mu.Unlock()
			v.reply(cmd, "{}")
		}()
	}}
	overEach(t, StratoVirt(), s, func(t *testing.T, ctx context.Context, m *Monitor, v *fakeVMM) {
		require.NoError(t, m.ConnectContext(ctx))
		cancelled, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		var wg sync.WaitGroup
		for i := range 10 {
			wg.Go(func() {
				if i%2 == 0 {
					_ = m.Execute(cancelled, "x", nil, nil)
				} else {
					assert.NoError(t, m.Execute(ctx, "x", nil, nil))
				}
			})
		}
		wg.Wait()
		mu.Lock()
		defer mu.Unlock()
		assert.Equal(t, 1, most)
	})
}

func TestCommandTooLongForStratoVirt(t *testing.T) {
	overEach(t, StratoVirt(), nil, func(t *testing.T, ctx context.Context, m *Monitor, v *fakeVMM) {
		require.NoError(t, m.ConnectContext(ctx))
		err := m.Execute(ctx, "x", strings.Repeat("a", 8192), nil)
		require.ErrorContains(t, err, "takes at most 8192")
		require.Len(t, v.seen(), 1, "nothing was sent")
		require.NoError(t, m.Stop(ctx))
	})
}

// writes counts the writes and their ends.
type writes struct {
	net.Conn
	mu    sync.Mutex
	whole []bool
}

func (w *writes) Write(p []byte) (int, error) {
	w.mu.Lock()
	w.whole = append(w.whole, json.Valid(p) && p[len(p)-1] == '\n')
	w.mu.Unlock()
	return w.Conn.Write(p)
}

func TestEachCommandIsOneWrite(t *testing.T) {
	client, server := net.Pipe()
	counted := &writes{Conn: client}
	go (&fakeVMM{t: t, conn: server}).serve()
	m, err := NewConn(counted, Options{})
	require.NoError(t, err)
	defer m.Disconnect()
	require.NoError(t, m.Connect())
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() { assert.NoError(t, m.Stop(t.Context())) })
	}
	wg.Wait()
	require.Len(t, counted.whole, 21)
	assert.NotContains(t, counted.whole, false)
}

func TestEventBeforeTheFirstReplyAndBeforeTheGreeting(t *testing.T) {
	s := scripts{"qmp_capabilities": func(v *fakeVMM, cmd received) {
		v.send(`{"event": "RESUME", "data": {}, "timestamp": {"seconds": 3, "microseconds": 4}}`)
		v.reply(cmd, "{}")
	}}
	overEach(t, Options{}, s, func(t *testing.T, ctx context.Context, m *Monitor, _ *fakeVMM) {
		events, err := m.Events(ctx)
		require.NoError(t, err)
		require.NoError(t, m.ConnectContext(ctx))
		e := <-events
		assert.Equal(t, "RESUME", e.Event)
		assert.EqualValues(t, 3, e.Timestamp.Seconds)
		assert.EqualValues(t, 4, e.Timestamp.Microseconds)
	})
	client, server := net.Pipe()
	go func() {
		_, _ = io.WriteString(server, `{"event": "EARLY", "timestamp": {}}`)
		(&fakeVMM{t: t, conn: server}).serve()
	}()
	m, err := NewConn(client, Options{})
	require.NoError(t, err)
	require.NoError(t, m.Connect())
	require.NoError(t, m.Disconnect())
}

// TestEventStorm has two subscribers, of which one never reads.
func TestEventStorm(t *testing.T) {
	const storm, queue = 100_000, 64
	s := scripts{"storm": func(v *fakeVMM, cmd received) {
		out := bufio.NewWriterSize(v.conn, 1<<16)
		for i := range storm {
			fmt.Fprintf(out, `{"event": "E", "data": {"n": %d}, "timestamp": {"seconds": 1, "microseconds": 2}}`, i)
		}
		_ = out.Flush()
		v.reply(cmd, `"over"`)
	}}
	overUnix(t, Options{EventQueue: queue}, s, func(t *testing.T, ctx context.Context, m *Monitor, _ *fakeVMM) {
		require.NoError(t, m.ConnectContext(ctx))
		asleep, err := m.Events(ctx)
		require.NoError(t, err)
		awake, err := m.Events(ctx)
		require.NoError(t, err)
		read := make(chan int)
		go func() { read <- drain(awake) }()

		before := heapInUse()
		var out string
		require.NoError(t, m.Execute(ctx, "storm", nil, &out))
		assert.Equal(t, "over", out)
		assert.Less(t, heapInUse(), before+8<<20, "memory stays bounded")
		require.NoError(t, m.Stop(ctx))

		require.Len(t, asleep, queue)
		for i := range queue { // the last ones were kept
			assert.EqualValues(t, storm-queue+i, (<-asleep).Data["n"])
		}
		require.NoError(t, m.Disconnect())
		lost := int(m.DroppedEvents())
		assert.Equal(t, 2*storm, lost+queue+<-read, "each event is read or counted as dropped")
	})
}

func drain(events <-chan gqmp.Event) (n int) {
	for range events {
		n++
	}
	return n
}

func heapInUse() uint64 {
	var stats runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

func TestEventsEndWithTheirContext(t *testing.T) {
	s := scripts{"poke": func(v *fakeVMM, cmd received) {
		v.send(`{"event": "POKED", "data": {"by": "test"}, "timestamp": {}}`)
		v.reply(cmd, "{}")
	}}
	overEachConnected(t, s, func(t *testing.T, ctx context.Context, m *Monitor, _ *fakeVMM) {
		short, cancel := context.WithCancel(ctx)
		gone, err := m.Events(short)
		require.NoError(t, err)
		stays, err := m.Events(ctx)
		require.NoError(t, err)
		cancel()
		assert.Zero(t, drain(gone))
		require.NoError(t, m.Execute(ctx, "poke", nil, nil), "a command after the end of Events does not hang")
		assert.Equal(t, "POKED", (<-stays).Event)
	})
}

func TestSubscribersDoNotShareData(t *testing.T) {
	h := newHub(1)
	a, err := h.subscribe(t.Context())
	require.NoError(t, err)
	b, err := h.subscribe(t.Context())
	require.NoError(t, err)
	h.publish(json.RawMessage(`{"event": "E", "data": {"k": "v"}}`))
	(<-a).Data["k"] = "changed"
	assert.Equal(t, "v", (<-b).Data["k"])
}

func TestManyCallersAtOnce(t *testing.T) {
	s := scripts{"echo": func(v *fakeVMM, cmd received) { v.reply(cmd, string(cmd.Arguments)) }}
	overEachConnected(t, s, func(t *testing.T, ctx context.Context, m *Monitor, _ *fakeVMM) {
		var wg sync.WaitGroup
		for i := range 50 {
			wg.Go(func() {
				want := map[string]string{"n": fmt.Sprint(i)}
				var got map[string]string
				assert.NoError(t, m.Execute(ctx, "echo", want, &got))
				assert.Equal(t, want, got)
			})
		}
		wg.Wait()
	})
}
