package sysbench

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// golden is the stdout of a run in testdata, without the command line.
func golden(t testing.TB, name string) string {
	text, err := os.ReadFile(filepath.Join("testdata", name+".txt"))
	require.NoError(t, err)
	command, stdout, found := strings.Cut(string(text), "\n")
	require.True(t, found && strings.HasPrefix(command, "$ sysbench "))
	return stdout
}

func TestParseCPU(t *testing.T) {
	result, err := CPU{Threads: 4, Time: 2 * time.Second}.Parse(golden(t, "shared-02-cpu"))
	require.NoError(t, err)
	assert.Equal(t, CPUResult{
		General: General{
			Version: "1.0.20", Threads: 4, TotalTime: 2.0043, Events: 10410,
			Latency:         Latency{MinMS: 0.19, AvgMS: 0.77, MaxMS: 56.22, P95MS: 4.18, SumMS: 7981.39},
			EventsPerThread: 2602.5, EventsPerThreadStddev: 134.12, BusyPerThread: 1.9953,
		},
		MaxPrime: 10000, EventsPerSecond: 5192.04,
	}, result)
	assert.InDelta(t, 0.7702, result.MeanMS(), 0.0001)

	encoded, err := json.Marshal(result)
	require.NoError(t, err)
	assert.Contains(t, string(encoded), `"eventsPerSecond":5192.04`)
	for _, name := range []string{"shared-01-cpu", "host-cpu-time-events", "host-cpu-huge-prime"} {
		_, err := ParseCPU(golden(t, name))
		require.NoError(t, err, name)
	}
}

func TestParseMemory(t *testing.T) {
	asked := Memory{Threads: 4, BlockSize: 8 * KiB, Op: Read, Access: Random, Scope: Global, Time: 2 * time.Second}
	result, err := asked.Parse(golden(t, "shared-04-memory"))
	require.NoError(t, err)
	assert.Equal(t, Random, result.Access)
	assert.EqualValues(t, 8, result.BlockKiB)
	assert.EqualValues(t, 1657962, result.Operations)
	assert.Equal(t, 828678.34, result.OperationsPerSecond)
	assert.Equal(t, 12952.83, result.TransferredMiB)
	assert.Equal(t, 6474.05, result.MiBPerSecond)

	local, err := ParseMemory(golden(t, "host-memory-local-total"))
	require.NoError(t, err)
	assert.Equal(t, Local, local.Scope)
	assert.EqualValues(t, 100, local.TotalMiB)
	assert.Empty(t, local.Access, "sysbench does not print it")
	_, err = ParseMemory(golden(t, "shared-03-memory"))
	require.NoError(t, err)
}

func TestParseFileIO(t *testing.T) {
	asked := FileIO{
		Threads: 32, BlockSize: 128 * KiB, Mode: SeqWrite, TotalSize: 64 * MiB, FileNum: 4,
		Direct: true, FsyncFreq: 100, FsyncEnd: true, Time: 2 * time.Second, Phase: Run,
	}
	result, err := asked.Parse(golden(t, "shared-06-fileio"))
	require.NoError(t, err)
	assert.Equal(t, "directio", result.Flags)
	assert.Equal(t, 52408.22, result.IOPS())
	assert.Equal(t, 2160.28, result.FsyncsPerSecond)
	assert.Equal(t, 6551.03, result.MiBPerSecond())

	for name, mode := range map[string]Mode{
		"shared-05-fileio": RandRead, "shared-07-fileio": RandWrite, "host-fileio-rndrw": RandMixed,
		"host-fileio-seqrd": SeqRead, "host-fileio-seqrewr": SeqRewrite, "host-fileio-rndrd": RandRead,
	} {
		result, err := ParseFileIO(golden(t, name))
		require.NoError(t, err, name)
		assert.Equal(t, mode, result.Mode)
		assert.EqualValues(t, 4*KiB, result.BlockBytes)
	}
}

