package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/build"
	"virtlab/harness/result"
)

func TestExamine(t *testing.T) {
	says := func(f finding) check { return check{"thing", func(context.Context) finding { return f }} }
	tests := []struct {
		name   string
		checks []check
		want   string
		err    error
	}{
		{"well", []check{says(ok("here"))}, "ok    thing        here\n", nil},
		{"warning", []check{says(finding{warn, "old", "renew it"})},
			"warn  thing        old\n                   what to do: renew it\n", nil},
		{"failure does not hide what follows", []check{says(finding{fail, "gone", ""}), says(ok("here"))},
			"fail  thing        gone\nok    thing        here\n", errQuiet},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var out bytes.Buffer
			assert.ErrorIs(t, examine(t.Context(), tt.checks, &out), tt.err)
			assert.Equal(t, tt.want, out.String())
		})
	}
}

func TestTroubleSaysWhatToDo(t *testing.T) {
	err := result.Errorf(result.Host, "no sandbox\nmore").WithHint("install bubblewrap")
	assert.Equal(t, finding{fail, "no sandbox", "install bubblewrap"}, trouble(fail, err))
}

func TestMeminfo(t *testing.T) {
	const text = "MemTotal:       24682496 kB\nMemFree:        1 kB\nMemAvailable:   21966848 kB\nHugePages_Total:       0\n"
	kib, err := meminfo(strings.NewReader(text), "MemAvailable")
	require.NoError(t, err)
	assert.Equal(t, 21966848, kib)
	_, err = meminfo(strings.NewReader("MemTotal: 5 kB\n"), "MemAvailable")
	assert.ErrorContains(t, err, "MemAvailable")
}

func TestJudgements(t *testing.T) {
	assert.Equal(t, fail, judgeMemory(1000).level)
	assert.Equal(t, warn, judgeMemory(3000).level)
	assert.Equal(t, fine, judgeMemory(8000).level)
	assert.Equal(t, warn, judgeSpace("/c", 0, 1<<30).level)
	well := judgeSpace("/c", 2400<<20, build.SetupBytes)
	assert.Equal(t, finding{fine, "/c takes 2.3 GiB, 4.0 GiB free", ""}, well)
}

func TestDoctorFindsLongTempDir(t *testing.T) {
	long := filepath.Join(t.TempDir(), strings.Repeat("x", 100))
	t.Setenv("TMPDIR", long)
	f := checkTempDir(t.Context())
	assert.Equal(t, fail, f.level, "it does not exist")
	assert.NotEmpty(t, f.todo)
}

func TestDoctorMeasuresCache(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	dir := filepath.Join(os.Getenv("XDG_CACHE_HOME"), "virtlab")
	assert.Contains(t, checkCache(t.Context()).text, dir+" takes 0 MiB, ", "before the first set-up")
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "tools-0123456789ab"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "tools-0123456789ab", "tools.ext4"), make([]byte, 3<<20), 0o644))
	assert.Contains(t, checkCache(t.Context()).text, dir+" takes 3 MiB, ")
}

func TestDoctorFindsRelativeCache(t *testing.T) {
	t.Setenv("XDG_CACHE_HOME", "cache")
	f := checkCache(t.Context())
	assert.Equal(t, fail, f.level)
	assert.Contains(t, f.todo, "absolute path")
}
