package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/ssh"

	"virtlab/harness/guest"
	"virtlab/harness/guest/wire"
	"virtlab/harness/machine"
	"virtlab/harness/vmm"
)

// From the first program on, the reaper takes every child of this process, as in
// the guest: no test here may use os/exec.

// underneath is a machine on which a "VMM" runs whose guest is this process:
// its SSH port leads to serveConn. The rest of it is the host.
type underneath struct {
	machine.Machine
	port net.Conn // the guest's end, once dialled
}

type fakeVMM struct {
	once  sync.Once
	ended chan struct{}
}

func (p *fakeVMM) Wait() error { <-p.ended; return nil }

func (p *fakeVMM) Kill() error {
	p.once.Do(func() { close(p.ended) })
	return nil
}

func (u *underneath) Start(ctx context.Context, _ machine.Cmd) (machine.Process, error) {
	p := &fakeVMM{ended: make(chan struct{})}
	context.AfterFunc(ctx, func() { _ = p.Kill() })
	return p, nil
}

// Dial gives one end of a socket pair and serves the other.
func (u *underneath) Dial(context.Context, string) (net.Conn, error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	outside, err := fileConn(fds[0])
	if err != nil {
		return nil, err
	}
	if u.port, err = fileConn(fds[1]); err != nil {
		return nil, err
	}
	go func() {
		_ = serveConn(u.port, serverConfig())
		u.port.Close()
	}()
	return outside, nil
}

func fileConn(fd int) (net.Conn, error) {
	f := os.NewFile(uintptr(fd), "pair")
	defer f.Close()
	return net.FileConn(f)
}

type fakeDriver struct{}

func (fakeDriver) Name() string                         { return "fake" }
func (fakeDriver) Traits() vmm.Traits                   { return vmm.Traits{Ports: true} }
func (fakeDriver) Command(vmm.Config) ([]string, error) { return []string{"fake"}, nil }
func (fakeDriver) Explain(error, string) error          { return nil }

// boot gives a Guest whose inside is this process.
func bootHere(t *testing.T) (*guest.Guest, *underneath) {
	t.Helper()
	on := &underneath{Machine: machine.Host}
	g, err := guest.Boot(t.Context(), on, guest.Config{Name: "L1", Driver: fakeDriver{}})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, g.Close()) })
	return g, on
}

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

func assertDies(t *testing.T, pid int) {
	t.Helper()
	assert.Eventually(t, func() bool {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		_, state, _ := strings.Cut(string(stat), ") ")
		return err != nil || strings.HasPrefix(state, "Z")
	}, 5*time.Second, 5*time.Millisecond, "process %d lives on", pid)
}

