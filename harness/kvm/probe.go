//go:build linux && amd64

package kvm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"golang.org/x/sys/unix"
)

// MinimumRate is the rate, in guest instructions per second, from which KVM is
// taken as usable. Natively the probe's loop runs at 1e9 to 4e9. Inside a guest
// that QEMU emulates, whose KVM is real but whose processor is translated code,
// it runs at 1e8 to 1e9. A KVM that interprets its guests was measured at 7e5 to
// 4e6: it runs a mini VMM's guest but no kernel gets past its decompression.
const MinimumRate = 20e6

const (
	// probeStart is the first loop count, small enough to return within a moment
	// even when interpreted. Each further loop is probeGrowth times as long.
	probeStart  = 2_000
	probeGrowth = 4
	// probeLong is a run long enough for the cost of entering the guest, some
	// microseconds or milliseconds when nested, not to matter.
	probeLong = 20 * time.Millisecond
	// probeLimit ends the probe of a slow KVM, or of a guest that hangs.
	probeLimit = 290 * time.Millisecond
	// instructionsPerLoop is that of probeCode: dec and jnz.
	instructionsPerLoop = 2
)

// probeCode counts ECX down to zero.
var probeCode = []byte{
	0x66, 0x49, // 1000  next: dec   %ecx
	0x75, 0xfc, // 1002        jnz   next
	0xf4, //       1004        hlt
}

// ProbeResult is the verdict on a KVM device.
type ProbeResult struct {
	Device       string        `json:"device"`
	Usable       bool          `json:"usable"`
	Reason       string        `json:"reason"`       // why, in plain words
	Instructions uint64        `json:"instructions"` // executed by the fastest run
	Elapsed      time.Duration `json:"elapsed_ns"`   // time that run took
	Rate         float64       `json:"rate"`         // instructions per second
}

// Probe finds out by use whether KVM runs guests at the speed of a processor:
// it times loops in a guest, for less than 0.3 s. A device node or CPU
// flags prove nothing. Reason is always set. The error is nil when the loop ran
// and was judged, and the cause when it could not run (no device, no
// permission, a failing ioctl); Usable is false then.
func Probe(path string) (ProbeResult, error) {
	result := ProbeResult{Device: path}
	device, err := Open(path)
	if err != nil {
		result.Reason = explainOpen(path, err)
		return result, err
	}
	defer device.Close()
	ctx, cancel := context.WithTimeout(context.Background(), probeLimit)
	defer cancel()
	if err := result.measure(ctx, device); err != nil {
		result.Reason = fmt.Sprintf("%s opens, but a guest of three instructions does not run to its end: %v", path, err)
		return result, fmt.Errorf("kvm: probe %s: %w", path, err)
	}
	result.judge()
	return result, nil
}

// measure runs ever longer loops until one is fast enough and long enough, or the
// time is up, and keeps the highest rate. That is never too high: entering a cold
// guest, and other processes that want the CPU, only add to the time. (In a nested
// guest under emulation the first entry was seen to take 57 ms.)
func (r *ProbeResult) measure(ctx context.Context, device *Device) error {
	machine, err := newConsole(device, Guest{Code: probeCode})
	if err != nil {
		return err
	}
	defer machine.close()
	release, err := stopWhenDone(ctx, machine.vcpu)
	if err != nil {
		return err
	}
	defer release()
	for loops := uint64(probeStart); loops < 1<<32; loops *= probeGrowth { // ECX has 32 bits
		elapsed, err := timeLoop(ctx, machine, loops)
		if err != nil && r.Rate > 0 && ctx.Err() != nil {
			return nil // the time is up
		}
		if err != nil {
			return err
		}
		r.keep(loops*instructionsPerLoop, elapsed)
		if r.Rate >= MinimumRate && elapsed >= probeLong {
			return nil
		}
	}
	return nil
}

// keep records a run if it is the fastest so far. The clock's resolution counts
// as time that passed: a kernel with no better clock than its tick (clocksource
// jiffies: 10 ms) reads 0 after a short run, which would be any speed.
func (r *ProbeResult) keep(instructions uint64, elapsed time.Duration) {
	if rate := float64(instructions) / (elapsed + clockResolution()).Seconds(); rate > r.Rate {
		r.Instructions, r.Elapsed, r.Rate = instructions, elapsed, rate
	}
}

// clockResolution is that of the monotonic clock, at least a nanosecond
// (clock_getres(2)).
func clockResolution() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGetres(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return time.Nanosecond
	}
	return max(time.Duration(ts.Nano()), time.Nanosecond)
}

// timeLoop returns how long the guest takes for the given number of loops.
func timeLoop(ctx context.Context, machine *console, loops uint64) (time.Duration, error) {
	if err := machine.vcpu.SetRegs(entryRegs(Regs{RCX: loops})); err != nil {
		return 0, err
	}
	start := time.Now()
	_, err := machine.run(ctx, 1, nil)
	return time.Since(start), err
}

// judge turns the rate into the verdict and its reason.
func (r *ProbeResult) judge() {
	r.Usable = r.Rate >= MinimumRate
	measured := fmt.Sprintf("%s runs guest code at %s", r.Device, formatRate(r.Rate))
	if r.Usable {
		r.Reason = fmt.Sprintf("%s, at least the %s asked for", measured, formatRate(MinimumRate))
		return
	}
	r.Reason = fmt.Sprintf("%s, less than %s: it interprets its guests instead of running them on the processor",
		measured, formatRate(MinimumRate))
}

// formatRate writes a rate in million instructions per second.
func formatRate(rate float64) string {
	if rate < 10e6 {
		return fmt.Sprintf("%.2f MIPS", rate/1e6)
	}
	return fmt.Sprintf("%.0f MIPS", rate/1e6)
}

// explainOpen says what to do about a device that does not open.
func explainOpen(path string, err error) string {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return path + " does not exist: the processor has no virtualization, the firmware hides it, or the kvm_intel or kvm_amd module is not loaded"
	case errors.Is(err, fs.ErrPermission):
		return path + " may not be opened by this user: add it to the kvm group (usermod -aG kvm USER) and log in again"
	}
	return fmt.Sprintf("%s does not work as a KVM device: %v", path, err)
}
