//go:build linux && amd64

// Package kvm drives the Linux KVM API (Documentation/virt/kvm/api.rst) as far
// as the labs need it: a virtual machine with memory slots, a virtual CPU with
// its registers and its kvm_run page, exits with their names, a mini VMM for
// real-mode guests, and a probe that tells a fast KVM from a slow one.
//
// The objects are used from one goroutine at a time, except where a method says
// otherwise. Sizes are in bytes and addresses are guest physical.
package kvm

import (
	"errors"
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

// DefaultDevice is where Linux has the KVM device.
const DefaultDevice = "/dev/kvm"

// APIVersion is the one stable version of the API (api.rst, section 4.1).
const APIVersion = 12

// ErrInterrupted says that KVM_RUN ended with EINTR: a signal came, or
// immediate_exit was set. The guest did not exit; KVM_RUN may be called again.
var ErrInterrupted = errors.New("KVM_RUN: EINTR: interrupted by a signal or immediate_exit")

// The request numbers in use; their names are in ioctlNames.
const (
	reqGetAPIVersion       = 0xae00
	reqCreateVM            = 0xae01
	reqGetVCPUMmapSize     = 0xae04
	reqCreateVCPU          = 0xae41
	reqSetUserMemoryRegion = 0x4020ae46
	reqRun                 = RequestRun
	reqGetRegs             = 0x8090ae81
	reqSetRegs             = 0x4090ae82
	reqGetSregs            = 0x8138ae83
	reqSetSregs            = 0x4138ae84
)

// RequestRun is the number of KVM_RUN, for those who watch ioctls from outside.
const RequestRun = 0xae80

// ioctl issues a request; a failure names it. A request that a signal interrupts is
// repeated: the Go runtime sends signals to its own threads, and KVM_CREATE_VM was
// seen to end with EINTR under load. Only for KVM_RUN does EINTR carry a meaning.
func ioctl(fd int, request uint32, arg uintptr) (int, error) {
	for {
		result, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), arg)
		if errno == unix.EINTR && request != reqRun {
			continue
		}
		if errno != 0 {
			return 0, fmt.Errorf("%s: %w", IoctlName(request), errno)
		}
		return int(result), nil
	}
}

// ioctlPointer issues a request whose argument is a structure in our memory.
// The conversion has to stand in the call of Syscall: that is what keeps the
// structure where it is (package unsafe, rule 4).
func ioctlPointer(fd int, request uint32, structure unsafe.Pointer) error {
	for {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(request), uintptr(structure))
		if errno == unix.EINTR {
			continue
		}
		if errno != 0 {
			return fmt.Errorf("%s: %w", IoctlName(request), errno)
		}
		return nil
	}
}

// Device is an open /dev/kvm.
type Device struct {
	file *os.File
	fd   int
	path string
}

// Open opens the KVM device and checks the version of its API. The error wraps
// the cause, for instance fs.ErrNotExist or fs.ErrPermission.
func Open(path string) (*Device, error) {
	file, err := os.OpenFile(path, os.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("kvm: %w", err)
	}
	device := &Device{file: file, fd: int(file.Fd()), path: path}
	if err := device.checkVersion(); err != nil {
		file.Close()
		return nil, fmt.Errorf("kvm: %s: %w", path, err)
	}
	return device, nil
}

func (d *Device) checkVersion() error {
	version, err := ioctl(d.fd, reqGetAPIVersion, 0)
	if err != nil {
		return err
	}
	if version != APIVersion {
		return fmt.Errorf("KVM_GET_API_VERSION: version is %d, want %d", version, APIVersion)
	}
	return nil
}

// Close closes the device; machines made from it stay usable.
func (d *Device) Close() error { return d.file.Close() }

// VM is a virtual machine without devices: memory slots and virtual CPUs.
type VM struct {
	device *Device
	fd     int
	memory [][]byte // one a slot, to unmap on Close
}

// CreateVM makes a virtual machine with no memory and no CPU.
func (d *Device) CreateVM() (*VM, error) {
	fd, err := ioctl(d.fd, reqCreateVM, 0)
	if err != nil {
		return nil, fmt.Errorf("kvm: %s: %w", d.path, err)
	}
	unix.CloseOnExec(fd)
	return &VM{device: d, fd: fd}, nil
}

// Close closes the machine and frees its memory. Close its CPUs first.
func (vm *VM) Close() error {
	err := unix.Close(vm.fd)
	for _, memory := range vm.memory {
		err = errors.Join(err, unix.Munmap(memory))
	}
	vm.memory = nil
	return err
}

// userspaceMemoryRegion is struct kvm_userspace_memory_region.
type userspaceMemoryRegion struct {
	slot, flags                              uint32
	guestPhysAddr, memorySize, userspaceAddr uint64
}

// AddMemory maps size bytes of zeroed memory at the guest physical address and
// returns them. Both must be multiples of 4096. The slice is valid until Close.
func (vm *VM) AddMemory(address uint64, size int) ([]byte, error) {
	memory, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("kvm: map %d bytes of guest memory: %w", size, err)
	}
	if err := vm.setUserMemoryRegion(uint32(len(vm.memory)), address, memory); err != nil {
		unix.Munmap(memory)
		return nil, err
	}
	vm.memory = append(vm.memory, memory)
	return memory, nil
}

