package edu

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
)

// Access is one access of a CPU to the edu device's BAR 0, as QEMU records it with
// -trace 'memory_region_ops_*'.
type Access struct {
	Line  int // in the log, from 1
	CPU   int // index; -1 where no CPU was at work
	Write bool
	Addr  uint64 // guest physical
	Value uint64 // the low Size bytes
	Size  int    // bytes
}

// Offset is the address relative to BAR 0. A BAR is aligned to its size (PCI
// Local Bus Specification 3.0, 6.2.5.1), so no base is needed.
func (a Access) Offset() uint64 { return a.Addr % BARSize }

func (a Access) String() string {
	verb, arrow := "read", "->"
	if a.Write {
		verb, arrow = "write", "<-"
	}
	return fmt.Sprintf("line %d: %s 0x%02x %s 0x%x", a.Line, verb, a.Offset(), arrow, a.Value)
}

// Trace is what happened to the edu device, in order.
type Trace []Access

// Limits of what ReadTrace takes in: a log may come from a QEMU that a student
// built.
const (
	maxLine     = 4096    // bytes; QEMU's lines have about 120
	maxAccesses = 1 << 20 // to the edu device
)

// ErrTooLong means that a log holds more accesses than any lab makes.
var ErrTooLong = errors.New("more than a million accesses to the edu device")

// ReadTrace reads QEMU's trace log and keeps the accesses to the edu device;
// other devices, other events and lines of other origin are passed over. A
// line that names the edu device and cannot be read is an error, except for
// the last one, which ends in the middle when QEMU is killed.
func ReadTrace(r io.Reader) (Trace, error) { return readTrace(r, maxAccesses) }

func readTrace(r io.Reader, limit int) (Trace, error) {
	var trace Trace
	lines := bufio.NewReaderSize(r, maxLine)
	for n := 1; ; n++ {
		line, end := readLine(lines)
		switch access, ok := parseAccess(line); {
		case ok && len(trace) == limit:
			return trace, ErrTooLong
		case ok:
			access.Line = n
			trace = append(trace, access)
		case end == nil && mentionsEdu.MatchString(line):
			return trace, fmt.Errorf("line %d of the trace is damaged: %q", n, clip(line))
		}
		if errors.Is(end, io.EOF) {
			return trace, nil
		}
		if end != nil {
			return trace, fmt.Errorf("reading the trace, line %d: %w", n, end)
		}
	}
}

// readLine gives the next line without its end if it is about the edu device;
// of others, and of one that is too long, it gives nothing. Timers and the
// like make up 999 lines of 1000, so a line is looked at before it is parsed.
func readLine(r *bufio.Reader) (line string, err error) {
	b, err := r.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		if bytes.Contains(b, []byte(Region)) {
			line = trimEOL(string(b))
		}
		return line, err
	}
	for errors.Is(err, bufio.ErrBufferFull) {
		_, err = r.ReadSlice('\n')
	}
	return "", err
}

func trimEOL(s string) string {
	for len(s) > 0 && (s[len(s)-1] == '\n' || s[len(s)-1] == '\r') {
		s = s[:len(s)-1]
	}
	return s
}

// clip keeps a message short that quotes a line.
func clip(line string) string {
	if len(line) > 160 {
		return line[:160] + "..."
	}
	return line
}

var (
	// With -msg timestamp=on a process id and a time come first. The value of
	// a read that finds no register has 64 ones whatever the size.
	accessLine = regexp.MustCompile(`^(?:\d+@\d+\.\d+:)?memory_region_ops_(read|write) cpu (-?\d+) mr \S+ ` +
		`addr 0x([0-9a-f]{1,16}) value 0x([0-9a-f]{1,16}) size ([1248]) name '` + Region + `'$`)
	mentionsEdu = regexp.MustCompile(`memory_region_ops_.*'` + Region + `'`)
)

func parseAccess(line string) (Access, bool) {
	m := accessLine.FindStringSubmatch(line)
	if m == nil {
		return Access{}, false
	}
	cpu, err := strconv.Atoi(m[2])
	if err != nil {
		return Access{}, false
	}
	addr, _ := strconv.ParseUint(m[3], 16, 64)
	value, _ := strconv.ParseUint(m[4], 16, 64)
	size := int(m[5][0] - '0')
	if size < 8 {
		value &= 1<<(8*size) - 1
	}
	return Access{CPU: cpu, Write: m[1] == "write", Addr: addr, Value: value, Size: size}, true
}
