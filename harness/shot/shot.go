// Package shot runs one VMM process from its exec to its end and watches it
// from outside: when which line came on the console, what memory the process
// takes and which part of it backs guest RAM, what KVM counted. It runs on the
// machine on which the VMM runs (`virtlab shot`), so that no wire lies between
// an event and its time stamp.
package shot

import (
	"time"

	"virtlab/harness/job"
)

// Spec is a VMM to run and how to look at it. All paths are on the machine.
type Spec struct {
	Argv  []string          `json:"argv"`
	Env   []string          `json:"env,omitempty"`   // "K=V", added to the machine's
	Files map[string]string `json:"files,omitempty"` // written before exec: path to content
	// Console is where the guest's first serial port ends.
	Console Console `json:"console"`
	// ConsolePath is the socket or file where Console needs one.
	ConsolePath string     `json:"consolePath,omitempty"`
	Disk        *Disk      `json:"disk,omitempty"`
	Initramfs   *Initramfs `json:"initramfs,omitempty"`
	RAMBytes    int64      `json:"ramBytes"` // size of guest RAM
	KVM         bool       `json:"kvm,omitempty"`
	// ICountMonitor is a QMP socket that is asked for the number of executed
	// instructions (query-replay) around each cell; empty: none.
	ICountMonitor string        `json:"icountMonitor,omitempty"`
	Timeout       time.Duration `json:"timeout"` // from exec to the guest's done frame
	Silence       time.Duration `json:"silence"` // longest time without a byte on the console
	// Grace is how long the VMM may take to end by itself after the done frame.
	// 0: it cannot, and is ended at once.
	Grace time.Duration `json:"grace,omitempty"`
}

// Console is a way to get at a guest's serial port.
type Console string

// The consoles of the VMMs.
const (
	Stdout Console = "stdout" // the VMM prints it
	PTY    Console = "pty"    // the VMM prints it, and insists on a terminal
	Socket Console = "socket" // a unix socket on which the VMM listens
)

// Disk is the disk that the guest gets: a file or a block device.
type Disk struct {
	Path string `json:"path"`
	// Template is an image to write to Path before exec; empty: Path holds it.
	Template string `json:"template,omitempty"`
	// Job is written to the last job.TailBytes of Path.
	Job *job.Spec `json:"job,omitempty"`
}

// Initramfs is the initramfs that the guest gets: a copy of Base with a job behind
// it, as the file JobFile.
type Initramfs struct {
	Base string    `json:"base"`
	Path string    `json:"path"`
	Job  *job.Spec `json:"job"`
}

// JobFile is where a guest finds a job that came in its initramfs.
const JobFile = "/job"

// Outcome is what was seen. Times count from just before the VMM's exec, by
// CLOCK_MONOTONIC of the machine; 0 where something was not seen.
type Outcome struct {
	Init  time.Duration `json:"init,omitempty"`  // PID 1's marker was on the console
	Up    time.Duration `json:"up,omitempty"`    // multi-user: the unit's up frame (Debian); the runner's otherwise
	Done  time.Duration `json:"done,omitempty"`  // the done frame
	Ended time.Duration `json:"ended,omitempty"` // the process was gone
	// CPU is user and system time of the VMM's process until its end.
	CPU time.Duration `json:"cpu"`

	Frames  []Frame  `json:"frames"`
	Memory  *Memory  `json:"memory,omitempty"` // when the pages frame came
	Exits   *Exits   `json:"exits,omitempty"`  // until the up frame: what a boot costs
	ICount  int64    `json:"icount,omitempty"` // instructions until the up frame
	End     How      `json:"end"`
	Status  int      `json:"status"`            // of the VMM; -1: a signal
	Tail    []string `json:"tail,omitempty"`    // last lines of console and stderr
	Fault   string   `json:"fault,omitempty"`   // why this run measured nothing; empty: it did
	Owner   string   `json:"owner,omitempty"`   // whose fault: a result.Owner
	Threads int      `json:"threads,omitempty"` // of the VMM, when the pages frame came
	// Missing are figures that could not be read, each with its reason; the
	// others stand.
	Missing []string `json:"missing,omitempty"`
}

// Frame is a frame of the guest with what was read outside when it came.
type Frame struct {
	Name   string        `json:"name"`
	Data   []byte        `json:"data,omitempty"`
	At     time.Duration `json:"at"`
	Exits  *Exits        `json:"exits,omitempty"`  // begin and end frames, under KVM
	ICount int64         `json:"icount,omitempty"` // begin and end frames, with ICountMonitor
}

// How is the way a VMM's process ended.
type How string

// The ways. A VMM that is Killed after the done frame did what it should: it
// has no other end.
const (
	ByGuest    How = "guest"    // the guest ended its machine
	Killed     How = "killed"   // by us, after the done frame
	ByWatchdog How = "watchdog" // by us, because it was silent or late
	Died       How = "died"     // by itself, before the done frame
)

// Memory is what a VMM's process takes, in bytes (Documentation/filesystems/
// proc.rst, smaps). Guest is the part of the range that backs guest RAM, found
// by the pages that the guest filled, Own all the rest.
type Memory struct {
	Guest Usage `json:"guest"`
	Own   Usage `json:"own"`
}

// Usage is the use of a set of mappings, in bytes.
type Usage struct {
	Virtual int64 `json:"virtual"` // their size; over a process: pmap's total, VSZ
	RSS     int64 `json:"rss"`     // resident, shared pages counted in full: pmap -x's RSS
	PSS     int64 `json:"pss"`     // resident, shared pages divided by their users
	USS     int64 `json:"uss"`     // resident in this process alone
}

// Exits are counters of KVM's statistics (/sys/kernel/debug/kvm/PID-FD).
type Exits map[string]int64
