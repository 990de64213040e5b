package main

import (
	"bytes"
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/build"
)

func TestSetupDryRunChangesNothing(t *testing.T) {
	cache := filepath.Join(t.TempDir(), "cache")
	t.Setenv("XDG_CACHE_HOME", cache)
	t.Setenv("PATH", t.TempDir()) // so that commands are missing
	var stdout, stderr bytes.Buffer
	require.NoError(t, runSetup(t.Context(), []string{"-n"}, &stdout, &stderr))
	assert.Contains(t, stdout.String(), "compiles the kernel and its modules")
	assert.Contains(t, stdout.String(), "apt-get install")
	assert.Contains(t, stdout.String(), cache)
	assert.NoDirExists(t, cache)
}

func TestPlanSetupWithAllPackages(t *testing.T) {
	var out bytes.Buffer
	require.NoError(t, planSetup(&out, "/cache/virtlab", nil))
	assert.Contains(t, out.String(), "All Debian packages are here.")
}

func TestPrintUses(t *testing.T) {
	var progress, out bytes.Buffer
	cache, err := build.OpenCache(t.TempDir(), &progress)
	require.NoError(t, err)
	recipe := build.Recipe{Name: "thing", Make: func(_ context.Context, dir string, _ *build.Log) error {
		return os.WriteFile(filepath.Join(dir, "file"), make([]byte, 3<<20), 0o644)
	}}
	_, err = cache.Get(t.Context(), recipe)
	require.NoError(t, err)
	printUses(&out, cache, 0)
	assert.Regexp(t, `thing +│ built +│ +\d+\.\d +│ +3\.0 +│ thing-`, out.String())

	again, err := build.OpenCache(cache.Dir(), &progress)
	require.NoError(t, err)
	_, err = again.Get(t.Context(), recipe)
	require.NoError(t, err)
	out.Reset()
	printUses(&out, again, 0)
	assert.Contains(t, out.String(), "nothing to build")
}

func TestHumanSize(t *testing.T) {
	assert.Equal(t, "0 MiB", humanSize(0))
	assert.Equal(t, "91 MiB", humanSize(91<<20+5))
	assert.Equal(t, "1.2 GiB", humanSize(1229<<20))
}

func TestPruned(t *testing.T) {
	may := time.Date(2026, 5, 9, 23, 0, 0, 0, time.UTC)
	assert.Empty(t, pruned(build.Pruned{}))
	assert.Equal(t, "1 result not used since 2026-05-09", pruned(build.Pruned{Results: 1, Unused: may}))
	assert.Equal(t, "what 2 killed builds left", pruned(build.Pruned{Leftovers: 2}))
	assert.Equal(t, "2 results not used since 2026-05-09 and what 1 killed build left", pruned(build.Pruned{Results: 2, Unused: may, Leftovers: 1}))
}

// A set-up says what it removed, and nothing where there was nothing to remove.
func TestSetupPrunes(t *testing.T) {
	cache, err := build.OpenCache(t.TempDir(), io.Discard)
	require.NoError(t, err)
	old := filepath.Join(cache.Dir(), "tools-0123456789ab")
	require.NoError(t, os.Mkdir(old, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(old, "tools.ext4"), make([]byte, 3<<20), 0o644))
	used := time.Now().Add(-15 * 24 * time.Hour)
	require.NoError(t, os.Chtimes(old, used, used))

	var out bytes.Buffer
	prune(t.Context(), cache, &out)
	assert.Equal(t, "setup: removed 1 result not used since "+used.Format(time.DateOnly)+", 3 MiB\n", out.String())
	assert.NoDirExists(t, old)
	out.Reset()
	prune(t.Context(), cache, &out)
	assert.Empty(t, out.String())
}

// What cannot be removed is said, with what to do.
func TestSetupSaysWhatItCannotPrune(t *testing.T) {
	cache, err := build.OpenCache(t.TempDir(), io.Discard)
	require.NoError(t, err)
	old := filepath.Join(cache.Dir(), "tools-0123456789ab")
	require.NoError(t, os.Mkdir(old, 0o755))
	used := time.Now().Add(-15 * 24 * time.Hour)
	require.NoError(t, os.Chtimes(old, used, used))
	require.NoError(t, os.Mkdir(filepath.Join(cache.Dir(), "lock", filepath.Base(old)), 0o755), "no file can be locked there")

	var out bytes.Buffer
	prune(t.Context(), cache, &out)
	assert.Contains(t, out.String(), "setup: cannot remove tools-0123456789ab from the cache: ")
	assert.Contains(t, out.String(), "what to do: remove it as its owner")
	assert.DirExists(t, old)
}
