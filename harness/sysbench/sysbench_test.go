package sysbench

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestArgs(t *testing.T) {
	tests := []struct {
		config interface{ Args() ([]string, error) }
		want   string
	}{
		{CPU{Threads: 4, Time: 2 * time.Second}, "cpu --threads=4 --time=2 run"},
		{CPU{Threads: 1, Time: time.Minute, MaxPrime: 2000}, "cpu --threads=1 --time=60 --cpu-max-prime=2000 run"},
		{
			Memory{Threads: 4, BlockSize: KiB, Op: Read, Access: Random, Scope: Local, Time: time.Second},
			"memory --threads=4 --memory-block-size=1024 --memory-total-size=0 --memory-oper=read " +
				"--memory-access-mode=rnd --memory-scope=local --time=1 run",
		},
		{
			FileIO{Threads: 32, BlockSize: 128 * KiB, Mode: SeqWrite, TotalSize: 64 * MiB, FileNum: 4, Direct: true, Time: time.Second, Phase: Run},
			"fileio --file-num=4 --file-total-size=67108864 --threads=32 --file-block-size=131072 --file-test-mode=seqwr " +
				"--file-fsync-freq=0 --file-fsync-end=off --file-extra-flags=direct --time=1 run",
		},
		{
			FileIO{Threads: 1, BlockSize: 4 * KiB, Mode: RandRead, TotalSize: GiB, FileNum: 1, FsyncFreq: 100, FsyncEnd: true, Time: time.Second, Phase: Run},
			"fileio --file-num=1 --file-total-size=1073741824 --threads=1 --file-block-size=4096 --file-test-mode=rndrd " +
				"--file-fsync-freq=100 --file-fsync-end=on --time=1 run",
		},
		{CourseFileIO()[0].At(Prepare), "fileio --file-num=4 --file-total-size=67108864 prepare"},
		{CourseFileIO()[0].At(Cleanup), "fileio --file-num=4 --file-total-size=67108864 cleanup"},
	}
	for _, test := range tests {
		args, err := test.config.Args()
		require.NoError(t, err)
		assert.Equal(t, test.want, strings.Join(args, " "))
	}
}

func TestArgsRefuseNonsense(t *testing.T) {
	memory, file := CourseMemory()[0], CourseFileIO()[0]
	edit := func(change func(m *Memory, f *FileIO)) (Memory, FileIO) {
		m, f := memory, file
		change(&m, &f)
		return m, f
	}
	_, err := CPU{Time: time.Second}.Args()
	assert.ErrorContains(t, err, "Threads is 0")
	_, err = CPU{Threads: 1, Time: 1500 * time.Millisecond}.Args()
	assert.ErrorContains(t, err, "whole seconds")
	_, err = CPU{Threads: 1, Time: time.Second, MaxPrime: -1}.Args()
	assert.ErrorContains(t, err, "MaxPrime")

	memories := map[string]func(m *Memory, f *FileIO){
		"power of two":  func(m *Memory, _ *FileIO) { m.BlockSize = 3 * KiB },
		"do nothing":    func(m *Memory, _ *FileIO) { m.BlockSize, m.Total = GiB, MiB },
		"Op is":         func(m *Memory, _ *FileIO) { m.Op = "none" },
		"Access is":     func(m *Memory, _ *FileIO) { m.Access = "" },
		"Scope is":      func(m *Memory, _ *FileIO) { m.Scope = "x" },
		"whole seconds": func(m *Memory, _ *FileIO) { m.Time = 0 },
		"Total is -1":   func(m *Memory, _ *FileIO) { m.Total = -1 },
	}
	for why, change := range memories {
		m, _ := edit(change)
		_, err := m.Args()
		assert.ErrorContains(t, err, why)
	}
	files := map[string]func(m *Memory, f *FileIO){
		"Phase is":         func(_ *Memory, f *FileIO) { f.Phase = "" },
		"FileNum is 0":     func(_ *Memory, f *FileIO) { f.FileNum = 0 },
		"equal size":       func(_ *Memory, f *FileIO) { f.TotalSize++ },
		"Mode is":          func(_ *Memory, f *FileIO) { f.Mode = "nope" },
		"exceeds":          func(_ *Memory, f *FileIO) { f.BlockSize = 64 * MiB },
		"multiple of 512":  func(_ *Memory, f *FileIO) { f.BlockSize = 1000 },
		"FsyncFreq is -1":  func(_ *Memory, f *FileIO) { f.FsyncFreq = -1 },
		"BlockSize is 0":   func(_ *Memory, f *FileIO) { f.BlockSize = 0 },
		"Threads is -1":    func(_ *Memory, f *FileIO) { f.Threads = -1 },
		"at least one":     func(_ *Memory, f *FileIO) { f.Time = time.Millisecond },
		"files of equal s": func(_ *Memory, f *FileIO) { f.TotalSize = 0 },
	}
	for why, change := range files {
		_, f := edit(change)
		_, err := f.Args()
		assert.ErrorContains(t, err, why)
	}
}

func TestCourseMatrices(t *testing.T) {
	var names []string
	for _, c := range CourseCPU() {
		_, err := c.Args()
		require.NoError(t, err)
		names = append(names, c.Name())
	}
	assert.Equal(t, []string{"threads=1", "threads=4", "threads=16", "threads=32", "threads=64"}, names)

	names = nil
	for _, m := range CourseMemory() {
		_, err := m.Args()
		require.NoError(t, err)
		names = append(names, m.Name())
	}
	assert.Equal(t, []string{
		"block=1k/access=seq/scope=global", "block=1k/access=rnd/scope=global",
		"block=2k/access=seq/scope=global", "block=2k/access=rnd/scope=global",
		"block=4k/access=seq/scope=global", "block=4k/access=rnd/scope=global",
		"block=8k/access=seq/scope=global", "block=8k/access=rnd/scope=global",
	}, names)
	local := InScope(Local, CourseMemory())
	assert.Equal(t, "block=8k/access=rnd/scope=local", local[7].Name())
	assert.Len(t, local, len(names))

	names = nil
	for _, f := range CourseFileIO() {
		_, err := f.Args()
		require.NoError(t, err)
		names = append(names, f.Name())
	}
	require.Len(t, names, 12)
	assert.Equal(t, "threads=1/block=4k/mode=rndrd", names[0])
	assert.Equal(t, "threads=32/block=128k/mode=rndwr", names[5])
	assert.Equal(t, "threads=32/block=4k/mode=seqwr", names[11])
	assert.Equal(t, "512", sizeName(512))
	assert.Equal(t, "1m", sizeName(MiB))
}
