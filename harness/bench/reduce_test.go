package bench

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/job"
	"virtlab/harness/shot"
)

// golden is what a real sysbench printed, without the command line above it.
func golden(t testing.TB, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	_, out, _ := strings.Cut(string(text), "\n")
	return out
}

// goldenArgs are the arguments with which it was run.
func goldenArgs(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	first, _, _ := strings.Cut(string(text), "\n")
	return strings.TrimPrefix(first, "$ ")
}

// Cells whose output is in testdata.
const (
	cpuCell  = "threads=4"
	ramCell  = "block=1k/access=seq/scope=local"
	fileCell = "threads=1/block=4k/mode=rndrd"
)

func TestCells(t *testing.T) {
	for _, test := range []struct {
		part       Part
		cell, file string
	}{{CPU, cpuCell, "cpu.txt"}, {RAM, ramCell, "memory.txt"}, {FileIO, fileCell, "fileio.txt"}} {
		cells, err := Cells(Run{Part: test.part, Cells: []string{test.cell}}, time.Second)
		require.NoError(t, err)
		require.Len(t, cells, 1)
		assert.Equal(t, test.cell, cells[0].Name)
		assert.Equal(t, "/lab/data", cells[0].Dir)
		assert.Equal(t, goldenArgs(t, test.file), strings.Join(cells[0].Run, " "))
		if test.part == FileIO {
			assert.Equal(t, "sysbench fileio --file-num=4 --file-total-size=67108864 prepare", strings.Join(cells[0].Prepare[0], " "))
		}
	}
	_, err := Cells(Run{Part: CPU, Cells: []string{"threads=3"}}, time.Second)
	assert.ErrorContains(t, err, "threads=3")
	_, err = Cells(Run{Part: CPU, Cells: []string{cpuCell}}, time.Millisecond)
	assert.ErrorContains(t, err, "whole seconds")
}

// Each cell of each part has a job that the guest's runner takes, and a name of
// its own.
func TestAllCellsHaveJobs(t *testing.T) {
	for _, part := range Parts {
		jobs, err := Cells(Run{Part: part, Cells: CellNames(part)}, 10*time.Second)
		require.NoError(t, err)
		names := map[string]bool{}
		for _, j := range jobs {
			assert.False(t, names[j.Name], j.Name)
			names[j.Name] = true
		}
		_, err = job.Spec{Cells: jobs, End: job.Halt}.Tail()
		assert.NoError(t, err, part)
	}
	assert.Len(t, CellNames(RAM), 16)
	assert.Equal(t, []string{"test=cpu/threads=1", "test=memory/block=1k/access=seq/scope=global"}, CellNames(Instructions))
}

// content is a frame's.
func content(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return b
}

// ran are the frames of a cell that printed a text, with 1000 exits and 500
// instructions from begin to end.
func ran(t *testing.T, cell, text string) []shot.Frame {
	return []shot.Frame{
		{Name: job.FrameBegin, Data: []byte(cell), Exits: &shot.Exits{"exits": 7000}, ICount: 100},
		{Name: job.FrameEnd, Data: []byte(cell), Exits: &shot.Exits{"exits": 8000}, ICount: 600},
		{Name: job.FrameOutput, Data: content(t, job.Output{Cell: cell, Text: text})},
	}
}

func booted(t *testing.T) *shot.Outcome {
	return &shot.Outcome{
		Init: 800 * time.Millisecond, Up: 900 * time.Millisecond, Done: time.Second, Ended: 2 * time.Second, CPU: 700 * time.Millisecond,
		Frames: []shot.Frame{
			{Name: job.FrameUp, Data: content(t, job.Up{InitBoottime: 500 * time.Millisecond, Boottime: 600 * time.Millisecond})},
			{Name: job.FrameMarker, Data: content(t, job.Marker{Bytes: 14, Took: time.Millisecond})},
		},
		Exits: &shot.Exits{"exits": 1234, "io_exits": 5},
		Memory: &shot.Memory{
			Guest: shot.Usage{Virtual: 1 << 30, RSS: 50, PSS: 49, USS: 48},
			Own:   shot.Usage{Virtual: 1000, RSS: 9, PSS: 8, USS: 7},
		},
	}
}

// values are a result's numbers by cell and metric.
func values(r Result) map[string]float64 {
	v := map[string]float64{}
	for _, s := range r.Samples {
		v[strings.TrimPrefix(s.Cell+" "+s.Metric, " ")] = s.Value
	}
	return v
}

func TestReduceBoot(t *testing.T) {
	r := reduce(Run{Part: Boot}, booted(t))
	require.Empty(t, r.Fault)
	assert.Equal(t, map[string]float64{
		"kernel-sec": 0.3, "init-sec": 0.8, "up-sec": 0.9, "marker-sec": 0.001, "vmm-cpu-sec": 0.7, "boot-exits": 1234,
		"virtual-B": 1<<30 + 1000, "rss-B": 59, "pss-B": 57, "uss-B": 55, "guest-rss-B": 50,
		"own-virtual-B": 1000, "own-rss-B": 9, "own-pss-B": 8, "own-uss-B": 7,
	}, values(r))
}

