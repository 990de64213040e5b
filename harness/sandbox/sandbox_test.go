package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/machine"
	"virtlab/harness/result"
)

func need(t *testing.T) {
	t.Helper()
	if err := Available(); err != nil {
		t.Skipf("not graded: %v", err)
	}
}

// small are limits that a hostile program reaches within a second.
var small = Limits{
	CPU: time.Second, Wall: time.Minute, MemoryMiB: 64, AddressMiB: 256, Processes: 24, OpenFiles: 64,
	FileMiB: 8, ScratchMiB: 16, Files: 200, OutputMiB: 2,
}

// impatient is small for those that use nothing but time.
func impatient() Limits {
	l := small
	l.Wall = time.Second
	return l
}

// shell runs a script in a sandbox and gives what it printed.
func shell(t *testing.T, s Spec, script string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	s.Args, s.Stdout, s.Stderr = []string{"sh", "-c", script}, &out, &out
	if s.Limits == (Limits{}) {
		s.Limits = Compiler
	}
	err := Run(t.Context(), s)
	return out.String(), err
}

// left lists processes that have mark on their command line.
func left(t *testing.T, mark string) (found []string) {
	t.Helper()
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	for _, f := range all {
		if line, err := os.ReadFile(f); err == nil && bytes.Contains(line, []byte(mark)) {
			found = append(found, string(bytes.ReplaceAll(line, []byte{0}, []byte{' '})))
		}
	}
	return found
}

func TestRunSeesNothingOfTheHost(t *testing.T) {
	need(t)
	secret := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(secret, []byte("s3cret"), 0o644))
	t.Setenv("VIRTLAB_SECRET", "s3cret")
	for name, script := range map[string]string{
		"a file outside":     "cat " + secret,
		"the shadow file":    "cat /etc/shadow",
		"a home":             "ls /root /home",
		"the environment":    "env | grep s3cret",
		"bwrap's own":        "cat /proc/*/environ | grep s3cret",
		"the KVM device":     "cat /dev/kvm",
		"a write to /usr":    "touch /usr/x",
		"a write to /":       "touch /x",
		"a write to /dev":    "touch /dev/shm/x || touch /dev/x",
		"a write to /proc":   "echo 1 > /proc/sys/kernel/sysrq",
		"a network":          "grep -v lo: /proc/net/dev | grep :",
		"other processes":    "ls /proc | grep -x '[0-9]*' | grep -v '^.$'",
		"a device to make":   "mknod /tmp/null c 1 3",
		"a user namespace":   "unshare -U true",
		"a mount":            "mount -t tmpfs none /tmp",
		"root again":         "setpriv --reuid=0 true",
		"a file descriptor":  "ls /proc/self/fd | grep -v '^[0-3]$'",
		"more rights":        "grep -E 'Cap(Prm|Eff|Amb):.*[1-9a-f]' /proc/self/status",
		"a system call list": "grep 'Seccomp:.*0' /proc/self/status",
		"a longer limit":     "ulimit -v unlimited",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			out, err := shell(t, Spec{}, script)
			var exit *machine.ExitError
			assert.ErrorAs(t, err, &exit, out)
			assert.NotContains(t, out, "s3cret")
		})
	}
}

func TestRunSeesWhatItIsGiven(t *testing.T) {
	need(t)
	given, other := t.TempDir(), t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(given, "file"), []byte("hello"), 0o644))
	out, err := shell(t, Spec{ReadOnly: []string{given}, Dir: given}, "pwd; cat /etc/ld.so.cache > /dev/null; cat $PWD/file; echo; echo $HOME $TMPDIR $LC_ALL; ls "+filepath.Dir(other)+"; touch new")
	var exit *machine.ExitError
	assert.ErrorAs(t, err, &exit)
	assert.Equal(t, given+"\nhello\n/tmp /tmp C\n"+filepath.Base(given)+"\ntouch: cannot touch 'new': Read-only file system\n", out)
}

