package kvm

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
)

// ExitReason is the exit_reason field of kvm_run: why KVM_RUN returned
// (Documentation/virt/kvm/api.rst, section 5).
type ExitReason uint32

// The exit reasons that this package decodes further.
const (
	ExitUnknown       ExitReason = 0
	ExitIO            ExitReason = 2
	ExitHLT           ExitReason = 5
	ExitMMIO          ExitReason = 6
	ExitShutdown      ExitReason = 8
	ExitFailEntry     ExitReason = 9
	ExitIntr          ExitReason = 10
	ExitInternalError ExitReason = 17
	ExitSystemEvent   ExitReason = 24
)

// exitNames are the names in linux/kvm.h of Linux 6.1, in the order of their
// numbers, plus the x86 ones of later kernels.
var exitNames = map[ExitReason]string{
	0: "KVM_EXIT_UNKNOWN", 1: "KVM_EXIT_EXCEPTION", 2: "KVM_EXIT_IO",
	3: "KVM_EXIT_HYPERCALL", 4: "KVM_EXIT_DEBUG", 5: "KVM_EXIT_HLT",
	6: "KVM_EXIT_MMIO", 7: "KVM_EXIT_IRQ_WINDOW_OPEN", 8: "KVM_EXIT_SHUTDOWN",
	9: "KVM_EXIT_FAIL_ENTRY", 10: "KVM_EXIT_INTR", 11: "KVM_EXIT_SET_TPR",
	12: "KVM_EXIT_TPR_ACCESS", 13: "KVM_EXIT_S390_SIEIC",
	14: "KVM_EXIT_S390_RESET", 15: "KVM_EXIT_DCR", 16: "KVM_EXIT_NMI",
	17: "KVM_EXIT_INTERNAL_ERROR", 18: "KVM_EXIT_OSI",
	19: "KVM_EXIT_PAPR_HCALL", 20: "KVM_EXIT_S390_UCONTROL",
	21: "KVM_EXIT_WATCHDOG", 22: "KVM_EXIT_S390_TSCH", 23: "KVM_EXIT_EPR",
	24: "KVM_EXIT_SYSTEM_EVENT", 25: "KVM_EXIT_S390_STSI",
	26: "KVM_EXIT_IOAPIC_EOI", 27: "KVM_EXIT_HYPERV",
	28: "KVM_EXIT_ARM_NISV", 29: "KVM_EXIT_X86_RDMSR",
	30: "KVM_EXIT_X86_WRMSR", 31: "KVM_EXIT_DIRTY_RING_FULL",
	32: "KVM_EXIT_AP_RESET_HOLD", 33: "KVM_EXIT_X86_BUS_LOCK",
	34: "KVM_EXIT_XEN", 35: "KVM_EXIT_RISCV_SBI", 36: "KVM_EXIT_RISCV_CSR",
	37: "KVM_EXIT_NOTIFY", 39: "KVM_EXIT_MEMORY_FAULT",
}

// String returns the name in linux/kvm.h, or the number when it has none here.
func (r ExitReason) String() string {
	if name, known := exitNames[r]; known {
		return name
	}
	return fmt.Sprintf("exit reason %d", uint32(r))
}

// MarshalText writes the name, so that evidence in JSON can be read.
func (r ExitReason) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (r *ExitReason) UnmarshalText(text []byte) error {
	for reason, name := range exitNames {
		if name == string(text) {
			*r = reason
			return nil
		}
	}
	if _, err := fmt.Sscanf(string(text), "exit reason %d", (*uint32)(r)); err != nil {
		return fmt.Errorf("kvm: %q is no exit reason", text)
	}
	return nil
}

// Direction is the direction of a port access, seen from the guest.
type Direction uint8

// The directions, KVM_EXIT_IO_IN and KVM_EXIT_IO_OUT.
const (
	In  Direction = 0
	Out Direction = 1
)

// String returns the name of the instruction, "in" or "out".
func (d Direction) String() string {
	switch d {
	case In:
		return "in"
	case Out:
		return "out"
	}
	return fmt.Sprintf("direction %d", uint8(d))
}

