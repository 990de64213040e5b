package sandbox

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestUsageAdd(t *testing.T) {
	// A name that looks like the fields after it.
	stat := "7 (a) S 1 2 3) R 1 7 7 0 -1 4194304 100 0 0 0 150 25 300 25 20 0 1 0 100 1000 10 18446744073709551615\n"
	status := "Name:\ta\nVmSize:\t    2048 kB\nVmRSS:\t 900 kB\nRssAnon:\t     100 kB\nRssFile:\t     700 kB\nRssShmem:\t     20 kB\nVmSwap:\t      3 kB\nThreads:\t4\n"
	var u usage
	u.add([]byte(stat), []byte(status))
	assert.Equal(t, usage{cpu: 5 * time.Second, memory: 123 << 10, address: 2 << 20, threads: 4}, u)
	u.add(nil, nil) // it has ended meanwhile
	assert.Equal(t, 4, u.threads)
}

// The numbers are those of this process, which the kernel writes.
func TestProcessesSeesItself(t *testing.T) {
	u := processes("/proc")
	assert.Positive(t, u.cpu)
	assert.Positive(t, u.memory)
	assert.Greater(t, u.address, u.memory)
	assert.Greater(t, u.threads, 1)
	assert.Equal(t, usage{}, processes("/proc/no-such-process/root/proc"))
}

// The host is not taken for a sandbox that is about to come up.
func TestViewOfTheHostIsNotUp(t *testing.T) {
	for _, pid := range []int{0, os.Getpid(), 1 << 30} {
		v := openView(pid)
		assert.False(t, v.up(), pid)
		assert.False(t, v.up(), pid)
		assert.Nil(t, v.root)
		v.close()
	}
}

func TestExceeded(t *testing.T) {
	l := Limits{CPU: time.Second, MemoryMiB: 10, AddressMiB: 20, Processes: 5}
	for want, u := range map[Limit]usage{
		"":        {cpu: time.Second, memory: 10 << 20, address: 40 << 20, threads: 4},
		CPU:       {cpu: time.Second + 1},
		Memory:    {memory: 10<<20 + 1},
		Address:   {address: 40<<20 + 1},
		Processes: {threads: 5},
	} {
		assert.Equal(t, want, l.exceeded(u))
	}
}

func TestDirUse(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "a/b"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a/b/file"), make([]byte, 5000), 0o644))
	require.NoError(t, os.Symlink("/usr", filepath.Join(dir, "link")))
	bytes, files := dirUse(dir, 100)
	assert.Equal(t, 5, files) // the link is one, and what it leads to none
	assert.Greater(t, bytes, int64(5000))
	_, files = dirUse(dir, 2)
	assert.Equal(t, 3, files)
	_, files = dirUse(filepath.Join(dir, "gone"), 2)
	assert.Zero(t, files)
}

func TestAncestors(t *testing.T) {
	for in, want := range map[string]string{
		"0::/user.slice/user-0.slice/session-1.scope\n": "/user.slice/user-0.slice/session-1.scope /user.slice/user-0.slice /user.slice /",
		"0::/\n":                       "/",
		"12:memory:/a\n1:name=x:/b\n":  "",
		"3:cpu:/\n0::/a/b (deleted)\n": "/a/b (deleted) /a /",
		"0::../outside\n":              "",
		"":                             "",
	} {
		assert.Equal(t, want, strings.Join(ancestors(in), " "), in)
	}
}

func FuzzUsageAdd(f *testing.F) {
	f.Add([]byte("7 (a) R 1"), []byte("VmSize:\t1 kB"))
	f.Fuzz(func(t *testing.T, stat, status []byte) { new(usage).add(stat, status) })
}
