package shot

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/job"
	"virtlab/harness/machine"
	"virtlab/harness/result"
)

// fake is a Spec that runs a fake VMM.
func fake(name string, args ...string) Spec {
	return Spec{
		Argv:    append([]string{os.Args[0]}, args...), // The race detector would keep a process for a second after its end.
		Env:     []string{asVMM + "=" + name, "GORACE=atexit_sleep_ms=0"},
		Console: Stdout, Timeout: 20 * time.Second, Silence: 10 * time.Second, Grace: 10 * time.Second,
	}
}

func shoot(t *testing.T, spec Spec) *Outcome {
	t.Helper()
	o, err := Run(t.Context(), spec)
	require.NoError(t, err)
	return o
}

func names(frames []Frame) (out []string) {
	for _, f := range frames {
		out = append(out, f.Name)
	}
	return out
}

func TestAGoodRun(t *testing.T) {
	o := shoot(t, fake("good"))
	assert.Equal(t, []string{job.FrameUp, job.FrameDone}, names(o.Frames))
	assert.Empty(t, o.Fault)
	assert.Empty(t, o.Owner)
	assert.Empty(t, o.Missing)
	assert.Equal(t, ByGuest, o.End)
	assert.Zero(t, o.Status)
	assert.Positive(t, o.Init)
	assert.GreaterOrEqual(t, o.Up, o.Init)
	assert.GreaterOrEqual(t, o.Done, o.Up)
	assert.GreaterOrEqual(t, o.Ended, o.Done)
	assert.Equal(t, o.Up, o.Frames[0].At)
	assert.Positive(t, o.CPU)
	assert.Nil(t, o.Memory)
	assert.Nil(t, o.Exits)
	assert.Equal(t, []string{"early words", "virtlab: init"}, o.Tail, "frames are no words")
	var up job.Up
	require.NoError(t, json.Unmarshal(o.Frames[0].Data, &up))
	assert.Equal(t, "6.1", up.Kernel)
}

// Each way to fail has its fault, owner and end.
func TestFaults(t *testing.T) {
	quick := func(s *Spec) { s.Silence = 300 * time.Millisecond }
	for _, tt := range []struct {
		vmm    string
		change func(*Spec)
		end    How
		owner  result.Owner
		status int
		says   string
	}{
		{"hangs", quick, ByWatchdog, result.Guest, -1, "it hangs: nothing came on the console for 300ms"},
		{"prints dots", func(s *Spec) { s.Timeout, s.Silence = 400*time.Millisecond, 200*time.Millisecond }, ByWatchdog, result.Guest, -1, "it hangs: the guest was not done after 400ms"},
		{"refuses", nil, Died, result.VMM, 3, "the VMM ended with status 3 before the guest was done; it said: fake: -machine nonsense: unsupported"},
		{"resets", nil, Died, result.Guest, 0, "the machine ended before the guest was done, the VMM with status 0; it said: nothing on stderr"},
		{"panics", nil, ByWatchdog, result.Guest, -1, "the guest's kernel gave up: [    1.234567] Kernel panic - not syncing: Attempted"},
		{"panics and resets", nil, Died, result.Guest, 0, "the guest's kernel gave up: [    1.234567] Kernel panic - not syncing: VFS"},
		{"faults", nil, ByWatchdog, result.Guest, -1, "the guest could not do its job: no sysbench"},
		{"damages", nil, ByWatchdog, result.VMM, -1, "the console is damaged: its checksum does not fit"},
	} {
		t.Run(tt.vmm, func(t *testing.T) {
			t.Parallel()
			spec := fake(tt.vmm)
			if tt.change != nil {
				tt.change(&spec)
			}
			began := time.Now()
			o := shoot(t, spec)
			assert.Contains(t, o.Fault, tt.says)
			assert.Equal(t, string(tt.owner), o.Owner)
			assert.Equal(t, tt.end, o.End)
			assert.Equal(t, tt.status, o.Status)
			assert.Zero(t, o.Done)
			assert.Less(t, time.Since(began), 9*time.Second, "it did not wait for what cannot come")
		})
	}
}

