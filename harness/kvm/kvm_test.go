//go:build linux && amd64

package kvm

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const hello = "Hello, world!\n"

// openKVM skips a test on a machine without a KVM that opens. How fast it is does
// not matter here.
func openKVM(t *testing.T) *Device {
	t.Helper()
	device, err := Open(DefaultDevice)
	if err != nil {
		t.Skipf("this test runs a guest: %v", err)
	}
	t.Cleanup(func() { device.Close() })
	return device
}

func TestHello(t *testing.T) {
	upper := func(b byte) byte { return bytes.ToUpper([]byte{b})[0] }
	for _, test := range []struct {
		name      string
		transform func(byte) byte
		want      string
	}{{"as it comes", nil, hello}, {"upper case", upper, "HELLO, WORLD!\n"}} {
		t.Run(test.name, func(t *testing.T) {
			result, err := RunConsole(t.Context(), openKVM(t), Hello(hello), test.transform)
			require.NoError(t, err)
			assert.Equal(t, test.want, string(result.Output))
			require.Len(t, result.Exits, len(hello)+1, "one exit a character, and the halt")
			for i, exit := range result.Exits[:len(hello)] {
				require.Equal(t, ExitIO, exit.Reason)
				assert.Equal(t, Bytes{hello[i]}, exit.IO.Data)
			}
			assert.Equal(t, ExitHLT, result.Exits[len(hello)].Reason)
		})
	}
}

// TestStops runs guests that end in another way than by a halt.
func TestStops(t *testing.T) {
	for _, test := range []struct {
		name    string
		code    []byte
		reason  ExitReason
		message string
	}{
		{"triple fault", []byte{
			0x0f, 0x01, 0x1e, 0x00, 0x11, // lidt 0x1100: a table of limit 0
			0x0f, 0x20, 0xc0, // mov  %cr0, %eax
			0x0c, 0x01, //       or   $1, %al: protected mode
			0x0f, 0x22, 0xc0, // mov  %eax, %cr0
			0x0f, 0x0b, //       ud2: no handler, nor for the faults that follow
			0x1ff: 0},
			ExitShutdown, "KVM_EXIT_SHUTDOWN: triple fault"},
		{"store where there is no memory", []byte{0xa3, 0x00, 0x00}, // mov %ax, 0: no memory
			ExitMMIO, "KVM_EXIT_MMIO: write to guest physical 0x0, data 34 12"},
		{"port without a device", []byte{0xe6, 0x80}, // out %al, $0x80
			ExitIO, "KVM_EXIT_IO: out port 0x80, size 1, count 1, data 34"},
		{"input", []byte{0xba, 0xf8, 0x03, 0xec}, // mov $0x3f8, %dx; in (%dx), %al
			ExitIO, "KVM_EXIT_IO: in port 0x3f8"},
	} {
		t.Run(test.name, func(t *testing.T) {
			result, err := RunConsole(t.Context(), openKVM(t), Guest{Code: test.code, Regs: Regs{RAX: 0x1234}}, nil)
			var stop *ExitError
			require.ErrorAs(t, err, &stop)
			assert.Equal(t, test.reason, stop.Exit.Reason)
			assert.ErrorContains(t, err, test.message)
			assert.Equal(t, result.Exits[stop.Index], stop.Exit)
		})
	}
}

// TestInternalError jumps to where there is no memory: KVM can neither run nor
// emulate an instruction that it cannot fetch.
func TestInternalError(t *testing.T) {
	code := []byte{0xea, 0x00, 0x00, 0x00, 0xf0} // ljmp $0xf000, $0x0
	_, err := RunConsole(t.Context(), openKVM(t), Guest{Code: code}, nil)
	var stop *ExitError
	require.ErrorAs(t, err, &stop)
	if stop.Exit.Reason == ExitMMIO {
		t.Skipf("this KVM reports the fetch as %v", stop.Exit)
	}
	assert.Equal(t, SuberrorEmulation, stop.Exit.Internal.Suberror)
	assert.ErrorContains(t, err, "KVM_EXIT_INTERNAL_ERROR: KVM_INTERNAL_ERROR_EMULATION")
}