func TestRunTellsTheEnd(t *testing.T) {
	need(t)
	for script, want := range map[string]error{
		"exit 0":     nil,
		"exit 7":     &machine.ExitError{Status: 7},
		"kill -9 $$": &machine.ExitError{Status: -1, Signal: "killed"},
		"kill -11 0": &machine.ExitError{Status: -1, Signal: "segmentation fault"},
		"exit 250":   &machine.ExitError{Status: 250},
	} {
		_, err := shell(t, Spec{}, script)
		assert.Equal(t, want, err, script)
	}
	_, err := shell(t, Spec{ReadOnly: []string{"/no/such/file"}}, "true")
	assert.ErrorContains(t, err, "/no/such/file", "the sandbox's own failure is the host's")
	assert.Equal(t, result.Host, result.OwnerOf(err))

	ctx, cancel := context.WithTimeoutCause(t.Context(), 200*time.Millisecond, errors.New("no time"))
	defer cancel()
	assert.EqualError(t, Run(ctx, Spec{Args: []string{"sleep", "60"}, Limits: Compiler}), "no time")
}

// hostile are programs that run into each limit; the mark tells their processes
// from others.
var hostile = map[string]struct {
	limit  Limit
	script string
}{
	"computes":              {limit: CPU, script: "while :; do :; done"},
	"computes in many":      {limit: CPU, script: "for i in 1 2 3 4; do (while :; do :; done) & done; wait"},
	"sleeps":                {limit: Wall, script: "sleep 1000"},
	"stops itself":          {limit: Wall, script: "(setsid sleep 1000 &); kill -STOP $$"},
	"eats memory":           {limit: Memory, script: "for i in 1 2 3 4; do head -c 40M /dev/zero | tail -c 40M | (sleep 5; cat) > /dev/null & done; wait"},
	"fork bomb":             {limit: Processes, script: "perl -e 'fork while 1'"},
	"quiet fork bomb":       {limit: Processes, script: "perl -e 'for (;;) { if (fork == 0) { sleep 1000; exit } }'"},
	"fills the disk":        {limit: Space, script: "for i in 1 2 3 4 5 6; do head -c 4M /dev/zero > /tmp/$i; done; sleep 100"},
	"deleted files":         {limit: Space, script: "exec 5>/tmp/a 6>/tmp/b 7>/tmp/c; rm /tmp/?; for i in 5 6 7; do head -c 7M /dev/zero >&$i; done; sleep 100"},
	"one large file":        {limit: FileSize, script: "exec head -c 100M /dev/zero > /tmp/large"},
	"many files":            {limit: Files, script: "i=0; while :; do : > /tmp/$i; i=$((i+1)); done"},
	"floods its output":     {limit: Output, script: "yes"},
	"floods standard error": {limit: Output, script: "yes >&2"},
}

func TestRunKeepsLimits(t *testing.T) {
	need(t)
	for name, c := range hostile {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mark := fmt.Sprintf("mark-%d-%d", os.Getpid(), time.Now().UnixNano())
			start := time.Now()
			limits := small
			if c.limit == Wall {
				limits = impatient()
			}
			err := Run(t.Context(), Spec{Limits: limits, Args: []string{"sh", "-c", c.script, mark}})
			var over *LimitError
			require.ErrorAs(t, err, &over)
			assert.Equal(t, limits.Exceeded(c.limit), over)
			assert.Equal(t, result.Submission, result.OwnerOf(err))
			assert.Less(t, time.Since(start), 30*time.Second)
			assert.Empty(t, left(t, mark))
		})
	}
}

func TestKillLeavesNothing(t *testing.T) {
	need(t)
	mark := fmt.Sprintf("mark-%d-killed", os.Getpid())
	ready := make(lines, 1)
	p, err := Start(t.Context(), Spec{Limits: Compiler, Stdout: ready, Args: []string{"sh", "-c",
		"(setsid sh -c 'trap \"\" TERM HUP; echo; while :; do sleep 0.1; done' " + mark + " &) ; kill -STOP $$", mark}})
	require.NoError(t, err)
	<-ready
	assert.NotEmpty(t, left(t, mark))
	require.NoError(t, p.Kill())
	assert.Equal(t, &machine.ExitError{Status: -1, Signal: "killed"}, p.Wait())
	assert.Empty(t, left(t, mark))
}

