package machine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/machine"
	"virtlab/harness/result"
)

// asParent makes the test binary the parent that TestParentDeath kills.
const asParent = "VIRTLAB_TEST_PARENT"

func init() {
	if os.Getenv(asParent) != "" {
		// The runtime never ends the process's first thread. Held by the main
		// goroutine, it cannot be the one that startOnDyingThread ends.
		runtime.LockOSThread()
	}
}

func TestMain(m *testing.M) {
	if mode := os.Getenv(asParent); mode != "" {
		parent(mode)
		return
	}
	os.Exit(m.Run())
}

// parent starts a program, prints its process id and waits to be killed.
func parent(mode string) {
	start := startSleep
	if mode == "dying thread" {
		start = startOnDyingThread
	}
	child := start()
	churn(200)
	fmt.Println(machine.Pid(child))
	fmt.Println(child.Wait())
}

func startSleep() machine.Process {
	p, err := machine.Host.Start(context.Background(), machine.Cmd{Args: []string{"sleep", "1000"}})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	return p
}

// startOnDyingThread calls Start on a thread that ends right after it.
func startOnDyingThread() (p machine.Process) {
	var wg sync.WaitGroup
	wg.Go(func() {
		runtime.LockOSThread()
		p = startSleep()
	})
	wg.Wait()
	return p
}

// churn makes the runtime end operating system threads: one whose goroutine
// ends while locked to it is not used again.
func churn(n int) {
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			runtime.LockOSThread()
			time.Sleep(time.Millisecond)
		})
	}
	wg.Wait()
	time.Sleep(50 * time.Millisecond)
}

func run(t *testing.T, args ...string) (string, error) {
	t.Helper()
	return machine.Run(t.Context(), machine.Host, args...)
}

func start(t *testing.T, ctx context.Context, cmd machine.Cmd) machine.Process {
	t.Helper()
	p, err := machine.Host.Start(ctx, cmd)
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Kill() })
	return p
}

// within fails the test if f is not done after d.
func within(t *testing.T, d time.Duration, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() { f(); close(done) }()
	select {
	case <-done:
	case <-time.After(d):
		require.Fail(t, what+" took too long", "more than %s", d)
	}
}

// dead tells whether process pid has ended; a zombie has.
func dead(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	_, state, _ := strings.Cut(string(stat), ") ")
	return strings.HasPrefix(state, "Z") || strings.HasPrefix(state, "X")
}

func assertDies(t *testing.T, pid int) {
	t.Helper()
	assert.Eventually(t, func() bool { return dead(pid) }, 5*time.Second, 5*time.Millisecond, "process %d lives on", pid)
}

// pidFile waits until a shell has written a process id to path.
func pidFile(t *testing.T, path string) int {
	t.Helper()
	var pid int
	require.Eventually(t, func() bool {
		b, _ := os.ReadFile(path)
		n, err := strconv.Atoi(strings.TrimSpace(string(b)))
		pid = n
		return err == nil && strings.HasSuffix(string(b), "\n")
	}, 5*time.Second, 5*time.Millisecond)
	return pid
}

func TestRun(t *testing.T) {
	out, err := run(t, "printf", "%s|", "a b", "", "c\nd", `"'`)
	require.NoError(t, err)
	assert.Equal(t, "a b||c\nd|\"'|", out)
}

func TestRunCmd(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	t.Setenv("VIRTLAB_A", "old")
	out, err := machine.RunCmd(t.Context(), machine.Host, machine.Cmd{
		Args:  []string{"sh", "-c", `pwd; echo "$VIRTLAB_A $VIRTLAB_B"; cat`},
		Dir:   dir,
		Env:   []string{"VIRTLAB_A=new", "VIRTLAB_B=x y"},
		Stdin: strings.NewReader("from stdin"),
	})
	require.NoError(t, err)
	assert.Equal(t, dir+"\nnew x y\nfrom stdin", out)
}