func (vm *VM) setUserMemoryRegion(slot uint32, address uint64, memory []byte) error {
	region := userspaceMemoryRegion{
		slot:          slot,
		guestPhysAddr: address,
		memorySize:    uint64(len(memory)),
		userspaceAddr: uint64(uintptr(unsafe.Pointer(unsafe.SliceData(memory)))),
	}
	if err := ioctlPointer(vm.fd, reqSetUserMemoryRegion, unsafe.Pointer(&region)); err != nil {
		return fmt.Errorf("kvm: slot %d, %d bytes at %#x: %w", slot, len(memory), address, err)
	}
	return nil
}

// VCPU is a virtual CPU with its kvm_run mapping.
type VCPU struct {
	fd  int
	run []byte
}

// CreateVCPU adds a CPU with the given identifier and maps its kvm_run.
func (vm *VM) CreateVCPU(id int) (*VCPU, error) {
	size, err := ioctl(vm.device.fd, reqGetVCPUMmapSize, 0)
	if err != nil {
		return nil, fmt.Errorf("kvm: %w", err)
	}
	fd, err := ioctl(vm.fd, reqCreateVCPU, uintptr(id))
	if err != nil {
		return nil, fmt.Errorf("kvm: vcpu %d: %w", id, err)
	}
	unix.CloseOnExec(fd)
	run, err := unix.Mmap(fd, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("kvm: vcpu %d: map %d bytes of kvm_run: %w", id, size, err)
	}
	return &VCPU{fd: fd, run: run}, nil
}

// Close unmaps kvm_run and closes the CPU.
func (v *VCPU) Close() error {
	return errors.Join(unix.Munmap(v.run), unix.Close(v.fd))
}

// Regs is struct kvm_regs: the general purpose registers.
type Regs struct {
	RAX, RBX, RCX, RDX, RSI, RDI, RSP, RBP uint64
	R8, R9, R10, R11, R12, R13, R14, R15   uint64
	RIP, RFLAGS                            uint64
}

// Segment is struct kvm_segment: a segment register with its hidden part.
type Segment struct {
	Base                            uint64
	Limit                           uint32
	Selector                        uint16
	Type, Present, DPL, DB, S, L, G uint8
	AVL, Unusable, _                uint8
}

// Table is struct kvm_dtable: a descriptor table register.
type Table struct {
	Base  uint64
	Limit uint16
	_     [3]uint16
}

// Sregs is struct kvm_sregs: segments, tables and control registers.
type Sregs struct {
	CS, DS, ES, FS, GS, SS, TR, LDT Segment
	GDT, IDT                        Table
	CR0, CR2, CR3, CR4, CR8         uint64
	EFER, APICBase                  uint64
	InterruptBitmap                 [4]uint64
}

// Regs reads the general purpose registers.
func (v *VCPU) Regs() (Regs, error) {
	var regs Regs
	err := v.transfer(reqGetRegs, unsafe.Pointer(&regs))
	return regs, err
}

// SetRegs writes the general purpose registers.
func (v *VCPU) SetRegs(regs Regs) error { return v.transfer(reqSetRegs, unsafe.Pointer(&regs)) }

// Sregs reads segments, tables and control registers.
func (v *VCPU) Sregs() (Sregs, error) {
	var sregs Sregs
	err := v.transfer(reqGetSregs, unsafe.Pointer(&sregs))
	return sregs, err
}

// SetSregs writes segments, tables and control registers.
func (v *VCPU) SetSregs(sregs Sregs) error { return v.transfer(reqSetSregs, unsafe.Pointer(&sregs)) }

// transfer issues a request that reads or writes one of the structures above.
func (v *VCPU) transfer(request uint32, structure unsafe.Pointer) error {
	if err := ioctlPointer(v.fd, request, structure); err != nil {
		return fmt.Errorf("kvm: %w", err)
	}
	return nil
}

// Run enters the guest once and returns its exit. It returns ErrInterrupted for
// EINTR and does not retry: the Go runtime itself sends signals to its threads,
// so a caller must be ready to call Run again (RunConsole does and counts it).
func (v *VCPU) Run() (Exit, error) {
	_, err := ioctl(v.fd, reqRun, 0)
	if errors.Is(err, unix.EINTR) {
		return Exit{}, ErrInterrupted
	}
	if err != nil {
		return Exit{}, fmt.Errorf("kvm: %w", err)
	}
	return DecodeExit(v.run)
}

// SetImmediateExit makes the next KVM_RUN return ErrInterrupted at once, or
// lets it run again. Unlike the other methods it may be called at any time from
// any goroutine. It needs KVM_CAP_IMMEDIATE_EXIT (Linux 4.12).
func (v *VCPU) SetImmediateExit(on bool) {
	// immediate_exit is the second byte. The word's other bytes are
	// request_interrupt_window, unused here, and padding: storing all four
	// makes the store atomic.
	var word uint32
	if on {
		word = 1 << 8
	}
	atomic.StoreUint32((*uint32)(unsafe.Pointer(unsafe.SliceData(v.run))), word)
}
