package build

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"virtlab/harness/result"
)

// childVariable makes this test binary a process that works in the cache it
// names, for tests with several processes; workVariable says which of
// childWork.
const (
	childVariable = "VIRTLAB_TEST_BUILD_IN"
	workVariable  = "VIRTLAB_TEST_WORK"
)

var childWork = map[string]func(*Cache) error{
	"build": func(c *Cache) error { return getIn(c, slowRecipe(false)) },
	"hang":  func(c *Cache) error { return getIn(c, slowRecipe(true)) },
	"hold":  holdUntilEOF,
	"churn": churn,
	"prune": func(c *Cache) error { _, err := c.Prune(context.Background()); return err },
}

func TestMain(m *testing.M) {
	if dir := os.Getenv(childVariable); dir != "" {
		if err := workAsChild(dir, os.Getenv(workVariable)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func workAsChild(dir, work string) error {
	c, err := OpenCache(dir, io.Discard)
	if err != nil {
		return err
	}
	return childWork[work](c)
}

func getIn(c *Cache, r Recipe) error {
	_, err := c.Get(context.Background(), r)
	return err
}

// slowRecipe writes half of its result, says so, and then takes its time, or
// hangs until it is killed. Its work is done two processes down, as make's is;
// the number of bytes in started is that of the builds.
func slowRecipe(hang bool) Recipe {
	return Recipe{Name: "slow", Inputs: []string{"1"}, Make: func(ctx context.Context, dir string, log *Log) error {
		script := `echo half >first; echo x >>../../started; (sh -c 'echo $$ >../../worker; sleep 0.3') ; echo whole >second`
		if hang {
			script = strings.Replace(script, "sleep 0.3", "sleep 300; exit 1", 1)
		}
		return log.Run(ctx, dir, nil, "sh", "-c", script)
	}}
}

// child is a process with its own work in the cache dir.
func child(t *testing.T, dir, work string) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childVariable+"="+dir, workVariable+"="+work)
	cmd.Stderr = os.Stderr
	return cmd
}

func startChild(t *testing.T, dir, work string) *exec.Cmd {
	t.Helper()
	cmd := child(t, dir, work)
	require.NoError(t, cmd.Start())
	return cmd
}

func openCache(t *testing.T) (*Cache, *safeBuffer) {
	t.Helper()
	progress := &safeBuffer{}
	c, err := OpenCache(filepath.Join(t.TempDir(), "cache"), progress)
	require.NoError(t, err)
	return c, progress
}

// safeBuffer is a bytes.Buffer that goroutines may share.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// fileRecipe makes one file.
func fileRecipe(content string) Recipe {
	return Recipe{Name: "file", Inputs: []string{content}, Make: func(_ context.Context, dir string, _ *Log) error {
		return os.WriteFile(filepath.Join(dir, "file"), []byte(content), 0o644)
	}}
}

// entries are the names in a directory of the cache.
func entries(t *testing.T, c *Cache, sub string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(c.dir, sub, "*"))
	require.NoError(t, err)
	return found
}

func TestKeySeparation(t *testing.T) {
	recipes := []Recipe{
		{Name: "a"}, {Name: "a", Inputs: []string{""}}, {Name: "a", Inputs: []string{"", ""}},
		{Name: "a", Inputs: []string{"ab", "c"}}, {Name: "a", Inputs: []string{"a", "bc"}}, {Name: "a", Inputs: []string{"abc"}},
		{Name: "a", Inputs: []string{"1:x"}}, {Name: "a", Inputs: []string{"x", "1:x"}},
		{Name: "aa", Inputs: []string{"b"}}, {Name: "a", Inputs: []string{"ab"}},
	}
	seen := map[string]int{}
	for i, r := range recipes {
		if other, ok := seen[r.Key()]; ok {
			t.Errorf("recipes %d and %d have the same key %s", other, i, r.Key())
		}
		seen[r.Key()] = i
		assert.Regexp(t, `^`+r.Name+`-[0-9a-f]{12}$`, r.Key())
	}
	same := Recipe{Name: "a", Inputs: []string{"ab", "c"}, Expect: time.Hour}
	assert.Equal(t, 3, seen[same.Key()], "the expected time is not part of what is made")
}

