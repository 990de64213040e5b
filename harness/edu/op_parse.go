package edu

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"golang.org/x/text/language"
	"golang.org/x/text/message"
)

// OpSchema is the JSON schema of edu-op.json.
//
//go:embed edu-op.schema.json
var OpSchema []byte

// maxOp is the longest edu-op.json, in bytes.
const maxOp = 64 << 10

// OpError is what is wrong with an edu-op.json.
type OpError struct {
	Line, Column int
	Path         string // "operands/0/register", empty for the whole
	Why          string
}

func (e *OpError) Error() string {
	s := fmt.Sprintf("line %d, column %d: ", e.Line, e.Column)
	if e.Path != "" {
		s += e.Path + ": "
	}
	return s + e.Why
}

// ParseOp reads an edu-op.json. Nothing in it is passed over: what the schema
// does not know, a name that stands twice and an expression that cannot be
// worked out for all operands that may be drawn are errors (*OpError, joined).
func ParseOp(text []byte) (*Op, error) {
	places, err := locate(text)
	if err != nil {
		return nil, err
	}
	if err := places.valid(text); err != nil {
		return nil, err
	}
	var op Op
	if err := json.Unmarshal(text, &op); err != nil {
		return nil, places.fault("", "%v", err)
	}
	op.defaults()
	if err := op.check(places); err != nil {
		return nil, err
	}
	return &op, op.compile(places)
}

// places are where the values of a JSON text begin, by their path.
type places struct {
	text []byte
	at   map[string]int64
}

// locate reads the text through and refuses what encoding/json lets pass: a
// name twice in an object, text after the end.
func locate(text []byte) (places, error) {
	p := places{text, map[string]int64{}}
	if len(text) > maxOp {
		return p, p.errorAt(0, "", "%d bytes are too long, the limit is %d", len(text), maxOp)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	err := p.value(d, "", 0)
	if err == nil {
		if _, end := d.Token(); end != io.EOF {
			return p, p.errorAt(d.InputOffset(), "", "there is more after the end of the object")
		}
		return p, nil
	}
	var own *OpError
	var syntax *json.SyntaxError
	switch {
	case errors.As(err, &own):
		return p, own
	case errors.As(err, &syntax):
		return p, p.errorAt(syntax.Offset, "", "%v", err)
	}
	return p, p.errorAt(int64(len(text)), "", "it ends too early")
}

// maxDepth of nested values; the schema knows four.
const maxDepth = 16

func (p places) value(d *json.Decoder, path string, depth int) error {
	start := p.next(d)
	t, err := d.Token()
	if err != nil {
		return err
	}
	p.at[path] = start
	if depth > maxDepth {
		return p.fault(path, "nested too deep")
	}
	if t == json.Delim('{') {
		return p.object(d, path, depth)
	}
	if t != json.Delim('[') {
		return nil
	}
	for i := 0; d.More(); i++ {
		if err := p.value(d, join(path, strconv.Itoa(i)), depth+1); err != nil {
			return err
		}
	}
	_, err = d.Token()
	return err
}

// next is where the next token begins.
func (p places) next(d *json.Decoder) int64 {
	rest := p.text[d.InputOffset():]
	return int64(len(p.text) - len(bytes.TrimLeft(rest, " \t\r\n:,")))
}

func (p places) object(d *json.Decoder, path string, depth int) error {
	for d.More() {
		start := p.next(d)
		key, err := d.Token()
		if err != nil {
			return err
		}
		member := join(path, fmt.Sprint(key))
		if _, twice := p.at[member]; twice {
			return p.errorAt(start, member, "it is there twice")
		}
		if err := p.value(d, member, depth+1); err != nil {
			return err
		}
	}
	_, err := d.Token()
	return err
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "/" + name
}

// fault is an error about the value at path, or about the nearest one around it
// that the text has.
func (p places) fault(path, format string, args ...any) *OpError {
	at, ok := p.at[path]
	for near := path; !ok && near != ""; {
		near = near[:max(0, strings.LastIndexByte(near, '/'))]
		at, ok = p.at[near]
	}
	return p.errorAt(at, path, format, args...)
}

func (p places) errorAt(offset int64, path, format string, args ...any) *OpError {
	before := p.text[:min(max(offset, 0), int64(len(p.text)))]
	return &OpError{
		Line: 1 + bytes.Count(before, []byte("\n")), Column: len(before) - bytes.LastIndexByte(before, '\n'),
		Path: path, Why: fmt.Sprintf(format, args...),
	}
}

// opSchema is the compiled OpSchema.
var opSchema = sync.OnceValue(func() *jsonschema.Schema {
	const url = "edu-op.schema.json"
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(OpSchema))
	if err == nil {
		c := jsonschema.NewCompiler()
		if err = c.AddResource(url, doc); err == nil {
			var s *jsonschema.Schema
			if s, err = c.Compile(url); err == nil {
				return s
			}
		}
	}
	panic(fmt.Sprintf("the schema of edu-op.json: %v", err))
})

