package vmm_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/qmp"
)

// fakeStrato is StratoVirt's monitor as it behaves: what arrives in one read of at
// most 8192 bytes is one command; an id is a string; a command that it cannot parse
// is answered without an id. What it says comes from a transcript.
type fakeStrato struct {
	conn     net.Conn
	greeting string
	says     map[string][]string // by command, ID for the command's id
	before   []string            // events that are out before the first reply

	mu  sync.Mutex
	got []string
}

// transcript reads what StratoVirt said, and after which command.
func transcript(t *testing.T) (greeting string, says map[string][]string) {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", "stratovirt-qmp.txt"))
	require.NoError(t, err)
	defer f.Close()
	says = map[string][]string{}
	command := ""
	for s := bufio.NewScanner(f); s.Scan(); {
		mark, text, _ := strings.Cut(s.Text(), " ")
		switch {
		case mark == ">":
			command = text
		case command == "":
			greeting = text
		default:
			says[command] = append(says[command], text)
		}
	}
	return greeting, says
}

// serve ends with the connection, as the process does after quit: the event
// SHUTDOWN is lost.
func (f *fakeStrato) serve() {
	defer f.conn.Close()
	f.say(f.greeting)
	buf := make([]byte, 8193)
	for {
		n, err := f.conn.Read(buf)
		if err != nil {
			return
		}
		if f.answer(buf[:n]) == "quit" {
			return
		}
	}
}

func (f *fakeStrato) answer(read []byte) (command string) {
	if len(read) > 8192 {
		f.fault("The socket message is too long.")
		return ""
	}
	var cmd struct {
		Execute string `json:"execute"`
		ID      string `json:"id"`
	}
	if err := json.Unmarshal(read, &cmd); err != nil {
		f.fault("trailing characters at line 1 column 41")
		return ""
	}
	f.mu.Lock()
	f.got = append(f.got, cmd.Execute)
	f.mu.Unlock()
	for _, e := range f.before {
		f.say(e)
	}
	f.before = nil
	for _, line := range f.says[cmd.Execute] {
		f.say(strings.ReplaceAll(line, "ID", fmt.Sprintf("%q", cmd.ID)))
	}
	return cmd.Execute
}

func (f *fakeStrato) fault(desc string) {
	f.say(fmt.Sprintf(`{"error":{"class":"GenericError","desc":%q}}`, desc))
}

func (f *fakeStrato) say(line string) { _, _ = io.WriteString(f.conn, line+"\r\n") }

// overFake runs test with a monitor that is connected to a fake StratoVirt.
func overFake(t *testing.T, before []string, test func(ctx context.Context, m *qmp.Monitor, f *fakeStrato)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "qmp")
	listener, err := net.Listen("unix", path)
	require.NoError(t, err)
	defer listener.Close()
	m, err := qmp.New(qmp.Unix(path), qmp.StratoVirt())
	require.NoError(t, err)
	ended := make(chan struct{})
	f := &fakeStrato{before: before}
	f.greeting, f.says = transcript(t)
	go func() {
		defer close(ended)
		if f.conn, err = listener.Accept(); err == nil {
			f.serve()
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	require.NoError(t, m.ConnectContext(ctx))
	test(ctx, m, f)
	require.NoError(t, m.Disconnect())
	<-ended
}

func TestStratoVirtAnswersOverItsMonitor(t *testing.T) {
	overFake(t, nil, func(ctx context.Context, m *qmp.Monitor, f *fakeStrato) {
		assert.Equal(t, "StratoVirt-2.5.0", m.Version().Package)
		status, err := m.Status(ctx)
		require.NoError(t, err)
		assert.Equal(t, qmp.Status{Running: true, Status: "running"}, status)
		var cpus []struct {
			Thread int `json:"thread_id"`
		}
		require.NoError(t, m.Execute(ctx, "query-cpus", nil, &cpus))
		require.Len(t, cpus, 1)
		assert.Equal(t, 53, cpus[0].Thread)
		require.NoError(t, m.Stop(ctx))
		require.NoError(t, m.Cont(ctx))
		require.NoError(t, m.Quit(ctx))
		<-m.Done()
		assert.Equal(t, []string{"qmp_capabilities", "query-status", "query-cpus", "stop", "cont", "quit"}, f.got)
	})
}

func TestStratoVirtRefusesOverItsMonitor(t *testing.T) {
	overFake(t, nil, func(ctx context.Context, m *qmp.Monitor, f *fakeStrato) {
		assert.ErrorContains(t, m.Execute(ctx, "query-replay", nil, nil), "unknown variant", "the reply has no id")
		_, err := m.HMP(ctx, "info mtree")
		assert.ErrorContains(t, err, "Unsupported command: info mtree")
		long := map[string]string{"x": strings.Repeat("x", 8192)}
		assert.ErrorContains(t, m.Execute(ctx, "query-status", long, nil), "takes at most 8192")
		_, err = m.Status(ctx)
		assert.NoError(t, err, "the connection is well after all that")
	})
}

// Pipelined, two commands would arrive in one read and neither be done.
func TestStratoVirtGetsCommandsOneByOne(t *testing.T) {
	overFake(t, nil, func(ctx context.Context, m *qmp.Monitor, f *fakeStrato) {
		var all sync.WaitGroup
		for range 50 {
			all.Go(func() {
				_, err := m.Status(ctx)
				assert.NoError(t, err)
			})
		}
		all.Wait()
		assert.Len(t, f.got, 51)
	})
}

func TestStratoVirtsEventsBeforeItsFirstReply(t *testing.T) {
	event := `{"event":"RESUME","data":{},"timestamp":{"seconds":1,"microseconds":2}}`
	overFake(t, []string{event, event}, func(ctx context.Context, m *qmp.Monitor, f *fakeStrato) {
		status, err := m.Status(ctx)
		require.NoError(t, err)
		assert.True(t, status.Running)
	})
}