// Every metric of every part is one that reduce can give, and the other way round.
func TestReduceGivesAllMetrics(t *testing.T) {
	cells := &shot.Outcome{Done: 1, Frames: ran(t, cpuCell, golden(t, "cpu.txt"))}
	ram := &shot.Outcome{Done: 1, Frames: ran(t, ramCell, golden(t, "memory.txt"))}
	file := &shot.Outcome{Done: 1, Frames: ran(t, fileCell, golden(t, "fileio.txt"))}
	counted := &shot.Outcome{Done: 1, ICount: 99, Frames: ran(t, "test=cpu/threads=1", golden(t, "../../sysbench/testdata/shared-01-cpu.txt"))}
	debian := &shot.Outcome{Up: 9 * time.Second, Done: 10 * time.Second, Frames: []shot.Frame{
		{Name: job.FrameUp, Data: content(t, job.Up{Boottime: 8 * time.Second})},
		{Name: job.FrameSystemd, Data: content(t, job.Systemd{
			Userspace: 1251 * time.Millisecond,
			Analyze:   "Startup finished in 1.251s (kernel) + 10.040s (userspace) = 11.292s \n",
		})},
	}}
	for part, run := range map[Part]struct {
		cell string
		o    *shot.Outcome
	}{Boot: {"", booted(t)}, CPU: {cpuCell, cells}, RAM: {ramCell, ram}, FileIO: {fileCell, file},
		Instructions: {"test=cpu/threads=1", counted}, Debian: {"", debian}} {
		r := reduce(Run{Part: part, Cells: []string{run.cell}}, run.o)
		require.Empty(t, r.Fault, part)
		var got, want []string
		for _, s := range r.Samples {
			got = append(got, s.Metric)
		}
		for _, m := range MetricsOf(part) {
			want = append(want, m.Unit)
		}
		assert.ElementsMatch(t, want, got, part)
	}
}

func TestReduceCells(t *testing.T) {
	r := reduce(Run{Part: CPU, Cells: []string{cpuCell}}, &shot.Outcome{Done: 1, Frames: ran(t, cpuCell, golden(t, "cpu.txt"))})
	require.Empty(t, r.Fault)
	v := values(r)
	events := 1000 / v[cpuCell+" exits/op"]
	assert.InEpsilon(t, v[cpuCell+" events/s"], events, 0.05, "a second's events")
	assert.InEpsilon(t, 4/v[cpuCell+" events/s"], v[cpuCell+" mean-sec"], 0.05)

	r = reduce(Run{Part: RAM, Cells: []string{ramCell}}, &shot.Outcome{Done: 1, Frames: ran(t, ramCell, golden(t, "memory.txt"))})
	v = values(r)
	assert.InEpsilon(t, v[ramCell+" ops/s"]*1024, v[ramCell+" B/s"], 0.001)

	r = reduce(Run{Part: FileIO, Cells: []string{fileCell}}, &shot.Outcome{Done: 1, Frames: ran(t, fileCell, golden(t, "fileio.txt"))})
	v = values(r)
	assert.InEpsilon(t, 4096*7373.25, v[fileCell+" B/s"], 0.001)
	assert.InDelta(t, 0.00014, v[fileCell+" p95-sec"], 1e-9)
}

// A VMM whose counters cannot be read has no exits; that is no fault.
func TestReduceWithoutCounters(t *testing.T) {
	frames := ran(t, cpuCell, golden(t, "cpu.txt"))
	frames[0].Exits = nil
	r := reduce(Run{Part: CPU, Cells: []string{cpuCell}}, &shot.Outcome{Done: 1, Frames: frames})
	require.Empty(t, r.Fault)
	assert.NotContains(t, values(r), cpuCell+" exits/op")
	o := booted(t)
	o.Exits = nil
	assert.NotContains(t, values(reduce(Run{Part: Boot}, o)), "boot-exits")
}

