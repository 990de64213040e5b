package edu

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// PCIDevice is a device as lspci shows it.
type PCIDevice struct {
	Slot    string // "00:04.0", with the domain in front where lspci gives it
	Class   string // in words, or empty
	ClassID uint16 // 0 where lspci shows words only
	Vendor  uint16 // with Device: 0 where lspci knows a name and was run without -nn
	Device  uint16
	Name    string // in words, or empty
	Rev     uint8
	Driver  string // "Kernel driver in use", or empty
}

var (
	slotLine = regexp.MustCompile(`^((?:[0-9a-f]{4,8}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]) (.*?): (.*)$`)
	revision = regexp.MustCompile(` \(rev ([0-9a-f]{2})\)`)
	progIf   = regexp.MustCompile(` \(prog-if [^()]*\)$`)
	classID  = regexp.MustCompile(`^(.*?) ?\[([0-9a-f]{4})\]$|^(?:Class )?([0-9a-f]{4})$`)
	deviceID = regexp.MustCompile(`^(.*?) ?\[([0-9a-f]{4}):([0-9a-f]{4})\]$|^(?:Device )?([0-9a-f]{4}):([0-9a-f]{4})$`)
	driver   = regexp.MustCompile(`^\s+Kernel driver in use: (\S+)$`)
)

// ParseLspci reads the output of lspci, of any of -n, -nn, -k and -v, and of
// busybox's lspci. Lines it does not know, such as lspci's own warnings between
// the devices, are passed over.
func ParseLspci(text string) []PCIDevice {
	var devices []PCIDevice
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\r\n")
		if m := slotLine.FindStringSubmatch(line); m != nil {
			devices = append(devices, newPCIDevice(m[1], m[2], m[3]))
		} else if m := driver.FindStringSubmatch(line); m != nil && len(devices) > 0 {
			devices[len(devices)-1].Driver = m[1]
		}
	}
	return devices
}

func newPCIDevice(slot, class, rest string) PCIDevice {
	d := PCIDevice{Slot: slot, Class: class}
	if m := classID.FindStringSubmatch(class); m != nil {
		d.Class, d.ClassID = m[1], hex16(m[2]+m[3])
	}
	rest = progIf.ReplaceAllString(rest, "")
	if m := revision.FindStringSubmatch(rest); m != nil {
		d.Rev = uint8(hex16(m[1]))
		rest = strings.Replace(rest, m[0], "", 1)
	}
	d.Name = rest
	if m := deviceID.FindStringSubmatch(rest); m != nil {
		d.Name, d.Vendor, d.Device = m[1], hex16(m[2]+m[4]), hex16(m[3]+m[5])
	}
	return d
}

// hex16 reads digits that a regular expression has matched.
func hex16(s string) uint16 {
	v, _ := strconv.ParseUint(s, 16, 16)
	return uint16(v)
}

// FindEdu gives the edu device of lspci's output. More than one is an error.
func FindEdu(devices []PCIDevice) (PCIDevice, error) {
	edu := slices.DeleteFunc(slices.Clone(devices), func(d PCIDevice) bool { return d.Vendor != Vendor || d.Device != Device })
	if len(edu) != 1 {
		return PCIDevice{}, fmt.Errorf("lspci shows %d devices %04x:%04x, expected one (is QEMU run with -device edu?)", len(edu), Vendor, Device)
	}
	return edu[0], nil
}

// CheckEdu tells whether d is the edu device as QEMU makes it, with a driver
// bound to it.
func CheckEdu(d PCIDevice) error {
	switch {
	case d.ClassID != Class:
		return fmt.Errorf("%s has class %04x, expected %04x", d.Slot, d.ClassID, Class)
	case d.Rev != Revision:
		return fmt.Errorf("%s has revision %02x, expected %02x", d.Slot, d.Rev, Revision)
	case d.Driver == "":
		return fmt.Errorf("%s has no driver: does the driver's id_table have %04x:%04x, and did its probe return 0?", d.Slot, Vendor, Device)
	}
	return nil
}