// valid holds the text against the schema.
func (p places) valid(text []byte) error {
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return p.fault("", "%v", err)
	}
	var invalid *jsonschema.ValidationError
	if err := opSchema().Validate(doc); !errors.As(err, &invalid) {
		return err
	}
	var all []error
	for _, e := range p.leaves(invalid) {
		all = append(all, e)
	}
	return errors.Join(all...)
}

// leaves are the schema's complaints that have no further cause, in the order of
// the text.
func (p places) leaves(e *jsonschema.ValidationError) (all []*OpError) {
	if len(e.Causes) == 0 {
		why := e.ErrorKind.LocalizedString(message.NewPrinter(language.English))
		return []*OpError{p.fault(strings.Join(e.InstanceLocation, "/"), "%s", why)}
	}
	for _, c := range e.Causes {
		all = append(all, p.leaves(c)...)
	}
	slices.SortStableFunc(all, func(a, b *OpError) int { return (a.Line-b.Line)*maxOp + a.Column - b.Column })
	return all
}

// defaults fills in what may be left out.
func (o *Op) defaults() {
	width := func(w *int) {
		if *w == 0 {
			*w = 4
		}
	}
	for i := range o.Operands {
		x := &o.Operands[i]
		if width(&x.Width); x.Max == nil {
			all := Number(x.ones())
			x.Max = &all
		}
	}
	if o.Trigger != nil {
		width(&o.Trigger.Width)
	}
	if o.Wait != nil {
		width(&o.Wait.Width)
	}
	if o.Result != nil {
		width(&o.Result.Width)
	}
	if t := o.Text; t != nil {
		if width(&t.Width); t.Chars == 0 {
			t.Chars = t.Width
		}
		if t.Length == 0 {
			t.Length = 64
		}
	}
	if d := o.Driver; d != nil && d.In == "" {
		if d.In = Stdout; o.PrintsOutside() {
			d.In = QEMUOutput
		}
	}
}

// check finds what the schema cannot say.
func (o *Op) check(p places) error {
	var all []error
	fault := func(bad bool, path, format string, args ...any) {
		if bad {
			all = append(all, p.fault(path, format, args...))
		}
	}
	seen := map[string]bool{}
	for i, x := range o.Operands {
		at := fmt.Sprintf("operands/%d", i)
		fault(seen[x.Name] || functions[x.Name].usage != "", at+"/name", "the name %s is taken", x.Name)
		seen[x.Name] = true
		all = append(all, x.check(p, at)...)
	}
	fault((o.Result == nil) == (o.Text == nil), "", "either result or text says what the device answers, one of the two")
	if t := o.Trigger; t != nil {
		all = append(all, t.Register.check(p, "trigger", true)...)
		fault(uint64(t.Value) > t.ones(), "trigger/value", "it does not fit %d bytes", t.Width)
	}
	if w := o.Wait; w != nil {
		all = append(all, w.Register.check(p, "wait", false)...)
		fault(uint64(w.Mask) > w.ones() || w.Mask == 0, "wait/mask", "it has no bit, or does not fit %d bytes", w.Width)
		fault(w.Value&^w.Mask != 0, "wait/value", "it has bits that mask lacks, so the wait would never end")
	}
	if o.Result != nil {
		all = append(all, o.Result.Register.check(p, "result", false)...)
	}
	if o.Text != nil {
		all = append(all, o.Text.check(p)...)
	}
	if d := o.Driver; d != nil {
		fault((d.In == QEMUOutput) != o.PrintsOutside(), "driver/in", "%s is for a text without a register, and such a text shows nowhere else", QEMUOutput)
		fault((d.In == QEMUOutput) == (d.Answer != ""), "driver", "stdout and dmesg need an answer's pattern, and %s takes none", QEMUOutput)
	}
	return errors.Join(all...)
}