func TestEndLeavesNothing(t *testing.T) {
	need(t)
	mark := fmt.Sprintf("mark-%d-ended", os.Getpid())
	out, err := shell(t, Spec{}, "(setsid sh -c 'trap \"\" TERM HUP; sleep 1000' "+mark+" > /dev/null 2>&1 &); echo done")
	require.NoError(t, err)
	assert.Equal(t, "done\n", out)
	assert.Empty(t, left(t, mark))
}

// The parent's death, however it dies, ends the sandbox: tried with another
// process of this test that is killed.
func TestParentsDeathEndsAll(t *testing.T) {
	need(t)
	if mark := os.Getenv("VIRTLAB_TEST_PARENT"); mark != "" {
		fmt.Println(Run(t.Context(), Spec{Limits: Compiler, Stdout: os.Stdout, Args: []string{"sh", "-c", "echo up; sleep 1000; :", mark}}))
		return
	}
	mark := fmt.Sprintf("mark-%d-orphan", os.Getpid())
	c := exec.Command(os.Args[0], "-test.run=^TestParentsDeathEndsAll$")
	c.Env = append(os.Environ(), "VIRTLAB_TEST_PARENT="+mark)
	up := make(lines, 1)
	c.Stdout = up
	require.NoError(t, c.Start())
	<-up
	require.NotEmpty(t, left(t, mark))
	require.NoError(t, c.Process.Kill())
	_ = c.Wait()
	assert.Eventually(t, func() bool { return len(left(t, mark)) == 0 }, 10*time.Second, 10*time.Millisecond)
}

// lines gives a sign at the first output.
type lines chan struct{}

func (l lines) Write(b []byte) (int, error) {
	select {
	case l <- struct{}{}:
	default:
	}
	return len(b), nil
}

// All of the above for an ordinary user, where root runs the tests.
func TestAsOrdinaryUser(t *testing.T) {
	need(t)
	if os.Geteuid() != 0 {
		t.Skip("not graded: this user is ordinary already")
	}
	const user = 54321
	dir, err := os.MkdirTemp("", "ordinary") // readable by others, unlike t.TempDir
	require.NoError(t, err)
	defer os.RemoveAll(dir)
	require.NoError(t, os.Chmod(dir, 0o755))
	code, err := os.ReadFile(os.Args[0])
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(dir+"/sandbox.test", code, 0o755))
	if code, err = os.ReadFile(attacks(t)); err == nil {
		err = os.WriteFile(dir+"/attacks", code, 0o755)
	}
	require.NoError(t, err)
	require.NoError(t, os.Mkdir(dir+"/tmp", 0o755))
	require.NoError(t, os.Chown(dir+"/tmp", user, user))
	c := exec.Command("setpriv", fmt.Sprintf("--reuid=%d", user), fmt.Sprintf("--regid=%d", user), "--clear-groups",
		dir+"/sandbox.test", "-test.run=^Test(Run|Kill|End|Machine)", "-test.v")
	c.Dir, c.Env = dir, []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + dir + "/tmp", attacksVariable + "=" + dir + "/attacks"}
	out, err := c.CombinedOutput()
	require.NoError(t, err, string(out))
	if strings.Contains(string(out), "\n--- SKIP") {
		t.Skipf("not graded: for an ordinary user:\n%s", out)
	}
}

func TestUnsandboxedKeepsResourceLimits(t *testing.T) {
	Unsandboxed = true
	defer func() { Unsandboxed = false }()
	t.Setenv("TMPDIR", t.TempDir())
	out, err := shell(t, Spec{Limits: small}, "ulimit -f; ulimit -v; touch $TMPDIR/x; pwd")
	require.NoError(t, err)
	assert.Contains(t, out, "16384\n262144\n"+os.Getenv("TMPDIR"))
	for script, limits := range map[string]struct {
		Limits
		want Limit
	}{
		"exec head -c 100M /dev/zero > $TMPDIR/x": {small, FileSize},
		"yes":                 {small, Output},
		"sleep 1000":          {impatient(), Wall},
		"while :; do :; done": {small, CPU},
	} {
		_, err := shell(t, Spec{Limits: limits.Limits}, script)
		assert.ErrorContains(t, err, limits.Exceeded(limits.want).Text, script)
	}
	rest, err := os.ReadDir(os.Getenv("TMPDIR"))
	require.NoError(t, err)
	assert.Empty(t, rest)
}
