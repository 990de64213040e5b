package boottime_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/guest/wire/boottime"
)

func TestNowGoesOn(t *testing.T) {
	a := boottime.Now()
	time.Sleep(2 * time.Millisecond)
	b := boottime.Now()
	assert.Positive(t, a)
	assert.GreaterOrEqual(t, b-a, 2*time.Millisecond)
}

func TestPassed(t *testing.T) {
	t.Setenv(boottime.Variable, "")
	none, err := boottime.Passed()
	require.NoError(t, err)
	assert.Zero(t, none, "PID 1 is not ours")

	boottime.Pass(1234567 * time.Nanosecond)
	passed, err := boottime.Passed()
	require.NoError(t, err)
	assert.Equal(t, 1234567*time.Nanosecond, passed)

	for _, bad := range []string{"soon", "-1", "0", "1.5", "99999999999999999999"} {
		t.Setenv(boottime.Variable, bad)
		_, err := boottime.Passed()
		assert.ErrorContains(t, err, bad)
	}
}