func TestAnotherRunThanAskedFor(t *testing.T) {
	_, err := CPU{Threads: 16, MaxPrime: 5}.Parse(golden(t, "shared-02-cpu"))
	assert.ErrorContains(t, err, "threads: asked for 16, the output says 4")
	assert.ErrorContains(t, err, "prime limit: asked for 5, the output says 10000")
	_, err = Memory{Threads: 4, BlockSize: KiB, Op: Read, Scope: Global}.Parse(golden(t, "shared-03-memory"))
	assert.ErrorContains(t, err, "operation: asked for read, the output says write")
	f := FileIO{Threads: 4, BlockSize: 4 * KiB, Mode: RandRead, TotalSize: 16 * MiB, FileNum: 2, Direct: true}
	_, err = f.Parse(golden(t, "host-fileio-rndrd"))
	assert.ErrorContains(t, err, "direct I/O: asked for true, the output says false")
}

func TestRefusals(t *testing.T) {
	cpu := func(s string) error { _, err := ParseCPU(s); return err }
	memory := func(s string) error { _, err := ParseMemory(s); return err }
	file := func(s string) error { _, err := ParseFileIO(s); return err }

	assert.ErrorIs(t, memory(golden(t, "shared-08-memory")), ErrNothingDone)
	fatal := map[string]func(string) error{
		"host-cpu-threads-0": cpu, "host-memory-bad-block": memory, "host-memory-too-big": memory,
		"host-fileio-bad-mode": file, "host-fileio-no-mode": file, "host-fileio-no-files": file,
	}
	for name, parse := range fatal {
		var complaint *FatalError
		require.ErrorAs(t, parse(golden(t, name)), &complaint, name)
	}
	assert.ErrorContains(t, file(golden(t, "host-fileio-no-files")), "Did you forget to run the prepare step?")
	assert.ErrorContains(t, cpu(golden(t, "host-cpu-bad-option")), `no "total time"`)
	assert.ErrorContains(t, memory(golden(t, "host-memory-none")), `no "transferred"`)
	assert.ErrorContains(t, cpu(golden(t, "shared-03-memory")), `no "events per second"`)
	assert.ErrorContains(t, cpu(""), `no "version"`)

	good := golden(t, "shared-02-cpu")
	assert.ErrorContains(t, cpu(good+good), "more than one run")
	assert.ErrorIs(t, cpu(good+"(last message repeated 3 times)\n"), ErrFolded)
	require.NoError(t, CheckPhase(golden(t, "host-fileio-prepare")))
	require.NoError(t, CheckPhase(golden(t, "host-fileio-cleanup")))
	require.Error(t, CheckPhase(golden(t, "host-fileio-no-files")))
}

// TestEachSectionIsNeeded cuts the output off after every line.
func TestEachSectionIsNeeded(t *testing.T) {
	lines := strings.SplitAfter(strings.TrimSpace(golden(t, "shared-06-fileio")), "\n")
	for n := range lines {
		_, err := ParseFileIO(strings.Join(lines[:n], ""))
		require.Error(t, err, "after line %d", n)
	}
}

