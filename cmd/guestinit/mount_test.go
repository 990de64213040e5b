package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseMount(t *testing.T) {
	for spec, want := range map[string]diskMount{
		"tools:/lab":       {serial: "tools", dir: "/lab"},
		"tools:/lab:ro":    {serial: "tools", dir: "/lab", readOnly: true},
		"/dev/vda:/lab":    {device: "/dev/vda", dir: "/lab"},
		"/dev/vda:/lab:ro": {device: "/dev/vda", dir: "/lab", readOnly: true},
	} {
		got, err := parseMount(spec)
		require.NoError(t, err, spec)
		assert.Equal(t, want, got, spec)
	}
	for _, spec := range []string{"", "tools", ":/lab", "tools:", "tools:lab", "tools:/lab:rw", "tools:/lab:", "tools:/lab:ro:ro"} {
		_, err := parseMount(spec)
		assert.ErrorContains(t, err, "virtlab.mount="+spec+": want", spec)
	}
}

func FuzzParseMount(f *testing.F) {
	f.Add("/dev/vda:/lab:ro")
	f.Add("tools:/lab")
	f.Fuzz(func(t *testing.T, spec string) {
		m, err := parseMount(spec)
		if err != nil {
			return
		}
		require.True(t, filepath.IsAbs(m.dir))
		require.True(t, (m.device == "") != (m.serial == ""), "one name")
		again := m.device + m.serial + ":" + m.dir
		if m.readOnly {
			again += ":ro"
		}
		require.Equal(t, spec, again)
		require.NotContains(t, m.dir, ":")
		require.False(t, strings.HasPrefix(m.serial, "/"))
	})
}

func TestAwaitNode(t *testing.T) {
	assert.NoError(t, awaitNode("/dev/null"))
	assert.Error(t, awaitNode("/dev/null/x"), "a fault that no waiting heals ends the wait at once")
}