// CharMajor finds the major number of a character device in /proc/devices.
func CharMajor(procDevices, name string) (int, error) {
	char := false
	for line := range strings.Lines(procDevices) {
		line = strings.TrimSpace(line)
		if strings.HasSuffix(line, " devices:") {
			char = line == "Character devices:"
			continue
		}
		major, got, _ := strings.Cut(line, " ")
		if n, err := strconv.Atoi(major); char && err == nil && got == name && n > 0 {
			return n, nil
		}
	}
	return 0, fmt.Errorf("/proc/devices has no character device %q: did the driver call register_chrdev?", name)
}

// Interrupt is a line of the driver's interrupt handler.
type Interrupt struct {
	IRQ    int
	Major  int
	Status uint32
}

// GuestLog is what the driver, ours or the course's, told the guest's log.
type GuestLog struct {
	Results    []uint32 // "computing result 375f00"
	Interrupts []Interrupt
}

var (
	resultLine  = regexp.MustCompile(`\bcomputing result ([0-9a-f]{1,8})\s*$`)
	handlerLine = regexp.MustCompile(`\birq_handler irq = (\d{1,9}) dev = (\d{1,9}) irq_status = ([0-9a-f]{1,8})\s*$`)
)

// ParseGuestLog reads dmesg's output or a console log, with time stamps or none.
func ParseGuestLog(text string) GuestLog {
	var log GuestLog
	for line := range strings.Lines(text) {
		if m := resultLine.FindStringSubmatch(line); m != nil {
			log.Results = append(log.Results, hex32(m[1]))
		}
		if m := handlerLine.FindStringSubmatch(line); m != nil {
			irq, _ := strconv.Atoi(m[1])
			major, _ := strconv.Atoi(m[2])
			log.Interrupts = append(log.Interrupts, Interrupt{irq, major, hex32(m[3])})
		}
	}
	return log
}

func hex32(s string) uint32 {
	v, _ := strconv.ParseUint(s, 16, 32)
	return uint32(v)
}

// Statuses are the interrupt statuses that the handler saw, in order.
func (l GuestLog) Statuses() []uint32 {
	var all []uint32
	for _, i := range l.Interrupts {
		all = append(all, i.Status)
	}
	return all
}

// Answers is what the test program printed: key=value lines, by key and in order.
type Answers map[string][]string

var answerLine = regexp.MustCompile(`^([a-z][a-z0-9_]*)=(\S*)$`)

// ParseAnswers reads the test program's standard output. Any other line is an
// error: the program prints nothing else.
func ParseAnswers(stdout string) (Answers, error) {
	answers := Answers{}
	n := 0
	for line := range strings.Lines(stdout) {
		n++
		m := answerLine.FindStringSubmatch(strings.TrimRight(line, "\r\n"))
		if m == nil {
			return answers, fmt.Errorf("line %d of the test program's output is no key=value: %q", n, clip(line))
		}
		answers[m[1]] = append(answers[m[1]], m[2])
	}
	return answers, nil
}

// Uint gives the number that was printed last for key.
func (a Answers) Uint(key string) (uint64, error) {
	values := a[key]
	if len(values) == 0 {
		return 0, fmt.Errorf("the test program printed no %s", key)
	}
	v, err := strconv.ParseUint(values[len(values)-1], 0, 64)
	if err != nil {
		return 0, fmt.Errorf("the test program printed %s=%q, which is no number", key, clip(values[len(values)-1]))
	}
	return v, nil
}

// Uint32 is Uint for the values of registers.
func (a Answers) Uint32(key string) (uint32, error) {
	v, err := a.Uint(key)
	if err == nil && v > 0xffffffff {
		return 0, fmt.Errorf("the test program printed %s=0x%x, which has more than 32 bits", key, v)
	}
	return uint32(v), err
}
