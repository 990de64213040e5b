// Package measure is what a student hands in for the comparison of VMMs
// (experiment 4): tables of measurements, read from the Go benchmark format as
// virtlab prints it, from CSV, or from sysbench's own output
// (docs/measurements.md), and what must hold in and between them.
//
// Whatever is read, the numbers end up in the same base units: seconds, bytes,
// operations a second, bytes a second.
package measure

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"

	"virtlab/harness/sysbench"
)

// Test is one of the comparison's tests.
type Test string

// The tests, in the order of the course.
const (
	Boot      Test = "boot"      // from the start of the VMM, or of the kernel, to a booted guest
	Footprint Test = "footprint" // what the VMM's process takes on the host
	CPU       Test = "cpu"       // sysbench cpu
	Memory    Test = "memory"    // sysbench memory
	FileIO    Test = "fileio"    // sysbench fileio
)

// Tests are all tests, in the order of the course.
var Tests = []Test{Boot, Footprint, CPU, Memory, FileIO}

// Metric is what a number says.
type Metric string

// The metrics, with their base units.
const (
	BootTime   Metric = "boot time"     // s
	Virtual    Metric = "virtual size"  // B: pmap's Kbytes
	RSS        Metric = "RSS"           // B
	PSS        Metric = "PSS"           // B
	USS        Metric = "USS"           // B
	Rate       Metric = "operations/s"  // 1/s: sysbench's events, operations, reads and writes
	Throughput Metric = "throughput"    // B/s
	Mean       Metric = "mean latency"  // s
	P95        Metric = "p95 latency"   // s
	Events     Metric = "total events"  // of the run
	Total      Metric = "total size"    // B: transferred in the run
	Duration   Metric = "duration"      // s: of the run
	unused     Metric = "not looked at" // known, and of no use here
)

// name is how sysbench calls the metric in a test, where it has a name for it.
func (m Metric) name(t Test) string {
	switch {
	case m == Rate && t == CPU:
		return "events/s"
	case m == Rate && t == FileIO:
		return "IOPS"
	}
	return string(m)
}

// Mixed is the operation of a fileio test that reads and writes.
const Mixed sysbench.Operation = "mixed"

// Cell is one cell of the course's tables. What a test does not have is zero.
type Cell struct {
	Test    Test
	Threads int
	Block   int64 // bytes
	Access  sysbench.Access
	Op      sysbench.Operation
	Scope   sysbench.Scope // of the memory test; global is the default
}

// String names the cell as short as it can be told from others.
func (c Cell) String() string {
	if s := c.setting(); s != "" {
		return string(c.Test) + " " + s
	}
	return string(c.Test)
}

// setting is what tells the cell from others of its test: "32 x 4k rndwr".
func (c Cell) setting() string {
	switch c.Test {
	case CPU:
		return plural(c.Threads, "thread")
	case Memory:
		return fmt.Sprintf("%d x %s %s", c.Threads, sizeText(c.Block), c.pattern())
	case FileIO:
		return fmt.Sprintf("%d x %s %s", c.Threads, sizeText(c.Block), c.Mode())
	}
	return ""
}

// pattern is how the memory test goes through memory, without the defaults.
func (c Cell) pattern() string {
	s := string(c.Access)
	if c.Op == sysbench.Read {
		s += " read"
	}
	if c.Scope == sysbench.Local {
		s += " local"
	}
	return s
}

// Mode is the cell's mode in sysbench's fileio test.
func (c Cell) Mode() sysbench.Mode {
	suffix := map[sysbench.Operation]string{sysbench.Read: "rd", sysbench.Write: "wr", Mixed: "rw"}[c.Op]
	return sysbench.Mode(string(c.Access) + suffix)
}

// sizeText is a block size as people write it.
func sizeText(bytes int64) string {
	if bytes >= sysbench.KiB && bytes%sysbench.KiB == 0 {
		return strconv.FormatInt(bytes/sysbench.KiB, 10) + "k"
	}
	return strconv.FormatInt(bytes, 10)
}

// plural counts things.
func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// Pos is a place in a file that was handed in. Column is the number of the cell,
// from 1; 0: the whole line.
type Pos struct {
	File         string
	Line, Column int
}

// String is "bench.csv:12" or, with a column, "bench.csv:12:5".
func (p Pos) String() string {
	s := p.File
	if p.Line > 0 {
		s += ":" + strconv.Itoa(p.Line)
	}
	if p.Column > 0 {
		s += ":" + strconv.Itoa(p.Column)
	}
	return s
}

// Value is a number of a table in the base unit of its metric. Half is what it
// may be off by: half of its last digit, or of sysbench's last digit where that
// is more.
type Value struct {
	sysbench.Number
	Text string // the digits, as written
	Unit unit   // as written
	Pos  Pos
}

// String is the number as it was written.
func (v Value) String() string {
	if v.Unit.name == "" {
		return v.Text
	}
	return v.Text + " " + v.Unit.name
}

// Row is what one run of a test gave.
type Row struct {
	Pos    Pos
	VMM    string // lower case, without spaces: "stratovirt"
	Cell   Cell
	Repeat int // from 1
	Values map[Metric]Value
	Facts  Facts
}

// String names the row in a message: "cpu 4 threads on stratovirt, repeat 2".
func (r *Row) String() string {
	return fmt.Sprintf("%s on %s, repeat %d", r.Cell, r.VMM, r.Repeat)
}

// Fact is something that a table may state about how it was measured.
type Fact string

// The facts that are known.
const (
	Machine   Fact = "machine" // machine type
	GuestRAM  Fact = "memory"  // size of guest memory
	VCPUs     Fact = "vcpus"
	Kernel    Fact = "kernel"
	Accel     Fact = "accel"
	DataSet   Fact = "data-set" // size of all files of the fileio test
	Direct    Fact = "direct"   // whether the fileio test bypasses the guest's page cache
	RunTime   Fact = "time"     // of a sysbench run
	statedVMM Fact = "vmm"      // for tables of one VMM
	statedOne Fact = "test"     // for tables of one test
)

// Stated is the value of a fact and where it stands.
type Stated struct {
	Text string
	Pos  Pos
}

// Facts are what is stated for a row.
type Facts map[Fact]Stated

// Table is what was read from all files.
type Table struct {
	Rows     []*Row
	Problems []Finding // what could not be read
	Notes    []string  // what was not used, or was guessed
	dropped  int       // problems beyond maxProblems
}

// key tells repeats of one cell from other rows.
type key struct {
	vmm, machine string
	cell         Cell
}

func (r *Row) key() key { return key{r.VMM, r.Facts[Machine].Text, r.Cell} }

// compareCells orders cells as the course does.
func compareCells(a, b Cell) int {
	return cmp.Or(cmp.Compare(testIndex(a.Test), testIndex(b.Test)), cmp.Compare(a.Threads, b.Threads),
		cmp.Compare(a.Block, b.Block), cmp.Compare(b.Access, a.Access), cmp.Compare(a.Op, b.Op), cmp.Compare(a.Scope, b.Scope))
}

func testIndex(t Test) int {
	for i, each := range Tests {
		if each == t {
			return i
		}
	}
	return len(Tests)
}

// Has tells whether the table has a row of a test.
func (t *Table) Has(test Test) bool {
	return slices.ContainsFunc(t.Rows, func(r *Row) bool { return r.Cell.Test == test })
}