func TestGetBuildsOnce(t *testing.T) {
	c, progress := openCache(t)
	r := fileRecipe("content")
	_, ok := c.Lookup(r)
	assert.False(t, ok)
	first, err := c.Get(t.Context(), r)
	require.NoError(t, err)
	assert.FileExists(t, filepath.Join(first, "file"))

	r.Make = func(context.Context, string, *Log) error { return errors.New("built twice") }
	second, err := c.Get(t.Context(), r)
	require.NoError(t, err)
	assert.Equal(t, first, second)
	assert.Equal(t, 1, strings.Count(progress.String(), "file: done in"))
	require.Len(t, c.Uses(), 1)
	assert.True(t, c.Uses()[0].Built)
	assert.Empty(t, entries(t, c, "tmp"))
}

func TestGoroutinesBuildOnce(t *testing.T) {
	c, progress := openCache(t)
	var builds atomic.Int32
	r := Recipe{Name: "shared", Make: func(_ context.Context, dir string, _ *Log) error {
		builds.Add(1)
		time.Sleep(100 * time.Millisecond)
		return os.WriteFile(filepath.Join(dir, "file"), nil, 0o644)
	}}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			dir, err := c.Get(t.Context(), r)
			assert.NoError(t, err)
			assert.FileExists(t, filepath.Join(dir, "file"))
		})
	}
	wg.Wait()
	assert.EqualValues(t, 1, builds.Load())
	assert.Contains(t, progress.String(), "shared: another process is building it, waiting")
}

func TestProcessesBuildOnce(t *testing.T) {
	c, _ := openCache(t)
	others := []*exec.Cmd{startChild(t, c.dir, "build"), startChild(t, c.dir, "build")}
	dir, err := c.Get(t.Context(), slowRecipe(false))
	require.NoError(t, err)
	for _, o := range others {
		require.NoError(t, o.Wait())
	}
	started, err := os.ReadFile(filepath.Join(c.dir, "started"))
	require.NoError(t, err)
	assert.Equal(t, "x\n", string(started), "one x a build")
	assert.FileExists(t, filepath.Join(dir, "second"))
}

// A killed build leaves no result, no lock and no process; the next one starts
// afresh.
func TestKilledBuild(t *testing.T) {
	c, _ := openCache(t)
	child := startChild(t, c.dir, "hang")
	worker := waitForWorker(t, c.dir)
	r := slowRecipe(false)
	half := filepath.Join(c.dir, "tmp", r.Key(), "first")
	require.FileExists(t, half)
	require.NoError(t, os.WriteFile(half+".stale", nil, 0o644))

	require.NoError(t, child.Process.Kill())
	_ = child.Wait()
	_, ok := c.Lookup(r)
	assert.False(t, ok, "half a result counts as one")
	assert.Eventually(t, func() bool { return ended(worker) }, 5*time.Second, 10*time.Millisecond,
		"the compiler outlived the build that was killed")

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	dir, err := c.Get(ctx, r)
	require.NoError(t, err)
	assert.FileExists(t, filepath.Join(dir, "second"))
	assert.NoFileExists(t, filepath.Join(dir, "first.stale"), "what the killed build left is in the result")
	assert.Empty(t, entries(t, c, "tmp"))
}

// waitForWorker waits for the process that does the work of slowRecipe.
func waitForWorker(t *testing.T, dir string) (pid int) {
	t.Helper()
	require.Eventually(t, func() bool {
		b, err := os.ReadFile(filepath.Join(dir, "worker"))
		if err != nil {
			return false
		}
		pid, err = strconv.Atoi(strings.TrimSpace(string(b)))
		return err == nil
	}, 10*time.Second, 5*time.Millisecond)
	return pid
}

