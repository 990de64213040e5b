package debian

import (
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func usernet(t testing.TB) string {
	b, err := os.ReadFile("testdata/usernet.txt")
	require.NoError(t, err)
	return string(b)
}

func TestParseUsernet(t *testing.T) {
	got, err := ParseUsernet(usernet(t))
	require.NoError(t, err)
	assert.Equal(t, []Connection{
		{"TCP", "SYN_SENT", "127.0.0.1", 35329, "10.0.2.15", 22},
		{"TCP", "HOST_FORWARD", "127.0.0.1", 35329, "10.0.2.15", 22},
		{"UDP", "HOST_FORWARD", "*", 51984, "10.0.2.15", 53},
		{"TCP", "HOST_FORWARD", "*", 41063, "10.0.2.15", 80},
	}, got)
}

// Line forms of libslirp that the recording lacks.
func TestParseUsernetOtherLines(t *testing.T) {
	got, err := ParseUsernet("  UDP[234 sec]       19       10.0.2.15 40000        10.0.2.3    53     0     0\r\n" +
		"  ICMP[9 sec]        20       10.0.2.15  -           10.0.2.2     -     0     0\r\n")
	require.NoError(t, err)
	assert.Equal(t, []Connection{
		{"UDP", "234 sec", "10.0.2.15", 40000, "10.0.2.3", 53},
		{"ICMP", "9 sec", "10.0.2.15", 0, "10.0.2.2", 0},
	}, got)
}

func TestForwardedPort(t *testing.T) {
	for guest, want := range map[int]int{22: 35329, 80: 41063} {
		got, err := ForwardedPort(usernet(t), guest)
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	for _, c := range []struct{ name, text, want string }{
		{"nothing", "", "no port is forwarded to port 22"},
		{"UDP only", strings.ReplaceAll(usernet(t), "TCP", "UDP"), "no port is forwarded to port 22"},
		{"only a connection", strings.ReplaceAll(usernet(t), "HOST_FORWARD", "ESTABLISHED"), "no port is forwarded to port 22"},
		{"an unknown form", "  TCP[HOST_FORWARD] 127.0.0.1:35329 -> 10.0.2.15:22\n", "not a connection"},
		{"a port too high", strings.ReplaceAll(usernet(t), "35329", "65536"), "value out of range"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ForwardedPort(c.text, 22)
			assert.ErrorContains(t, err, c.want)
		})
	}
}

func FuzzParseUsernet(f *testing.F) {
	f.Add(usernet(f))
	f.Fuzz(func(t *testing.T, text string) {
		port, err := ForwardedPort(text, 22)
		if err == nil {
			assert.Greater(t, port, 0)
			assert.LessOrEqual(t, port, 65535)
		}
	})
}
