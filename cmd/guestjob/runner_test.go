package main

import (
	"encoding/binary"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/guest/wire/boottime"
	"virtlab/harness/job"
)

// newRunner gives a runner whose console is a file, and what came on it.
func newRunner(t *testing.T) (runner, func() string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "console")
	require.NoError(t, os.WriteFile(path, nil, 0o644))
	console, err := openConsole(path)
	require.NoError(t, err)
	t.Cleanup(func() { console.Close() })
	return runner{console: console}, func() string { return read(t, path) }
}

func read(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(b)
}

func decode(t *testing.T, console string) (frames []job.Frame) {
	t.Helper()
	var d job.Decoder
	for line := range strings.Lines(console) {
		f, err := d.Line(line)
		require.NoError(t, err)
		if f != nil {
			frames = append(frames, *f)
		}
	}
	return frames
}

func names(frames []job.Frame) (out []string) {
	for _, f := range frames {
		out = append(out, f.Name)
	}
	return out
}

func contentOf[T any](t *testing.T, frames []job.Frame, name string) (v T) {
	t.Helper()
	i := slices.IndexFunc(frames, func(f job.Frame) bool { return f.Name == name })
	require.GreaterOrEqual(t, i, 0, "no %s frame in %v", name, names(frames))
	require.NoError(t, json.Unmarshal(frames[i].Data, &v))
	return v
}

func shell(script string) []string { return []string{"sh", "-c", script} }

func TestDo(t *testing.T) {
	t.Setenv(boottime.Variable, "1000000")
	dir := filepath.Join(t.TempDir(), "made", "by", "the runner")
	r, console := newRunner(t)
	settle := 20 * time.Millisecond
	start := time.Now()
	require.NoError(t, r.do(job.Spec{
		MarkerBytes: 14, Settle: settle, End: job.Halt,
		Cells: []job.Cell{
			{
				Name: "one", Dir: dir, Prepare: [][]string{shell("echo prepared >f"), shell("echo twice >>f")},
				Run: shell("cat f; echo complaint >&2; pwd"), Cleanup: [][]string{{"rm", "f"}},
			},
			{Name: "two", Run: shell("exit 3")},
			{Name: "three", Run: shell("kill -9 $$")},
		},
	}))
	assert.GreaterOrEqual(t, time.Since(start), 6*settle, "each cell idles before and after")
	frames := decode(t, console())
	cell := []string{"begin", "end", "output"}
	assert.Equal(t, slices.Concat([]string{"up", "marker"}, cell, cell, cell, []string{"done"}), names(frames))
	assert.Equal(t, "one", string(frames[2].Data))
	assert.Equal(t, "one", string(frames[3].Data))
	var outputs []job.Output
	for _, f := range frames {
		if f.Name == job.FrameOutput {
			outputs = append(outputs, contentOf[job.Output](t, []job.Frame{f}, job.FrameOutput))
		}
	}
	assert.Equal(t, "prepared\ntwice\ncomplaint\n"+dir+"\n", outputs[0].Text)
	assert.Positive(t, outputs[0].Took)
	assert.Equal(t, []int{0, 3, -1}, []int{outputs[0].Status, outputs[1].Status, outputs[2].Status})
	assert.NoFileExists(t, filepath.Join(dir, "f"), "cleanup ran")
	assert.Contains(t, console(), "\n.............\n", "13 dots and a line end")
	assert.Equal(t, 14, contentOf[job.Marker](t, frames, job.FrameMarker).Bytes)
}