func TestAVMMEndedByASignal(t *testing.T) {
	for _, tt := range []struct {
		vmm   string
		owner result.Owner
		says  string
	}{
		{"crashes", result.VMM, "the VMM was ended by a signal (segmentation fault)"},
		{"is killed", result.Host, "somebody else killed the VMM"},
	} {
		t.Run(tt.vmm, func(t *testing.T) {
			t.Parallel()
			o := shoot(t, fake(tt.vmm))
			assert.Contains(t, o.Fault, tt.says)
			assert.Equal(t, string(tt.owner), o.Owner)
			assert.Equal(t, Died, o.End)
			assert.Equal(t, -1, o.Status)
		})
	}
}

func TestThePanicIsInTheTail(t *testing.T) {
	o := shoot(t, fake("panics"))
	assert.Contains(t, strings.Join(o.Tail, "\n"), "CPU: 0 PID: 1 Comm: init", "what followed the fatal line")
	o = shoot(t, fake("refuses"))
	assert.Equal(t, []string{"stderr: fake: -machine nonsense: unsupported machine type"}, o.Tail)
}

func TestAVMMThatHasNoEnd(t *testing.T) {
	for _, grace := range []time.Duration{0, 200 * time.Millisecond} {
		spec := fake("never ends")
		spec.Grace = grace
		o := shoot(t, spec)
		assert.Equal(t, Killed, o.End)
		assert.Empty(t, o.Fault, "it did what it should")
		assert.GreaterOrEqual(t, o.Ended, o.Done+grace)
		assert.Less(t, o.Ended, o.Done+grace+5*time.Second)
	}
}

func TestAFloodedConsole(t *testing.T) {
	o := shoot(t, fake("floods"))
	assert.Empty(t, o.Fault)
	assert.Equal(t, ByGuest, o.End)
	assert.LessOrEqual(t, len(o.Tail), consoleTail)
}

func TestTerminal(t *testing.T) {
	spec := fake("wants a terminal")
	o := shoot(t, spec)
	assert.Contains(t, o.Fault, "stdin is no terminal")
	spec.Console = PTY
	o = shoot(t, spec)
	assert.Empty(t, o.Fault)
	assert.Equal(t, ByGuest, o.End)
	assert.Equal(t, []string{"cooked: false false", "early words", "virtlab: init"}, o.Tail)
}

func TestSocket(t *testing.T) {
	path := filepath.Join(shortDir(t), "console")
	spec := fake("listens", path)
	spec.Console, spec.ConsolePath = Socket, path
	spec.Grace = 0
	for range 2 { // the second one finds no socket of the first
		o := shoot(t, spec)
		assert.Empty(t, o.Fault)
		assert.Equal(t, []string{job.FrameUp, job.FrameDone}, names(o.Frames))
		assert.Equal(t, Killed, o.End)
		assert.NoFileExists(t, path)
	}
}

// A VMM that ends before it listens does not hold up the run.
func TestASocketThatNeverComes(t *testing.T) {
	spec := fake("refuses")
	spec.Console, spec.ConsolePath = Socket, filepath.Join(shortDir(t), "console")
	o := shoot(t, spec)
	assert.Contains(t, o.Fault, "status 3")
}

func TestTheJobIsOnTheDisk(t *testing.T) {
	disk := filepath.Join(t.TempDir(), "disk")
	template := filepath.Join(t.TempDir(), "template")
	require.NoError(t, os.WriteFile(template, []byte("a file system"), 0o600))
	spec := fake("does its job", disk)
	spec.Disk = &Disk{Path: disk, Template: template, Job: &job.Spec{End: job.Halt, Cells: []job.Cell{{Name: "a", Run: []string{"true"}}, {Name: "b", Run: []string{"uname", "-r"}}}}}
	o := shoot(t, spec)
	assert.Empty(t, o.Fault)
	assert.Equal(t, []string{"up", "begin", "end", "output", "begin", "end", "output", "done"}, names(o.Frames))
	assert.Equal(t, "b", string(o.Frames[4].Data))
	assert.Contains(t, string(o.Frames[6].Data), "uname -r")
}