// MarshalText writes "in" or "out".
func (d Direction) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (d *Direction) UnmarshalText(text []byte) error {
	switch string(text) {
	case "in":
		*d = In
	case "out":
		*d = Out
	default:
		if _, err := fmt.Sscanf(string(text), "direction %d", (*uint8)(d)); err != nil {
			return fmt.Errorf("kvm: %q is no direction", text)
		}
	}
	return nil
}

// Bytes is data that is written to JSON as a plain list of numbers: evidence is
// read by people, who cannot read base64.
type Bytes []byte

// MarshalJSON writes [72,101,108].
func (b Bytes) MarshalJSON() ([]byte, error) {
	numbers := make([]int, len(b))
	for i, value := range b {
		numbers[i] = int(value)
	}
	return json.Marshal(numbers)
}

// UnmarshalJSON reads what MarshalJSON wrote.
func (b *Bytes) UnmarshalJSON(text []byte) error {
	var numbers []uint8Number
	if err := json.Unmarshal(text, &numbers); err != nil {
		return fmt.Errorf("kvm: read bytes: %w", err)
	}
	*b = make(Bytes, len(numbers))
	for i, value := range numbers {
		(*b)[i] = byte(value)
	}
	return nil
}

// uint8Number keeps encoding/json from reading a []uint8 as base64.
type uint8Number uint8

// UnmarshalJSON reads one number from 0 to 255.
func (n *uint8Number) UnmarshalJSON(text []byte) error {
	return json.Unmarshal(text, (*uint8)(n))
}

// Exit is one return of KVM_RUN, as the kvm_run page describes it. Exactly the
// field that belongs to Reason is set; reasons without details set none.
type Exit struct {
	Reason      ExitReason     `json:"reason"`
	IO          *IO            `json:"io,omitempty"`
	MMIO        *MMIO          `json:"mmio,omitempty"`
	Unknown     *Unknown       `json:"unknown,omitempty"`
	FailEntry   *FailEntry     `json:"fail_entry,omitempty"`
	Internal    *InternalError `json:"internal,omitempty"`
	SystemEvent *SystemEvent   `json:"system_event,omitempty"`
}

// IO describes KVM_EXIT_IO: a port access that KVM has no device for.
type IO struct {
	Direction Direction `json:"direction"`
	Size      uint8     `json:"size"` // bytes of one access: 1, 2 or 4
	Port      uint16    `json:"port"`
	Count     uint32    `json:"count"` // accesses; above 1 for a string instruction
	Data      Bytes     `json:"data"`  // Size x Count bytes, packed
	// DataOffset is where Data lies, relative to the start of kvm_run.
	DataOffset uint64 `json:"data_offset"`
}

// MMIO describes KVM_EXIT_MMIO: an access to an address without memory.
type MMIO struct {
	Address uint64 `json:"address"` // guest physical
	Data    Bytes  `json:"data"`    // what a write carries; a read has to fill it
	Write   bool   `json:"write"`
}

// Unknown describes KVM_EXIT_UNKNOWN by the processor's own exit code.
type Unknown struct {
	HardwareReason uint64 `json:"hardware_reason"`
}

// FailEntry describes KVM_EXIT_FAIL_ENTRY: the processor refused to enter the
// guest. HardwareReason is the VMX exit reason or the SVM exit code.
type FailEntry struct {
	HardwareReason uint64 `json:"hardware_reason"`
	CPU            uint32 `json:"cpu"` // host CPU on which it was tried
}

// InternalError describes KVM_EXIT_INTERNAL_ERROR: KVM itself gave up.
type InternalError struct {
	Suberror Suberror `json:"suberror"`
	Data     []uint64 `json:"data"` // its meaning depends on Suberror
	// Instruction holds the bytes that KVM could not emulate, where it says so
	// (suberror KVM_INTERNAL_ERROR_EMULATION with instruction bytes flagged).
	Instruction Bytes `json:"instruction,omitempty"`
}

// Suberror is the suberror field of KVM_EXIT_INTERNAL_ERROR.
type Suberror uint32

