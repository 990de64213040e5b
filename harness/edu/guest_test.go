package edu

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseLspci(t *testing.T) {
	for _, file := range []string{"lspci-k.txt", "lspci-nnk.txt", "lspci-v.txt"} {
		t.Run(file, func(t *testing.T) {
			devices := ParseLspci(golden(t, file))
			require.Len(t, devices, 6)
			edu, err := FindEdu(devices)
			require.NoError(t, err)
			assert.Equal(t, "00:02.0", edu.Slot)
			assert.Equal(t, "edu_pci", edu.Driver)
			assert.NoError(t, CheckEdu(edu))
			assert.Equal(t, "virtio-pci", devices[5].Driver)
			assert.Empty(t, devices[1].Driver)
		})
	}
}

func TestParseLspciNames(t *testing.T) {
	devices := ParseLspci(golden(t, "lspci-nn.txt"))
	assert.Equal(t, PCIDevice{Slot: "00:01.3", Class: "Bridge", ClassID: 0x0680, Vendor: 0x8086, Device: 0x7113,
		Name: "Intel Corporation 82371AB/EB/MB PIIX4 ACPI", Rev: 3}, devices[3])
}

func TestParseLspciForms(t *testing.T) {
	want := PCIDevice{Slot: "00:04.0", ClassID: Class, Vendor: Vendor, Device: Device, Rev: Revision}
	for name, line := range map[string]string{
		"no pci.ids, -nn": "00:04.0 Class [00ff]: Device [1234:11e8] (rev 10)",
		"course":          "00:04.0 Unclassified device [00ff]: Device 1234:11e8 (rev 10)",
		"-n":              "00:04.0 00ff: 1234:11e8 (rev 10)",
		"busybox -k":      "00:04.0 Class 00ff: 1234:11e8 (rev 10)",
		"prog-if":         "00:04.0 Class [00ff]: Device [1234:11e8] (rev 10) (prog-if 80 [ISA Compatibility mode-only controller])",
		"CR LF":           "00:04.0 Class [00ff]: Device [1234:11e8] (rev 10)\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			devices := ParseLspci(line)
			require.Len(t, devices, 1)
			devices[0].Class, devices[0].Name = "", ""
			assert.Equal(t, want, devices[0])
		})
	}
	assert.Equal(t, "0000:00:04.0", ParseLspci("0000:00:04.0 00ff: 1234:11e8")[0].Slot)
}

func TestCourseLspci(t *testing.T) {
	edu, err := FindEdu(ParseLspci(golden(t, "course.console.txt")))
	require.NoError(t, err)
	assert.NoError(t, CheckEdu(edu))
}

func TestEduMissingOrWrong(t *testing.T) {
	_, err := FindEdu(ParseLspci("00:01.0 0601: 8086:7000"))
	require.ErrorContains(t, err, "lspci shows 0 devices 1234:11e8")
	_, err = FindEdu(ParseLspci(strings.Repeat("00:04.0 00ff: 1234:11e8 (rev 10)\n", 2)))
	require.ErrorContains(t, err, "2 devices")
	for line, want := range map[string]string{
		"00:04.0 0200: 1234:11e8 (rev 10)": "class 0200, expected 00ff",
		"00:04.0 00ff: 1234:11e8 (rev 11)": "revision 11, expected 10",
		"00:04.0 00ff: 1234:11e8 (rev 10)": "has no driver",
	} {
		require.ErrorContains(t, CheckEdu(ParseLspci(line)[0]), want)
	}
}

func TestCharMajor(t *testing.T) {
	devices := golden(t, "proc-devices.txt")
	major, err := CharMajor(devices, "pci_edu")
	require.NoError(t, err)
	assert.Equal(t, 254, major)
	for _, name := range []string{"loop", "virtblk", "pci", "edu", ""} { // block devices, and parts of names
		_, err = CharMajor(devices, name)
		require.ErrorContains(t, err, "no character device", name)
	}
}

func TestGuestLogOfTheCourse(t *testing.T) {
	log := ParseGuestLog(golden(t, "course.console.txt"))
	assert.Equal(t, []uint32{0x375f00}, log.Results)
	assert.Equal(t, []uint32{0x12345678, 1, 0x100, 0x100}, log.Statuses(), "never 0x101")
	assert.Equal(t, Interrupt{IRQ: 10, Major: 245, Status: 1}, log.Interrupts[1])
}

func TestGuestLogOfTheReference(t *testing.T) {
	log := ParseGuestLog(golden(t, "reference.dmesg.txt"))
	assert.Equal(t, []uint32{Factorial32(10), Factorial32(13), Factorial32(34)}, log.Results)
	assert.Equal(t, []uint32{1, 1, 0x55, 0x100, 0x100}, log.Statuses())
}

func TestAnswers(t *testing.T) {
	answers, err := ParseAnswers(golden(t, "reference.answers.txt"))
	require.NoError(t, err)
	assert.Equal(t, []string{"0x375f00", "0x0"}, answers["fact"])
	for key, want := range map[string]uint32{"id": Identification, "live": Live(0x12345678), "fact": 0, "irq_count": 1, "fn": 6} {
		got, err := answers.Uint32(key)
		require.NoError(t, err)
		assert.Equal(t, want, got, key)
	}
	_, err = answers.Uint32("irq_kind")
	require.ErrorContains(t, err, "no number")
	_, err = answers.Uint32("nothing")
	require.ErrorContains(t, err, "printed no nothing")
	_, err = Answers{"x": {"0x100000000"}}.Uint32("x")
	require.ErrorContains(t, err, "more than 32 bits")
	_, err = ParseAnswers("id=1\nSegmentation fault\n")
	require.ErrorContains(t, err, "line 2")
}

func FuzzParseLspci(f *testing.F) {
	for _, file := range []string{"lspci-k.txt", "lspci-nnk.txt", "lspci-v.txt", "lspci-nn.txt", "course.console.txt"} {
		f.Add(golden(f, file))
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, d := range ParseLspci(text) {
			assert.NotEmpty(t, d.Slot)
			_ = CheckEdu(d)
		}
	})
}

func FuzzCharMajor(f *testing.F) {
	f.Add(golden(f, "proc-devices.txt"), "pci_edu")
	f.Fuzz(func(t *testing.T, text, name string) {
		if major, err := CharMajor(text, name); err == nil {
			assert.Positive(t, major)
		}
	})
}

func FuzzParseGuestLog(f *testing.F) {
	f.Add(golden(f, "course.console.txt"))
	f.Add(golden(f, "reference.dmesg.txt"))
	f.Fuzz(func(t *testing.T, text string) {
		log := ParseGuestLog(text)
		assert.Len(t, log.Statuses(), len(log.Interrupts))
	})
}

func FuzzParseAnswers(f *testing.F) {
	f.Add(golden(f, "reference.answers.txt"))
	f.Fuzz(func(t *testing.T, text string) {
		answers, _ := ParseAnswers(text)
		for key := range answers {
			_, _ = answers.Uint32(key)
		}
	})
}
