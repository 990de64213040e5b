// Package result is the outcome model: what a check may end in, and who is to
// blame when something fails.
package result

import (
	"errors"
	"fmt"
)

// Outcome is how a check ended. The four are never mixed: a missing result is
// an Error, never a Pass.
type Outcome string

const (
	Pass      Outcome = "pass"       // the submission does what was asked
	Fail      Outcome = "fail"       // the submission is wrong
	NotGraded Outcome = "not graded" // nothing to grade, or a stated requirement is missing
	Broken    Outcome = "error"      // the environment or the harness failed
)

// Owner says whose fault a failure is.
type Owner string

const (
	Submission Owner = "submission" // what the student handed in
	Guest      Owner = "guest"      // the guest's kernel or its programs: panic, hang, out of memory
	VMM        Owner = "vmm"        // the virtual machine monitor: refused its options, crashed, closed its monitor
	Host       Owner = "host"       // the machine or the harness: no space, no QEMU, no permission
)

// Error is a failure with an owner. Hint says what to do about it and may be
// empty.
type Error struct {
	Owner Owner
	Err   error
	Hint  string
}

func (e *Error) Error() string {
	s := fmt.Sprintf("%s: %v", e.Owner, e.Err)
	if e.Hint != "" {
		s += "\n  what to do: " + e.Hint
	}
	return s
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an Error as fmt.Errorf would: what a %w wraps stays reachable
// through errors.Is and errors.As.
func Errorf(owner Owner, format string, args ...any) *Error {
	return &Error{Owner: owner, Err: fmt.Errorf(format, args...)}
}

// WithHint returns a copy of e that says what to do.
func (e *Error) WithHint(format string, args ...any) *Error {
	c := *e
	c.Hint = fmt.Sprintf(format, args...)
	return &c
}

// OwnerOf finds the owner in err's chain; an error without one is the host's.
func OwnerOf(err error) Owner {
	var e *Error
	if errors.As(err, &e) {
		return e.Owner
	}
	return Host
}
