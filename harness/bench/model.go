package bench

import (
	"context"
	"time"

	"virtlab/harness/job"
	"virtlab/harness/shot"
)

// Contender is a VMM in the comparison, on the machine where it runs.
type Contender struct {
	VMM string `json:"vmm"` // "qemu-microvm"
	On  string `json:"on"`  // "host" or "L1"; contenders are compared on one machine only
	// Missing says why the contender is not measured; empty: it is.
	Missing string `json:"missing,omitempty"`
	// Without says which parts it is not measured in, and why.
	Without map[Part]string `json:"without,omitempty"`
	// Label is what each number of it carries: Nested, or nothing.
	Label string `json:"label,omitempty"`
	// Boot is what it is thought to take from exec to its end without a cell, for
	// the estimate; 0: as long as VMMs do on its machine.
	Boot time.Duration `json:"boot,omitempty"`
}

// Name is the contender's part of a benchmark's name: "vmm=gokvm/on=L1".
func (c Contender) Name() string { return "vmm=" + c.VMM + "/on=" + c.On }

// Nested labels numbers from a VMM that runs on L1 where L1 is emulated.
const Nested = "functional only: nested under emulation"

// Part is what one VMM process is started for.
type Part string

// The parts. Boot measures booting and the VMM's memory; Instructions counts
// what a cell executes, under TCG with -icount; Debian boots to multi-user.
const (
	Boot         Part = "boot"
	CPU          Part = "cpu"
	RAM          Part = "memory"
	FileIO       Part = "fileio"
	Instructions Part = "instructions"
	Debian       Part = "debian"
)

// Plan is everything that is to be measured, in its order.
type Plan struct {
	Mode       Mode          `json:"mode"`
	Seed       uint64        `json:"seed"`
	Contenders []Contender   `json:"contenders"`
	CellTime   time.Duration `json:"cellTime"`
	Runs       []Run         `json:"runs"`
}

// Run is one VMM process.
type Run struct {
	Index int    `json:"index"`
	Block int    `json:"block"` // -1: warm-up, not counted
	VMM   string `json:"vmm"`
	On    string `json:"on"`
	// Twin marks the second of two equal sides of the A/A comparison.
	Twin  bool     `json:"twin,omitempty"`
	Part  Part     `json:"part"`
	Cells []string `json:"cells,omitempty"` // names, in their drawn order
	// Seconds is what it is expected to take.
	Seconds float64 `json:"seconds"`
}

// Shooter runs a VMM as a Run says. The error is of the house (the harness
// failed, ctx ended); a VMM that failed is an Outcome with a Fault.
type Shooter interface {
	Shoot(ctx context.Context, run Run, cells []job.Cell) (*shot.Outcome, error)
}

// Result is a run that ended, as it is kept: what was measured, or why nothing.
type Result struct {
	Run     Run       `json:"run"`
	Start   time.Time `json:"start"`
	Samples []Sample  `json:"samples,omitempty"`
	Fault   string    `json:"fault,omitempty"`
	// Refused says of which cells the output is refused, and why. The others count.
	Refused map[string]string `json:"refused,omitempty"`
	Took    time.Duration     `json:"took"`
	// Analyze is what systemd-analyze time printed, beside the outside clock.
	Analyze string `json:"analyze,omitempty"`
}

// Sample is one measured number.
type Sample struct {
	Cell   string  `json:"cell,omitempty"` // "block=1k/access=seq/scope=global"; empty for Boot and Debian
	Metric string  `json:"metric"`         // the Unit of a Metric
	Value  float64 `json:"value"`
}

// Metric is a kind of number that is measured.
type Metric struct {
	Part Part
	// Unit is the name and unit as benchstat knows them: "init-sec", "own-rss-B",
	// "B/s", "exits/op".
	Unit   string
	Name   string // for people: "exec to init"
	Higher bool   // more is better
	// Verdict says whether contenders are compared by it; the others are shown.
	Verdict bool
}

// Metrics are all that is measured, in the order of the report.
var Metrics = []Metric{
	{Boot, "kernel-sec", "exec to the kernel's start", false, false},
	{Boot, "init-sec", "exec to init", false, true},
	{Boot, "up-sec", "exec to the job's start", false, false},
	{Boot, "vmm-cpu-sec", "CPU time of the VMM process until its end", false, true},
	{Boot, "marker-sec", "what a marker of 14 bytes costs", false, false},
	{Boot, "boot-exits", "VM exits until the job's start", false, true},
	{Boot, "virtual-B", "virtual size (pmap: total)", false, false},
	{Boot, "rss-B", "resident (pmap -x: RSS)", false, false},
	{Boot, "pss-B", "proportional share", false, false},
	{Boot, "uss-B", "unique", false, false},
	{Boot, "guest-rss-B", "resident guest RAM", false, false},
	{Boot, "own-virtual-B", "the VMM's own virtual size", false, false},
	{Boot, "own-rss-B", "the VMM's own resident memory", false, true},
	{Boot, "own-pss-B", "the VMM's own proportional share", false, true},
	{Boot, "own-uss-B", "the VMM's own unique memory", false, true},
	{Debian, "init-sec", "exec to init (systemd)", false, false},
	{Debian, "multi-user-sec", "exec to multi-user", false, true},
	{Debian, "systemd-kernel-sec", "systemd-analyze: kernel", false, false},
	{Debian, "systemd-userspace-sec", "systemd-analyze: userspace", false, false},
	{CPU, "events/s", "events", true, true},
	{CPU, "mean-sec", "mean time of an event", false, false},
	{CPU, "exits/op", "VM exits per event", false, false},
	{RAM, "B/s", "throughput", true, true},
	{RAM, "ops/s", "operations", true, false},
	{RAM, "exits/op", "VM exits per operation", false, false},
	{FileIO, "B/s", "throughput", true, true},
	{FileIO, "ops/s", "operations", true, false},
	{FileIO, "p95-sec", "95th percentile of the latency", false, false},
	{FileIO, "exits/op", "VM exits per operation", false, false},
	{Instructions, "boot-instructions", "instructions until the job's start", false, true},
	{Instructions, "instructions/op", "instructions per operation", false, false},
}
