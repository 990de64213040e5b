package kvm

import (
	"encoding/binary"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// field writes a little-endian value at an offset of kvm_run.
type field struct {
	offset int
	value  any
}

// at is an offset into the union of kvm_run.
func at(offset int) int { return offsetUnion + offset }

// newRun makes the two pages of a kvm_run mapping.
func newRun(t testing.TB, fields ...field) []byte {
	run := make([]byte, 2*4096)
	for _, field := range fields {
		_, err := binary.Encode(run[field.offset:], binary.LittleEndian, field.value)
		require.NoError(t, err)
	}
	return run
}

func TestDecodeExit(t *testing.T) {
	for _, test := range []struct {
		name   string
		fields []field
		want   Exit
		text   string
	}{
		{"unknown", []field{{8, uint32(0)}, {at(0), uint64(0x400)}},
			Exit{Reason: ExitUnknown, Unknown: &Unknown{0x400}},
			"KVM_EXIT_UNKNOWN: hardware exit reason 0x400"},
		{"out", []field{{8, uint32(2)}, {at(0), []byte{1, 1}}, {at(2), uint16(0x3f8)}, {at(4), uint32(1)}, {at(8), uint64(4096)}, {4096, []byte("H")}},
			Exit{Reason: ExitIO, IO: &IO{Out, 1, 0x3f8, 1, Bytes("H"), 4096}},
			"KVM_EXIT_IO: out port 0x3f8, size 1, count 1, data 48"},
		{"string in", []field{{8, uint32(2)}, {at(0), []byte{0, 4}}, {at(2), uint16(0xcf8)}, {at(4), uint32(2)}, {at(8), uint64(4096)}},
			Exit{Reason: ExitIO, IO: &IO{In, 4, 0xcf8, 2, make(Bytes, 8), 4096}},
			"KVM_EXIT_IO: in port 0xcf8, size 4, count 2, data 00 00 00 00 00 00 00 00"},
		{"halt", []field{{8, uint32(5)}}, Exit{Reason: ExitHLT}, "KVM_EXIT_HLT"},
		{"mmio", []field{{8, uint32(6)}, {at(0), uint64(0xfee00000)}, {at(8), []byte{1, 2, 3}}, {at(16), uint32(2)}, {at(20), uint8(1)}},
			Exit{Reason: ExitMMIO, MMIO: &MMIO{0xfee00000, Bytes{1, 2}, true}},
			"KVM_EXIT_MMIO: write to guest physical 0xfee00000, data 01 02"},
		{"shutdown", []field{{8, uint32(8)}}, Exit{Reason: ExitShutdown}, "KVM_EXIT_SHUTDOWN: triple fault in the guest"},
		{"fail entry", []field{{8, uint32(9)}, {at(0), uint64(0x80000021)}, {at(8), uint32(3)}},
			Exit{Reason: ExitFailEntry, FailEntry: &FailEntry{0x80000021, 3}},
			"KVM_EXIT_FAIL_ENTRY: hardware entry failure reason 0x80000021 on CPU 3"},
		{"interrupted", []field{{8, uint32(10)}}, Exit{Reason: ExitIntr}, "KVM_EXIT_INTR"},
		{"internal error with data", []field{{8, uint32(17)}, {at(0), uint32(3)}, {at(4), uint32(2)}, {at(8), uint64(7)}, {at(16), uint64(9)}},
			Exit{Reason: ExitInternalError, Internal: &InternalError{Suberror: SuberrorDeliveryEvent, Data: []uint64{7, 9}}},
			"KVM_EXIT_INTERNAL_ERROR: KVM_INTERNAL_ERROR_DELIVERY_EV (unexpected exit while an event was delivered), data [0x7 0x9]"},
		{"emulation failure with instruction", []field{{8, uint32(17)}, {at(0), uint32(1)}, {at(4), uint32(3)}, {at(8), uint64(1)}, {at(16), []byte{2, 0x0f, 0xff}}},
			Exit{Reason: ExitInternalError, Internal: &InternalError{Suberror: SuberrorEmulation, Data: []uint64{1, 0xff0f02, 0}, Instruction: Bytes{0x0f, 0xff}}},
			"KVM_EXIT_INTERNAL_ERROR: KVM_INTERNAL_ERROR_EMULATION (an instruction that KVM cannot emulate): 0f ff"},
		{"unknown suberror, count too large", []field{{8, uint32(17)}, {at(0), uint32(99)}, {at(4), ^uint32(0)}},
			Exit{Reason: ExitInternalError, Internal: &InternalError{Suberror: 99, Data: make([]uint64, 16)}},
			"KVM_EXIT_INTERNAL_ERROR: suberror 99, data [0x0 0x0 0x0 0x0 0x0 0x0 0x0 0x0 0x0 0x0 0x0 0x0 0x0 0x0 0x0 0x0]"},
		{"system event", []field{{8, uint32(24)}, {at(0), uint32(2)}, {at(4), uint32(1)}, {at(8), uint64(5)}},
			Exit{Reason: ExitSystemEvent, SystemEvent: &SystemEvent{2, []uint64{5}}},
			"KVM_EXIT_SYSTEM_EVENT: KVM_SYSTEM_EVENT_RESET"},
		{"unknown number", []field{{8, uint32(4711)}}, Exit{Reason: 4711}, "exit reason 4711"},
	} {
		t.Run(test.name, func(t *testing.T) {
			exit, err := DecodeExit(newRun(t, test.fields...))
			require.NoError(t, err)
			assert.Equal(t, test.want, exit)
			assert.Equal(t, test.text, exit.String())

			evidence, err := json.Marshal(exit)
			require.NoError(t, err)
			var again Exit
			require.NoError(t, json.Unmarshal(evidence, &again), "%s", evidence)
			assert.Equal(t, exit.String(), again.String())
		})
	}
}

func TestDecodeExitRefusesNonsense(t *testing.T) {
	_, err := DecodeExit(make([]byte, 100))
	assert.ErrorIs(t, err, ErrShortRun)
	_, err = DecodeExit(newRun(t, field{8, uint32(2)}, field{at(1), uint8(4)}, field{at(4), ^uint32(0)}, field{at(8), uint64(4096)}))
	assert.ErrorContains(t, err, "outside")
	_, err = DecodeExit(newRun(t, field{8, uint32(2)}, field{at(1), uint8(1)}, field{at(4), uint32(1)}, field{at(8), ^uint64(0)}))
	assert.ErrorContains(t, err, "outside")
	_, err = DecodeExit(newRun(t, field{8, uint32(6)}, field{at(16), uint32(9)}))
	assert.ErrorContains(t, err, "length is 9")
}

func TestNames(t *testing.T) {
	assert.Equal(t, "KVM_SYSTEM_EVENT_SEV_TERM", SystemEventType(6).String())
	assert.Equal(t, "system event 0", SystemEventType(0).String())
	assert.Equal(t, "system event 4294967295", SystemEventType(1<<32-1).String())
	assert.Equal(t, "direction 7", Direction(7).String())
	assert.Equal(t, "KVM_RUN", IoctlName(0xae80))
	assert.Equal(t, "KVM_SET_USER_MEMORY_REGION", IoctlName(0x4020ae46))
	assert.Equal(t, "KVM ioctl 0xaeff", IoctlName(0xaeff))
	assert.True(t, IsIoctl(0x8138ae83))
	assert.False(t, IsIoctl(0x5401), "TCGETS is no KVM ioctl")
	for request, name := range ioctlNames {
		assert.True(t, IsIoctl(request), name)
	}
	for reason := range exitNames {
		text, err := reason.MarshalText()
		require.NoError(t, err)
		var again ExitReason
		require.NoError(t, again.UnmarshalText(text))
		assert.Equal(t, reason, again)
	}
	assert.Error(t, new(ExitReason).UnmarshalText([]byte("KVM_EXIT_NONSENSE")))
	assert.Error(t, new(Direction).UnmarshalText([]byte("sideways")))
	assert.Error(t, new(Bytes).UnmarshalJSON([]byte("[256]")))
}

// FuzzDecodeExit feeds pages that a foreign program may have written.
func FuzzDecodeExit(f *testing.F) {
	f.Add(newRun(f, field{8, uint32(2)}, field{at(0), []byte{1, 1}}, field{at(4), uint32(1)}, field{at(8), uint64(4096)}))
	f.Add(newRun(f, field{8, uint32(17)}, field{at(0), uint32(1)}, field{at(4), uint32(16)}, field{at(8), uint64(1)}, field{at(16), uint8(255)}))
	f.Fuzz(func(t *testing.T, run []byte) {
		exit, err := DecodeExit(run)
		if err != nil {
			return
		}
		require.NotEmpty(t, exit.String())
		if exit.IO != nil {
			require.Len(t, exit.IO.Data, int(exit.IO.Size)*int(exit.IO.Count))
		}
	})
}
