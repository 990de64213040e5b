// Package sysbench is the data model of sysbench 1.0.20: what is asked of it
// (CPU, Memory, FileIO become argument lists), what it prints (parsed into
// results with units) and what must hold between the numbers it prints.
//
// sysbench prints everything on stdout, fatal errors too, and can exit with
// status 0 without having done anything. So a result is either complete and
// consistent or an error; there is no partial one.
package sysbench

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Sizes in bytes.
const (
	KiB = 1 << 10
	MiB = 1 << 20
	GiB = 1 << 30
)

// CPU asks for the cpu test: each event tests the numbers up to MaxPrime for
// being prime.
type CPU struct {
	Threads  int           `json:"threads"`
	Time     time.Duration `json:"time"`     // whole seconds
	MaxPrime int           `json:"maxPrime"` // 0: sysbench's default, 10000
}

// Operation is what the memory test does to memory.
type Operation string

// The operations of the memory test.
const (
	Read  Operation = "read"
	Write Operation = "write"
)

// Access is the order in which the memory test goes through a block.
type Access string

// The orders of the memory test.
const (
	Sequential Access = "seq"
	Random     Access = "rnd"
)

// Scope says whether the threads of the memory test share their block.
type Scope string

// The scopes of the memory test.
const (
	Global Scope = "global"
	Local  Scope = "local"
)

// Memory asks for the memory test: each event goes once through a block.
type Memory struct {
	Threads   int           `json:"threads"`
	BlockSize int64         `json:"blockBytes"` // a power of two
	Total     int64         `json:"totalBytes"` // ends the run when transferred; 0: only Time does
	Op        Operation     `json:"operation"`
	Access    Access        `json:"access"`
	Scope     Scope         `json:"scope"`
	Time      time.Duration `json:"time"` // whole seconds
}

// Mode is the pattern of the fileio test.
type Mode string

// The modes of the fileio test.
const (
	SeqWrite   Mode = "seqwr"
	SeqRewrite Mode = "seqrewr"
	SeqRead    Mode = "seqrd"
	RandRead   Mode = "rndrd"
	RandWrite  Mode = "rndwr"
	RandMixed  Mode = "rndrw"
)

// Phase is a step of the fileio test.
type Phase string

// The phases of the fileio test, in their order.
const (
	Prepare Phase = "prepare" // creates the files
	Run     Phase = "run"
	Cleanup Phase = "cleanup" // removes the files
)

// FileIO asks for a phase of the fileio test, in the current directory.
type FileIO struct {
	Threads   int           `json:"threads"`
	BlockSize int64         `json:"blockBytes"`
	Mode      Mode          `json:"mode"`
	TotalSize int64         `json:"totalBytes"` // of all files
	FileNum   int           `json:"files"`
	Direct    bool          `json:"direct"`    // O_DIRECT; without it the page cache is measured
	FsyncFreq int           `json:"fsyncFreq"` // writes between syncs, 0: none; sysbench's default is 100
	FsyncEnd  bool          `json:"fsyncEnd"`  // sync at the end; sysbench's default is true
	Time      time.Duration `json:"time"`      // whole seconds
	Phase     Phase         `json:"phase"`
}

// Args is the argument list, without the program's name. The error says which
// field makes no sense.
func (c CPU) Args() ([]string, error) {
	if err := errors.Join(
		atLeast("Threads", c.Threads, 1), wholeSeconds(c.Time), atLeast("MaxPrime", c.MaxPrime, 0),
	); err != nil {
		return nil, fmt.Errorf("sysbench cpu: %w", err)
	}
	args := []string{"cpu", intArg("threads", c.Threads), timeArg(c.Time)}
	if c.MaxPrime > 0 {
		args = append(args, intArg("cpu-max-prime", c.MaxPrime))
	}
	return append(args, "run"), nil
}

// Args is the argument list, without the program's name. The error says which
// field makes no sense.
func (m Memory) Args() ([]string, error) {
	if err := m.validate(); err != nil {
		return nil, fmt.Errorf("sysbench memory: %w", err)
	}
	return []string{
		"memory", intArg("threads", m.Threads),
		intArg("memory-block-size", m.BlockSize), intArg("memory-total-size", m.Total),
		"--memory-oper=" + string(m.Op), "--memory-access-mode=" + string(m.Access),
		"--memory-scope=" + string(m.Scope), timeArg(m.Time), "run",
	}, nil
}

