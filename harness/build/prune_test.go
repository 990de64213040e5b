package build

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"virtlab/harness/result"
)

const day = 24 * time.Hour

// oldResult puts a result into the cache as another process left it: nobody holds
// it, and it was used age ago.
func oldResult(t *testing.T, c *Cache, key string, age time.Duration) (dir string) {
	t.Helper()
	dir = filepath.Join(c.dir, key)
	require.NoError(t, os.MkdirAll(dir, 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), make([]byte, 1<<20), 0o644))
	require.NoError(t, os.WriteFile(filepath.Join(c.dir, "log", key), nil, 0o644))
	setAge(t, c, dir, age)
	return dir
}

func setAge(t *testing.T, c *Cache, path string, age time.Duration) {
	t.Helper()
	require.NoError(t, os.Chtimes(path, time.Time{}, c.now().Add(-age)))
}

// keyOf is a key of name, the nth.
func keyOf(name string, n int) string { return fmt.Sprintf("%s-%012x", name, n) }

// letGo ends this process's use of a result.
func letGo(dir string) {
	holds.Lock()
	defer holds.Unlock()
	release(dir)
}

func mustPrune(t *testing.T, c *Cache) Pruned {
	t.Helper()
	p, err := c.Prune(t.Context())
	require.NoError(t, err)
	return p
}

func TestDispensable(t *testing.T) {
	const slow, quick, another = "kernel", "tools", "tools-new"
	keep := func(name string) int { return map[string]int{slow: 3, quick: 2, another: 2}[name] }
	hours := func(name string, ages ...int) (all []entry) {
		for _, age := range ages {
			all = append(all, entry{keyOf(name, age), name, time.Unix(0, 0).Add(time.Duration(-age) * time.Hour)})
		}
		return all
	}
	tests := []struct {
		name      string
		have, out []entry
	}{
		{"nothing", nil, nil},
		{"all of today stay, however many", hours(quick, 0, 1, 2, 3, 4, 5, 23), nil},
		{"used in the future: of today", hours(quick, -9999, -1, 0, 30, 40), nil},
		{"two quick ones before today stay", hours(quick, 1, 24, 30, 31, 99), hours(quick, 31, 99)},
		{"three slow ones before today stay", hours(slow, 1, 24, 30, 31, 99), hours(slow, 99)},
		{"listed in any order", hours(quick, 99, 30, 31, 1, 24), hours(quick, 31, 99)},
		{"nothing outlives two weeks", append(hours(slow, 14*24), hours(quick, 14*24-1, 9999)...), append(hours(slow, 14*24), hours(quick, 9999)...)},
		{"names do not count together", append(hours(quick, 30, 31), hours(another, 32, 33)...), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			assert.ElementsMatch(t, tt.out, dispensable(tt.have, time.Unix(0, 0), keep))
		})
	}
}

// What a name's builds cost is read where builds note it.
func TestSlowBuildsAreKeptLonger(t *testing.T) {
	c, _ := openCache(t)
	for name, seconds := range map[string]string{"kernel": "454.0", "kvm": "59.9", "qemu": "60.0\n", "odd": "x"} {
		require.NoError(t, os.WriteFile(filepath.Join(c.dir, "times", name), []byte(seconds), 0o644))
	}
	for name, want := range map[string]int{"kernel": keepSlow, "qemu": keepSlow, "kvm": keepQuick, "odd": keepSlow, "never timed": keepSlow} {
		assert.Equal(t, want, c.keeps(name), name)
	}
}

func TestPrune(t *testing.T) {
	c, _ := openCache(t)
	gone := []string{oldResult(t, c, keyOf("tools", 1), 15*day), oldResult(t, c, keyOf("tools", 2), 30*day)}
	stays := oldResult(t, c, keyOf("tools", 3), 13*day)
	p := mustPrune(t, c)
	assert.Equal(t, 2, p.Results)
	assert.Zero(t, p.Leftovers)
	assert.WithinDuration(t, c.now().Add(-15*day), p.Unused, time.Minute, "the one used last of those that went")
	assert.InDelta(t, 2<<20, p.Bytes, 64<<10)
	for _, dir := range gone {
		assert.NoDirExists(t, dir)
		assert.NoFileExists(t, filepath.Join(c.dir, "log", filepath.Base(dir)))
		assert.FileExists(t, filepath.Join(c.dir, "lock", filepath.Base(dir)))
	}
	assert.FileExists(t, filepath.Join(stays, "file"))
	assert.FileExists(t, filepath.Join(c.dir, "log", filepath.Base(stays)))
	assert.Empty(t, entries(t, c, "tmp"))
	assert.Equal(t, Pruned{}, mustPrune(t, c), "the second time there is nothing left to do")
}