func (x Operand) check(p places, at string) []error {
	all := x.Register.check(p, at, true)
	if uint64(*x.Max) > x.ones() {
		all = append(all, p.fault(at+"/max", "it does not fit %d bytes", x.Width))
	}
	if x.Min > *x.Max {
		all = append(all, p.fault(at+"/min", "it is above max"))
	}
	return all
}

// check refuses a place that an access cannot have, and writes to the registers
// of DMA: they make the device overwrite memory.
func (r Register) check(p places, at string, written bool) (all []error) {
	offset := uint64(r.Offset)
	if offset%uint64(r.Width) != 0 || offset > BARSize-uint64(r.Width) {
		all = append(all, p.fault(at+"/register", "%s is no multiple of %d below %#x, the size of the BAR", r.Offset.Hex(), r.Width, BARSize))
	}
	if written && offset+uint64(r.Width) > RegDMASrc && offset < RegDMACmd+8 {
		all = append(all, p.fault(at+"/register", "%s belongs to the DMA registers", r.Offset.Hex()))
	}
	return all
}

func (t *Text) check(p places) (all []error) {
	if t.Offset == nil {
		return nil
	}
	all = Register{*t.Offset, t.Width}.check(p, "text", false)
	if t.Chars > t.Width {
		all = append(all, p.fault("text/chars", "a value of %d bytes has no %d characters", t.Width, t.Chars))
	}
	if t.Step%uint64(t.Width) != 0 {
		all = append(all, p.fault("text/step", "it is no multiple of the width, %d", t.Width))
	}
	if end := uint64(*t.Offset) + t.Step*uint64(t.Length); end > BARSize {
		all = append(all, p.fault("text/length", "the last character would lie behind the BAR"))
	}
	return all
}

// compile reads the expressions, and tries them out where they are likeliest to
// fail.
func (o *Op) compile(p places) error {
	var names []string
	for _, x := range o.Operands {
		names = append(names, x.Name)
	}
	var all []error
	note := func(path string, err error) {
		if err != nil {
			all = append(all, p.fault(path, "%v", err))
		}
	}
	var err error
	if o.Result != nil {
		o.Result.expr, err = ParseExpr(o.Result.Expression, names)
		note("result/expression", err)
	} else {
		o.Text.tmpl, err = parseTemplate(o.Text.Template, names)
		note("text/template", err)
	}
	if o.Driver != nil {
		o.Driver.compile(names, note)
	}
	if len(all) == 0 {
		note(o.answerPath(), o.tryEdges())
	}
	return errors.Join(all...)
}

func (d *DriverPath) compile(names []string, note func(string, error)) {
	for i, a := range d.Args {
		t, err := parseTemplate(a, names)
		note(fmt.Sprintf("driver/args/%d", i), err)
		d.args = append(d.args, t)
	}
	var err error
	d.stdin, err = parseTemplate(d.Stdin, names)
	note("driver/stdin", err)
	if d.In == QEMUOutput {
		return
	}
	d.answer, err = regexp.Compile("(?m)" + d.Answer)
	if err == nil && d.answer.NumSubexp() < 1 {
		err = errors.New("it has no group: put the answer in parentheses")
	}
	note("driver/answer", err)
}

// answerPath is where the answer is declared.
func (o *Op) answerPath() string {
	if o.Result != nil {
		return "result/expression"
	}
	return "text/template"
}

// tryEdges works the answer out for the least and the greatest operands.
func (o *Op) tryEdges() error {
	for _, v := range o.edges() {
		want, err := o.Expect(v)
		if err != nil {
			return err
		}
		if o.Text != nil && o.Text.Offset != nil && len(want) > o.Text.Length {
			return fmt.Errorf("for %s the text has %d characters, and length is %d", o.Describe(v), len(want), o.Text.Length)
		}
		if o.Driver != nil {
			if _, _, err := o.Command(v); err != nil {
				return err
			}
		}
	}
	return nil
}
