package bench

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseStartup(t *testing.T) {
	const ms = time.Millisecond
	tests := []struct {
		text string
		want Startup
	}{
		{"Startup finished in 1.251s (kernel) + 10.040s (userspace) = 11.292s \ngraphical.target reached after 9.812s in userspace.\n",
			Startup{Kernel: 1251 * ms, Userspace: 10040 * ms, Total: 11292 * ms}},
		{"Startup finished in 5.302s (firmware) + 987ms (loader) + 2.118s (kernel) + 3.4s (initrd) + 1min 12.345s (userspace) = 1min 24.152s\n",
			Startup{Firmware: 5302 * ms, Loader: 987 * ms, Kernel: 2118 * ms, Initrd: 3400 * ms, Userspace: 72345 * ms, Total: 84152 * ms}},
		{"Startup finished in 311ms (userspace) = 311ms", Startup{Userspace: 311 * ms, Total: 311 * ms}},
		{"Startup finished in 1h 2min 3s (kernel) + 997us (userspace) = 1h 2min 3s",
			Startup{Kernel: 3723 * time.Second, Userspace: 997 * time.Microsecond, Total: 3723 * time.Second}},
	}
	for _, test := range tests {
		got, err := ParseStartup(test.text)
		require.NoError(t, err, test.text)
		assert.Equal(t, test.want, got)
	}
}

func TestParseStartupRefuses(t *testing.T) {
	_, err := ParseStartup("Bootup is not yet finished (org.freedesktop.systemd1.Manager.FinishTimestampMonotonic=0).\nPlease try again later.\n")
	assert.ErrorIs(t, err, ErrNotFinished)
	for text, want := range map[string]string{
		"": "no start-up time",
		"Startup finished in 1s (kernel) + 2s (bios) = 3s":         "no part",
		"Startup finished in 1.5 (kernel) = 1.5":                   "no time span",
		"Startup finished in 1s (kernel) + 2s (userspace) = 9s":    "sum up",
		"Startup finished in 1d (userspace) = 1d":                  "too long",
		"Startup finished in 9999999999999h (kernel) = 9999999999": "no time span",
		"Startup finished in -1s (userspace) = -1s":                "no time span",
	} {
		_, err := ParseStartup(text)
		assert.ErrorContains(t, err, want, text)
	}
}

func FuzzParseStartup(f *testing.F) {
	f.Add("Startup finished in 1.251s (kernel) + 10.040s (userspace) = 11.292s \n")
	f.Add("Startup finished in 5.302s (firmware) + 987ms (loader) + 1min 12.345s (userspace) = 1min 24.152s\n")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := ParseStartup(text)
		if err != nil {
			return
		}
		for _, d := range []time.Duration{s.Firmware, s.Loader, s.Kernel, s.Initrd, s.Userspace, s.Total} {
			assert.GreaterOrEqual(t, d, time.Duration(0))
		}
	})
}
