package job

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
)

// Tail is s as the last TailBytes of a disk: JSON, then zeros.
func (s Spec) Tail() ([]byte, error) {
	b, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("job: %w", err)
	}
	if len(b) > TailBytes {
		return nil, fmt.Errorf("job: its JSON takes %d bytes, and the end of the disk has room for %d: fewer cells a run", len(b), TailBytes)
	}
	return append(b, make([]byte, TailBytes-len(b))...), nil
}

// ReadTail reads the Spec from the end of a disk: a block device or a file.
func ReadTail(device string) (Spec, error) {
	f, err := os.Open(device)
	if err != nil {
		return Spec{}, fmt.Errorf("job: %w", err)
	}
	defer f.Close()
	// Seek, as a block device's Stat has no size.
	if _, err := f.Seek(-TailBytes, io.SeekEnd); err != nil {
		return Spec{}, fmt.Errorf("job: %s is shorter than the job at its end: %w", device, err)
	}
	b, err := io.ReadAll(f)
	if err != nil {
		return Spec{}, fmt.Errorf("job: %w", err)
	}
	s, err := parseTail(b)
	if err != nil {
		return Spec{}, fmt.Errorf("%s: %w", device, err)
	}
	return s, nil
}

// parseTail reads what Tail made.
func parseTail(b []byte) (Spec, error) {
	text := bytes.TrimRight(b, "\x00")
	if len(text) == 0 {
		return Spec{}, fmt.Errorf("job: the disk ends in %d zeros: nobody wrote a job to it", len(b))
	}
	d := json.NewDecoder(bytes.NewReader(text))
	// A job from another version of virtlab is not to be half understood.
	d.DisallowUnknownFields()
	var s Spec
	if err := d.Decode(&s); err != nil {
		return Spec{}, fmt.Errorf("job: no job at the end of the disk: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return Spec{}, fmt.Errorf("job: more than a job at the end of the disk")
	}
	return s, s.check()
}

// check refuses what cannot be done.
func (s Spec) check() error {
	switch s.End {
	case Reboot, PowerOff, Halt:
	default:
		return fmt.Errorf("job: its end is %q: reboot, poweroff or halt", s.End)
	}
	if s.Pages < 0 || s.Hold < 0 || s.MarkerBytes < 0 || s.Settle < 0 {
		return fmt.Errorf("job: a size or a time below zero")
	}
	for _, c := range s.Cells {
		if err := c.check(); err != nil {
			return err
		}
	}
	return nil
}

func (c Cell) check() error {
	if c.Name == "" || len(c.Run) == 0 {
		return fmt.Errorf("job: a cell (%q) needs a name and a program", c.Name)
	}
	for _, argv := range append(c.Prepare, c.Cleanup...) {
		if len(argv) == 0 {
			return fmt.Errorf("job: cell %s: a step without a program", c.Name)
		}
	}
	return nil
}