func TestFilesAndEnvironment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.json")
	spec := fake("tells of itself", path)
	spec.Files = map[string]string{path: `{"machine": 1}`}
	spec.Env = append(spec.Env, "SHOT_WORD=said")
	o := shoot(t, spec)
	assert.Contains(t, o.Tail, `file: {"machine": 1} <nil>`)
	assert.Contains(t, o.Tail, "env: said")
	assert.NoFileExists(t, path, "nothing is left")
}

func TestProcessorTimeIsTheVMMs(t *testing.T) {
	o := shoot(t, fake("burns CPU"))
	assert.Greater(t, o.CPU, 20*time.Millisecond)
	assert.LessOrEqual(t, o.CPU, 4*o.Ended)
}

// What the VMM started ends with it, though it holds the console.
func TestNoChildIsLeft(t *testing.T) {
	o := shoot(t, fake("leaves a child"))
	assert.Empty(t, o.Fault)
	assert.Less(t, o.Ended, 5*time.Second)
	var pid int
	_, err := fmt.Sscanf(o.Tail[len(o.Tail)-1], "child %d", &pid)
	require.NoError(t, err)
	assertDies(t, pid)
}

func TestCancelEndsTheVMM(t *testing.T) {
	stopped := errors.New("the user had enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(200*time.Millisecond, func() { cancel(stopped) })
	began := time.Now()
	_, err := Run(ctx, fake("hangs"))
	assert.ErrorIs(t, err, stopped)
	assert.Less(t, time.Since(began), 5*time.Second)
}

func TestANonexistentVMMIsNoOutcome(t *testing.T) {
	spec := fake("good")
	spec.Argv = []string{filepath.Join(t.TempDir(), "no-such-vmm")}
	_, err := Run(t.Context(), spec)
	assert.ErrorIs(t, err, os.ErrNotExist)
	assert.Equal(t, result.Host, result.OwnerOf(err))
}

func TestSpecsThatCannotRun(t *testing.T) {
	for says, change := range map[string]func(*Spec){
		"no VMM to run":                func(s *Spec) { s.Argv = nil },
		`console "screen" is none of`:  func(s *Spec) { s.Console = "screen" },
		"a console on a socket needs":  func(s *Spec) { s.Console = Socket },
		"silence 0s must be more than": func(s *Spec) { s.Silence = 0 },
		"timeout 0s":                   func(s *Spec) { s.Timeout = 0 },
		"grace -1s is below zero":      func(s *Spec) { s.Grace = -time.Second },
		"the limit is 107":             func(s *Spec) { s.ICountMonitor = "/" + strings.Repeat("x", 120) },
		"a disk without a path":        func(s *Spec) { s.Disk = &Disk{} },
		"takes its size and a nonce":   func(s *Spec) { s.Disk = &Disk{Path: "d", Job: &job.Spec{Pages: 1, Nonce: 1}} },
	} {
		t.Run(says, func(t *testing.T) {
			spec := fake("good")
			change(&spec)
			_, err := Run(t.Context(), spec)
			assert.ErrorContains(t, err, says)
		})
	}
}

// shortDir is t.TempDir for sockets: that one carries the test's name.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/tmp", "vl")
	require.NoError(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func dead(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || strings.ContainsRune("ZX", rune(taskState(string(stat))))
}

func assertDies(t *testing.T, pid int) {
	t.Helper()
	assert.Eventually(t, func() bool { return dead(pid) }, 5*time.Second, 5*time.Millisecond, "process %d lives on", pid)
}

// --- virtlab shot ---

// serveForTest is what `virtlab shot` does.
func serveForTest() {
	if err := Serve(context.Background(), os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "virtlab:", err)
		os.Exit(1)
	}
}

// withShot is the host, where this test binary is virtlab.
type withShot struct{ machine.Machine }

func (w withShot) Start(ctx context.Context, cmd machine.Cmd) (machine.Process, error) {
	cmd.Env = append(cmd.Env, asShot+"=1")
	return w.Machine.Start(ctx, cmd)
}

// The inner process is a VMM, not a shot, though it inherits the environment.
func TestOn(t *testing.T) {
	m := withShot{machine.Host}
	o, err := On(t.Context(), m, os.Args[0], fake("good"))
	require.NoError(t, err)
	assert.Equal(t, []string{job.FrameUp, job.FrameDone}, names(o.Frames))
	assert.Equal(t, ByGuest, o.End)

	spec := fake("good")
	spec.Console = "screen"
	_, err = On(t.Context(), m, os.Args[0], spec)
	assert.ErrorContains(t, err, `console "screen" is none of`)

	_, err = On(t.Context(), machine.Host, "echo", spec)
	assert.ErrorContains(t, err, "what virtlab shot printed is no outcome")
}

// An outcome is the same after its way through JSON.
func TestOutcomeThroughJSON(t *testing.T) {
	o := shoot(t, fake("good"))
	o.Frames = append(o.Frames[:1], Frame{Name: "end", At: time.Second, ICount: 5, Exits: &Exits{"exits": 3}})
	o.Exits = &Exits{"exits": 12}
	o.Memory = &Memory{Guest: Usage{RSS: 4096}}
	b, err := json.Marshal(o)
	require.NoError(t, err)
	var back Outcome
	require.NoError(t, json.Unmarshal(b, &back))
	assert.Equal(t, *o, back)
}

func TestServeRefusesWhatItDoesNotKnow(t *testing.T) {
	err := Serve(t.Context(), strings.NewReader(`{"argv": ["true"], "watch": 1}`), io.Discard)
	assert.ErrorContains(t, err, `unknown field "watch"`)
	err = Serve(t.Context(), strings.NewReader("argv"), io.Discard)
	assert.ErrorContains(t, err, "standard input has no shot's specification")
}

// The VMM of a shot ends with the shot's standard input, and with the shot.
func TestNothingOutlivesTheShot(t *testing.T) {
	for _, way := range []string{"standard input ends", "SIGKILL"} {
		t.Run(way, func(t *testing.T) {
			pidFile := filepath.Join(t.TempDir(), "pid")
			spec := fake("hangs")
			spec.Argv = []string{"sh", "-c", "echo $$ > " + pidFile + "; echo here; exec sleep 1000"}
			c := exec.Command(os.Args[0])
			c.Env = append(os.Environ(), asShot+"=1")
			stderr, err := c.StderrPipe()
			require.NoError(t, err)
			stdin, err := c.StdinPipe()
			require.NoError(t, err)
			require.NoError(t, c.Start())
			t.Cleanup(func() { _ = c.Process.Kill(); _ = c.Wait() })
			require.NoError(t, json.NewEncoder(stdin).Encode(spec))
			pid := readPid(t, pidFile)

			if way == "SIGKILL" {
				require.NoError(t, c.Process.Kill())
			} else {
				require.NoError(t, stdin.Close())
				line, _ := bufio.NewReader(stderr).ReadString('\n')
				assert.Contains(t, line, "nobody waits for the outcome")
			}
			assertDies(t, pid)
		})
	}
}

func readPid(t *testing.T, path string) (pid int) {
	t.Helper()
	require.Eventually(t, func() bool {
		b, _ := os.ReadFile(path)
		n, err := strconv.Atoi(strings.TrimSpace(string(b)))
		pid = n
		return err == nil && strings.HasSuffix(string(b), "\n")
	}, 5*time.Second, 5*time.Millisecond)
	return pid
}
