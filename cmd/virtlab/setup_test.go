package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"testing"

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