// Builds leave directories without write permission.
func TestPruneReadOnlyTree(t *testing.T) {
	c, _ := openCache(t)
	dir := oldResult(t, c, keyOf("tools", 1), 15*day)
	require.NoError(t, os.Mkdir(filepath.Join(dir, "sub"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "sub", "file"), nil, 0o444))
	require.NoError(t, os.Chmod(filepath.Join(dir, "sub"), 0o555))
	setAge(t, c, dir, 15*day)
	assert.Equal(t, 1, mustPrune(t, c).Results)
	assert.NoDirExists(t, dir)
	assert.Empty(t, entries(t, c, "tmp"))
}

func TestPruneLeavesForeignFilesAlone(t *testing.T) {
	c, _ := openCache(t)
	elsewhere := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(elsewhere, "precious"), nil, 0o644))
	for _, sub := range []string{"", "tmp", "log", "lock", "times"} {
		in := filepath.Join(c.dir, sub)
		for _, name := range []string{"photos", "photos-2026", "-0123456789ab", "a-0123456789abc", "a-0123456789AB", "a-0123456789ab.bak", ".git"} {
			require.NoError(t, os.Mkdir(filepath.Join(in, name), 0o755))
			setAge(t, c, filepath.Join(in, name), 999*day)
		}
		require.NoError(t, os.Symlink(elsewhere, filepath.Join(in, keyOf("link", 1))))
	}
	file := filepath.Join(c.dir, keyOf("file", 1))
	require.NoError(t, os.WriteFile(file, nil, 0o644))
	setAge(t, c, file, 999*day)
	setAge(t, c, elsewhere, 999*day)
	before := tree(t, c.dir)
	assert.Equal(t, Pruned{}, mustPrune(t, c))
	assert.Equal(t, before, tree(t, c.dir))
	assert.FileExists(t, filepath.Join(elsewhere, "precious"))
}

// tree lists all paths below dir.
func tree(t *testing.T, dir string) (paths []string) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(dir, func(p string, _ os.DirEntry, err error) error {
		paths = append(paths, p)
		return err
	}))
	return paths
}

func TestUseIsStamped(t *testing.T) {
	c, _ := openCache(t)
	now := time.Unix(1_800_000_000, 0)
	c.now = func() time.Time { return now }
	dir, err := c.Get(t.Context(), fileRecipe("x"))
	require.NoError(t, err)
	built := now
	steps := []struct {
		name    string
		forward time.Duration
		want    func() time.Time
	}{
		{"at once: no need to write", time.Minute, func() time.Time { return built }},
		{"later", day, func() time.Time { return now }},
		{"a clock that was ahead", -3 * day, func() time.Time { return now }},
	}
	for _, step := range steps {
		now = now.Add(step.forward)
		_, ok := c.Lookup(fileRecipe("x"))
		require.True(t, ok)
		st, err := os.Stat(dir)
		require.NoError(t, err)
		assert.True(t, step.want().Equal(st.ModTime()), "%s: stamped %s, want %s", step.name, st.ModTime(), step.want())
	}
}

// However long a process runs, what it got stays: after the Cache was forgotten
// and collected as garbage, too.
func TestPruneLeavesWhatThisProcessGot(t *testing.T) {
	c, _ := openCache(t)
	built, err := c.Get(t.Context(), fileRecipe("built"))
	require.NoError(t, err)
	found := oldResult(t, c, fileRecipe("found").Key(), 0)
	another, err := OpenCache(c.dir, io.Discard)
	require.NoError(t, err)
	_, ok := another.Lookup(fileRecipe("found"))
	require.True(t, ok)
	another = nil
	runtime.GC()
	runtime.GC() // the first one queues what closes files

	c.now = func() time.Time { return time.Now().Add(99 * day) }
	assert.Equal(t, Pruned{}, mustPrune(t, c))
	letGo(built)
	letGo(found)
	assert.Equal(t, 2, mustPrune(t, c).Results)
}