func TestExecWords(t *testing.T) {
	g, _ := bootHere(t)
	words := []string{"a b", "", "c\nd", `"`, "'", "$HOME", "*", `\`, "ä", " "}
	out, err := machine.Run(t.Context(), g, append([]string{"printf", "%s|"}, words...)...)
	require.NoError(t, err)
	assert.Equal(t, strings.Join(words, "|")+"|", out)
}

func TestExecEnvAndDir(t *testing.T) {
	g, _ := bootHere(t)
	t.Setenv("VIRTLAB_A", "old")
	dir, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "prog"), []byte("#!/bin/sh\npwd\nenv\n"), 0o755))
	out, err := machine.RunCmd(t.Context(), g, machine.Cmd{
		Args: []string{"./prog"}, Dir: dir,
		Env: []string{"VIRTLAB_A=new", "VIRTLAB_B=x=y z", "VIRTLAB_C="},
	})
	require.NoError(t, err)
	lines := strings.Split(out, "\n")
	assert.Equal(t, dir, lines[0], "a path with a slash starts at Dir, as on the host")
	assert.Contains(t, lines, "VIRTLAB_A=new")
	assert.NotContains(t, lines, "VIRTLAB_A=old")
	assert.Contains(t, lines, "VIRTLAB_B=x=y z")
	assert.Contains(t, lines, "VIRTLAB_C=")
}

// A guest is a Machine as the host is one: what ends badly must look the same.
func TestExitErrors(t *testing.T) {
	g, _ := bootHere(t)
	for _, c := range []struct {
		script string
		want   machine.ExitError
	}{
		{"exit 3", machine.ExitError{Status: 3}},
		{"exit 255", machine.ExitError{Status: 255}},
		{"echo oh no >&2; exit 1", machine.ExitError{Status: 1, Stderr: "oh no"}},
		{"kill -KILL $$", machine.ExitError{Status: -1, Signal: "killed"}},
		{"kill -SEGV $$", machine.ExitError{Status: -1, Signal: "segmentation fault"}},
		{"kill -ABRT $$", machine.ExitError{Status: -1, Signal: "aborted"}},
		{"kill -40 $$", machine.ExitError{Status: -1, Signal: "signal 40"}},
	} {
		t.Run(c.script, func(t *testing.T) {
			_, err := machine.Run(t.Context(), g, "sh", "-c", c.script)
			var exit *machine.ExitError
			require.ErrorAs(t, err, &exit)
			assert.Equal(t, c.want, *exit)
			assert.ErrorContains(t, err, "L1: sh -c "+c.script+": ")
		})
	}
}

func TestUnknownProgram(t *testing.T) {
	g, _ := bootHere(t)
	for _, c := range []struct {
		cmd  machine.Cmd
		want string
	}{
		{machine.Cmd{Args: []string{"virtlab-no-such"}}, `exec: "virtlab-no-such": executable file not found in $PATH`},
		{machine.Cmd{Args: []string{"/no/such/file"}}, "starting /no/such/file: no such file or directory"},
		{machine.Cmd{Args: []string{"/dev/null"}}, "starting /dev/null: permission denied"},
		{machine.Cmd{Args: []string{""}}, "executable file not found"},
		{machine.Cmd{Args: []string{"true"}, Dir: "/no/such/dir"}, "no such file or directory"},
	} {
		_, err := machine.RunCmd(t.Context(), g, c.cmd)
		var exit *machine.ExitError
		require.ErrorAs(t, err, &exit, "%v", err)
		assert.Equal(t, 127, exit.Status)
		assert.Contains(t, exit.Stderr, c.want)
	}
}

// A quick end must not overtake the answer to the request that started it.
func TestQuickPrograms(t *testing.T) {
	g, _ := bootHere(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 40 {
				_, err := machine.Run(t.Context(), g, "virtlab-no-such")
				var exit *machine.ExitError
				assert.ErrorAs(t, err, &exit)
				_, err = machine.Run(t.Context(), g, "true")
				assert.NoError(t, err)
			}
		})
	}
	wg.Wait()
}

func TestParallelSessions(t *testing.T) {
	g, _ := bootHere(t)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			status := strconv.Itoa(i + 1)
			out, err := machine.Run(t.Context(), g, "sh", "-c", "sleep 0.1; echo "+status+"; exit "+status)
			var exit *machine.ExitError
			if assert.ErrorAs(t, err, &exit) {
				assert.Equal(t, i+1, exit.Status, "the reaper gave it another's status")
			}
			assert.Equal(t, status+"\n", out)
		})
	}
	wg.Wait()
}

func TestStdin(t *testing.T) {
	g, _ := bootHere(t)
	in := make([]byte, 5<<20)
	_, _ = rand.Read(in)
	var out bytes.Buffer
	p, err := g.Start(t.Context(), machine.Cmd{Args: []string{"cat"}, Stdin: bytes.NewReader(in), Stdout: &out})
	require.NoError(t, err)
	require.NoError(t, p.Wait())
	assert.True(t, bytes.Equal(in, out.Bytes()))
}

func TestEndlessStdinDoesNotHoldUpWait(t *testing.T) {
	g, _ := bootHere(t)
	r, w := io.Pipe()
	defer w.Close()
	p, err := g.Start(t.Context(), machine.Cmd{Args: []string{"true"}, Stdin: r})
	require.NoError(t, err)
	within(t, 5*time.Second, "Wait", func() { assert.NoError(t, p.Wait()) })
}

func TestUnreadStdin(t *testing.T) {
	g, _ := bootHere(t)
	p, err := g.Start(t.Context(), machine.Cmd{Args: []string{"true"}, Stdin: bytes.NewReader(make([]byte, 10<<20))})
	require.NoError(t, err)
	within(t, 10*time.Second, "Wait", func() { assert.NoError(t, p.Wait()) })
}

type byteCount struct{ n int64 }

func (c *byteCount) Write(p []byte) (int, error) { c.n += int64(len(p)); return len(p), nil }

func TestStdoutFloodIsComplete(t *testing.T) {
	g, _ := bootHere(t)
	var out, errs byteCount
	p, err := g.Start(t.Context(), machine.Cmd{
		Args:   []string{"sh", "-c", "head -c 1000000 /dev/zero >&2 & head -c 100000000 /dev/zero; wait"},
		Stdout: &out, Stderr: &errs,
	})
	require.NoError(t, err)
	require.NoError(t, p.Wait())
	assert.Equal(t, int64(100_000_000), out.n)
	assert.Equal(t, int64(1_000_000), errs.n)
}

func TestKillEndsTheGroup(t *testing.T) {
	g, _ := bootHere(t)
	file := filepath.Join(t.TempDir(), "pid")
	p, err := g.Start(t.Context(), machine.Cmd{Args: []string{"sh", "-c", "sleep 1000 & echo $! > " + file + "; wait"}})
	require.NoError(t, err)
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

func TestContextEndsTheProgram(t *testing.T) {
	g, _ := bootHere(t)
	file := filepath.Join(t.TempDir(), "pid")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		pidFile(t, file)
		cancel(errors.New("enough"))
	}()
	_, err := machine.Run(ctx, g, "sh", "-c", "sleep 1000 & echo $! > "+file+"; wait")
	assert.ErrorContains(t, err, "enough (ended by signal: killed)")
	assertDies(t, pidFile(t, file))
}

func TestNothingIsLeftOfAProgramThatEnded(t *testing.T) {
	g, _ := bootHere(t)
	file := filepath.Join(t.TempDir(), "pid")
	within(t, 5*time.Second, "Run", func() {
		_, err := machine.Run(t.Context(), g, "sh", "-c", "sleep 1000 & echo $! > "+file)
		assert.NoError(t, err)
	})
	assertDies(t, pidFile(t, file))
}

// The connection's end is the end of all that ran over it.
func TestLostConnectionKills(t *testing.T) {
	g, on := bootHere(t)
	file := filepath.Join(t.TempDir(), "pid")
	p, err := g.Start(t.Context(), machine.Cmd{Args: []string{"sh", "-c", "sleep 1000 & echo $! > " + file + "; wait"}})
	require.NoError(t, err)
	child := pidFile(t, file)
	on.port.Close()
	within(t, 5*time.Second, "Wait", func() { assert.Error(t, p.Wait()) })
	assertDies(t, child)
}

func TestFiles(t *testing.T) {
	g, _ := bootHere(t)
	big := make([]byte, 20<<20)
	_, _ = rand.Read(big)
	path := filepath.Join(t.TempDir(), "f")
	require.NoError(t, g.WriteFile(t.Context(), path, bytes.NewReader(big), 0o755))
	st, err := os.Stat(path)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o755), st.Mode())
	b, err := g.ReadFile(t.Context(), path)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(big, b))

	require.NoError(t, g.WriteFile(t.Context(), path, strings.NewReader("short"), 0o600))
	b, err = g.ReadFile(t.Context(), path)
	require.NoError(t, err)
	assert.Equal(t, "short", string(b))
}

// Files in /proc say that they have no size.
func TestReadProc(t *testing.T) {
	g, _ := bootHere(t)
	want, err := os.ReadFile("/proc/cpuinfo")
	require.NoError(t, err)
	b, err := g.ReadFile(t.Context(), "/proc/cpuinfo")
	require.NoError(t, err)
	assert.Equal(t, strings.Count(string(want), "\n"), strings.Count(string(b), "\n"))
	b, err = g.ReadFile(t.Context(), "/proc/self/status")
	require.NoError(t, err)
	assert.Contains(t, string(b), fmt.Sprintf("Pid:\t%d\n", os.Getpid()))
}

func TestFileErrorsComeAtOnce(t *testing.T) {
	g, _ := bootHere(t)
	start := time.Now()
	_, err := g.ReadFile(t.Context(), "/no/such/file")
	assert.ErrorIs(t, err, os.ErrNotExist)
	assert.ErrorContains(t, err, "L1: /no/such/file: ")
	assert.ErrorIs(t, g.WriteFile(t.Context(), "/no/such/file", strings.NewReader(""), 0o644), os.ErrNotExist)
	assert.Less(t, time.Since(start), 400*time.Millisecond, "the guest answered: nobody waits for its last words")
}

func TestTempDir(t *testing.T) {
	g, _ := bootHere(t)
	dir, err := g.TempDir(t.Context())
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	assert.NoError(t, machine.CheckSocketPath(dir+"/socket-name"))
	require.NoError(t, g.WriteFile(t.Context(), dir+"/sub", strings.NewReader("x"), 0o644))
	require.NoError(t, os.MkdirAll(dir+"/a/b/c", 0o755))
	require.NoError(t, os.Symlink("/proc", dir+"/a/link"))
	require.NoError(t, g.RemoveAll(t.Context(), dir))
	assert.NoDirExists(t, dir)
	assert.NoError(t, g.RemoveAll(t.Context(), dir), "gone already")
}

func listen(t *testing.T) (string, *net.UnixListener) {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "vl")
	require.NoError(t, err)
	l, err := net.Listen("unix", dir+"/s")
	require.NoError(t, err)
	t.Cleanup(func() { l.Close(); os.RemoveAll(dir) })
	return dir + "/s", l.(*net.UnixListener)
}

// dial connects through the guest and gives both ends.
func dial(t *testing.T) (outside net.Conn, inside *net.UnixConn) {
	t.Helper()
	g, _ := bootHere(t)
	path, l := listen(t)
	outside, err := g.Dial(t.Context(), path)
	require.NoError(t, err)
	inside, err = l.AcceptUnix()
	require.NoError(t, err)
	t.Cleanup(func() { outside.Close(); inside.Close() })
	return outside, inside
}

type halfCloser interface{ CloseWrite() error }

func readAll(t *testing.T, r io.Reader) string {
	t.Helper()
	var b []byte
	within(t, 5*time.Second, "reading to the end", func() {
		var err error
		b, err = io.ReadAll(r)
		assert.NoError(t, err)
	})
	return string(b)
}

func TestForwardClientClosesFirst(t *testing.T) {
	outside, inside := dial(t)
	_, err := io.WriteString(outside, "question")
	require.NoError(t, err)
	require.NoError(t, outside.(halfCloser).CloseWrite())
	assert.Equal(t, "question", readAll(t, inside))
	_, err = io.WriteString(inside, "answer")
	require.NoError(t, err)
	inside.Close()
	assert.Equal(t, "answer", readAll(t, outside))
}

func TestForwardServerClosesFirst(t *testing.T) {
	outside, inside := dial(t)
	_, err := io.WriteString(inside, "greeting")
	require.NoError(t, err)
	require.NoError(t, inside.CloseWrite())
	assert.Equal(t, "greeting", readAll(t, outside))
	_, err = io.WriteString(outside, "late words")
	require.NoError(t, err)
	require.NoError(t, outside.(halfCloser).CloseWrite())
	assert.Equal(t, "late words", readAll(t, inside))
}

func TestForwardClientGoes(t *testing.T) {
	outside, inside := dial(t)
	outside.Close()
	assert.Empty(t, readAll(t, inside))
}

func TestForwardMuch(t *testing.T) {
	outside, inside := dial(t)
	data := make([]byte, 10<<20)
	_, _ = rand.Read(data)
	go func() {
		_, _ = io.Copy(inside, inside) // echo
		_ = inside.CloseWrite()
	}()
	go func() {
		_, _ = outside.Write(data)
		_ = outside.(halfCloser).CloseWrite()
	}()
	got, err := io.ReadAll(outside)
	require.NoError(t, err)
	assert.True(t, bytes.Equal(data, got))
}

func TestDialErrors(t *testing.T) {
	g, _ := bootHere(t)
	_, err := g.Dial(t.Context(), "/no/such/socket")
	assert.ErrorContains(t, err, "L1: /no/such/socket: ")
	assert.ErrorContains(t, err, "no such file or directory")
	_, err = g.Dial(t.Context(), "/tmp/"+strings.Repeat("x", 103))
	assert.ErrorContains(t, err, "the limit is 107")
}

// rawClient speaks SSH with no Guest around it.
func rawClient(t *testing.T) *ssh.Client {
	t.Helper()
	conn, err := (&underneath{}).Dial(t.Context(), "")
	require.NoError(t, err)
	c, chans, reqs, err := ssh.NewClientConn(conn, "here", &ssh.ClientConfig{
		Config: wire.Algorithms(), User: "root", HostKeyCallback: ssh.InsecureIgnoreHostKey(),
	})
	require.NoError(t, err)
	client := ssh.NewClient(c, chans, reqs)
	t.Cleanup(func() { client.Close() })
	return client
}

func rawOutput(t *testing.T, line string) (string, error) {
	t.Helper()
	s, err := rawClient(t).NewSession()
	require.NoError(t, err)
	out, err := s.CombinedOutput(line)
	return string(out), err
}

// A person's ssh sends one line with no NUL in it.
func TestPlainCommandLine(t *testing.T) {
	out, err := rawOutput(t, "echo  two words")
	require.NoError(t, err)
	assert.Equal(t, "two words\n", out)
}

// PID 1 must survive whatever a client sends.
func TestEmptyCommandLine(t *testing.T) {
	for _, line := range []string{"", " ", "\x00"} {
		out, err := rawOutput(t, line)
		var exit *ssh.ExitError
		require.ErrorAs(t, err, &exit)
		assert.Equal(t, 127, exit.ExitStatus())
		assert.Contains(t, out, "executable file not found")
	}
}

func TestSignals(t *testing.T) {
	s, err := rawClient(t).NewSession()
	require.NoError(t, err)
	var out bytes.Buffer
	s.Stdout = &out
	ready := filepath.Join(t.TempDir(), "pid")
	require.NoError(t, s.Start("\x00sh\x00-c\x00trap 'echo caught; exit 7' TERM; echo $$ > "+ready+"; while :; do sleep 0.05; done"))
	pidFile(t, ready)
	require.NoError(t, s.Signal(ssh.SIGTERM))
	var exit *ssh.ExitError
	within(t, 5*time.Second, "Wait", func() { require.ErrorAs(t, s.Wait(), &exit) })
	assert.Equal(t, 7, exit.ExitStatus())
	assert.Contains(t, out.String(), "caught")
}

func TestUnknownRequestsAreRefused(t *testing.T) {
	c := rawClient(t)
	s, err := c.NewSession()
	require.NoError(t, err)
	assert.Error(t, s.RequestPty("xterm", 24, 80, nil))
	assert.Error(t, s.RequestSubsystem("netconf"))
	assert.Error(t, s.Shell())
	_, _, err = c.OpenChannel("x11", nil)
	var refused *ssh.OpenChannelError
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, ssh.UnknownChannelType, refused.Reason)
	_, _, err = c.OpenChannel("direct-streamlocal@openssh.com", []byte("junk"))
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, ssh.ConnectionFailed, refused.Reason)
}

// recorder keeps the machine that it was asked for.
type recorder struct {
	fakeDriver
	config *vmm.Config
}

func (r recorder) Command(c vmm.Config) ([]string, error) {
	*r.config = c
	return r.fakeDriver.Command(c)
}

func TestSSHHasTheFirstPort(t *testing.T) {
	var asked vmm.Config
	cfg := guest.Config{Name: "L1", Driver: recorder{config: &asked}}
	cfg.Ports = []vmm.Port{{Name: "log", Socket: "/tmp/log"}}
	g, err := guest.Boot(t.Context(), &underneath{Machine: machine.Host}, cfg)
	require.NoError(t, err)
	require.NoError(t, g.Close())
	require.Len(t, asked.Ports, 2)
	assert.Equal(t, wire.Port, asked.Ports[0].Name, "wire.PortDevice counts on it")
}

func TestTheOpenKeySignsEveryMessage(t *testing.T) {
	for _, message := range []string{"", "a", strings.Repeat("long ", 1000), rand.Text()} {
		signature, err := openKey{}.Sign(rand.Reader, []byte(message))
		require.NoError(t, err)
		assert.NoError(t, openKey{}.PublicKey().Verify([]byte(message), signature))
	}
	assert.Error(t, openKey{}.PublicKey().Verify(nil, &ssh.Signature{Format: ssh.KeyAlgoED25519, Blob: make([]byte, 64)}),
		"R of zeros is another point: the client does verify")
}

func TestServeConnEndsWithThePort(t *testing.T) {
	a, b := net.Pipe()
	done := make(chan error, 1)
	go func() { done <- serveConn(a, serverConfig()) }()
	go func() { _, _ = io.Copy(io.Discard, b) }()
	go func() { _, _ = io.WriteString(b, "GET / HTTP/1.0\r\n\r\n"); b.Close() }()
	select {
	case err := <-done:
		assert.Error(t, err)
	case <-time.After(5 * time.Second):
		require.Fail(t, "serveConn does not end")
	}
}

func TestNoFileDescriptorsLeak(t *testing.T) {
	g, _ := bootHere(t)
	count := func() int {
		fds, err := os.ReadDir("/proc/self/fd")
		require.NoError(t, err)
		return len(fds)
	}
	_, err := machine.Run(t.Context(), g, "true")
	require.NoError(t, err)
	before := count()
	for range 50 {
		_, _ = machine.Run(t.Context(), g, "true")
		_, _ = machine.Run(t.Context(), g, "/no/such/file")
	}
	assert.Eventually(t, func() bool { return count() <= before+2 }, 2*time.Second, 10*time.Millisecond)
}
