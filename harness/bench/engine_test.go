package bench

import (
	"context"
	"encoding/json"
	"errors"
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

// fakeShooter gives each run what a real one would, made from real outputs.
type fakeShooter struct {
	t     *testing.T
	shots []Run
	each  []time.Duration
	// before is asked before each shot; what it returns is the answer.
	before func(ctx context.Context, run Run) (*shot.Outcome, error)
}

func (f *fakeShooter) Shoot(ctx context.Context, run Run, cells []job.Cell) (*shot.Outcome, error) {
	f.shots = append(f.shots, run)
	if f.before != nil {
		if o, err := f.before(ctx, run); o != nil || err != nil {
			return o, err
		}
	}
	o := booted(f.t)
	o.Frames = append(o.Frames, shot.Frame{Name: job.FrameSystemd, Data: content(f.t, job.Systemd{Userspace: 100 * time.Millisecond, Analyze: "Startup finished in 1s (kernel) + 2s (userspace) = 3s"})})
	o.ICount = 1000
	for _, c := range cells {
		f.each = append(f.each, seconds(f.t, c))
		o.Frames = append(o.Frames, ran(f.t, c.Name, golden(f.t, "cpu.txt"))...)
	}
	return o, nil
}

// seconds is how long a cell asks sysbench to run.
func seconds(t *testing.T, c job.Cell) time.Duration {
	for _, arg := range c.Run {
		if text, ok := strings.CutPrefix(arg, "--time="); ok {
			d, err := time.ParseDuration(text + "s")
			require.NoError(t, err)
			return d
		}
	}
	return 0
}

// small has boots, and cells for which there is a real output.
func small(t *testing.T) Plan {
	t.Helper()
	return withCPUCell(draw(t, Options{Mode: Quick, Seed: 3, Contenders: two(), Parts: []Part{Boot, CPU}, Boots: 2, CellTime: 2 * time.Second}))
}

// withCPUCell replaces the cells of the cpu test by the one whose output is in
// testdata.
func withCPUCell(p Plan) Plan {
	for i, r := range p.Runs {
		if r.Part == CPU {
			p.Runs[i].Cells = []string{cpuCell}
		}
	}
	return p
}

func create(t *testing.T, plan Plan) (*Store, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "bench")
	s, err := Create(dir, "v1", plan)
	require.NoError(t, err)
	t.Cleanup(func() { _ = s.Close() })
	return s, dir
}

func TestEngine(t *testing.T) {
	s, dir := create(t, small(t))
	shooter := &fakeShooter{t: t}
	require.NoError(t, (&Engine{Store: s}).Run(t.Context(), shooter))
	assert.Equal(t, s.Data.Plan.Runs, shooter.shots, "in the plan's order")
	for _, each := range shooter.each {
		assert.Equal(t, 2*time.Second, each)
	}
	assert.True(t, s.Data.Finished())

	d, err := Load(dir)
	require.NoError(t, err)
	want, err := json.Marshal(s.Data)
	require.NoError(t, err)
	got, err := json.Marshal(d)
	require.NoError(t, err)
	assert.JSONEq(t, string(want), string(got))
	assert.Len(t, d.Samples("qemu-pc", "host", Boot, "", "init-sec", false), 2, "without the warm-up")
	twin := d.Twin("host", Boot)
	assert.Len(t, d.Samples(twin, "host", Boot, "", "init-sec", true), 2)
	for _, p := range d.Samples(twin, "host", CPU, cpuCell, "events/s", false) {
		assert.Positive(t, p.Value)
		assert.GreaterOrEqual(t, p.Block, 0)
	}
	assert.Empty(t, d.Missing(d.Plan.Contenders[0], CPU))
	assert.Equal(t, "it was not asked for", d.Missing(d.Plan.Contenders[0], RAM))
}

func TestEngineStopsCleanlyAndResumes(t *testing.T) {
	s, dir := create(t, small(t))
	ctx, cancel := context.WithCancelCause(t.Context())
	interrupted := errors.New("interrupted")
	shooter := &fakeShooter{t: t, before: func(_ context.Context, run Run) (*shot.Outcome, error) {
		if run.Index == 5 {
			cancel(interrupted)
			return &shot.Outcome{Fault: "ended by a signal"}, nil // as a VMM ends on Ctrl-C
		}
		return nil, nil
	}}
	assert.ErrorIs(t, (&Engine{Store: s}).Run(ctx, shooter), interrupted)
	assert.Len(t, s.Data.Results, 5, "the run under way is no result")
	assert.False(t, s.Data.Finished())
	require.NoError(t, s.Close())

	again, err := Resume(dir, "v1")
	require.NoError(t, err)
	defer again.Close()
	rest := &fakeShooter{t: t}
	require.NoError(t, (&Engine{Store: again}).Run(t.Context(), rest))
	assert.Equal(t, again.Data.Plan.Runs[5:], rest.shots)
	assert.True(t, again.Data.Finished())
}