func TestInconsistentNumbers(t *testing.T) {
	tests := []struct{ file, old, new, why string }{
		{"shared-02-cpu", "5192.04", "9192.04", "are not 9192.04 events per second"},
		{"shared-02-cpu", "0.77", "0.97", "sum / events"},
		{"shared-02-cpu", "2.0043s", "1.0043s", "more than 4 threads have"},
		{"shared-02-cpu", "2602.5000", "2702.5000", "do not make 10410 events"},
		{"shared-02-cpu", "5192.04", "NaN", "expected a number"},
		{"shared-02-cpu", "Number of threads: 4", "Number of threads: -4", "whole number"},
		{"shared-04-memory", "6474.05", "6475.05", "not 6475.05"},
		{"shared-04-memory", "12952.83", "1295.83", "not 1295.83"},
		{"shared-04-memory", "operations: 1657962", "operations: 1657963", "events"},
		{"shared-04-memory", "operation: read", "operation: none", "expected one of read, write"},
		{"shared-05-fileio", "239.27", "23.93", "not 23.93"},
		{"shared-05-fileio", "Block size 4KiB", "Block size 8KiB", "are 478.53 MiB/s"},
		{"shared-05-fileio", "random read", "random write", "reads in a write test"},
		{"shared-07-fileio", "random write", "random read", "writes in a read test"},
		{"shared-05-fileio", "random read", "random guess", "unknown file test"},
		{"shared-05-fileio", "61252.00", "0.00", "did nothing"},
	}
	for _, test := range tests {
		t.Run(test.new, func(t *testing.T) {
			text := golden(t, test.file)
			require.Contains(t, text, test.old)
			text = strings.Replace(text, test.old, test.new, 1)
			var err error
			switch {
			case strings.HasSuffix(test.file, "cpu"):
				_, err = ParseCPU(text)
			case strings.HasSuffix(test.file, "memory"):
				_, err = ParseMemory(text)
			default:
				_, err = ParseFileIO(text)
			}
			assert.ErrorContains(t, err, test.why)
		})
	}
}

func TestCPUIdentity(t *testing.T) {
	for _, name := range []string{"shared-01-cpu", "shared-02-cpu", "host-cpu-time-events", "host-cpu-huge-prime"} {
		r, err := ParseCPU(golden(t, name))
		require.NoError(t, err)
		assert.NoError(t, CPUIdentity(r.Threads, r.EventsPerSecond, r.Latency.AvgMS), name)
		assert.Error(t, CPUIdentity(r.Threads, r.EventsPerSecond*2, r.Latency.AvgMS), name)
		assert.Error(t, CPUIdentity(r.Threads*4, r.EventsPerSecond, r.Latency.AvgMS), name)
	}
	assert.ErrorContains(t, CPUIdentity(0, 1, 1), "not results of a run")
	assert.Error(t, CPUIdentity(1, 1, 0))
	assert.NoError(t, CPUIdentity(1, 5e5, 0.005))
}

func TestBlockIdentity(t *testing.T) {
	assert.NoError(t, BlockIdentity(239.27, 61252, 4*KiB))
	assert.NoError(t, BlockIdentity(0, 0, 4*KiB))
	assert.NoError(t, BlockIdentity(0.02, 4, 4*KiB), "0.015625, rounded")
	assert.ErrorContains(t, BlockIdentity(239.27, 61252, 16*KiB), "are 957.06 MiB/s, not 239.27")
	assert.Error(t, BlockIdentity(239.29, 61252, 4*KiB))
}

func TestRanges(t *testing.T) {
	r := Rates(4, Number{Value: 0.00084, Half: 0.000005})
	assert.InDelta(t, 4733.7, r.Low, 0.1)
	assert.InDelta(t, 4790.4, r.High, 0.1)
	assert.True(t, r.Has(TwoDecimals(4736.79)))
	assert.False(t, r.Has(TwoDecimals(4791)))
	assert.True(t, r.Wider(0.01).Has(TwoDecimals(4791)))
	assert.True(t, math.IsInf(Rates(1, Number{Value: 0.000005, Half: 0.000005}).High, 1), "rounded to nothing")
	assert.Equal(t, Range{Low: 0.5 * KiB, High: 1.5 * KiB}, Transfers(Number{Value: 1, Half: 0.5}, KiB))
}

func FuzzParse(f *testing.F) {
	paths, err := filepath.Glob("testdata/*.txt")
	require.NoError(f, err)
	for _, path := range paths {
		f.Add(golden(f, strings.TrimSuffix(filepath.Base(path), ".txt")))
	}
	f.Fuzz(func(t *testing.T, text string) {
		if r, err := ParseCPU(text); err == nil {
			require.Positive(t, r.Events)
		}
		if r, err := ParseMemory(text); err == nil {
			require.Positive(t, r.MiBPerSecond)
		}
		if r, err := ParseFileIO(text); err == nil {
			require.Positive(t, r.IOPS())
		}
	})
}