func (m Memory) validate() error {
	err := errors.Join(
		atLeast("Threads", m.Threads, 1), wholeSeconds(m.Time), atLeast("Total", m.Total, 0),
		oneOf("Op", m.Op, Read, Write), oneOf("Access", m.Access, Sequential, Random), oneOf("Scope", m.Scope, Global, Local),
	)
	if m.BlockSize < 8 || m.BlockSize&(m.BlockSize-1) != 0 {
		err = errors.Join(err, fmt.Errorf("BlockSize %d is not a power of two from 8 bytes on", m.BlockSize))
	}
	if m.Total > 0 && m.Total < m.BlockSize {
		err = errors.Join(err, fmt.Errorf("Total %d is less than one block of %d bytes: the run would do nothing", m.Total, m.BlockSize))
	}
	return err
}

// Args is the argument list, without the program's name. The error says which
// field makes no sense.
func (f FileIO) Args() ([]string, error) {
	if err := f.validate(); err != nil {
		return nil, fmt.Errorf("sysbench fileio: %w", err)
	}
	args := []string{"fileio", intArg("file-num", f.FileNum), intArg("file-total-size", f.TotalSize)}
	if f.Phase != Run {
		return append(args, string(f.Phase)), nil
	}
	args = append(args,
		intArg("threads", f.Threads), intArg("file-block-size", f.BlockSize), "--file-test-mode="+string(f.Mode),
		intArg("file-fsync-freq", f.FsyncFreq), "--file-fsync-end="+onOff(f.FsyncEnd))
	if f.Direct {
		args = append(args, "--file-extra-flags=direct")
	}
	return append(args, timeArg(f.Time), string(Run)), nil
}

func (f FileIO) validate() error {
	err := errors.Join(oneOf("Phase", f.Phase, Prepare, Run, Cleanup), atLeast("FileNum", f.FileNum, 1))
	if err == nil && (f.TotalSize < 1 || f.TotalSize%int64(f.FileNum) != 0) {
		err = fmt.Errorf("TotalSize %d does not make %d files of equal size", f.TotalSize, f.FileNum)
	}
	if err != nil || f.Phase != Run {
		return err
	}
	err = errors.Join(
		atLeast("Threads", f.Threads, 1), wholeSeconds(f.Time), atLeast("FsyncFreq", f.FsyncFreq, 0),
		atLeast("BlockSize", f.BlockSize, 1), oneOf("Mode", f.Mode, SeqWrite, SeqRewrite, SeqRead, RandRead, RandWrite, RandMixed),
	)
	if perFile := f.TotalSize / int64(f.FileNum); f.BlockSize > perFile {
		err = errors.Join(err, fmt.Errorf("BlockSize %d exceeds the %d bytes of a file", f.BlockSize, perFile))
	}
	if f.Direct && f.BlockSize%512 != 0 {
		err = errors.Join(err, fmt.Errorf("BlockSize %d cannot be used with Direct: it is no multiple of 512", f.BlockSize))
	}
	return err
}

// At is the same test in another phase.
func (f FileIO) At(phase Phase) FileIO {
	f.Phase = phase
	return f
}

// Name is the cell's name in the way of Go's sub-benchmarks.
func (c CPU) Name() string { return "threads=" + strconv.Itoa(c.Threads) }

// Name is the cell's name in the way of Go's sub-benchmarks.
func (m Memory) Name() string {
	return fmt.Sprintf("block=%s/access=%s/scope=%s", sizeName(m.BlockSize), m.Access, m.Scope)
}

// Name is the cell's name in the way of Go's sub-benchmarks.
func (f FileIO) Name() string {
	return fmt.Sprintf("threads=%d/block=%s/mode=%s", f.Threads, sizeName(f.BlockSize), f.Mode)
}

// sizeName is a size as people write it: 4k, 1m, 512.
func sizeName(bytes int64) string {
	switch {
	case bytes >= MiB && bytes%MiB == 0:
		return fmt.Sprintf("%dm", bytes/MiB)
	case bytes >= KiB && bytes%KiB == 0:
		return fmt.Sprintf("%dk", bytes/KiB)
	default:
		return strconv.FormatInt(bytes, 10)
	}
}

func intArg[T int | int64](name string, n T) string { return fmt.Sprintf("--%s=%d", name, n) }

func timeArg(d time.Duration) string { return intArg("time", int64(d/time.Second)) }

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

func atLeast[T int | int64](field string, n, least T) error {
	if n < least {
		return fmt.Errorf("%s is %d, expected at least %d", field, n, least)
	}
	return nil
}

func oneOf[T ~string](field string, value T, allowed ...T) error {
	names := make([]string, len(allowed))
	for i, a := range allowed {
		if value == a {
			return nil
		}
		names[i] = string(a)
	}
	return fmt.Errorf("%s is %q, expected one of %s", field, value, strings.Join(names, ", "))
}

// wholeSeconds refuses what sysbench would round, to no limit in the worst case.
func wholeSeconds(d time.Duration) error {
	if d < time.Second || d%time.Second != 0 {
		return fmt.Errorf("Time is %v, expected whole seconds, at least one", d)
	}
	return nil
}