func TestReduceRefusesACell(t *testing.T) {
	good := ran(t, cpuCell, golden(t, "cpu.txt"))
	tests := []struct {
		name   string
		frames []shot.Frame
		want   string
	}{
		{"no output", nil, "0 outputs"},
		{"twice", append(ran(t, "threads=1", ""), ran(t, "threads=1", "")...), "2 outputs"},
		{"without begin", ran(t, "threads=1", "")[1:], "expected one between a begin and an end"},
		{"a failed sysbench", []shot.Frame{{Name: job.FrameBegin, Data: []byte("threads=1")}, {Name: job.FrameEnd, Data: []byte("threads=1")},
			{Name: job.FrameOutput, Data: content(t, job.Output{Cell: "threads=1", Status: 1, Text: golden(t, "fileio-failed.txt")})}}, "status 1"},
		{"complaints with status 0", ran(t, "threads=1", golden(t, "fileio-failed.txt")), "Cannot open file"},
		{"output of another cell", ran(t, "threads=1", golden(t, "cpu.txt")), "asked for 1"},
		{"half an output", ran(t, "threads=1", golden(t, "cpu.txt")[:300]), "cut off"},
		{"lines folded", ran(t, "threads=1", golden(t, "cpu.txt")+"(last message repeated 3 times)\n"), "folded"},
		{"no JSON", []shot.Frame{{Name: job.FrameOutput, Data: []byte("{")}}, "output frame"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			alone := reduce(Run{Part: CPU, Cells: []string{"threads=1"}}, &shot.Outcome{Done: 1, Frames: test.frames})
			assert.Contains(t, alone.Fault, test.want, "nothing else was measured")
			assert.Empty(t, alone.Samples)
			if test.name == "no JSON" {
				return
			}
			both := reduce(Run{Part: CPU, Cells: []string{"threads=1", cpuCell}}, &shot.Outcome{Done: 1, Frames: append(test.frames, good...)})
			assert.Empty(t, both.Fault)
			assert.Contains(t, both.Refused["threads=1"], test.want)
			assert.NotEmpty(t, both.Samples)
			for _, s := range both.Samples {
				assert.Equal(t, cpuCell, s.Cell)
			}
		})
	}
}

func TestReduceRefusesARun(t *testing.T) {
	tests := []struct {
		name  string
		part  Part
		spoil func(*shot.Outcome)
		want  string
	}{
		{"a VMM that failed", Boot, func(o *shot.Outcome) { o.Fault = "it died" }, "it died"},
		{"not done", Boot, func(o *shot.Outcome) { o.Done = 0 }, "did not say that it was done"},
		{"no marker", Boot, func(o *shot.Outcome) { o.Init = 0 }, "marker"},
		{"no order", Boot, func(o *shot.Outcome) { o.Up = o.Init - 1 }, "order"},
		{"no memory", Boot, func(o *shot.Outcome) { o.Memory = nil }, "memory"},
		{"no up frame", Boot, func(o *shot.Outcome) { o.Frames = o.Frames[1:] }, "no up frame"},
		{"no marker frame", Boot, func(o *shot.Outcome) { o.Frames = o.Frames[:1] }, "no marker frame"},
		{"a broken frame", Boot, func(o *shot.Outcome) { o.Frames[0].Data = []byte("x") }, "up frame"},
		{"less than nothing", Boot, func(o *shot.Outcome) { o.Memory.Own.RSS = -50 }, "which no run has"},
		{"no systemd", Debian, func(*shot.Outcome) {}, "no systemd frame"},
		{"too early", Debian, func(o *shot.Outcome) {
			o.Frames = []shot.Frame{o.Frames[0], {Name: job.FrameSystemd, Data: []byte(`{"analyze":"Bootup is not yet finished (org.freedesktop.systemd1.Manager.FinishTimestampMonotonic=0).\n"}`)}}
		}, "job queue"},
		{"clocks apart", Debian, func(o *shot.Outcome) {
			o.Frames = append(o.Frames, shot.Frame{Name: job.FrameSystemd, Data: []byte(`{"userspace":700000000,"analyze":"Startup finished in 1s (kernel) = 1s"}`)})
		}, "the clocks do not fit"},
		{"not counted", Instructions, func(*shot.Outcome) {}, "-icount"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			o := booted(t)
			test.spoil(o)
			r := reduce(Run{Part: test.part, Cells: []string{"x"}}, o)
			assert.Contains(t, r.Fault, test.want)
			assert.Empty(t, r.Samples)
		})
	}
}

// A guest's clock that runs ahead of ours cannot say when its kernel started.
func TestReduceWithAFastGuestClock(t *testing.T) {
	o := booted(t)
	o.Frames[0].Data = content(t, job.Up{InitBoottime: time.Hour})
	r := reduce(Run{Part: Boot}, o)
	assert.Empty(t, r.Fault)
	assert.NotContains(t, values(r), "kernel-sec")
	assert.Contains(t, values(r), "init-sec")
}

// Whatever the guest sends, no number comes out that no run has.
func FuzzReduce(f *testing.F) {
	f.Add(golden(f, "cpu.txt"), `{"initBoottime":1}`, "marker")
	f.Add(golden(f, "fileio.txt"), `{}`, "systemd")
	f.Fuzz(func(t *testing.T, text, data, name string) {
		for _, part := range Parts {
			names := CellNames(part)
			run := Run{Part: part, Cells: names[:min(2, len(names))]}
			o := &shot.Outcome{Init: 1, Up: 2, Done: 3, ICount: 4, Memory: &shot.Memory{}}
			o.Frames = append(o.Frames, shot.Frame{Name: name, Data: []byte(data)})
			for _, cell := range run.Cells {
				o.Frames = append(o.Frames, ran(t, cell, text)...)
			}
			for _, s := range reduce(run, o).Samples {
				assert.GreaterOrEqual(t, s.Value, 0.0)
			}
		}
	})
}