func TestRunCmdStdinFile(t *testing.T) {
	f, err := os.Open(os.DevNull)
	require.NoError(t, err)
	defer f.Close()
	out, err := machine.RunCmd(t.Context(), machine.Host, machine.Cmd{Args: []string{"readlink", "/proc/self/fd/0"}, Stdin: f})
	require.NoError(t, err)
	assert.Equal(t, os.DevNull+"\n", out, "a file is handed on as it is")
}

func TestRunErrors(t *testing.T) {
	for _, c := range []struct {
		name   string
		script string
		exit   machine.ExitError
		text   string
	}{
		{"status", "exit 3", machine.ExitError{Status: 3}, "host: sh -c exit 3: exit status 3"},
		{"status and stderr", "echo oh no >&2; exit 1", machine.ExitError{Status: 1, Stderr: "oh no"}, "host: sh -c echo oh no >&2; exit 1: exit status 1: oh no"},
		{"killed", "kill -KILL $$", machine.ExitError{Status: -1, Signal: "killed"}, "host: sh -c kill -KILL $$: ended by signal: killed"},
		{"crashed", "kill -SEGV $$", machine.ExitError{Status: -1, Signal: "segmentation fault"}, "host: sh -c kill -SEGV $$: ended by signal: segmentation fault"},
		{"stdout is not lost", "echo out; exit 2", machine.ExitError{Status: 2}, "exit status 2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, err := run(t, "sh", "-c", c.script)
			var exit *machine.ExitError
			require.ErrorAs(t, err, &exit)
			assert.Equal(t, c.exit, *exit)
			assert.ErrorContains(t, err, c.text)
			assert.Equal(t, strings.Contains(c.script, "echo out"), out == "out\n")
		})
	}
}

func TestRunKeepsTheLastLinesOfStderr(t *testing.T) {
	_, err := run(t, "sh", "-c", "seq 1 1000 >&2; exit 1")
	var exit *machine.ExitError
	require.ErrorAs(t, err, &exit)
	assert.Equal(t, "991\n992\n993\n994\n995\n996\n997\n998\n999\n1000", exit.Stderr)
}

func TestStartErrors(t *testing.T) {
	_, err := machine.Host.Start(t.Context(), machine.Cmd{})
	assert.EqualError(t, err, "no program to run")

	_, err = run(t, "virtlab-no-such-program")
	require.ErrorIs(t, err, exec.ErrNotFound)
	assert.ErrorContains(t, err, "starting virtlab-no-such-program: ")
	assert.Equal(t, result.Host, result.OwnerOf(err))

	_, err = machine.RunCmd(t.Context(), machine.Host, machine.Cmd{Args: []string{"true"}, Dir: "/no/such/dir"})
	assert.ErrorIs(t, err, os.ErrNotExist)
}

func TestKillEndsTheGroup(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	p := start(t, t.Context(), machine.Cmd{Args: []string{"sh", "-c", "sleep 1000 & echo $! > " + file + "; wait"}})
	child := pidFile(t, file)
	require.NoError(t, p.Kill())
	within(t, 5*time.Second, "Wait", func() {
		var exit *machine.ExitError
		require.ErrorAs(t, p.Wait(), &exit)
		assert.Equal(t, "killed", exit.Signal)
	})
	assertDies(t, child)
	assert.NoError(t, p.Kill(), "to kill the dead is no error")
}

func TestContextEndsTheGroup(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		pidFile(t, file)
		cancel(errors.New("enough"))
	}()
	_, err := machine.Run(ctx, machine.Host, "sh", "-c", "sleep 1000 & echo $! > "+file+"; wait")
	require.ErrorContains(t, err, "enough (ended by signal: killed)")
	assertDies(t, pidFile(t, file))
}

func TestDeadlineIsInTheError(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := machine.Run(ctx, machine.Host, "sleep", "1000")
	assert.ErrorIs(t, err, context.DeadlineExceeded)
	var exit *machine.ExitError
	assert.ErrorAs(t, err, &exit)
}