func TestUp(t *testing.T) {
	sysbench := filepath.Join(t.TempDir(), "sysbench")
	require.NoError(t, os.WriteFile(sysbench, []byte("#!/bin/sh\necho sysbench 1.0.20\n"), 0o755))
	t.Setenv("PATH", filepath.Dir(sysbench)+":"+os.Getenv("PATH"))
	t.Setenv(boottime.Variable, "1000000")
	r, console := newRunner(t)
	require.NoError(t, r.up(job.Spec{}))
	require.NoError(t, r.up(job.Spec{Cells: []job.Cell{{Name: "a"}}}))
	frames := decode(t, console())
	boot := contentOf[job.Up](t, frames[:1], job.FrameUp)
	assert.Equal(t, time.Millisecond, boot.InitBoottime)
	assert.Greater(t, boot.Boottime, boot.InitBoottime)
	assert.Equal(t, strings.TrimSpace(read(t, "/proc/sys/kernel/osrelease")), boot.Kernel)
	assert.Positive(t, boot.CPUs)
	assert.Empty(t, boot.Sysbench, "a boot is timed: nothing is started before the frame")
	assert.Equal(t, "sysbench 1.0.20", contentOf[job.Up](t, frames[1:], job.FrameUp).Sysbench)

	t.Setenv(boottime.Variable, "soon")
	assert.ErrorContains(t, r.up(job.Spec{}), `"soon"`)
}

func TestCellThatCannotBeDone(t *testing.T) {
	for want, c := range map[string]job.Cell{
		"echo no room; exit 1: exit status 1: no room": {Prepare: [][]string{shell("echo no room; exit 1")}, Run: shell("true")},
		"running /no/such/program: ":                   {Run: []string{"/no/such/program"}},
		"exit 4: exit status 4":                        {Run: shell("true"), Cleanup: [][]string{shell("exit 4")}},
		"/dev/null: not a directory":                   {Dir: "/dev/null/dir", Run: shell("true")},
		"output of sh: more than 262144 bytes":         {Run: shell("head -c 300000 /dev/zero")},
	} {
		r, console := newRunner(t)
		c.Name = "it"
		err := r.do(job.Spec{End: job.Halt, Cells: []job.Cell{c}})
		assert.ErrorContains(t, err, "cell it: ")
		assert.ErrorContains(t, err, want)
		assert.NotContains(t, names(decode(t, console())), job.FrameDone)
	}
}

func TestNoJob(t *testing.T) {
	console := filepath.Join(t.TempDir(), "console")
	require.NoError(t, os.WriteFile(console, nil, 0o644))
	disk := filepath.Join(t.TempDir(), "disk")
	require.NoError(t, os.WriteFile(disk, make([]byte, job.TailBytes), 0o644))
	require.ErrorContains(t, run(console, disk), "nobody wrote a job")
	frames := decode(t, read(t, console))
	require.Equal(t, []string{job.FrameFault}, names(frames))
	assert.Contains(t, string(frames[0].Data), "nobody wrote a job")
	assert.ErrorIs(t, run("/no/such/console", disk), os.ErrNotExist)
}

func TestFillPages(t *testing.T) {
	mem, err := fillPages(3, 0x1122334455667788)
	require.NoError(t, err)
	require.Len(t, mem, 3*os.Getpagesize())
	for i := 0; i < len(mem); i += 8 {
		require.Equal(t, uint64(0x1122334455667788), binary.LittleEndian.Uint64(mem[i:]))
	}
}

func TestPages(t *testing.T) {
	r, console := newRunner(t)
	start := time.Now()
	err := r.pages(job.Spec{Pages: 4, Nonce: 7, Hold: 20 * time.Millisecond})
	if os.Geteuid() != 0 {
		require.ErrorContains(t, err, "CAP_SYS_ADMIN", "Linux hides page frames")
		return
	}
	require.NoError(t, err)
	assert.GreaterOrEqual(t, time.Since(start), 20*time.Millisecond)
	gpa := contentOf[job.Pages](t, decode(t, console()), job.FramePages).GPA
	require.Len(t, gpa, 4)
	slices.Sort(gpa)
	assert.Len(t, slices.Compact(gpa), 4, "each page has a frame of its own")
	for _, a := range gpa {
		assert.Zero(t, a%uint64(os.Getpagesize()))
	}
}