// holdUntilEOF gets a result, says so, and uses it until its input ends.
func holdUntilEOF(c *Cache) error {
	if err := getIn(c, fileRecipe("held")); err != nil {
		return err
	}
	fmt.Println("held")
	_, err := io.Copy(io.Discard, os.Stdin)
	return err
}

// startHolder starts a process that uses the result of fileRecipe("held") until
// stop is called.
func startHolder(t *testing.T, c *Cache) (process *exec.Cmd, stop func()) {
	t.Helper()
	p := child(t, c.dir, "hold")
	in, err := p.StdinPipe()
	require.NoError(t, err)
	out, err := p.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.Start())
	line, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "held\n", line)
	return p, func() { in.Close(); _ = p.Wait() }
}

func TestPruneLeavesWhatAnotherProcessUses(t *testing.T) {
	ends := map[string]func(process *exec.Cmd, stop func()){
		"ends":      func(_ *exec.Cmd, stop func()) { stop() },
		"is killed": func(p *exec.Cmd, stop func()) { _ = p.Process.Kill(); stop() },
	}
	for name, end := range ends {
		t.Run(name, func(t *testing.T) {
			c, _ := openCache(t)
			one, stopOne := startHolder(t, c)
			two, stopTwo := startHolder(t, c)
			c.now = func() time.Time { return time.Now().Add(99 * day) }
			assert.Zero(t, mustPrune(t, c).Results, "two processes use it")
			end(one, stopOne)
			assert.Zero(t, mustPrune(t, c).Results, "one process uses it")
			end(two, stopTwo)
			assert.Equal(t, 1, mustPrune(t, c).Results)
		})
	}
}

// A result that was removed by hand is built anew, and then it is the new one
// that is held.
func TestHoldFollowsTheResult(t *testing.T) {
	c, _ := openCache(t)
	dir, err := c.Get(t.Context(), fileRecipe("x"))
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(dir))
	_, ok := c.Lookup(fileRecipe("x"))
	assert.False(t, ok)
	_, err = c.Get(t.Context(), fileRecipe("x"))
	require.NoError(t, err)
	c.now = func() time.Time { return time.Now().Add(99 * day) }
	assert.Zero(t, mustPrune(t, c).Results)
	assert.FileExists(t, filepath.Join(dir, "file"))
}

// A result that was used after Prune looked at its age stays.
func TestPruneLooksTwice(t *testing.T) {
	c, _ := openCache(t)
	dir := oldResult(t, c, keyOf("tools", 1), 15*day)
	listed, err := os.Stat(dir)
	require.NoError(t, err)
	setAge(t, c, dir, 0)
	var p Pruned
	require.NoError(t, c.removeResult(entry{keyOf("tools", 1), "tools", listed.ModTime()}, &p))
	assert.Equal(t, Pruned{}, p)
	assert.DirExists(t, dir)
}

// A reader that comes while Prune has the result in hand waits, and then sees
// what there is: nothing, or what another process has built anew meanwhile.
func TestLookupDuringRemoval(t *testing.T) {
	for _, rebuilt := range []bool{false, true} {
		t.Run(fmt.Sprintf("rebuilt %t", rebuilt), func(t *testing.T) {
			c, _ := openCache(t)
			r := fileRecipe("x")
			dir := oldResult(t, c, r.Key(), 15*day)
			removing := resultLock(dir)
			require.NoError(t, removing.Lock())
			found := make(chan bool)
			go func() { _, ok := c.Lookup(r); found <- ok }()
			select {
			case <-found:
				t.Fatal("Lookup did not wait")
			case <-time.After(50 * time.Millisecond):
			}
			require.NoError(t, os.Rename(dir, filepath.Join(c.dir, "tmp", r.Key())))
			if rebuilt {
				oldResult(t, c, r.Key(), 15*day)
			}
			require.NoError(t, removing.Unlock())
			assert.Equal(t, rebuilt, <-found)
			setAge(t, c, filepath.Join(c.dir, "tmp", r.Key()), 0)
			if rebuilt {
				setAge(t, c, dir, 15*day)
			}
			assert.Equal(t, Pruned{}, mustPrune(t, c), "what Lookup gave is held")
		})
	}
}

