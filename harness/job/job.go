// Package job is what the guests of the comparison do, the same under every
// VMM: PID 1 (or a unit of systemd) starts a runner that reads a Spec from the
// last bytes of the disk and answers with frames on the serial console. Every
// VMM has a serial port and a virtio-blk disk, so nothing else is used.
package job

import "time"

// TailBytes is the room for a Spec at the end of the disk: JSON, then zeros.
const TailBytes = 64 << 10

// Spec is what a guest is to do.
type Spec struct {
	// Pages asks for that many resident pages filled with Nonce (little-endian,
	// over the whole page), whose guest-physical addresses are told; they stay for
	// Hold. By them the mapping that backs guest RAM is found in the VMM from
	// outside.
	Pages int           `json:"pages,omitempty"`
	Nonce uint64        `json:"nonce,omitempty"`
	Hold  time.Duration `json:"hold,omitempty"`
	// MarkerBytes asks for the time that writing so many bytes to the console
	// takes: what a marker costs.
	MarkerBytes int `json:"markerBytes,omitempty"`
	// Settle is how long the guest idles on either side of a cell, so that
	// counters can be read from outside between frames.
	Settle time.Duration `json:"settle,omitempty"`
	Cells  []Cell        `json:"cells,omitempty"`
	// Systemd waits for systemd's job queue and asks systemd-analyze.
	Systemd bool `json:"systemd,omitempty"`
	// End says how the guest ends its machine.
	End End `json:"end"`
}

// Cell is one cell of a matrix: programs run one after the other in Dir, of
// which only Run is measured.
type Cell struct {
	Name    string     `json:"name"` // "sysbench-cpu/threads=4"
	Dir     string     `json:"dir,omitempty"`
	Prepare [][]string `json:"prepare,omitempty"`
	Run     []string   `json:"run"`
	Cleanup [][]string `json:"cleanup,omitempty"`
}

// End is how a guest ends its machine.
type End string

// The ways to end a machine. After Halt the VMM's process is ended from outside.
const (
	Reboot   End = "reboot"
	PowerOff End = "poweroff"
	Halt     End = "halt"
)

// Names of frames. A cell's begin and end frames surround its Run alone; its
// output frame carries what Run printed (stdout and stderr together) and how it
// ended.
const (
	FrameUp      = "up"      // Up
	FramePages   = "pages"   // Pages
	FrameMarker  = "marker"  // Marker
	FrameBegin   = "begin"   // the cell's name
	FrameEnd     = "end"     // the cell's name
	FrameOutput  = "output"  // Output
	FrameSystemd = "systemd" // Systemd
	FrameFault   = "fault"   // text: the runner could not do its job
	FrameDone    = "done"    // nothing: all that was asked is done
)

// Up is the content of the first frame.
type Up struct {
	// InitBoottime is CLOCK_BOOTTIME when PID 1 had printed its marker
	// (wire.Marker): the kernel's own age then. Subtracted from the time at which
	// the marker was seen outside it gives the kernel's start. 0 under systemd,
	// which prints no marker: its start is in the Systemd frame.
	InitBoottime time.Duration `json:"initBoottime"`
	// Boottime is CLOCK_BOOTTIME when the frame was made. Subtracted from the time
	// at which the frame was seen outside it gives the kernel's start as well.
	Boottime time.Duration `json:"boottime"`
	Kernel   string        `json:"kernel"` // uname -r
	// Sysbench is its version line; empty: none there, or the Spec has no Cells.
	// To ask takes an emulated CPU 100 ms, which a boot's time shall not have.
	Sysbench string `json:"sysbench,omitempty"`
	CPUs     int    `json:"cpus"`
}

// Pages is the content of a pages frame.
type Pages struct {
	GPA []uint64 `json:"gpa"` // guest-physical address of each page
}

// Marker is the content of a marker frame.
type Marker struct {
	Bytes int           `json:"bytes"`
	Took  time.Duration `json:"took"`
}

// Output is the content of an output frame.
type Output struct {
	Cell   string        `json:"cell"`
	Status int           `json:"status"` // exit status; -1: a signal ended it
	Text   string        `json:"text"`
	Took   time.Duration `json:"took"` // by the guest's clock
}

// Systemd is the content of a systemd frame.
type Systemd struct {
	// Userspace is systemd's own start by CLOCK_MONOTONIC, the same as
	// CLOCK_BOOTTIME in a machine that never sleeps (its property
	// UserspaceTimestampMonotonic).
	Userspace time.Duration `json:"userspace"`
	State     string        `json:"state"`   // systemctl is-system-running --wait: "running", "degraded"
	Analyze   string        `json:"analyze"` // systemd-analyze time, as printed
	Failed    string        `json:"failed,omitempty"`
}

// Frame is a message of the guest.
type Frame struct {
	Name string
	Data []byte // JSON, or text
}
