package edu

import "fmt"

// takes32 tells whether the device answers the access: registers below 0x80
// take 4 bytes and ignore other sizes.
func (a Access) takes32() bool { return a.Size == 4 }

func (a Access) writes(reg uint64) bool { return a.Write && a.Offset() == reg && a.takes32() }
func (a Access) reads(reg uint64) bool  { return !a.Write && a.Offset() == reg && a.takes32() }

func (a Access) writesValue(reg uint64, v uint32) bool { return a.writes(reg) && uint32(a.Value) == v }

// Unconfirmed says why the trace does not bear out what the guest claims.
type Unconfirmed struct {
	Claim string // what the guest says
	Why   string // what the device saw instead
	Line  int    // of the trace, 0 if about none
}

func (u *Unconfirmed) Error() string {
	s := "the device's side does not confirm that " + u.Claim + ": " + u.Why
	if u.Line > 0 {
		s += fmt.Sprintf(" (line %d of the trace)", u.Line)
	}
	return s
}

// Factorial is one computation that the device was asked for.
type Factorial struct {
	N       uint32
	Results []uint32 // reads of RegFactorial until the next computation
	Waited  bool     // the driver saw that it was done before the last read
	Line    int      // of the write
}

// Factorials are the computations in the trace. A write to the register while
// the device is busy is lost, and so counts as one that was not waited for.
func (t Trace) Factorials() []Factorial {
	var all []Factorial
	done := false
	for _, a := range t {
		if a.writes(RegFactorial) {
			all = append(all, Factorial{N: uint32(a.Value), Line: a.Line})
			done = false
		}
		if len(all) == 0 {
			continue
		}
		switch last := &all[len(all)-1]; {
		case a.reads(RegStatus) && a.Value&StatusBusy == 0, a.reads(RegIRQStatus) && a.Value&IRQFactorial != 0:
			done = true
		case a.reads(RegFactorial):
			last.Results = append(last.Results, uint32(a.Value))
			last.Waited = done
		}
	}
	return all
}

// ConfirmFactorial tells whether the device was given n and answered result.
func (t Trace) ConfirmFactorial(n, result uint32) error {
	u := &Unconfirmed{Claim: fmt.Sprintf("%d! = 0x%x", n, result), Why: fmt.Sprintf("0x%x was never written to register 0x%02x", n, RegFactorial)}
	for _, f := range t.Factorials() {
		if f.N != n {
			continue
		}
		if len(f.Results) == 0 {
			u.Why, u.Line = "the result was never read", f.Line
			continue
		}
		got := f.Results[len(f.Results)-1]
		if got == result {
			return nil
		}
		u.Why, u.Line = fmt.Sprintf("it answered 0x%x", got), f.Line
		if !f.Waited {
			u.Why += fmt.Sprintf(", and was read before bit 0x%02x of register 0x%02x was seen clear", StatusBusy, RegStatus)
		}
	}
	return u
}

// ConfirmID tells whether the identification register was read as id.
func (t Trace) ConfirmID(id uint32) error {
	u := &Unconfirmed{Claim: fmt.Sprintf("the identification is 0x%08x", id), Why: "its register was never read"}
	return u.unlessRead(t, RegID, id)
}

// ConfirmLive tells whether x was written to the liveness register and answer
// read from it before the next write.
func (t Trace) ConfirmLive(x, answer uint32) error {
	u := &Unconfirmed{Claim: fmt.Sprintf("liveness of 0x%x is 0x%x", x, answer), Why: fmt.Sprintf("0x%x was never written to register 0x%02x", x, RegLive)}
	for i, a := range t {
		if !a.writesValue(RegLive, x) {
			continue
		}
		u.Why, u.Line = "the answer was never read", a.Line
		if u.unlessRead(t[i+1:].until(RegLive), RegLive, answer) == nil {
			return nil
		}
	}
	return u
}

// unlessRead is nil when value was read from reg in t, and else u with what was
// read instead.
func (u *Unconfirmed) unlessRead(t Trace, reg uint64, value uint32) error {
	for _, a := range t {
		if !a.reads(reg) {
			continue
		}
		if uint32(a.Value) == value {
			return nil
		}
		u.Why, u.Line = fmt.Sprintf("it answered 0x%x", a.Value), a.Line
	}
	return u
}

// until is the trace up to the next write to one of the registers.
func (t Trace) until(regs ...uint64) Trace {
	for i, a := range t {
		for _, reg := range regs {
			if a.writes(reg) {
				return t[:i]
			}
		}
	}
	return t
}

// ConfirmInterrupt tells whether bits were raised by a write, seen in the
// interrupt status by a handler, and acknowledged.
func (t Trace) ConfirmInterrupt(bits uint32) error {
	u := &Unconfirmed{Claim: fmt.Sprintf("interrupt 0x%x was raised and handled", bits), Why: fmt.Sprintf("it was never written to register 0x%02x", RegIRQRaise)}
	for i, a := range t {
		if a.writesValue(RegIRQRaise, bits) && u.unlessHandled(t[i+1:].until(RegIRQRaise), bits, a.Line) == nil {
			return nil
		}
	}
	return u
}

// ConfirmIRQ tells whether a handler saw bits that the device raised by itself
// (IRQFactorial, IRQDMA) and acknowledged them.
func (t Trace) ConfirmIRQ(bits uint32) error {
	u := &Unconfirmed{Claim: fmt.Sprintf("interrupt 0x%x of the device was handled", bits)}
	return u.unlessHandled(t, bits, 0)
}

// unlessHandled is nil when the status was read with bits and a later write
// acknowledges them all, and else u with the step that is missing.
func (u *Unconfirmed) unlessHandled(t Trace, bits uint32, line int) error {
	u.Why, u.Line = fmt.Sprintf("no handler read it from the status register 0x%02x", RegIRQStatus), line
	seen := false
	for _, a := range t {
		switch {
		case a.reads(RegIRQStatus) && uint32(a.Value)&bits == bits:
			seen = true
			u.Why, u.Line = fmt.Sprintf("it was not acknowledged at register 0x%02x", RegIRQAck), a.Line
		case seen && a.writes(RegIRQAck) && uint32(a.Value)&bits == bits:
			return nil
		}
	}
	return u
}

// ConfirmFunction tells whether the operands a and b were written to the added
// function's registers and result was read before either changed.
func (t Trace) ConfirmFunction(a, b, result uint32) error {
	u := &Unconfirmed{
		Claim: fmt.Sprintf("the added function of 0x%x and 0x%x is 0x%x", a, b, result),
		Why:   fmt.Sprintf("the operands were never in registers 0x%02x and 0x%02x together", RegFnA, RegFnB),
	}
	var regs operands
	for _, x := range t {
		if regs.take(x); !regs.are(a, b) || !x.reads(RegFnResult) {
			continue
		}
		if uint32(x.Value) == result {
			return nil
		}
		u.Why, u.Line = fmt.Sprintf("it answered 0x%x", x.Value), x.Line
	}
	return u
}

// operands are the function's input registers, as far as they were written.
type operands struct {
	a, b       uint32
	hasA, hasB bool
}

func (o *operands) take(x Access) {
	switch {
	case x.writes(RegFnA):
		o.a, o.hasA = uint32(x.Value), true
	case x.writes(RegFnB):
		o.b, o.hasB = uint32(x.Value), true
	}
}

func (o operands) are(a, b uint32) bool { return o.hasA && o.hasB && o.a == a && o.b == b }