// The suberrors of Linux 6.1.
const (
	SuberrorEmulation            Suberror = 1
	SuberrorSimultaneousEx       Suberror = 2
	SuberrorDeliveryEvent        Suberror = 3
	SuberrorUnexpectedExitReason Suberror = 4
)

// String returns the name in linux/kvm.h and what it means.
func (s Suberror) String() string {
	switch s {
	case SuberrorEmulation:
		return "KVM_INTERNAL_ERROR_EMULATION (an instruction that KVM cannot emulate)"
	case SuberrorSimultaneousEx:
		return "KVM_INTERNAL_ERROR_SIMUL_EX (unexpected simultaneous exceptions)"
	case SuberrorDeliveryEvent:
		return "KVM_INTERNAL_ERROR_DELIVERY_EV (unexpected exit while an event was delivered)"
	case SuberrorUnexpectedExitReason:
		return "KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON (the processor left the guest for a reason KVM does not know)"
	}
	return fmt.Sprintf("suberror %d", uint32(s))
}

// SystemEvent describes KVM_EXIT_SYSTEM_EVENT.
type SystemEvent struct {
	Type SystemEventType `json:"type"`
	Data []uint64        `json:"data,omitempty"`
}

// SystemEventType is the type field of KVM_EXIT_SYSTEM_EVENT.
type SystemEventType uint32

// String returns the name in linux/kvm.h.
func (t SystemEventType) String() string {
	names := [...]string{1: "SHUTDOWN", 2: "RESET", 3: "CRASH", 4: "WAKEUP", 5: "SUSPEND", 6: "SEV_TERM"}
	if t == 0 || int64(t) >= int64(len(names)) {
		return fmt.Sprintf("system event %d", uint32(t))
	}
	return "KVM_SYSTEM_EVENT_" + names[t]
}

// Offsets into kvm_run, struct kvm_run in linux/kvm.h.
const (
	offsetExitReason = 8
	offsetUnion      = 32
	sizeUnion        = 256
)

// ErrShortRun says that fewer bytes were given than the fixed part of kvm_run.
var ErrShortRun = errors.New("kvm_run is too short")

// DecodeExit reads the exit from the bytes of a kvm_run mapping; data of a port
// access must lie within them. The bytes may come from another process, so
// nothing in them is trusted. The Exit does not refer to run afterwards.
func DecodeExit(run []byte) (Exit, error) {
	if len(run) < offsetUnion+sizeUnion {
		return Exit{}, fmt.Errorf("kvm: decode exit: %d bytes: %w", len(run), ErrShortRun)
	}
	exit := Exit{Reason: ExitReason(binary.LittleEndian.Uint32(run[offsetExitReason:]))}
	detail := run[offsetUnion : offsetUnion+sizeUnion]
	var err error
	switch exit.Reason {
	case ExitIO:
		exit.IO, err = decodeIO(run, detail)
	case ExitMMIO:
		exit.MMIO, err = decodeMMIO(detail)
	case ExitUnknown:
		exit.Unknown = &Unknown{HardwareReason: binary.LittleEndian.Uint64(detail)}
	case ExitFailEntry:
		exit.FailEntry = decodeFailEntry(detail)
	case ExitInternalError:
		exit.Internal = decodeInternalError(detail)
	case ExitSystemEvent:
		exit.SystemEvent = decodeSystemEvent(detail)
	}
	return exit, err
}

func decodeIO(run, detail []byte) (*IO, error) {
	io := &IO{
		Direction:  Direction(detail[0]),
		Size:       detail[1],
		Port:       binary.LittleEndian.Uint16(detail[2:]),
		Count:      binary.LittleEndian.Uint32(detail[4:]),
		DataOffset: binary.LittleEndian.Uint64(detail[8:]),
	}
	length := uint64(io.Size) * uint64(io.Count)
	if io.DataOffset > uint64(len(run)) || length > uint64(len(run))-io.DataOffset {
		return nil, fmt.Errorf("kvm: decode KVM_EXIT_IO: %d bytes at offset %#x lie outside the %d bytes of kvm_run",
			length, io.DataOffset, len(run))
	}
	io.Data = append(Bytes{}, run[io.DataOffset:io.DataOffset+length]...)
	return io, nil
}

