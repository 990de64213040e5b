package qmp

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// humans answers command lines of the human monitor from a table, with the
// texts that QEMU 7.2 prints.
func humans(answers map[string]string) scripts {
	return scripts{"human-monitor-command": func(v *fakeVMM, cmd received) {
		var args map[string]string
		_ = json.Unmarshal(cmd.Arguments, &args)
		line := args["command-line"]
		text, known := answers[line]
		if !known {
			text = fmt.Sprintf("unknown command: '%s'\r\n", line)
		}
		quoted, _ := json.Marshal(text)
		v.reply(cmd, string(quoted))
	}}
}

func TestHMP(t *testing.T) {
	s := humans(map[string]string{
		"info status":  "VM status: running\r\n",
		"device_del x": "Error: Device 'x' not found\r\n",
		"stop":         "",
	})
	overEachConnected(t, s, func(t *testing.T, ctx context.Context, m *Monitor, _ *fakeVMM) {
		out, err := m.HMP(ctx, "info status")
		require.NoError(t, err)
		assert.Equal(t, "VM status: running\n", out)

		out, err = m.HMP(ctx, "stop")
		require.NoError(t, err)
		assert.Empty(t, out)

		var complaint *HMPError
		_, err = m.HMP(ctx, "device_del x")
		require.ErrorAs(t, err, &complaint)
		assert.EqualError(t, err, "human monitor: device_del x: Error: Device 'x' not found")
		_, err = m.HMP(ctx, "nonsense")
		require.ErrorAs(t, err, &complaint)
	})
}

func TestHMPWithoutHumanMonitor(t *testing.T) {
	s := scripts{"human-monitor-command": func(v *fakeVMM, cmd received) {
		v.send(`{"error": {"class": "CommandNotFound", "desc": ""}, "id": %s}`, cmd.ID)
	}}
	overEachConnected(t, s, func(t *testing.T, ctx context.Context, m *Monitor, _ *fakeVMM) {
		_, err := m.ReadPhys(ctx, 0)
		var refused *Error
		require.ErrorAs(t, err, &refused)
		assert.Equal(t, "CommandNotFound", refused.Class)
	})
}

func TestReadPhys(t *testing.T) {
	s := humans(map[string]string{
		"xp /1gx 0x1000":          "0000000000001000: 0x8000000012345067\r\n",
		"xp /1gx 0x1008":          "0000000000001008: 0x0000000000000000\r\n",
		"xp /3gx 0x1000":          "0000000000001000: 0x8000000012345067 0x0000000000000000\r\n0000000000001010: 0x00000000001b0b28\r\n",
		"xp /2gx 0x1000":          "0000000000001000: 0x8000000012345067\r\n",
		"xp /1gx 0xffff000000000": "000ffff000000000: Cannot access memory\r\n",
		"xp /1gx 0x2000":          "0000000000002008: 0x0000000000000000\r\n",
	})
	overEachConnected(t, s, func(t *testing.T, ctx context.Context, m *Monitor, _ *fakeVMM) {
		word, err := m.ReadPhys(ctx, 0x1000)
		require.NoError(t, err)
		assert.Equal(t, uint64(0x8000000012345067), word)

		words, err := m.XP(ctx, 0x1000, 3)
		require.NoError(t, err)
		assert.Equal(t, []uint64{0x8000000012345067, 0, 1772328}, words)

		words, err = m.ReadPhysN(ctx, 0x1008, 0x1000, 0x1008)
		require.NoError(t, err)
		assert.Equal(t, []uint64{0, 0x8000000012345067, 0}, words)

		var complaint *HMPError
		_, err = m.ReadPhysN(ctx, 0x1000, 0xffff000000000)
		require.ErrorAs(t, err, &complaint)
		assert.Equal(t, "Cannot access memory", complaint.Text)
		_, err = m.XP(ctx, 0x1000, 2)
		require.ErrorContains(t, err, "2 words asked for, 1 came")
		_, err = m.ReadPhys(ctx, 0x2000)
		require.ErrorContains(t, err, "0x2000 was expected")
		_, err = m.XP(ctx, 0x1000, 0)
		require.Error(t, err)
	})
}

func FuzzParseXP(f *testing.F) {
	f.Add("0000000000001000: 0x8000000012345067 0x0000000000000000\n0000000000001010: 0x1\n", uint64(0x1000), 3)
	f.Add("0000000000001000: Cannot access memory\n", uint64(0x1000), 1)
	f.Fuzz(func(t *testing.T, text string, addr uint64, n int) {
		words, err := parseXP(text, addr, n)
		if err == nil {
			require.Len(t, words, n)
		}
	})
}

func FuzzParseMessage(f *testing.F) {
	f.Add([]byte(greeting))
	f.Add([]byte(`{"return": {}, "id": "virtlab-1"}`))
	f.Add([]byte(`{"error": {"class": "GenericError", "desc": ""}, "id": 1}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		msg, err := parseMessage(raw)
		if err != nil {
			require.ErrorIs(t, err, errNotQMP)
			return
		}
		_ = msg.id()
		require.Equal(t, msg.Error != nil, msg.fault("x") != nil)
	})
}

// TestBatchEndsWithItsContext makes sure that a batch ends with its context.
func TestBatchEndsWithItsContext(t *testing.T) {
	s := scripts{"human-monitor-command": func(*fakeVMM, received) {}}
	overEachConnected(t, s, func(t *testing.T, ctx context.Context, m *Monitor, v *fakeVMM) {
		short, cancel := context.WithCancel(ctx)
		done := make(chan error, 1)
		go func() {
			_, err := m.ReadPhysN(short, make([]uint64, 100)...)
			done <- err
		}()
		for len(v.seen()) < 1+inFlight {
			select {
			case err := <-done:
				require.Fail(t, "ended early", "%v", err)
			default:
			}
		}
		cancel()
		require.ErrorIs(t, <-done, context.Canceled)
		assert.Len(t, v.seen(), 1+inFlight)
	})
}