func TestEngineStopsWithTheHouse(t *testing.T) {
	s, _ := create(t, small(t))
	broken := errors.New("L1 is gone")
	shooter := &fakeShooter{t: t, before: func(context.Context, Run) (*shot.Outcome, error) { return nil, broken }}
	err := (&Engine{Store: s}).Run(t.Context(), shooter)
	assert.ErrorIs(t, err, broken)
	assert.ErrorContains(t, err, "run 1, boot of qemu-")
	assert.Empty(t, s.Data.Results)
	shooter.before = nil
	require.NoError(t, s.Close())
	assert.ErrorIs(t, (&Engine{Store: s}).Run(t.Context(), shooter), os.ErrClosed, "results that cannot be kept end it")
}

// A contender that fails again and again in a part is given up there, and only
// there; one failure after it has worked is an accident.
func TestEngineGivesUp(t *testing.T) {
	s, _ := create(t, small(t))
	fails := 0
	shooter := &fakeShooter{t: t, before: func(_ context.Context, run Run) (*shot.Outcome, error) {
		if run.of("qemu-pc", "host", Boot) {
			fails++
			return &shot.Outcome{Fault: "it does not boot"}, nil
		}
		if run.of("qemu-microvm", "host", Boot) && run.Block == 0 && !run.Twin {
			return &shot.Outcome{Fault: "an accident"}, nil
		}
		return nil, nil
	}}
	var out strings.Builder
	require.NoError(t, (&Engine{Store: s, Progress: Lines(&out)}).Run(t.Context(), shooter))
	assert.Equal(t, patience, fails)
	d := &s.Data
	assert.True(t, d.Finished())
	assert.Equal(t, "it does not boot", d.Missing(d.Plan.Contenders[0], Boot))
	assert.Len(t, d.Refused(d.Plan.Contenders[0], Boot), patience)
	assert.Empty(t, d.Missing(d.Plan.Contenders[0], CPU))
	assert.Empty(t, d.Missing(d.Plan.Contenders[1], Boot))
	assert.Len(t, d.Samples("qemu-microvm", "host", Boot, "", "init-sec", false), 1)
	assert.Equal(t, 1, strings.Count(out.String(), "boot of qemu-pc on host is given up: it does not boot"))
	assert.Contains(t, out.String(), ", 0 left")
}

// A VMM that never works does not hang once more for each part.
func TestEngineGivesUpAltogether(t *testing.T) {
	s, _ := create(t, withCPUCell(draw(t, Options{Mode: Quick, Contenders: two(), Parts: []Part{Boot, CPU, Debian}})))
	fails := 0
	shooter := &fakeShooter{t: t, before: func(_ context.Context, run Run) (*shot.Outcome, error) {
		if run.VMM == "qemu-pc" {
			fails++
			return &shot.Outcome{Fault: "it hangs"}, nil
		}
		return nil, nil
	}}
	require.NoError(t, (&Engine{Store: s}).Run(t.Context(), shooter))
	assert.Equal(t, totalPatience, fails)
	for _, part := range []Part{Boot, CPU, Debian} {
		assert.Equal(t, "it hangs", s.Data.Missing(s.Data.Plan.Contenders[0], part))
		assert.Empty(t, s.Data.Missing(s.Data.Plan.Contenders[1], part))
	}
	assert.True(t, s.Data.Finished())
}

func TestMissing(t *testing.T) {
	plan := draw(t, Options{Mode: Quick, Contenders: many()})
	d := &Data{Plan: plan}
	assert.Equal(t, "not found", d.Missing(plan.Contenders[5], Boot))
	assert.Equal(t, "counted under TCG only", d.Missing(plan.Contenders[3], Instructions))
	assert.Equal(t, "the benchmark was ended before", d.Missing(plan.Contenders[0], Boot))
	assert.Equal(t, "it was not asked for", d.Missing(plan.Contenders[0], Debian))

	c := plan.Contenders[0]
	run := Run{VMM: c.VMM, On: c.On, Part: CPU, Cells: []string{"threads=1", "threads=4"}}
	d.Results = []Result{{Run: run, Refused: map[string]string{"threads=4": "it did nothing"}}}
	assert.Empty(t, d.Missing(c, CPU))
	assert.Empty(t, d.MissingCell(c, CPU, "threads=1"))
	assert.Equal(t, "it did nothing", d.MissingCell(c, CPU, "threads=4"))
	assert.Equal(t, "the benchmark was ended before", d.MissingCell(c, CPU, "threads=16"))
	assert.Equal(t, "not found", d.MissingCell(plan.Contenders[5], CPU, "threads=1"))
}
