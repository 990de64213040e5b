package labs

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"virtlab/harness"
	"virtlab/harness/bench"
	"virtlab/harness/bench/stat"
	"virtlab/harness/comparison"
)

// Every VMM that is there boots the same guest, is measured in it, and stands in
// the report; one that is not there is named with the reason.
func TestComparison(t *testing.T) {
	unhurried(t)
	dir := t.ArtifactDir()
	data, err := comparison.Measure(t.Context(), comparison.Options{
		Options: bench.Options{
			Mode: bench.Quick, Seed: harness.Seed(), Boots: 2, Samples: 2,
			Parts: []bench.Part{bench.Boot, bench.FileIO, bench.Instructions},
		},
		VMMs: []string{"qemu-pc", "qemu-microvm", "gokvm", "stratovirt", "firecracker"},
		Dir:  filepath.Join(dir, "comparison"), Progress: bench.Lines(os.Stderr),
	})
	require.NoError(t, err)
	measured := 0
	for _, c := range data.Plan.Contenders {
		if c.Missing != "" {
			t.Logf("%s: not measured: %s", c.VMM, c.Missing)
			continue
		}
		measured++
		for _, part := range data.Plan.Parts() {
			if c.Without[part] == "" {
				assert.Empty(t, data.Missing(c, part), "%s of %s", part, c.Name())
				assert.Empty(t, data.Refused(c, part), "%s of %s", part, c.Name())
			}
		}
		for _, unit := range []string{"kernel-sec", "init-sec", "up-sec", "vmm-cpu-sec", "marker-sec", "rss-B", "guest-rss-B", "own-rss-B"} {
			points := data.Samples(c.VMM, c.On, bench.Boot, "", unit, false)
			if assert.Len(t, points, 2, "%s of %s", unit, c.Name()) {
				assert.Positive(t, points[0].Value, "%s of %s", unit, c.Name())
			}
		}
	}
	assert.GreaterOrEqual(t, measured, 3, "qemu-pc, qemu-microvm and gokvm are there on every machine")
	for _, file := range []string{"report.html", "report.md", "bench.csv", "bench.txt"} {
		assert.FileExists(t, filepath.Join(dir, "comparison", file))
	}
}

// unhurried leaves a test that takes minutes to a run that has them: within go
// test's 10 minutes there is only room for the labs.
func unhurried(t *testing.T) {
	t.Helper()
	if end, limited := t.Deadline(); limited && time.Until(end) < 20*time.Minute {
		t.Skip("it takes minutes: make test has them, or go test -timeout 40m")
	}
}

// slowBoots are boots enough of either side to find 10 % on a busy machine.
const slowBoots = 30

// A VMM that is started by a program which first computes for a tenth of what a
// boot takes is found to be slower. That a VMM is not found to differ from itself
// is a matter of chance: package stat tests it on recorded boots, seed after seed.
func TestComparisonFindsASlowDown(t *testing.T) {
	unhurried(t)
	tenth := tenthOfABoot(t)
	data := bootsOf(t, slowBoots, comparison.Wrap{VMM: "qemu-microvm", Argv: []string{virtlabProgram(), "burn", tenth.String()}})
	pairs := stat.Pairs(data)
	require.Len(t, pairs, 1)
	cpu := verdictOn(t, pairs[0], "vmm-cpu-sec")
	assert.Equal(t, stat.ABetter, cpu.Kind, "a tenth of a boot's CPU time, %s, on every boot: %s", tenth, cpu)
	for _, same := range stat.AA(data) {
		for _, v := range same.Verdicts {
			t.Log("a VMM and itself: ", v)
		}
	}
}

// verdictOn is the verdict on a pair by a metric.
func verdictOn(t *testing.T, p stat.Pair, unit string) stat.Verdict {
	t.Helper()
	for _, v := range p.Verdicts {
		t.Log(v)
		if v.Metric.Unit == unit {
			return v
		}
	}
	require.Fail(t, "no verdict by "+unit)
	return stat.Verdict{}
}

