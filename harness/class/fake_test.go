package class

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"virtlab/harness/grade"
	"virtlab/harness/machine"
	"virtlab/harness/result"
	"virtlab/harness/submission"
)

// The test binary is also the worker of these tests, and a whole run that a test
// can kill.
const (
	asWorker = "fake-worker"
	asRun    = "fake-run"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case asWorker:
			os.Exit(fakeWorker(os.Stdin))
		case asRun:
			os.Exit(fakeRun(os.Args[2], os.Args[3]))
		}
	}
	os.Exit(m.Run())
}

// fakeWorker grades a text file: each line of it says what the worker does.
func fakeWorker(in io.Reader) int {
	var job Job
	if err := json.NewDecoder(in).Decode(&job); err != nil {
		panic(err)
	}
	text, err := os.ReadFile(job.Path)
	if err != nil {
		panic(err)
	}
	rubric, err := result.LoadRubric(job.Rubric, grade.Checks())
	if err != nil {
		panic(err)
	}
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256(text))
	if digest == job.Unless {
		return StatusUnchanged
	}
	r := blank(job, rubric, result.Pass, "fine")
	r.Digest, r.Seconds = digest, 1
	r.Stages = []result.Stage{{Name: "boot L1", Seconds: 0.5}}
	for line := range strings.Lines(string(text)) {
		if status := act(job, r, strings.Fields(line)); status >= 0 {
			return status
		}
	}
	r.Sum()
	if err := result.WriteAll(job.Dir, r); err != nil {
		panic(err)
	}
	return 0
}

// act does what a line says; a status that is not negative ends the worker.
func act(job Job, r *result.Report, words []string) int {
	if len(words) == 0 {
		return -1
	}
	switch words[0] {
	case "points":
		fmt.Sscan(words[1], &r.Verdicts[0].Points)
	case "sleep":
		d, _ := time.ParseDuration(words[1])
		time.Sleep(d)
	case "meet": // N workers that leave their traces in DIR
		_ = os.WriteFile(filepath.Join(words[2], job.Name), nil, 0o644)
		for {
			if there, _ := os.ReadDir(words[2]); fmt.Sprint(len(there)) == words[1] {
				return -1
			}
			time.Sleep(time.Millisecond)
		}
	case "hang":
		_ = os.WriteFile(filepath.Join(job.Dir, "evidence.txt"), []byte("so far"), 0o644)
		time.Sleep(time.Hour)
	case "panic":
		panic("the grader has a bug")
	case "kill":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "status":
		var n int
		fmt.Sscan(words[1], &n)
		return n
	case "empty":
		return 0
	case "broken":
		r.Verdicts[1].Outcome, r.Verdicts[1].Message = result.Broken, "no space left"
	case "flood":
		for range 4000 {
			fmt.Println(strings.Repeat("A", 1000))
		}
		fmt.Println("the end")
	case "litter":
		dir := filepath.Join(os.Getenv("TMPDIR"), "closed", "inner")
		_ = os.MkdirAll(dir, 0o755)
		_ = os.Chmod(filepath.Dir(dir), 0)
	case "child":
		p, err := machine.Host.Start(context.Background(), machine.Cmd{Args: []string{"sleep", "1000"}})
		if err != nil {
			panic(err)
		}
		_ = os.WriteFile(words[1], fmt.Appendln(nil, os.Getpid(), machine.Pid(p)), 0o644)
		time.Sleep(time.Hour)
	}
	return -1
}