func TestNothingIsLeftOfAProgramThatEnded(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	within(t, 5*time.Second, "Run", func() {
		out, err := run(t, "sh", "-c", "sleep 1000 & echo $! > "+file+"; echo done")
		assert.NoError(t, err)
		assert.Equal(t, "done\n", out)
	})
	assertDies(t, pidFile(t, file))
}

func TestEndlessStdinDoesNotHoldUpWait(t *testing.T) {
	r, w := io.Pipe() // nobody writes
	defer w.Close()
	p := start(t, t.Context(), machine.Cmd{Args: []string{"true"}, Stdin: r})
	within(t, 5*time.Second, "Wait", func() { assert.NoError(t, p.Wait()) })
}

func TestProgramThatReadsNothing(t *testing.T) {
	p := start(t, t.Context(), machine.Cmd{Args: []string{"true"}, Stdin: bytes.NewReader(make([]byte, 10<<20))})
	within(t, 5*time.Second, "Wait", func() { assert.NoError(t, p.Wait(), "unread input is no failure") })
}

func TestFloodIsComplete(t *testing.T) {
	out, err := run(t, "head", "-c", "50000000", "/dev/zero")
	require.NoError(t, err)
	assert.Len(t, out, 50_000_000)
}

func TestParallelRuns(t *testing.T) {
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			out, err := run(t, "echo", strconv.Itoa(i))
			assert.NoError(t, err)
			assert.Equal(t, strconv.Itoa(i)+"\n", out)
		})
	}
	wg.Wait()
}

// The child must die with this process, and with nothing else: not with the
// thread that happened to start it.
func TestParentDeath(t *testing.T) {
	for _, mode := range []string{"calm", "dying thread"} {
		t.Run(mode, func(t *testing.T) {
			c := exec.Command(os.Args[0])
			c.Env = append(os.Environ(), asParent+"="+mode)
			out, err := c.StdoutPipe()
			require.NoError(t, err)
			require.NoError(t, c.Start())
			t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
			var child int
			_, err = fmt.Fscanln(out, &child)
			require.NoError(t, err)
			time.Sleep(200 * time.Millisecond)
			require.False(t, dead(child), "it died before its parent")
			require.NoError(t, c.Process.Signal(syscall.SIGKILL))
			assertDies(t, child)
		})
	}
}

func TestPid(t *testing.T) {
	p := start(t, t.Context(), machine.Cmd{Args: []string{"sleep", "1000"}})
	exe, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", machine.Pid(p)))
	require.NoError(t, err)
	assert.Equal(t, "sleep\n", string(exe))
	assert.Zero(t, machine.Pid(nil))
}

func TestDial(t *testing.T) {
	path := filepath.Join(shortDir(t), "s")
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	defer l.Close()
	go func() {
		if c, err := l.Accept(); err == nil {
			_, _ = io.WriteString(c, "hello")
			c.Close()
		}
	}()
	c, err := machine.Host.Dial(t.Context(), path)
	require.NoError(t, err)
	b, err := io.ReadAll(c)
	require.NoError(t, err)
	assert.Equal(t, "hello", string(b))

	_, err = machine.Host.Dial(t.Context(), path+"-absent")
	assert.ErrorIs(t, err, os.ErrNotExist)
	_, err = machine.Host.Dial(t.Context(), "/tmp/"+strings.Repeat("x", 103))
	assert.ErrorContains(t, err, "has 108 bytes, the limit is 107")
}

// shortDir is t.TempDir for sockets: that one carries the test's name.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "vl")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// The limit is the kernel's: a path that CheckSocketPath lets through can be
// bound, one byte more cannot.
func TestCheckSocketPathAgreesWithTheKernel(t *testing.T) {
	dir := shortDir(t)
	longest := dir + "/" + strings.Repeat("s", 107-len(dir)-1)
	require.NoError(t, machine.CheckSocketPath(longest))
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	require.NoError(t, err)
	defer syscall.Close(fd)
	require.NoError(t, syscall.Bind(fd, &syscall.SockaddrUnix{Name: longest}))

	err = machine.CheckSocketPath(longest + "s")
	require.ErrorContains(t, err, "has 108 bytes, the limit is 107")
	assert.ErrorContains(t, err, "set TMPDIR to a short path")
	assert.NoError(t, machine.CheckSocketPath(""))
}

func TestFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	require.NoError(t, machine.Host.WriteFile(t.Context(), path, strings.NewReader("a long first content"), 0o600))
	require.NoError(t, machine.Host.WriteFile(t.Context(), path, strings.NewReader("short"), 0o755))
	b, err := machine.Host.ReadFile(t.Context(), path)
	require.NoError(t, err)
	assert.Equal(t, "short", string(b))
	st, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o755), st.Mode(), "whatever the umask and the mode before")

	require.NoError(t, machine.Host.RemoveAll(t.Context(), dir))
	assert.NoError(t, machine.Host.RemoveAll(t.Context(), dir), "gone already")
	_, err = machine.Host.ReadFile(t.Context(), path)
	assert.ErrorIs(t, err, os.ErrNotExist)
	assert.ErrorIs(t, machine.Host.WriteFile(t.Context(), path, strings.NewReader(""), 0o644), os.ErrNotExist)
}

func TestWriteFileReportsItsReader(t *testing.T) {
	broken := io.MultiReader(strings.NewReader("half"), errReader{})
	err := machine.Host.WriteFile(t.Context(), filepath.Join(t.TempDir(), "f"), broken, 0o644)
	assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
}

type errReader struct{}

func (errReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

func TestReadProc(t *testing.T) {
	b, err := machine.Host.ReadFile(t.Context(), "/proc/self/status")
	require.NoError(t, err)
	assert.Contains(t, string(b), "Pid:")
}

func TestTempDir(t *testing.T) {
	t.Setenv("TMPDIR", "/tmp")
	a, err := machine.Host.TempDir(t.Context())
	require.NoError(t, err)
	defer machine.Host.RemoveAll(t.Context(), a)
	b, err := machine.Host.TempDir(t.Context())
	require.NoError(t, err)
	defer machine.Host.RemoveAll(t.Context(), b)
	assert.NotEqual(t, a, b)
	st, err := os.Stat(a)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o700), st.Mode().Perm(), "private")
}

func TestTempDirTooLong(t *testing.T) {
	long := filepath.Join(t.TempDir(), strings.Repeat("d", 100))
	require.NoError(t, os.Mkdir(long, 0o755))
	t.Setenv("TMPDIR", long)
	_, err := machine.Host.TempDir(t.Context())
	require.ErrorContains(t, err, "the limit is 107")
	assert.ErrorContains(t, err, "set TMPDIR to a short path such as /tmp")
	left, err := os.ReadDir(long)
	require.NoError(t, err)
	assert.Empty(t, left, "what it could not use is removed")

	t.Setenv("TMPDIR", filepath.Join(long, "absent"))
	_, err = machine.Host.TempDir(t.Context())
	assert.ErrorContains(t, err, "set TMPDIR to a writable directory")
}

func TestUpload(t *testing.T) {
	dir := t.TempDir()
	src, dst := filepath.Join(dir, "src"), filepath.Join(dir, "dst")
	require.NoError(t, os.WriteFile(src, []byte("program"), 0o750))
	require.NoError(t, machine.Upload(t.Context(), machine.Host, src, dst))
	b, err := os.ReadFile(dst)
	require.NoError(t, err)
	assert.Equal(t, "program", string(b))
	st, err := os.Stat(dst)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o750), st.Mode().Perm())

	assert.ErrorIs(t, machine.Upload(t.Context(), machine.Host, src+"-absent", dst), os.ErrNotExist)
	assert.ErrorContains(t, machine.Upload(t.Context(), machine.Host, src, "/no/such/dir/f"), "copying src to host:/no/such/dir/f: ")
}
