package sandbox

import (
	"fmt"
	"time"
)

// Limits bound what a sandboxed program uses: all its processes together, where
// a field does not say otherwise.
type Limits struct {
	CPU        time.Duration // user and system time
	Wall       time.Duration // a multiple of CPU, so that a busy machine fails nobody; 0: none
	MemoryMiB  int           // resident, without the pages of files
	AddressMiB int           // address space of each process; of all together twice that
	Processes  int           // and threads
	OpenFiles  int           // of each process
	FileMiB    int           // largest file; 0: no file may have content
	ScratchMiB int           // in /tmp
	Files      int           // in /tmp, and in each writable directory
	OutputMiB  int           // standard output and error
}

// Compiler is enough for gcc and ld on anything a student means well with: they
// take about 2 s of CPU and 200 MiB.
var Compiler = Limits{
	CPU: 30 * time.Second, Wall: 4 * time.Minute,
	MemoryMiB: 1024, AddressMiB: 1536, Processes: 48, OpenFiles: 256,
	FileMiB: 64, ScratchMiB: 128, Files: 1000, OutputMiB: 64,
}

// VMM is enough for QEMU with a guest of 256 MiB under emulation. How long it
// may run is for the context to say: a guest that is slow is not wrong.
var VMM = Limits{
	CPU:       15 * time.Minute,
	MemoryMiB: 1024, AddressMiB: 4096, Processes: 32, OpenFiles: 256,
	FileMiB: 0, ScratchMiB: 16, Files: 100, OutputMiB: 256,
}

// Limit names one of Limits.
type Limit string

// What a sandboxed program may run into.
const (
	CPU       Limit = "CPU time"
	Wall      Limit = "time"
	Memory    Limit = "memory"
	Address   Limit = "address space"
	Processes Limit = "processes"
	FileSize  Limit = "file size"
	Space     Limit = "space"
	Files     Limit = "files"
	Output    Limit = "output"
)

// LimitError is the limit that ended a sandboxed program, in words that follow
// the program's name: "gcc used more than 30s of CPU time".
type LimitError struct {
	Limit Limit
	Text  string
}

func (e *LimitError) Error() string { return e.Text }

// Exceeded is the error of a program that ran into limit l.
func (s Limits) Exceeded(l Limit) *LimitError {
	text := map[Limit]string{
		CPU:       fmt.Sprintf("used more than %s of CPU time in all", s.CPU),
		Wall:      fmt.Sprintf("was not done after %s", s.Wall),
		Memory:    fmt.Sprintf("used more than %d MiB of memory in all", s.MemoryMiB),
		Address:   fmt.Sprintf("took more than %d MiB of address space in all", 2*s.AddressMiB),
		Processes: fmt.Sprintf("ran %d processes and threads at once, the most it may", s.Processes),
		FileSize:  fmt.Sprintf("wrote a file of more than %d MiB", s.FileMiB),
		Space:     fmt.Sprintf("wrote more than %d MiB of files in all", s.ScratchMiB),
		Files:     fmt.Sprintf("made more than %d files", s.Files),
		Output:    fmt.Sprintf("printed more than %d MiB", s.OutputMiB),
	}[l]
	if l == FileSize && s.FileMiB == 0 {
		text = "wrote into a file, and may into none"
	}
	return &LimitError{Limit: l, Text: text}
}

// rlimits are prlimit's options for what the kernel limits for each process. They
// hold in the first instant, where the watch is too slow.
func (s Limits) rlimits() []string {
	return []string{
		// At the first limit the program is told, at the second it is killed.
		fmt.Sprintf("--cpu=%d:%d", seconds(s.CPU), seconds(s.CPU)+1),
		fmt.Sprintf("--as=%d", s.AddressMiB<<20),
		fmt.Sprintf("--fsize=%d", s.FileMiB<<20),
		fmt.Sprintf("--nofile=%d", s.OpenFiles),
		fmt.Sprintf("--stack=%d", stackMiB<<20),
		// 0 would still feed a host's core_pattern that is a program; 1 does not (core(5)).
		"--core=1", "--memlock=65536", "--msgqueue=0",
	}
}

// stackMiB is what gcc asks for itself.
const stackMiB = 64

// seconds is d in whole seconds, at least 1: 0 would be no limit to setrlimit.
func seconds(d time.Duration) int { return max(1, int((d+time.Second-1)/time.Second)) }
