package build

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/cavaliergopher/cpio"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/job"
)

// e2fs runs a program of e2fsprogs, which a user's PATH often leaves out.
func e2fs(t *testing.T, name string, args ...string) string {
	t.Helper()
	for _, p := range []string{"/sbin/" + name, "/usr/sbin/" + name, name} {
		if found, err := exec.LookPath(p); err == nil {
			out, err := exec.Command(found, args...).CombinedOutput()
			require.NoError(t, err, "%s", out)
			return string(out)
		}
	}
	t.Skipf("no %s on this machine", name)
	return ""
}

func TestBenchDisk(t *testing.T) {
	e2fs(t, "mkfs.ext4", "-V")
	dir, err := openTestCache(t).Get(t.Context(), BenchDiskRecipe(64))
	require.NoError(t, err)
	disk := benchDisk(dir)
	e2fs(t, "e2fsck", "-f", "-n", disk)
	assert.Contains(t, e2fs(t, "debugfs", "-R", "ls /data", disk), "README")

	super := e2fs(t, "dumpe2fs", disk)
	assert.Contains(t, super, "Filesystem volume name:   virtlab-bench")
	for _, feature := range []string{"has_journal", "metadata_csum", "uninit_bg"} {
		assert.NotContains(t, super, feature, "kernel threads would write while something is measured")
	}
	block := number(t, super, `Block size: +(\d+)`)
	assert.Equal(t, int64(4096), block)
	assert.GreaterOrEqual(t, number(t, super, `Free blocks: +(\d+)`)*block, int64(64<<20))

	st, err := os.Stat(disk)
	require.NoError(t, err)
	assert.Equal(t, number(t, super, `Block count: +(\d+)`)*block+job.TailBytes, st.Size(), "the job's place lies behind the file system")
	_, err = job.ReadTail(disk)
	assert.ErrorContains(t, err, "nobody wrote a job to it")
}

func number(t *testing.T, text, pattern string) int64 {
	t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(text)
	require.NotNil(t, m, "%s in %s", pattern, text)
	n, err := strconv.ParseInt(m[1], 10, 64)
	require.NoError(t, err)
	return n
}

// What is measured boots a kernel that unpacks the runner alone; what sysbench
// needs is in the other one only.
func TestBenchInitramfs(t *testing.T) {
	if _, err := exec.LookPath("sysbench"); err != nil {
		t.Skip("no sysbench on this machine")
	}
	init, guestjob := filepath.Join(t.TempDir(), "guestinit-1"), filepath.Join(t.TempDir(), "guestjob-1")
	writeFiles(t, init, map[string]string{"guestinit": "PID 1"})
	writeFiles(t, guestjob, map[string]string{"guestjob": "the runner"})
	boot, measure, err := BenchInitramfsRecipes(init, guestjob)
	require.NoError(t, err)
	names := func(r Recipe) (all []string) {
		dir, err := openTestCache(t).Get(t.Context(), r)
		require.NoError(t, err)
		f, err := os.Open(filepath.Join(dir, "initramfs"))
		require.NoError(t, err)
		defer f.Close()
		for in := cpio.NewReader(f); ; {
			h, err := in.Next()
			if errors.Is(err, io.EOF) {
				return all
			}
			require.NoError(t, err)
			if h.Mode.IsRegular() {
				all = append(all, h.Name)
			}
		}
	}
	assert.ElementsMatch(t, []string{"init", "bin/guestjob"}, names(boot))
	all := names(measure)
	assert.Subset(t, all, []string{"init", "bin/guestjob", "bin/sysbench"})
	assert.Greater(t, len(all), 4, "sysbench's loader and libraries")

	_, again, err := BenchInitramfsRecipes(init, filepath.Join(t.TempDir(), "guestjob-2"))
	require.NoError(t, err)
	assert.NotEqual(t, measure.Key(), again.Key(), "another runner is another initramfs")
}

func TestGoToolRecipe(t *testing.T) {
	root := t.TempDir()
	writeFiles(t, root, map[string]string{
		"go.mod": "module example.org/tool\n", "go.sum": "",
		"vmm/main.go": "package main\n\nfunc main() { println(\"a tool\") }\n",
	})
	r, err := GoToolRecipe(root, "vmm", "example.org/tool/vmm")
	require.NoError(t, err)
	dir, err := openTestCache(t).Get(t.Context(), r)
	require.NoError(t, err)
	out, err := exec.Command(filepath.Join(dir, "vmm")).CombinedOutput()
	require.NoError(t, err)
	assert.Equal(t, "a tool\n", string(out))

	writeFiles(t, root, map[string]string{"go.sum": "another version\n"})
	again, err := GoToolRecipe(root, "vmm", "example.org/tool/vmm")
	require.NoError(t, err)
	assert.NotEqual(t, r.Key(), again.Key())
	_, err = GoToolRecipe(t.TempDir(), "vmm", "example.org/tool/vmm")
	assert.ErrorIs(t, err, os.ErrNotExist)
}
