package comparison

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/bench"
)

// with sets a flag for the test.
func with[T any](t *testing.T, flag *T, value T) {
	t.Helper()
	before := *flag
	*flag = value
	t.Cleanup(func() { *flag = before })
}

func TestWraps(t *testing.T) {
	var w wraps
	require.NoError(t, w.Set("qemu-pc=taskset,-c,1"))
	require.NoError(t, w.Set("gokvm=/usr/bin/nice"))
	assert.Equal(t, wraps{{VMM: "qemu-pc", Argv: []string{"taskset", "-c", "1"}}, {VMM: "gokvm", Argv: []string{"/usr/bin/nice"}}}, w)
	for _, bad := range []string{"", "nice", "qemu-pc=", "xen=nice"} {
		assert.ErrorIs(t, w.Set(bad), errWrapUsage, bad)
	}
}

func TestFlagsRefused(t *testing.T) {
	require.NoError(t, checkCompareFlags())
	t.Run("two modes", func(t *testing.T) {
		with(t, quickFlag, true)
		with(t, courseFlag, true)
		assert.ErrorContains(t, checkCompareFlags(), "want one of them")
	})
	t.Run("unknown VMM", func(t *testing.T) {
		with(t, vmmsFlag, "qemu-pc,xen")
		assert.ErrorContains(t, checkCompareFlags(), `there is no "xen"`)
	})
	t.Run("unknown machine", func(t *testing.T) {
		with(t, onFlag, "L2")
		assert.ErrorContains(t, checkCompareFlags(), "-on L2: want host or L1")
	})
	t.Run("half a second", func(t *testing.T) {
		with(t, cellFlag, 500*time.Millisecond)
		assert.ErrorContains(t, checkCompareFlags(), "whole seconds")
	})
	t.Run("no block device", func(t *testing.T) {
		with(t, diskFlag, filepath.Join(t.TempDir(), "file"))
		assert.Error(t, checkCompareFlags())
	})
}

// Results never replace others: each comparison has a directory of its own, and
// -resume takes the newest that has a plan.
func TestCompareDir(t *testing.T) {
	root := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(root, "go.mod"), nil, 0o644))
	t.Chdir(root)
	dir, err := compareDir(time.Date(2026, 11, 23, 4, 5, 6, 0, time.UTC))
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(root, "out/bench/2026-11-23-040506"), dir)

	with(t, resumeFlag, true)
	_, err = compareDir(time.Now())
	assert.ErrorContains(t, err, "has no comparison to go on with")
	for _, d := range []string{"2026-11-21-000000", "2026-11-22-000000", "2026-11-23-000000"} {
		require.NoError(t, os.MkdirAll(filepath.Join(root, "out/bench", d), 0o755))
	}
	for _, d := range []string{"2026-11-21-000000", "2026-11-22-000000"} {
		require.NoError(t, os.WriteFile(filepath.Join(root, "out/bench", d, "plan.json"), nil, 0o644))
	}
	dir, err = compareDir(time.Now())
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(root, "out/bench/2026-11-22-000000"), dir)

	with(t, reportFlag, "here")
	dir, err = compareDir(time.Now())
	require.NoError(t, err)
	assert.Equal(t, filepath.Join(root, "here"), dir)
}

// Every part has a benchmark that asks for it.
func TestBenchmarkedParts(t *testing.T) {
	var shown []bench.Part
	for _, p := range benchmarked {
		shown = append(shown, p)
	}
	assert.Subset(t, shown, bench.Parts)
}