// tenthOfABoot is a tenth of the CPU time that a boot takes.
func tenthOfABoot(t *testing.T) time.Duration {
	data := bootsOf(t, 3)
	boot := stat.Summarize(data.Samples("qemu-microvm", "host", bench.Boot, "", "vmm-cpu-sec", false)).Median
	require.Positive(t, boot)
	return time.Duration(boot / 10 * float64(time.Second))
}

// bootsOf boots QEMU's microvm on the host, and what is wrapped around it.
func bootsOf(t *testing.T, boots int, wraps ...comparison.Wrap) *bench.Data {
	t.Helper()
	data, err := comparison.Measure(t.Context(), comparison.Options{
		Options: bench.Options{Mode: bench.Quick, Seed: harness.Seed(), Boots: boots, Parts: []bench.Part{bench.Boot}},
		VMMs:    []string{"qemu-microvm"}, On: "host", Wraps: wraps,
		Dir: filepath.Join(t.ArtifactDir(), fmt.Sprint("boots-", boots)), Progress: bench.Lines(os.Stderr),
	})
	require.NoError(t, err)
	return data
}

// virtlabProgram is the command line as the labs built it.
func virtlabProgram() string { return filepath.Join(harness.Assets().Programs, "virtlab") }

// A comparison that is ended, politely or not, leaves no VMM, no disk image and no
// socket. What it had measured is there, and -resume goes on with it.
func TestComparisonEnded(t *testing.T) {
	for _, c := range []struct {
		signal syscall.Signal
		report bool // it had the time to write one
	}{{unix.SIGINT, true}, {unix.SIGKILL, false}} {
		t.Run(unix.SignalName(c.signal), func(t *testing.T) {
			t.Parallel()
			temp, dir := t.TempDir(), filepath.Join(t.ArtifactDir(), "comparison")
			p := startComparison(t, temp, "-report", dir)
			require.Eventually(t, func() bool { return results(dir) >= 1 && len(processesWith(t, temp)) > 0 }, 2*time.Minute, 20*time.Millisecond,
				"a result, and a VMM of the next run")
			require.NoError(t, p.Process.Signal(c.signal))
			assert.Error(t, p.Wait())
			assert.Eventually(t, func() bool {
				left, err := os.ReadDir(temp)
				return err == nil && len(left) == 0 && len(processesWith(t, temp)) == 0
			}, 30*time.Second, 20*time.Millisecond, "directories and processes are gone")
			before := results(dir)
			require.Positive(t, before)
			assert.Equal(t, c.report, exists(filepath.Join(dir, "report.html")))

			p = startComparison(t, temp, "-report", dir, "-resume")
			require.NoError(t, p.Wait())
			data, err := bench.Load(dir)
			require.NoError(t, err)
			assert.True(t, data.Finished())
			assert.True(t, exists(filepath.Join(dir, "report.html")))
		})
	}
}

// startComparison compares QEMU's microvm with itself in a process of its own.
func startComparison(t *testing.T, temp string, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.CommandContext(t.Context(), os.Args[0], append([]string{"-test.run", "^$", "-test.bench", "Boot", "-test.outputdir", temp,
		"-quick", "-boots", "2", "-vmms", "qemu-microvm", "-on", "host"}, args...)...)
	c.Env = append(os.Environ(), "TMPDIR="+temp)
	log, err := os.Create(filepath.Join(t.ArtifactDir(), fmt.Sprintf("comparison-%d.txt", len(args))))
	require.NoError(t, err)
	c.Stdout, c.Stderr = log, log
	require.NoError(t, c.Start())
	require.NoError(t, log.Close())
	return c
}

// results is how many runs a comparison has finished.
func results(dir string) int {
	lines, _ := os.ReadFile(filepath.Join(dir, "runs.jsonl"))
	return bytes.Count(lines, []byte("\n"))
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// processesWith are those whose command line names a directory: VMMs with their
// disk in it.
func processesWith(t *testing.T, dir string) (pids []string) {
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	require.NoError(t, err)
	for _, f := range files {
		line, _ := os.ReadFile(f)
		if bytes.Contains(line, []byte("qemu-system")) && bytes.Contains(line, []byte(dir)) {
			pids = append(pids, f)
		}
	}
	return pids
}
