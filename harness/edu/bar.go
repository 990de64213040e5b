package edu

import (
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// BAR is the device's register space. Each call is one access of that width, 4
// or 8 bytes.
type BAR interface {
	Read(offset uint64, width int) uint64
	Write(offset uint64, width int, value uint64)
}

// Step is one access to the BAR, as a script for `virtlab bar` has it.
type Step struct {
	Do     string `json:"do"` // Read, Write or WaitFor
	Offset uint64 `json:"offset"`
	Width  int    `json:"width"`           // bytes: 4 or 8
	Value  uint64 `json:"value,omitempty"` // to write; of the bits in Mask to wait for
	Mask   uint64 `json:"mask,omitempty"`
	// Looks bounds a wait. 0: it goes on until the program is killed, as only
	// a clock outside of the guest is to be trusted.
	Looks int `json:"looks,omitempty"`
}

// What a Step does.
const (
	Read    = "read"
	Write   = "write"
	WaitFor = "wait"
)

// Script is steps in order; what they read is one Heard.
type Script []Step

// Heard is what the steps of a script read, in order.
type Heard struct {
	Reads []uint64 `json:"reads"`
	Late  bool     `json:"late,omitempty"` // a wait ended before its bits came; the script ended there
}

// Run runs the script. pause is called between two looks at a register that is
// waited for.
func (s Script) Run(bar BAR, pause func()) Heard {
	h := Heard{Reads: []uint64{}}
	for _, step := range s {
		switch step.Do {
		case Read:
			h.Reads = append(h.Reads, bar.Read(step.Offset, step.Width))
		case Write:
			bar.Write(step.Offset, step.Width, step.Value)
		case WaitFor:
			if h.Late = !step.wait(bar, pause); h.Late {
				return h
			}
		}
	}
	return h
}

func (s Step) wait(bar BAR, pause func()) bool {
	for looks := 1; ; looks++ {
		if bar.Read(s.Offset, s.Width)&s.Mask == s.Value {
			return true
		}
		if looks == s.Looks {
			return false
		}
		pause()
	}
}

// ReadScripts reads a JSON array of scripts and checks each step.
func ReadScripts(r io.Reader) ([]Script, error) {
	var scripts []Script
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	if err := d.Decode(&scripts); err != nil {
		return nil, fmt.Errorf("the scripts: %w", err)
	}
	for i, s := range scripts {
		for j, step := range s {
			if err := step.check(); err != nil {
				return nil, fmt.Errorf("script %d, step %d: %w", i+1, j+1, err)
			}
		}
	}
	return scripts, nil
}

func (s Step) check() error {
	switch {
	case s.Do != Read && s.Do != Write && s.Do != WaitFor:
		return fmt.Errorf("%q is none of %s, %s, %s", s.Do, Read, Write, WaitFor)
	case s.Width != 4 && s.Width != 8:
		return fmt.Errorf("an access of %d bytes; registers take 4 or 8", s.Width)
	case s.Offset%uint64(s.Width) != 0 || s.Offset > BARSize-uint64(s.Width):
		return fmt.Errorf("offset %#x is no multiple of %d in the BAR", s.Offset, s.Width)
	}
	return nil
}

// ParseHeard reads what `virtlab bar` printed: a line for each script that was
// done, so a program that was killed leaves what came before.
func ParseHeard(stdout string) ([]Heard, error) {
	var all []Heard
	for line := range strings.Lines(stdout) {
		var h Heard
		if err := json.Unmarshal([]byte(line), &h); err != nil {
			return all, fmt.Errorf("line %d of virtlab bar: %w: %q", len(all)+1, err, clip(line))
		}
		all = append(all, h)
	}
	return all, nil
}

// Ask is the script that asks the device for the answer to operands. looks is
// how often it looks at a register that is waited for, 0 without end.
func (o *Op) Ask(v Values, looks int) Script {
	var s Script
	for i, x := range o.Operands {
		s = append(s, Step{Do: Write, Offset: uint64(x.Offset), Width: x.Width, Value: v[i]})
	}
	if t := o.Trigger; t != nil {
		s = append(s, Step{Do: Write, Offset: uint64(t.Offset), Width: t.Width, Value: uint64(t.Value)})
	}
	if w := o.Wait; w != nil {
		s = append(s, Step{Do: WaitFor, Offset: uint64(w.Offset), Width: w.Width, Mask: uint64(w.Mask), Value: uint64(w.Value), Looks: looks})
	}
	switch {
	case o.Result != nil:
		s = append(s, Step{Do: Read, Offset: uint64(o.Result.Offset), Width: o.Result.Width})
	case o.Text.Offset != nil:
		s = append(s, o.Text.reads()...)
	}
	return s
}

func (t *Text) reads() (s Script) {
	for i := 0; i*t.Chars < t.Length; i++ {
		s = append(s, Step{Do: Read, Offset: uint64(*t.Offset) + uint64(i)*t.Step, Width: t.Width})
	}
	return s
}

// Answered is the device's answer in the words of Expect. A text ends with its
// first NUL, as C's do.
func (o *Op) Answered(h Heard) string {
	if o.Result != nil {
		if len(h.Reads) != 1 {
			return "nothing"
		}
		return strconv.FormatUint(h.Reads[0], 10)
	}
	var text []byte
	for _, word := range h.Reads {
		for i := range o.Text.Chars {
			c := byte(word >> (8 * i))
			if c == 0 || len(text) == o.Text.Length {
				return string(text)
			}
			text = append(text, c)
		}
	}
	return string(text)
}

// PrintsOutside tells whether the answer is text on QEMU's own output, where no
// register shows it.
func (o *Op) PrintsOutside() bool { return o.Text != nil && o.Text.Offset == nil }

// Survey is the script that looks for registers which a stock device lacks: it
// reads every word of the first SurveySize bytes but the DMA registers', and
// what the liveness register makes of live.
func Survey(live uint32) Script {
	s := Script{{Do: Write, Offset: RegLive, Width: 4, Value: uint64(live)}}
	for at := uint64(0); at < SurveySize; at += 4 {
		if at < RegDMASrc || at >= RegDMACmd+8 {
			s = append(s, Step{Do: Read, Offset: at, Width: 4})
		}
	}
	return s
}

// SurveySize is how far Survey looks, in bytes.
const SurveySize = 4096

// Difference is a register that answers otherwise than the stock device's.
type Difference struct {
	Offset      uint64
	Stock, Here uint64
}

func (d Difference) String() string {
	if d.Stock == Absent {
		return fmt.Sprintf("0x%02x answers 0x%x where the stock device has no register", d.Offset, d.Here)
	}
	return fmt.Sprintf("0x%02x answers 0x%x where the stock device answers 0x%x", d.Offset, d.Here, d.Stock)
}

// Differences are the registers of a survey that differ. Those that tell what
// the device did before do not count.
func Differences(survey Script, stock, here Heard) (all []Difference) {
	i := 0
	for _, step := range survey {
		if step.Do != Read || i >= min(len(stock.Reads), len(here.Reads)) {
			continue
		}
		a, b := stock.Reads[i], here.Reads[i]
		i++
		if a != b && step.Offset != RegFactorial && step.Offset != RegStatus && step.Offset != RegIRQStatus {
			all = append(all, Difference{step.Offset, a, b})
		}
	}
	return all
}
