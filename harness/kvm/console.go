//go:build linux && amd64

package kvm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// SerialPort is the data register of a PC's first serial port, which the
// guests of the labs write their text to.
const SerialPort = 0x3f8

// guestBase is where guest code is loaded: page 0 is left to the real mode
// interrupt table.
const guestBase = 0x1000

// Guest is a real-mode program for the mini VMM.
type Guest struct {
	// Code is loaded at guest physical 0x1000 and entered at its first byte in
	// 16-bit real mode, all segment bases 0.
	Code []byte
	// Regs holds the registers at entry. RIP and RFLAGS are set by the VMM.
	Regs Regs
	// MaxExits ends a guest that exits too often; 0 means 100000.
	MaxExits int
}

// defaultMaxExits bounds what a guest in a loop of `out` makes us keep.
const defaultMaxExits = 100_000

// Hello prints text to the serial port, one byte an exit, and halts. The text
// must not contain a zero byte, which is its end mark.
func Hello(text string) Guest {
	code := []byte{
		0xbe, 0x0f, 0x10, // 1000        mov   $text, %si
		0xba, 0xf8, 0x03, // 1003        mov   $0x3f8, %dx
		0xac,       // 1006  next: lodsb
		0x84, 0xc0, // 1007        test  %al, %al
		0x74, 0x03, // 1009        jz    done
		0xee,       // 100b        out   %al, (%dx)
		0xeb, 0xf8, // 100c        jmp   next
		0xf4, // 100e  done: hlt
	} //         100f  text:
	return Guest{Code: append(append(code, text...), 0)}
}

// Result is what a guest did under RunConsole.
type Result struct {
	Output     []byte // the bytes written to the serial port, transformed
	Exits      []Exit // all exits in order, the last one included
	Interrupts int    // how often KVM_RUN ended with EINTR and was repeated
}

// ExitError says that the guest stopped with an exit that the mini VMM has no
// emulation for, such as KVM_EXIT_SHUTDOWN after a triple fault.
type ExitError struct {
	Exit  Exit
	Index int // position of Exit in Result.Exits
}

// Error names the exit reason and its details.
func (e *ExitError) Error() string {
	return fmt.Sprintf("kvm: guest stopped at exit %d: %v", e.Index+1, e.Exit)
}

// ErrTooManyExits says that the guest went over Guest.MaxExits.
var ErrTooManyExits = errors.New("kvm: guest exits too often")

// RunConsole runs the guest on one CPU until it halts, and collects what it
// writes to SerialPort, each byte passed through transform (nil: unchanged).
// Any exit but those two ends the run with an *ExitError; the end of ctx stops
// a guest that loops and returns the context's cause. The Result holds what
// happened so far in any case. KVM_RUN that ends with EINTR is repeated.
func RunConsole(ctx context.Context, device *Device, guest Guest, transform func(byte) byte) (Result, error) {
	machine, err := newConsole(device, guest)
	if err != nil {
		return Result{}, err
	}
	defer machine.close()
	release, err := stopWhenDone(ctx, machine.vcpu)
	if err != nil {
		return Result{}, err
	}
	defer release()
	return machine.run(ctx, guest.MaxExits, transform)
}

// console is a machine with one page-rounded piece of memory and one CPU.
type console struct {
	vm   *VM
	vcpu *VCPU
}

func newConsole(device *Device, guest Guest) (*console, error) {
	vm, err := device.CreateVM()
	if err != nil {
		return nil, err
	}
	machine := &console{vm: vm}
	if err := machine.load(guest); err != nil {
		machine.close()
		return nil, err
	}
	return machine, nil
}

func (c *console) close() {
	if c.vcpu != nil {
		c.vcpu.Close()
	}
	c.vm.Close()
}

// load places the code, makes the CPU and points it at the code.
func (c *console) load(guest Guest) error {
	const page, limit = 0x1000, 0x10000 - guestBase // what 16-bit IP reaches
	if len(guest.Code) == 0 || len(guest.Code) > limit {
		return fmt.Errorf("kvm: guest code has %d bytes, want 1 to %d", len(guest.Code), limit)
	}
	memory, err := c.vm.AddMemory(guestBase, (len(guest.Code)+page-1)/page*page)
	if err != nil {
		return err
	}
	copy(memory, guest.Code)
	if c.vcpu, err = c.vm.CreateVCPU(0); err != nil {
		return err
	}
	return enterRealMode(c.vcpu, guest.Regs)
}

// enterRealMode moves the CPU from its reset vector, which is reached through a
// code segment base of 0xffff0000, to guestBase.
func enterRealMode(vcpu *VCPU, regs Regs) error {
	sregs, err := vcpu.Sregs()
	if err != nil {
		return err
	}
	sregs.CS.Base, sregs.CS.Selector = 0, 0
	if err := vcpu.SetSregs(sregs); err != nil {
		return err
	}
	return vcpu.SetRegs(entryRegs(regs))
}

// entryRegs completes the registers with which a guest starts.
func entryRegs(regs Regs) Regs {
	regs.RIP, regs.RFLAGS = guestBase, 2 // bit 1 of RFLAGS is always set
	return regs
}

// run repeats KVM_RUN until the guest halts, fails or ctx ends.
func (c *console) run(ctx context.Context, maxExits int, transform func(byte) byte) (Result, error) {
	if maxExits == 0 {
		maxExits = defaultMaxExits
	}
	var result Result
	for {
		if ctx.Err() != nil {
			return result, fmt.Errorf("kvm: guest stopped after %d exits: %w", len(result.Exits), context.Cause(ctx))
		}
		exit, err := c.vcpu.Run()
		if errors.Is(err, ErrInterrupted) {
			result.Interrupts++
			continue
		}
		if err != nil {
			return result, err
		}
		result.Exits = append(result.Exits, exit)
		switch {
		case exit.Reason == ExitHLT:
			return result, nil
		case !isSerialOut(exit):
			return result, &ExitError{Exit: exit, Index: len(result.Exits) - 1}
		case len(result.Exits) >= maxExits:
			return result, fmt.Errorf("%w: %d times without a halt", ErrTooManyExits, maxExits)
		}
		result.Output = append(result.Output, apply(transform, exit.IO.Data)...)
	}
}

func isSerialOut(exit Exit) bool {
	return exit.IO != nil && exit.IO.Direction == Out && exit.IO.Port == SerialPort && exit.IO.Size == 1
}

func apply(transform func(byte) byte, data []byte) []byte {
	data = bytes.Clone(data)
	if transform != nil {
		for i, value := range data {
			data[i] = transform(value)
		}
	}
	return data
}

// stopWhenDone ties the calling goroutine to its thread and arranges that the
// end of ctx gets the thread out of KVM_RUN: immediate_exit for a KVM_RUN that
// is about to start, a signal for one that is under way. The signal is SIGURG,
// which the Go runtime sends to its own threads for preemption and therefore
// always handles. Call release on the same goroutine when the guest is done.
func stopWhenDone(ctx context.Context, vcpu *VCPU) (release func(), err error) {
	if ctx.Err() != nil {
		return nil, fmt.Errorf("kvm: guest not started: %w", context.Cause(ctx))
	}
	runtime.LockOSThread()
	thread, sent := unix.Gettid(), make(chan struct{})
	cancel := context.AfterFunc(ctx, func() {
		defer close(sent)
		vcpu.SetImmediateExit(true)
		unix.Tgkill(os.Getpid(), thread, unix.SIGURG)
	})
	return func() {
		if !cancel() {
			<-sent // the thread and kvm_run must outlive the signal
		}
		runtime.UnlockOSThread()
	}, nil
}
