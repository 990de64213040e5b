package main

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

func TestBurn(t *testing.T) {
	cpu := func() time.Duration {
		var now unix.Timespec
		require.NoError(t, unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &now))
		return time.Duration(now.Nano())
	}
	before := cpu()
	require.NoError(t, burn(30*time.Millisecond))
	assert.GreaterOrEqual(t, cpu()-before, 30*time.Millisecond)
}

func TestBurnUsage(t *testing.T) {
	for _, c := range []struct {
		args []string
		says string
	}{
		{nil, "want a CPU time and a program"},
		{[]string{"50ms"}, "want a CPU time and a program"},
		{[]string{"long", "true"}, `"long" is no duration`},
	} {
		var stderr bytes.Buffer
		assert.ErrorIs(t, runBurn(t.Context(), c.args, nil, &stderr), errUsage)
		assert.Contains(t, stderr.String(), c.says)
	}
	assert.ErrorContains(t, runBurn(t.Context(), []string{"1ms", "no-such-program"}, nil, nil), "not found")
}