func TestContextStopsLoop(t *testing.T) {
	device := openKVM(t)
	loop := Guest{Code: []byte{0xee, 0xeb, 0xfe}, Regs: Regs{RDX: SerialPort, RAX: 'x'}} // out %al, (%dx); jmp .
	cause := errors.New("the test has seen enough")
	ctx, cancel := context.WithTimeoutCause(t.Context(), 100*time.Millisecond, cause)
	defer cancel()
	start := time.Now()
	result, err := RunConsole(ctx, device, loop, nil)
	assert.ErrorIs(t, err, cause)
	assert.Less(t, time.Since(start), 3*time.Second)
	assert.Equal(t, "x", string(result.Output), "what happened before is kept")
	assert.Positive(t, result.Interrupts, "KVM_RUN ends with EINTR")

	_, err = RunConsole(ctx, device, loop, nil)
	assert.ErrorIs(t, err, cause, "a context that is over starts nothing")
}

func TestTooManyExits(t *testing.T) {
	loop := Guest{Code: []byte{0xee, 0xeb, 0xfd}, Regs: Regs{RDX: SerialPort}, MaxExits: 50} // out; jmp out
	result, err := RunConsole(t.Context(), openKVM(t), loop, nil)
	assert.ErrorIs(t, err, ErrTooManyExits)
	assert.Len(t, result.Exits, 50)
}

func TestImmediateExit(t *testing.T) {
	machine, err := newConsole(openKVM(t), Hello(hello))
	require.NoError(t, err)
	defer machine.close()
	machine.vcpu.SetImmediateExit(true)
	_, err = machine.vcpu.Run()
	assert.ErrorIs(t, err, ErrInterrupted)
	assert.ErrorContains(t, err, "EINTR")
	machine.vcpu.SetImmediateExit(false)
	exit, err := machine.vcpu.Run()
	for errors.Is(err, ErrInterrupted) { // the Go runtime's own signals
		exit, err = machine.vcpu.Run()
	}
	require.NoError(t, err)
	assert.Equal(t, Bytes{'H'}, exit.IO.Data)
}

func TestRegisters(t *testing.T) {
	machine, err := newConsole(openKVM(t), Guest{Code: []byte{0xf4}, Regs: Regs{RBX: 0x1122334455667788, R15: 15}})
	require.NoError(t, err)
	defer machine.close()
	regs, err := machine.vcpu.Regs()
	require.NoError(t, err)
	assert.Equal(t, Regs{RBX: 0x1122334455667788, R15: 15, RIP: guestBase, RFLAGS: 2}, regs)
	sregs, err := machine.vcpu.Sregs()
	require.NoError(t, err)
	assert.Zero(t, sregs.CS.Base)
	assert.EqualValues(t, 1, sregs.CS.Present)
	assert.NotZero(t, sregs.CR0, "CD, NW and ET are set after reset")
	_, err = machine.run(t.Context(), 0, nil)
	require.NoError(t, err)
	regs, err = machine.vcpu.Regs()
	require.NoError(t, err)
	assert.EqualValues(t, guestBase+1, regs.RIP, "behind the hlt")
}

// TestStructSizes compares with the size that the kernel encodes in the requests.
func TestStructSizes(t *testing.T) {
	size := func(request uint32) uintptr { return uintptr(request >> 16 & 0x3fff) }
	assert.Equal(t, size(reqGetRegs), unsafe.Sizeof(Regs{}))
	assert.Equal(t, size(reqGetSregs), unsafe.Sizeof(Sregs{}))
	assert.Equal(t, size(reqSetUserMemoryRegion), unsafe.Sizeof(userspaceMemoryRegion{}))
}

func TestErrorsNameTheIoctl(t *testing.T) {
	vm, err := openKVM(t).CreateVM()
	require.NoError(t, err)
	defer vm.Close()
	_, err = vm.AddMemory(0x1001, 4096)
	assert.ErrorIs(t, err, unix.EINVAL)
	assert.ErrorContains(t, err, "KVM_SET_USER_MEMORY_REGION")
	vcpu, err := vm.CreateVCPU(0)
	require.NoError(t, err)
	defer vcpu.Close()
	_, err = vm.CreateVCPU(0)
	assert.ErrorIs(t, err, unix.EEXIST)
	assert.ErrorContains(t, err, "KVM_CREATE_VCPU")
	_, err = RunConsole(t.Context(), &Device{fd: -1}, Hello(hello), nil)
	assert.ErrorIs(t, err, unix.EBADF)
	assert.ErrorContains(t, err, "KVM_CREATE_VM")
}

