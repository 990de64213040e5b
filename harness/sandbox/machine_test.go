package sandbox

import (
	"context"
	"flag"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/machine"
	"virtlab/harness/result"
)

// tempDir is a temporary directory on a new sandboxed machine.
func tempDir(t *testing.T, binds ...string) (machine.Machine, string) {
	t.Helper()
	need(t)
	m := Machine(VMM, binds...)
	dir, err := m.TempDir(t.Context())
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.NoError(t, m.RemoveAll(context.Background(), dir))
		assert.NoDirExists(t, dir)
	})
	return m, dir
}

// TestListen is what the next test runs in the sandbox: it answers one
// connection to a unix socket.
func TestListen(t *testing.T) {
	if flag.NArg() != 1 {
		t.Skip("not graded: this runs inside another test's sandbox")
	}
	l, err := net.Listen("unix", flag.Arg(0))
	require.NoError(t, err)
	conn, err := l.Accept()
	require.NoError(t, err)
	_, err = io.Copy(conn, conn)
	require.NoError(t, err)
}

func TestMachineDialsASocket(t *testing.T) {
	m, dir := tempDir(t, os.Args[0])
	p, err := m.Start(t.Context(), machine.Cmd{Args: []string{os.Args[0], "-test.run=^TestListen$", dir + "/socket"}})
	require.NoError(t, err)
	var conn net.Conn
	require.Eventually(t, func() bool {
		conn, err = m.Dial(t.Context(), dir+"/socket")
		return err == nil
	}, 10*time.Second, 10*time.Millisecond)
	_, err = conn.Write([]byte("hello"))
	require.NoError(t, err)
	require.NoError(t, conn.(*net.UnixConn).CloseWrite())
	answer, err := io.ReadAll(conn)
	require.NoError(t, err)
	assert.Equal(t, "hello", string(answer))
	assert.NoError(t, p.Wait())
}

func TestMachineFiles(t *testing.T) {
	m, dir := tempDir(t)
	ctx := t.Context()
	require.NoError(t, m.WriteFile(ctx, dir+"/in", strings.NewReader("from outside"), 0o644))
	out, err := machine.Run(ctx, m, "cat", dir+"/in")
	require.NoError(t, err)
	assert.Equal(t, "from outside", out)
	_, err = machine.Run(ctx, m, "mkdir", dir+"/sub")
	require.NoError(t, err)
	b, err := m.ReadFile(ctx, dir+"/in")
	require.NoError(t, err)
	assert.Equal(t, "from outside", string(b))
	require.NoError(t, m.RemoveAll(ctx, dir+"/in"))
	require.NoError(t, m.RemoveAll(ctx, dir+"/in"), "as os.RemoveAll does")
	_, err = m.ReadFile(ctx, dir+"/in")
	assert.ErrorIs(t, err, os.ErrNotExist)
	_, err = machine.Run(ctx, m, "sh", "-c", "echo content > "+dir+"/file")
	assert.ErrorContains(t, err, "wrote into a file")
}

// What a program puts in place of the files that we use leads nowhere.
func TestMachineIsNotLedAstray(t *testing.T) {
	m, dir := tempDir(t)
	ctx := t.Context()
	outside := t.TempDir()
	secret := filepath.Join(outside, "secret")
	require.NoError(t, os.WriteFile(secret, []byte("s3cret"), 0o644))
	l, err := net.Listen("unix", outside+"/s")
	require.NoError(t, err)
	defer l.Close()
	_, err = machine.Run(ctx, m, "sh", "-c", strings.Join([]string{
		"cd " + dir, "ln -s " + secret + " file", "ln -s " + l.Addr().String() + " socket", "ln -s " + outside + " dir",
		"mkfifo fifo", "mkdir sub", ": > plain", "ln -s plain inside",
	}, " && "))
	require.NoError(t, err)

	for _, name := range []string{"file", "fifo", "sub", "dir/secret", "inside", "..", ".", "socket", "sub/../plain/x"} {
		_, err := m.ReadFile(ctx, dir+"/"+name)
		assert.Error(t, err, name)
	}
	for _, name := range []string{"socket", "file", "fifo", "plain", "dir/s"} {
		_, err := m.Dial(ctx, dir+"/"+name)
		assert.Error(t, err, name)
	}
	_, err = m.ReadFile(ctx, dir+"/fifo")
	assert.Equal(t, result.Submission, result.OwnerOf(err))
	for _, name := range []string{"file", "fifo", "inside"} {
		require.NoError(t, m.WriteFile(ctx, dir+"/"+name, strings.NewReader("new"), 0o600), name)
	}
	assert.Error(t, m.WriteFile(ctx, dir+"/dir/secret", strings.NewReader("new"), 0o600))
	assert.Error(t, m.WriteFile(ctx, secret, strings.NewReader("new"), 0o600))
	assert.Error(t, m.RemoveAll(ctx, secret))
	assert.Error(t, m.RemoveAll(ctx, "/tmp"))
	b, err := os.ReadFile(secret)
	require.NoError(t, err)
	assert.Equal(t, "s3cret", string(b))
	st, err := os.Stat(dir)
	require.NoError(t, err)
	assert.Equal(t, m.(*walled).owner.uid, int(st.Sys().(*syscall.Stat_t).Uid))
}

func TestMachineCountsFiles(t *testing.T) {
	m, dir := tempDir(t)
	_, err := machine.Run(t.Context(), m, "sh", "-c", "cd "+dir+"; while mkdir d; do cd d; done; sleep 100")
	assert.ErrorContains(t, err, VMM.Exceeded(Files).Text)
	_, err = machine.Run(t.Context(), m, "sh", "-c", "cd "+dir+"; i=0; while :; do ln -s x $i; i=$((i+1)); done")
	assert.ErrorContains(t, err, VMM.Exceeded(Files).Text)
}