func decodeMMIO(detail []byte) (*MMIO, error) {
	length := binary.LittleEndian.Uint32(detail[16:])
	if length > 8 {
		return nil, fmt.Errorf("kvm: decode KVM_EXIT_MMIO: length is %d, the most is 8", length)
	}
	return &MMIO{
		Address: binary.LittleEndian.Uint64(detail),
		Data:    append(Bytes{}, detail[8:8+length]...),
		Write:   detail[20] != 0,
	}, nil
}

func decodeFailEntry(detail []byte) *FailEntry {
	return &FailEntry{
		HardwareReason: binary.LittleEndian.Uint64(detail),
		CPU:            binary.LittleEndian.Uint32(detail[8:]),
	}
}

// flagInstructionBytes is KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES.
const flagInstructionBytes = 1

func decodeInternalError(detail []byte) *InternalError {
	internal := &InternalError{
		Suberror: Suberror(binary.LittleEndian.Uint32(detail)),
		Data:     decodeWords(detail[4:]),
	}
	// struct emulation_failure overlays the data: flags, size, up to 15 bytes.
	const flags, size, bytes, most = 8, 16, 17, 15
	if internal.Suberror == SuberrorEmulation && len(internal.Data) >= 3 &&
		binary.LittleEndian.Uint64(detail[flags:])&flagInstructionBytes != 0 {
		internal.Instruction = append(Bytes{}, detail[bytes:bytes+min(detail[size], most)]...)
	}
	return internal
}

func decodeSystemEvent(detail []byte) *SystemEvent {
	return &SystemEvent{
		Type: SystemEventType(binary.LittleEndian.Uint32(detail)),
		Data: decodeWords(detail[4:]),
	}
}

// decodeWords reads a count and up to 16 words, the form that internal errors
// and system events share.
func decodeWords(detail []byte) []uint64 {
	count := min(binary.LittleEndian.Uint32(detail), 16)
	words := make([]uint64, count)
	for i := range words {
		words[i] = binary.LittleEndian.Uint64(detail[4+8*i:])
	}
	return words
}

// String describes the exit in one line, the reason's name first.
func (e Exit) String() string {
	switch {
	case e.IO != nil:
		return fmt.Sprintf("%v: %v port %#x, size %d, count %d, data % x",
			e.Reason, e.IO.Direction, e.IO.Port, e.IO.Size, e.IO.Count, []byte(e.IO.Data))
	case e.MMIO != nil:
		return fmt.Sprintf("%v: %s guest physical %#x, data % x",
			e.Reason, mmioVerb(e.MMIO.Write), e.MMIO.Address, []byte(e.MMIO.Data))
	case e.Unknown != nil:
		return fmt.Sprintf("%v: hardware exit reason %#x", e.Reason, e.Unknown.HardwareReason)
	case e.FailEntry != nil:
		return fmt.Sprintf("%v: hardware entry failure reason %#x on CPU %d",
			e.Reason, e.FailEntry.HardwareReason, e.FailEntry.CPU)
	case e.Internal != nil:
		return e.internalString()
	case e.SystemEvent != nil:
		return fmt.Sprintf("%v: %v", e.Reason, e.SystemEvent.Type)
	case e.Reason == ExitShutdown:
		return fmt.Sprintf("%v: triple fault in the guest", e.Reason)
	}
	return e.Reason.String()
}

func (e Exit) internalString() string {
	if len(e.Internal.Instruction) > 0 {
		return fmt.Sprintf("%v: %v: % x", e.Reason, e.Internal.Suberror, []byte(e.Internal.Instruction))
	}
	return fmt.Sprintf("%v: %v, data %#x", e.Reason, e.Internal.Suberror, e.Internal.Data)
}

func mmioVerb(write bool) string {
	if write {
		return "write to"
	}
	return "read from"
}