// fakeRun is a class graded by a process of its own.
func fakeRun(in, out string) int {
	handins, err := fakeFind(in)
	if err == nil {
		_, err = Grade(context.Background(), handins, fakeOptions(out))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func fakeFind(in string) (handins []submission.Handin, err error) {
	files, err := filepath.Glob(filepath.Join(in, "*"))
	for _, f := range files {
		handins = append(handins, submission.Handin{Name: filepath.Base(f), Path: f, Student: "Student " + filepath.Base(f)})
	}
	return handins, err
}

func fakeOptions(out string) Options {
	text, err := os.ReadFile(filepath.Join("..", "..", "fixtures", "rubric.toml"))
	if err != nil {
		panic(err)
	}
	rubric, err := result.ParseRubric(text, "rubric.toml", grade.Checks())
	if err != nil {
		panic(err)
	}
	return Options{
		Out: out, Rubric: rubric, RubricText: text, Jobs: 3, Deadline: time.Minute, Harness: "v1",
		Worker: []string{"/proc/self/exe", asWorker}, Progress: Lines(io.Discard),
	}
}

// fixture is a class in a temporary directory. Workers' files go to tmp, where
// nothing may be left.
type fixture struct {
	t            *testing.T
	in, out, tmp string
	opts         Options
}

func newFixture(t *testing.T, files map[string]string) *fixture {
	t.Helper()
	dir, err := os.MkdirTemp("", "cl") // t.TempDir is too long for a unix socket's path
	require.NoError(t, err)
	t.Cleanup(func() { _ = removeAll(dir) })
	f := &fixture{t: t, in: filepath.Join(dir, "in"), out: filepath.Join(dir, "out"), tmp: filepath.Join(dir, "tmp")}
	for _, d := range []string{f.in, f.tmp} {
		require.NoError(t, os.Mkdir(d, 0o755))
	}
	t.Setenv("TMPDIR", f.tmp)
	for name, text := range files {
		f.hand(name, text)
	}
	f.opts = fakeOptions(f.out)
	return f
}

func (f *fixture) hand(name, text string) {
	f.t.Helper()
	require.NoError(f.t, os.WriteFile(filepath.Join(f.in, name), []byte(text), 0o644))
}

func (f *fixture) gradeContext(ctx context.Context) (*Class, error) {
	f.t.Helper()
	handins, err := fakeFind(f.in)
	require.NoError(f.t, err)
	return Grade(ctx, handins, f.opts)
}

func (f *fixture) grade() *Class {
	f.t.Helper()
	c, err := f.gradeContext(f.t.Context())
	require.NoError(f.t, err)
	return c
}

func (f *fixture) report(name string) *result.Report {
	f.t.Helper()
	r, err := readReport(filepath.Join(f.out, name))
	require.NoError(f.t, err)
	return r
}

// clean says that nothing but results is left.
func (f *fixture) clean() {
	f.t.Helper()
	for _, pattern := range []string{filepath.Join(f.tmp, "*"), filepath.Join(f.out, houseDir, "run-*"), filepath.Join(f.out, ".*.html*")} {
		left, err := filepath.Glob(pattern)
		require.NoError(f.t, err)
		require.Empty(f.t, left)
	}
}

// recorded is a Progress that keeps what it is told.
type recorded struct {
	mu      sync.Mutex
	plan    Plan
	started []string
	endings map[string]Ending
	onStart func(name string)
}

func (r *recorded) Begin(p Plan) { r.plan, r.endings = p, map[string]Ending{} }

func (r *recorded) Started(name string) {
	r.mu.Lock()
	r.started = append(r.started, name)
	r.mu.Unlock()
	if r.onStart != nil {
		r.onStart(name)
	}
}

func (r *recorded) Ended(e Ending) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.endings[e.Name] = e
}

func (r *recorded) End() {}

func dead(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, state, _ := strings.Cut(string(stat), ") ")
	return errors.Is(err, os.ErrNotExist) || err != nil || strings.HasPrefix(state, "Z")
}

// pids waits for a file with process ids.
func pids(t *testing.T, path string) (worker, child int) {
	t.Helper()
	require.Eventually(t, func() bool {
		text, _ := os.ReadFile(path)
		n, _ := fmt.Sscan(string(text), &worker, &child)
		return n == 2 && strings.HasSuffix(string(text), "\n")
	}, 20*time.Second, 5*time.Millisecond)
	return worker, child
}

func requireDead(t *testing.T, pids ...int) {
	t.Helper()
	for _, pid := range pids {
		require.Eventually(t, func() bool { return dead(pid) }, 5*time.Second, 5*time.Millisecond, "process %d lives on", pid)
	}
}
