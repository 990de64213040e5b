package edu

import (
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"strconv"
)

// Op is a function that a student added to the device, as his edu-op.json
// declares it (docs/edu-op.md): how to ask the device, and what it has to answer.
type Op struct {
	Name     string    `json:"name"`
	Operands []Operand `json:"operands"`
	Trigger  *Trigger  `json:"trigger"`
	Wait     *Wait     `json:"wait"`
	Result   *Result   `json:"result"`
	Text     *Text     `json:"text"`
	Test     struct {
		Args []string `json:"args"`
	} `json:"test"`
	Driver *DriverPath `json:"driver"`
}

// Register is a place in BAR 0 and how wide an access to it is, in bytes.
type Register struct {
	Offset Number `json:"register"`
	Width  int    `json:"width"`
}

// Operand is a register to write a drawn number to.
type Operand struct {
	Name string `json:"name"`
	Register
	Min Number  `json:"min"`
	Max *Number `json:"max"` // all that the register holds, after ParseOp
}

// Trigger is a write after the operands.
type Trigger struct {
	Register
	Value Number `json:"value"`
}

// Wait is a register that is read until value & Mask == Value.
type Wait struct {
	Register
	Mask  Number `json:"mask"`
	Value Number `json:"value"`
}

// Result is a register to read the answer from.
type Result struct {
	Register
	Expression string `json:"expression"`

	expr *Expr
}

// Text is what the device prints: characters read from a register, or, where
// Offset is nil, a line on QEMU's own output.
type Text struct {
	Template string  `json:"template"`
	Offset   *Number `json:"register"`
	Width    int     `json:"width"`
	Chars    int     `json:"chars"`  // in each value that is read
	Step     uint64  `json:"step"`   // from one read to the next
	Length   int     `json:"length"` // characters

	tmpl *template
}

// DriverPath is how the test program takes operands and where it shows the
// answer.
type DriverPath struct {
	Args   []string `json:"args"` // templates
	Stdin  string   `json:"stdin"`
	Answer string   `json:"answer"` // its first group is the answer
	In     string   `json:"in"`     // Stdout, Dmesg or QEMUOutput
	Base   int      `json:"base"`   // of the answer; 0: by its prefix

	args   []*template
	stdin  *template
	answer *regexp.Regexp
}

// Where a driver path shows the answer.
const (
	Stdout     = "stdout" // of the test program
	Dmesg      = "dmesg"  // the guest's kernel log
	QEMUOutput = "qemu"   // QEMU's own output: a text without a register
)

// Number is a number in JSON: 40 or "0x28".
type Number uint64

// UnmarshalJSON reads a JSON number or a string of hexadecimal digits.
func (n *Number) UnmarshalJSON(text []byte) error {
	s := string(text)
	if unquoted, err := strconv.Unquote(s); err == nil {
		s = unquoted
	}
	v, err := strconv.ParseUint(s, 0, 64)
	if err != nil {
		return fmt.Errorf("%s is neither a whole number nor \"0x...\"", s)
	}
	*n = Number(v)
	return nil
}

// Hex is the number as offsets are written.
func (n Number) Hex() string { return fmt.Sprintf("0x%02x", uint64(n)) }

var _ json.Unmarshaler = (*Number)(nil)

// ones is the largest value of a register.
func (r Register) ones() uint64 { return ^uint64(0) >> (64 - 8*r.Width) }

// Values are operands as they are drawn, in the order of Op.Operands.
type Values []uint64

func (o *Op) named(v Values) map[string]*big.Int {
	named := make(map[string]*big.Int, len(v))
	for i, x := range v {
		named[o.Operands[i].Name] = new(big.Int).SetUint64(x)
	}
	return named
}

// Describe is the operands as messages show them: "a = 48, b = 18".
func (o *Op) Describe(v Values) string {
	if len(v) == 0 {
		return "no operands"
	}
	s := ""
	for i, x := range v {
		if i > 0 {
			s += ", "
		}
		s += fmt.Sprintf("%s = %d", o.Operands[i].Name, x)
		if x > 9999 {
			s += fmt.Sprintf(" (0x%x)", x)
		}
	}
	return s
}

// Value is what the device has to answer: the expression modulo 2^(8 x width).
func (o *Op) Value(v Values) (uint64, error) {
	x, err := o.Result.expr.Eval(o.named(v))
	if err != nil {
		return 0, err
	}
	return lowBits(x, uint(8*o.Result.Width)).Uint64(), nil
}

// Prints is the text that the device has to print.
func (o *Op) Prints(v Values) (string, error) { return o.Text.tmpl.fill(o.named(v)) }

// Expect is the answer in words: the number, or the text.
func (o *Op) Expect(v Values) (string, error) {
	if o.Text != nil {
		return o.Prints(v)
	}
	x, err := o.Value(v)
	return strconv.FormatUint(x, 10), err
}

// Command is the arguments and the standard input of the test program for
// operands.
func (o *Op) Command(v Values) (args []string, stdin string, err error) {
	named := o.named(v)
	for _, t := range o.Driver.args {
		a, err := t.fill(named)
		if err != nil {
			return nil, "", err
		}
		args = append(args, a)
	}
	stdin, err = o.Driver.stdin.fill(named)
	return args, stdin, err
}

// Answer finds the answer in what the test program or its driver printed, in
// the words of Expect. Where several lines match, the last counts.
func (o *Op) Answer(text string) (string, error) {
	all := o.Driver.answer.FindAllStringSubmatch(text, -1)
	if len(all) == 0 {
		return "", fmt.Errorf("nothing matches the answer's pattern %q", o.Driver.Answer)
	}
	got := all[len(all)-1][1]
	if o.Text != nil {
		return got, nil
	}
	v, ok := new(big.Int).SetString(got, o.Driver.Base)
	if !ok || len(got) > 100 {
		return "", fmt.Errorf("the answer %q is no number", clip(got))
	}
	return lowBits(v, uint(8*o.Result.Width)).String(), nil
}