func TestPruneLeavesBuildsAlone(t *testing.T) {
	c, _ := openCache(t)
	building := startChild(t, c.dir, "hang")
	defer func() { _ = building.Process.Kill(); _ = building.Wait() }()
	waitForWorker(t, c.dir)
	key := slowRecipe(true).Key()
	half, log := filepath.Join(c.dir, "tmp", key), filepath.Join(c.dir, "log", key)
	setAge(t, c, half, 3*day)
	setAge(t, c, log, 3*day)
	assert.Equal(t, Pruned{}, mustPrune(t, c), "a build of three days is at work")
	assert.FileExists(t, filepath.Join(half, "first"))
	assert.FileExists(t, log)

	require.NoError(t, building.Process.Kill())
	_ = building.Wait()
	setAge(t, c, half, day-time.Minute)
	assert.Equal(t, Pruned{}, mustPrune(t, c), "it was killed today")
	setAge(t, c, half, day)
	p := mustPrune(t, c)
	assert.Equal(t, 1, p.Leftovers)
	assert.Positive(t, p.Bytes)
	assert.NoDirExists(t, half)
	assert.NoFileExists(t, log)
}

// The log of a failed build is there for a day.
func TestPruneLogs(t *testing.T) {
	c, _ := openCache(t)
	_, err := c.Get(t.Context(), Recipe{Name: "bad", Make: func(context.Context, string, *Log) error { return errors.New("no") }})
	require.Error(t, err)
	mustPrune(t, c)
	assert.Len(t, entries(t, c, "log"), 1)
	c.now = func() time.Time { return time.Now().Add(day) }
	assert.Equal(t, Pruned{}, mustPrune(t, c), "a log is not worth a line")
	assert.Empty(t, entries(t, c, "log"))
}

// A Prune that is killed leaves each result whole or gone; the next one, or a
// build, clears away what it left.
func TestKilledPrune(t *testing.T) {
	c, _ := openCache(t)
	r := fileRecipe("many")
	dir, trash := filepath.Join(c.dir, r.Key()), filepath.Join(c.dir, "tmp", r.Key())
	for files := 1000; ; files *= 2 {
		require.Less(t, files, 1<<17, "it was never caught at work")
		fill(t, oldResult(t, c, r.Key(), 0), files)
		setAge(t, c, dir, 15*day)
		p := startChild(t, c.dir, "prune")
		require.Eventually(t, func() bool { _, err := os.Stat(dir); return err != nil }, 10*time.Second, 100*time.Microsecond)
		require.NoError(t, p.Process.Kill())
		_ = p.Wait()
		if _, err := os.Stat(trash); err == nil {
			break
		}
	}
	_, ok := c.Lookup(r)
	assert.False(t, ok, "a result half removed counts as one")

	c.now = func() time.Time { return time.Now().Add(day) }
	assert.Equal(t, 1, mustPrune(t, c).Leftovers)
	assert.NoDirExists(t, trash)

	require.NoError(t, os.Mkdir(trash, 0o755))
	fill(t, trash, 10)
	_, err := c.Get(t.Context(), r)
	require.NoError(t, err)
	assert.Len(t, entries(t, c, r.Key()), 1, "what was half removed is in the new result")
}

func fill(t *testing.T, dir string, files int) {
	t.Helper()
	for i := range files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), nil, 0o644))
	}
}

// churn uses a result again and again, as if each time were a run that ended
// long ago.
func churn(c *Cache) error {
	for range 30 {
		dir, err := c.Get(context.Background(), fileRecipe("churned"))
		if err != nil {
			return err
		}
		past := time.Now().Add(-99 * day)
		if err := os.Chtimes(dir, past, past); err != nil {
			return fmt.Errorf("the result vanished in use: %w", err)
		}
		time.Sleep(rand.N(time.Millisecond)) // time enough to prune it, if it could
		if _, err := os.Stat(filepath.Join(dir, "file")); err != nil {
			return fmt.Errorf("the result vanished in use: %w", err)
		}
		letGo(dir)
		time.Sleep(rand.N(10 * time.Millisecond))
	}
	return nil
}