// ended tells whether a process runs no more. Where PID 1 does not wait for
// orphans, as in many containers, it stays as a zombie.
func ended(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.Contains(string(stat), ") Z ")
}

func TestCancelledBuild(t *testing.T) {
	c, _ := openCache(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		waitForWorker(t, c.dir)
		cancel()
	}()
	_, err := c.Get(ctx, slowRecipe(true))
	assert.ErrorIs(t, err, context.Canceled)
	assert.Empty(t, entries(t, c, "tmp"))
	worker := waitForWorker(t, c.dir)
	assert.Eventually(t, func() bool { return ended(worker) }, 5*time.Second, 10*time.Millisecond)
}

func TestWaitingEndsWithContext(t *testing.T) {
	c, _ := openCache(t)
	unlock, err := c.lock(t.Context(), fileRecipe("x"))
	require.NoError(t, err)
	defer unlock()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = c.Get(ctx, fileRecipe("x"))
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	assert.ErrorContains(t, err, "by another process")
}

func TestFailedBuild(t *testing.T) {
	c, progress := openCache(t)
	r := Recipe{Name: "bad", Make: func(ctx context.Context, dir string, log *Log) error {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "locked"), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "locked", "half"), nil, 0o644))
		require.NoError(t, os.Chmod(filepath.Join(dir, "locked"), 0o555))
		log.Step("compiling")
		return log.Run(ctx, dir, nil, "sh", "-c", "echo line 7: syntax error >&2; exit 3")
	}}
	_, err := c.Get(t.Context(), r)
	require.Error(t, err)
	logFile := filepath.Join(c.dir, "log", r.Key())
	assert.ErrorContains(t, err, "building bad")
	assert.ErrorContains(t, err, "exit status 3")
	assert.ErrorContains(t, err, "line 7: syntax error", "the tail of the log")
	assert.ErrorContains(t, err, "read "+logFile)
	assert.Equal(t, result.Host, result.OwnerOf(err))
	assert.Contains(t, progress.String(), "bad: failed after")
	assert.Contains(t, progress.String(), logFile)
	_, ok := c.Lookup(r)
	assert.False(t, ok)
	assert.Empty(t, entries(t, c, "tmp"))
	assert.Empty(t, entries(t, c, "times"), "a failure says nothing about how long a build takes")
	assert.Empty(t, c.Uses())
	log, err := os.ReadFile(logFile)
	require.NoError(t, err)
	assert.Contains(t, string(log), "== compiling")
}

func TestFailureKeepsItsOwner(t *testing.T) {
	c, _ := openCache(t)
	_, err := c.Get(t.Context(), Recipe{Name: "edu", Make: func(context.Context, string, *Log) error {
		return result.Errorf(result.Submission, "edu.c does not compile")
	}})
	assert.Equal(t, result.Submission, result.OwnerOf(err))
}

func TestMissingProgram(t *testing.T) {
	c, _ := openCache(t)
	_, err := c.Get(t.Context(), Recipe{Name: "x", Make: func(ctx context.Context, dir string, log *Log) error {
		return log.Run(ctx, dir, nil, "no-such-compiler", "-v")
	}})
	assert.ErrorIs(t, err, exec.ErrNotFound)
	assert.ErrorContains(t, err, "no-such-compiler")
}