func TestGuestCodeSize(t *testing.T) {
	device := openKVM(t)
	for _, size := range []int{0, 0xf001} {
		_, err := RunConsole(t.Context(), device, Guest{Code: make([]byte, size)}, nil)
		assert.ErrorContains(t, err, "want 1 to 61440")
	}
	long := Hello(string(bytes.Repeat([]byte("x"), 9000)))
	result, err := RunConsole(t.Context(), device, long, nil)
	require.NoError(t, err)
	assert.Len(t, result.Output, 9000)
}

func TestProbe(t *testing.T) {
	openKVM(t)
	start := time.Now()
	result, err := Probe(DefaultDevice)
	require.NoError(t, err)
	assert.Less(t, time.Since(start), 2*time.Second, "0.3 s on a machine with nothing else to do")
	assert.Positive(t, result.Rate)
	assert.Equal(t, result.Rate >= MinimumRate, result.Usable)
	assert.Contains(t, result.Reason, "MIPS")
	t.Logf("%s; %d instructions in %v", result.Reason, result.Instructions, result.Elapsed)
}

func TestProbeWithoutKVM(t *testing.T) {
	file := filepath.Join(t.TempDir(), "kvm")
	result, err := Probe(file)
	assert.ErrorIs(t, err, fs.ErrNotExist)
	assert.False(t, result.Usable)
	assert.Contains(t, result.Reason, "does not exist")

	require.NoError(t, os.WriteFile(file, nil, 0o600))
	result, err = Probe(file)
	assert.ErrorIs(t, err, unix.ENOTTY)
	assert.False(t, result.Usable)
	assert.Contains(t, result.Reason, "does not work as a KVM device")
	assert.Contains(t, result.Reason, "KVM_GET_API_VERSION")
}

func TestJudge(t *testing.T) {
	for _, test := range []struct {
		rate   float64
		usable bool
		reason string
	}{
		{0.7e6, false, "/dev/kvm runs guest code at 0.70 MIPS, less than 20 MIPS: it interprets its guests instead of running them on the processor"},
		{19.9e6, false, "20 MIPS"},
		{150e6, true, "/dev/kvm runs guest code at 150 MIPS, at least the 20 MIPS asked for"},
		{4e9, true, "4000 MIPS"},
	} {
		result := ProbeResult{Device: DefaultDevice, Rate: test.rate}
		result.judge()
		assert.Equal(t, test.usable, result.Usable)
		assert.Contains(t, result.Reason, test.reason)
	}
}

// TestGuestCodeIsItsListing assembles the listings' instructions where binutils are
// installed, so that bytes and comments cannot drift apart.
func TestGuestCodeIsItsListing(t *testing.T) {
	as, err := exec.LookPath("as")
	if err != nil {
		t.Skipf("this test assembles: %v", err)
	}
	objcopy, err := exec.LookPath("objcopy")
	if err != nil {
		t.Skipf("this test extracts code: %v", err)
	}
	for name, test := range map[string]struct {
		source string
		code   []byte
	}{
		"hello": {"mov $0x100f,%si\n mov $0x3f8,%dx\n next: lodsb\n test %al,%al\n jz done\n out %al,(%dx)\n jmp next\n done: hlt\n .asciz \"hi\"\n", Hello("hi").Code},
		"probe": {"next: dec %ecx\n jnz next\n hlt\n", probeCode},
	} {
		t.Run(name, func(t *testing.T) {
			directory := t.TempDir()
			object, binary := filepath.Join(directory, "o"), filepath.Join(directory, "bin")
			assemble := exec.Command(as, "--32", "-o", object, "-")
			assemble.Stdin = bytes.NewBufferString(".code16\n" + test.source)
			output, err := assemble.CombinedOutput()
			require.NoError(t, err, "%s", output)
			output, err = exec.Command(objcopy, "-O", "binary", "-j", ".text", object, binary).CombinedOutput()
			require.NoError(t, err, "%s", output)
			code, err := os.ReadFile(binary)
			require.NoError(t, err)
			assert.Equal(t, test.code, code)
		})
	}
}