// Processes get a result while others remove it whenever nobody uses it: what
// Get gives never vanishes.
func TestGetDuringPrune(t *testing.T) {
	c, _ := openCache(t)
	var users []*exec.Cmd
	for range 3 {
		users = append(users, startChild(t, c.dir, "churn"))
	}
	done := make(chan struct{})
	var pruners sync.WaitGroup
	removed := make([]int, 2)
	for i := range removed {
		pruners.Go(func() {
			for {
				p, err := c.Prune(t.Context())
				assert.NoError(t, err)
				removed[i] += p.Results
				select {
				case <-done:
					return
				default:
				}
			}
		})
	}
	for _, u := range users {
		assert.NoError(t, u.Wait())
	}
	close(done)
	pruners.Wait()
	t.Logf("removed %d and %d times", removed[0], removed[1])
	assert.Positive(t, removed[0]+removed[1], "nothing was ever removed in between")
}

// A cache on a read-only file system gives what it has and is not pruned.
func TestPruneReadOnlyCache(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("virtlab-test", dir, "tmpfs", 0, "size=8m"); err != nil {
		t.Skipf("a read-only file system is a tmpfs, and mounting one takes root: %v", err)
	}
	// Lazily, as this process holds a result there.
	defer func() { assert.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) }()
	c, err := OpenCache(filepath.Join(dir, "virtlab"), io.Discard)
	require.NoError(t, err)
	want := oldResult(t, c, fileRecipe("there").Key(), 15*day)
	require.NoError(t, unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY, ""))
	c, err = OpenCache(c.dir, io.Discard)
	require.NoError(t, err)
	got, err := c.Get(t.Context(), fileRecipe("there"))
	require.NoError(t, err)
	assert.Equal(t, want, got)
	assert.Equal(t, Pruned{}, mustPrune(t, c))
	require.NoError(t, unix.Mount("", dir, "", unix.MS_REMOUNT, ""))
	assert.Equal(t, Pruned{}, mustPrune(t, c), "without a stamp it is held all the same")
	letGo(want)
	assert.Equal(t, 1, mustPrune(t, c).Results)
}

// One that resists is said, with its owner, and the others go.
func TestPruneGoesOnAfterTrouble(t *testing.T) {
	c, _ := openCache(t)
	for n := range 3 {
		oldResult(t, c, keyOf("tools", n), 15*day+time.Duration(n)*time.Hour)
	}
	require.NoError(t, os.Mkdir(filepath.Join(c.dir, "lock", keyOf("tools", 1)), 0o755), "no file can be locked there")
	p, err := c.Prune(t.Context())
	assert.ErrorContains(t, err, "cannot remove "+keyOf("tools", 1)+" from the cache")
	assert.ErrorContains(t, err, "make clean CACHE=1")
	assert.Equal(t, result.Host, result.OwnerOf(err))
	assert.Equal(t, 2, p.Results)
	left, err := c.entries(".", os.ModeDir)
	require.NoError(t, err)
	require.Len(t, left, 1)
	assert.Equal(t, keyOf("tools", 1), left[0].key)
}

func TestCancelledPrune(t *testing.T) {
	c, _ := openCache(t)
	dir := oldResult(t, c, keyOf("tools", 1), 15*day)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p, err := c.Prune(ctx)
	assert.ErrorIs(t, err, context.Canceled)
	assert.Equal(t, Pruned{}, p)
	assert.DirExists(t, dir)
}

func TestDiskUsageOfSparseFiles(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "disk"))
	require.NoError(t, err)
	require.NoError(t, errors.Join(f.Truncate(1<<30), f.Close()))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "file"), []byte(strings.Repeat("x", 1<<20)), 0o644))
	assert.InDelta(t, 1<<20, DiskUsage(dir), 64<<10)
	assert.Zero(t, DiskUsage(filepath.Join(dir, "none")))
}
