package pagewalk

import (
	"errors"
	"fmt"
	"strconv"
)

// Check names what a finding is about.
type Check string

const (
	CheckMissing   Check = "missing"    // the log lacks a line
	CheckCanonical Check = "canonical"  // a GVA whose upper bits differ
	CheckIndex     Check = "index"      // a table index is not the bits of the address
	CheckTable     Check = "table"      // an entry's frame is not the next table
	CheckPresent   Check = "present"    // the walk follows an entry that is not present
	CheckLarge     Check = "large page" // bit 7 and the page size contradict each other
	CheckReserved  Check = "reserved"   // a bit is set that must be clear
	CheckOffset    Check = "offset"     // the offset in the page got lost
	CheckOutput    Check = "output"     // the output is not the leaf's frame plus the offset
	CheckDetail    Check = "detail"     // a line that explains the leaf is wrong
	CheckLink      Check = "link"       // the guest's GPA is not what the host translates
	CheckValue     Check = "value"      // the stored number differs
	CheckRoot      Check = "root"       // a walk does not begin at the table that the processor used
	CheckMemory    Check = "memory"     // memory does not hold what was printed
	CheckDirectMap Check = "direct map" // GVA and GPA differ in the low 30 bits
	CheckLabel     Check = "label"      // "This is EPT" over entries of an NPT
	CheckScale     Check = "scale"      // "+ 64 *" although an entry has 8 bytes
)

// Severity says what a finding means for a verdict.
type Severity string

const (
	Wrong  Severity = "wrong"  // the log contradicts itself or memory
	Gap    Severity = "gap"    // the log does not show enough to tell
	Advice Severity = "advice" // worth knowing, no fault
)

// Finding is one result of a check.
type Finding struct {
	Check    Check    `json:"check"`
	Severity Severity `json:"severity"`
	Walk     Kind     `json:"walk"`
	Level    int      `json:"level,omitempty"` // of the table, 0 if about none
	Name     string   `json:"name,omitempty"`  // the level's name
	Line     int      `json:"line,omitempty"`  // in the log
	Expected Hex      `json:"expected"`
	Got      Hex      `json:"got"`
	Text     string   `json:"text"`
}

// String returns the finding as one sentence: where, what, expected and got.
func (f Finding) String() string {
	expected, got := f.values()
	if expected == got {
		return fmt.Sprintf("%s: %s", f.where(), f.Text)
	}
	return fmt.Sprintf("%s: %s: expected %s, got %s", f.where(), f.Text, expected, got)
}

// where is the line, the tables and the level.
func (f Finding) where() string {
	where := string(f.Walk)
	if f.Name != "" {
		where += " " + f.Name
	}
	if f.Line > 0 {
		where = fmt.Sprintf("line %d: %s", f.Line, where)
	}
	return where
}

// values writes what was expected and what came as the logs do: indices and numbers in
// decimal.
func (f Finding) values() (expected, got string) {
	switch f.Check {
	case CheckIndex, CheckValue, CheckScale:
		return strconv.FormatUint(uint64(f.Expected), 10), strconv.FormatUint(uint64(f.Got), 10)
	}
	return f.Expected.String(), f.Got.String()
}

// Findings are in the order of the walk: guest before host, top level first.
type Findings []Finding

// With returns the findings of a severity.
func (fs Findings) With(s Severity) Findings {
	var out Findings
	for _, f := range fs {
		if f.Severity == s {
			out = append(out, f)
		}
	}
	return out
}

// First returns the first finding that is Wrong, which names the first wrong level.
func (fs Findings) First() (Finding, bool) {
	if wrong := fs.With(Wrong); len(wrong) > 0 {
		return wrong[0], true
	}
	return Finding{}, false
}

// Err returns nil if nothing is Wrong, or an error with one line for each that is.
func (fs Findings) Err() error {
	var errs []error
	for _, f := range fs.With(Wrong) {
		errs = append(errs, errors.New(f.String()))
	}
	return errors.Join(errs...)
}

// report collects the findings about one walk.
type report struct {
	walk     Walk
	findings Findings
}

func (r *report) add(f Finding) {
	f.Walk = r.walk.Kind
	if f.Level > 0 {
		f.Name = r.walk.Name(f.Level)
	}
	if f.Severity == "" {
		f.Severity = Wrong
	}
	r.findings = append(r.findings, f)
}

// equal adds a finding unless got is as expected, and says whether it was.
func (r *report) equal(c Check, level int, expected Hex, got Field, text string) bool {
	if got.Seen && got.Value != expected {
		r.add(Finding{Check: c, Level: level, Line: got.Line, Expected: expected, Got: got.Value, Text: text})
	}
	return !got.Seen || got.Value == expected
}