func TestNoSpace(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("virtlab-test", dir, "tmpfs", 0, "size=80m"); err != nil {
		t.Skipf("a full disk is a small tmpfs, and mounting one takes root: %v", err)
	}
	defer func() { assert.NoError(t, unix.Unmount(dir, 0)) }()
	c, err := OpenCache(filepath.Join(dir, "virtlab"), io.Discard)
	require.NoError(t, err)
	fill := func(tell func(error) error) Recipe {
		return Recipe{Name: "big", Make: func(_ context.Context, dir string, _ *Log) error {
			return tell(os.WriteFile(filepath.Join(dir, "file"), make([]byte, 100<<20), 0o644))
		}}
	}
	tests := map[string]func(error) error{
		"the error says so":            func(err error) error { return err },
		"the compiler says it in text": func(error) error { return errors.New("gcc: cannot write") },
		"a submission's compiler": func(error) error {
			return result.Errorf(result.Submission, "edu.c does not compile")
		},
	}
	for name, tell := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := c.Get(t.Context(), fill(tell))
			require.Error(t, err)
			assert.ErrorContains(t, err, "no space left in the cache "+c.dir)
			assert.ErrorContains(t, err, "XDG_CACHE_HOME")
			assert.Equal(t, result.Host, result.OwnerOf(err), "a full disk is nobody else's fault")
			assert.Empty(t, entries(t, c, "tmp"))
		})
	}
}

func TestDefaultDir(t *testing.T) {
	tests := []struct{ xdg, home, want, err string }{
		{"/c", "/h", "/c/virtlab", ""},
		{"", "/h", "/h/.cache/virtlab", ""},
		{"rel/cache", "/h", "", `XDG_CACHE_HOME is the relative path "rel/cache"`},
		{"./rel", "/h", "", "XDG_CACHE_HOME=$PWD/rel"},
		{"", "", "", "set XDG_CACHE_HOME"},
	}
	for _, tt := range tests {
		t.Run(tt.xdg+" "+tt.home, func(t *testing.T) {
			t.Setenv("XDG_CACHE_HOME", tt.xdg)
			t.Setenv("HOME", tt.home)
			dir, err := DefaultDir()
			assert.Equal(t, tt.want, dir)
			if tt.err == "" {
				assert.NoError(t, err)
			} else {
				assert.ErrorContains(t, err, tt.err)
			}
		})
	}
}

func TestRelativeCacheDir(t *testing.T) {
	_, err := OpenCache("cache", io.Discard)
	assert.ErrorContains(t, err, `"cache" is a relative path`)
	assert.NoDirExists(t, "cache")
}

func TestUnwritableCache(t *testing.T) {
	blocked := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(blocked, nil, 0o644))
	_, err := OpenCache(filepath.Join(blocked, "virtlab"), io.Discard)
	assert.ErrorContains(t, err, "cannot create the cache")
	assert.ErrorContains(t, err, "make "+blocked+" writable or set XDG_CACHE_HOME elsewhere")
}

// A cache that another user filled is good for what it has.
func TestReadOnlyCache(t *testing.T) {
	if os.Getuid() == 0 {
		t.Skip("root may write everywhere")
	}
	c, _ := openCache(t)
	dir, err := c.Get(t.Context(), fileRecipe("there"))
	require.NoError(t, err)
	lock := filepath.Join(c.dir, "lock")
	require.NoError(t, os.Chmod(lock, 0o555))
	defer func() { assert.NoError(t, os.Chmod(lock, 0o755)) }()
	found, err := c.Get(t.Context(), fileRecipe("there"))
	require.NoError(t, err)
	assert.Equal(t, dir, found)
	_, err = c.Get(t.Context(), fileRecipe("not there"))
	assert.ErrorContains(t, err, "is not writable")
	assert.ErrorContains(t, err, "XDG_CACHE_HOME")
}

func TestTreeInput(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644))
	}
	write("a", "1")
	write("sub/b", "2")
	before, err := TreeInput(dir)
	require.NoError(t, err)
	write("sub/b", "3")
	changed, err := TreeInput(dir)
	require.NoError(t, err)
	assert.NotEqual(t, before, changed, "content")
	write("sub/b", "2")
	require.NoError(t, os.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "c")))
	renamed, err := TreeInput(dir)
	require.NoError(t, err)
	assert.NotEqual(t, before, renamed, "name")
	_, err = TreeInput(filepath.Join(dir, "none"))
	assert.ErrorIs(t, err, os.ErrNotExist)
}
