package edu

import (
	"math/big"
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// reference is the edu-op.json of the reference submission.
func reference(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile("../../fixtures/submission/edu-op.json")
	require.NoError(t, err)
	return string(b)
}

// documented are the examples of the page that explains the file.
func documented(t testing.TB) []string {
	t.Helper()
	page, err := os.ReadFile("../../docs/edu-op.md")
	require.NoError(t, err)
	var all []string
	for _, m := range regexp.MustCompile("(?s)```json\n(.*?)```").FindAllSubmatch(page, -1) {
		all = append(all, string(m[1]))
	}
	require.NotEmpty(t, all)
	return all
}

func mustOp(t testing.TB, text string) *Op {
	t.Helper()
	op, err := ParseOp([]byte(text))
	require.NoError(t, err)
	return op
}

func TestReferenceOp(t *testing.T) {
	op := mustOp(t, reference(t))
	v := Values{48, 18}
	want, err := op.Expect(v)
	require.NoError(t, err)
	assert.Equal(t, "6", want)
	assert.Equal(t, "a = 48, b = 18", op.Describe(v))
	assert.Equal(t, Script{
		{Do: Write, Offset: RegFnA, Width: 4, Value: 48}, {Do: Write, Offset: RegFnB, Width: 4, Value: 18}, {Do: Read, Offset: RegFnResult, Width: 4},
	}, op.Ask(v, 0))
	args, stdin, err := op.Command(v)
	require.NoError(t, err)
	assert.Equal(t, []string{"fn", "48", "18"}, args)
	assert.Empty(t, stdin)
	got, err := op.Answer(golden(t, "reference.answers.txt"))
	require.NoError(t, err)
	assert.Equal(t, "6", got, "as the test program printed it")
	_, err = op.Answer("fn_a=0x30\n")
	assert.ErrorContains(t, err, "nothing matches")
	_, err = op.Answer("fn=six\n")
	assert.ErrorContains(t, err, "is no number")
}

func TestDocumentedOps(t *testing.T) {
	examples := documented(t)
	assert.JSONEq(t, reference(t), examples[0], "the page's first example is the reference's")
	for _, text := range examples {
		op := mustOp(t, text)
		for _, v := range op.Draw(rand.New(rand.NewPCG(1, 2))) {
			want, err := op.Expect(v)
			require.NoError(t, err)
			assert.NotEmpty(t, want)
			assert.NotEmpty(t, op.Ask(v, 0))
		}
	}
}

// device is a BAR whose registers are 4-byte words by offset.
type device map[uint64]uint64

func (d device) Read(offset uint64, _ int) uint64 {
	if v, ok := d[offset]; ok {
		return v
	}
	return Absent
}
func (d device) Write(offset uint64, _ int, value uint64) { d[offset] = value }

func TestTextOfARegister(t *testing.T) {
	op := mustOp(t, `{"name": "shout", "operands": [{"name": "c", "register": 40, "min": 97, "max": 122}],
		"text": {"template": "{{{c-32:c}}} {c:02x}", "register": "0x100", "step": 4, "length": 12}}`)
	want, err := op.Expect(Values{'k'})
	require.NoError(t, err)
	assert.Equal(t, "{K} 6b", want)
	dev := device{0x100: 0x207d4b7b, 0x104: 0x6236, 0x108: 0}
	assert.Equal(t, want, op.Answered(op.Ask(Values{'k'}, 0).Run(dev, nil)))

	stream := mustOp(t, `{"name": "hi", "text": {"template": "hi", "register": "0x40", "chars": 1, "length": 8}}`)
	reads := stream.Ask(nil, 0)
	assert.Len(t, reads, 8)
	assert.Equal(t, "hi", stream.Answered(Heard{Reads: []uint64{'h', 'i', 0, 'x'}}))
	assert.Equal(t, "no operands", stream.Describe(nil))
}

func TestAskTriggersAndWaits(t *testing.T) {
	op := mustOp(t, `{"name": "sum", "operands": [{"name": "n", "register": "0x28", "width": 8}], "trigger": {"register": 48, "value": 1},
		"wait": {"register": 52, "mask": 1}, "result": {"register": 56, "expression": "n*(n+1)/2"}}`)
	script := op.Ask(Values{7}, 3)
	dev := device{52: 1, 56: 28}
	pauses := 0
	h := script.Run(dev, func() { pauses++ })
	assert.True(t, h.Late)
	assert.Equal(t, 2, pauses, "between three looks")
	assert.Equal(t, "nothing", op.Answered(h))
	assert.Equal(t, uint64(1), dev[48])
	h = script.Run(dev, func() { dev[52] = 0x10 })
	assert.False(t, h.Late)
	assert.Equal(t, "28", op.Answered(h))
	want, err := op.Value(Values{1 << 17})
	require.NoError(t, err)
	assert.Equal(t, uint64(1<<16), want, "modulo 2^32, worked out without loss")
}

func TestParseOpErrors(t *testing.T) {
	ok := `"name": "x", "operands": [{"name": "a", "register": 40}], "result": {"register": 48, "expression": "a+1"}`
	with := func(old, new string) string { return "{" + strings.Replace(ok, old, new, 1) + "}" }
	for name, c := range map[string]struct{ text, err string }{
		"empty":               {"", "line 1, column 1: it ends too early"},
		"cut":                 {`{"name": `, "it ends too early"},
		"no JSON":             {"{\n  name: 1}", "line 2, column 3: invalid character 'n'"},
		"more":                {"{" + ok + "} {}", "there is more after the end"},
		"twice":               {with(`"name": "x"`, `"name": "x", "name": "y"`), "column 15: name: it is there twice"},
		"no object":           {"[]", "got array, want object"},
		"unknown":             {"{\n" + ok + `, "colour": 1}`, "additional properties 'colour' not allowed"},
		"case of a name":      {with(`"name": "x"`, `"Name": "x"`), "missing property 'name'"},
		"offset in words":     {with("40", `"forty"`), "operands/0/register: 'forty' does not match pattern"},
		"negative":            {with("40", "-4"), "operands/0/register: minimum: got -4, want 0"},
		"fraction":            {with("40", "40.5"), "got number, want integer"},
		"exponent":            {with("40", "4e1"), "4e1 is neither a whole number"},
		"odd":                 {with("40", "41"), "operands/0/register: 0x29 is no multiple of 4"},
		"outside":             {with("40", `"0x100000"`), "the size of the BAR"},
		"DMA":                 {with("40", `"0x98"`), "0x98 belongs to the DMA registers"},
		"width":               {with("40", `40, "width": 2`), "operands/0/width"},
		"empty range":         {with("40", `40, "min": 5, "max": 4`), "operands/0/min: it is above max"},
		"too wide":            {with("40", `40, "max": "0x100000000"`), "operands/0/max: it does not fit 4 bytes"},
		"same name":           {with(`{"name": "a", "register": 40}`, `{"name": "a", "register": 40}, {"name": "a", "register": 44}`), "operands/1/name: the name a is taken"},
		"name of a function":  {with(`"a"`, `"gcd"`), "the name gcd is taken"},
		"no answer":           {`{"name": "x"}`, "either result or text"},
		"two answers":         {with(`"result"`, `"text": {"template": "x"}, "result"`), "either result or text"},
		"no expression":       {with("a+1", "a+"), `result/expression: expression "a+", column 3: expected operand`},
		"other operand":       {with("a+1", "a+b"), `column 3: there is no operand b; declared are a`},
		"divides by zero":     {with("a+1", "100/a"), "column 4: division by zero: give the operand a min of 1, or say what the device answers then with cond(b == 0, ..., ...) (a = 0)"},
		"too long a number":   {with("a+1", "pow(a, a)"), "longer than 16384 bits"},
		"endless wait":        {with(`"result"`, `"wait": {"register": 44, "mask": 1, "value": 2}, "result"`), "the wait would never end"},
		"nothing to wait for": {with(`"result"`, `"wait": {"register": 44, "mask": 0}, "result"`), "wait/mask: it has no bit"},
		"trigger":             {with(`"result"`, `"trigger": {"register": 44, "value": "0x100000000"}, "result"`), "trigger/value"},
		"template":            {`{"name": "x", "text": {"template": "a {b"}}`, "text/template: template \"a {b\": a { without its }"},
		"verb":                {`{"name": "x", "text": {"template": "{1:99999d}"}}`, "the form \"99999d\" is none of"},
		"chars":               {`{"name": "x", "text": {"template": "x", "register": 40, "chars": 8}}`, "a value of 4 bytes has no 8 characters"},
		"step":                {`{"name": "x", "text": {"template": "x", "register": 40, "step": 2}}`, "no multiple of the width"},
		"text too long":       {`{"name": "x", "text": {"template": "abcdef", "register": 40, "length": 5}}`, "the text has 6 characters, and length is 5"},
		"past the BAR":        {`{"name": "x", "text": {"template": "x", "register": "0xffffc", "step": 4}}`, "behind the BAR"},
		"no group":            {with(`"result"`, `"driver": {"answer": "x"}, "result"`), "put the answer in parentheses"},
		"no pattern":          {with(`"result"`, `"driver": {}, "result"`), "driver: stdout and dmesg need"},
		"on QEMU's output":    {with(`"result"`, `"driver": {"in": "qemu"}, "result"`), "driver/in: qemu is for a text without a register"},
		"no regexp":           {with(`"result"`, `"driver": {"answer": "("}, "result"`), "driver/answer: error parsing regexp"},
		"driver's operand":    {with(`"result"`, `"driver": {"args": ["{z}"], "answer": "(x)"}, "result"`), "driver/args/0: template"},
		"long":                {strings.Repeat(" ", maxOp+1), "the limit is 65536"},
		"deep":                {strings.Repeat("[", 1000), "nested too deep"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := ParseOp([]byte(c.text))
			require.ErrorContains(t, err, c.err)
			assert.Regexp(t, `^line \d+, column \d+: `, err.Error())
		})
	}
	mustOp(t, "{"+ok+"}")
}

func TestDraw(t *testing.T) {
	op := mustOp(t, reference(t))
	all := op.Draw(rand.New(rand.NewPCG(3, 4)))
	assert.Equal(t, Values{0, 0}, all[0])
	assert.Equal(t, Values{1, 1}, all[1])
	assert.Equal(t, Values{0xffffffff, 0xffffffff}, all[len(all)-1])
	assert.True(t, slices.IsSortedFunc(all, bySize), "the smallest first")
	small := 0
	for _, v := range all {
		if slices.Max(v) < 1<<8 {
			small++
		}
	}
	assert.GreaterOrEqual(t, small, 4)
	assert.Equal(t, all, op.Draw(rand.New(rand.NewPCG(3, 4))), "one seed, one draw")

	narrow := mustOp(t, `{"name": "x", "operands": [{"name": "a", "register": 40, "min": 5, "max": 6}], "result": {"register": 48, "expression": "a"}}`)
	for _, v := range narrow.Draw(rand.New(rand.NewPCG(5, 6))) {
		assert.Contains(t, []uint64{5, 6}, v[0])
	}
	none := mustOp(t, `{"name": "x", "result": {"register": 48, "expression": "2026"}}`)
	assert.Len(t, none.Draw(rand.New(rand.NewPCG(5, 6))), 1)
}

func TestExpressions(t *testing.T) {
	operands := map[string]*big.Int{"a": big.NewInt(48), "b": big.NewInt(18), "z": new(big.Int), "m": big.NewInt(-7)}
	for text, want := range map[string]string{
		"a + b*2": "84", "(a + b)*2": "132", "a / b": "2", "a % b": "12", "m / 2": "-3", "m % 2": "-1",
		"a & b": "16", "a | b": "50", "a ^ b": "34", "a &^ b": "32", "a << 3": "384", "a >> 4": "3", "a >> 99999": "0", "m >> 99999": "-1", "z << 99999": "0",
		"-a": "-48", "^a": "-49", "!a": "0", "!z": "1", "+a": "48", "0x1F + 0b11 + 'A'": "99",
		"a == 48": "1", "a != 48": "0", "a < b": "0", "a >= b": "1", "a >= b || 1/z": "1", "a > b || 1/z": "1", "z && 1/z": "0", "a > b && b < a": "1",
		"gcd(a, b)": "6", "gcd(a, 0)": "48", "gcd(0, 0)": "0", "gcd(m, 14)": "7", "lcm(a, b)": "144", "lcm(a, z)": "0",
		"min(a, b, 3)": "3", "max(a, b)": "48", "abs(m)": "7", "sqrt(50)": "7", "popcount(255)": "8",
		"pow(3, 4)": "81", "pow(2, 64)": "18446744073709551616", "pow(0, 0)": "1", "pow(1, 1 << 200)": "1", "pow(-1, (1 << 200) + 1)": "-1", "pow(0, 5)": "0",
		"powmod(3, 1000000007, 1 << 32)": "577888395", "factorial(20)": "2432902008176640000", "fib(10)": "55",
		"reverse(0x1, 8)": "128", "reverse(0x80000001, 32)": "2147483649", "reverse(a, 0)": "0", "prime(65537)": "1", "prime(0 - 7)": "0", "prime(1)": "0",
		"cond(z, 1/z, 5)": "5", "uint8(300)": "44", "int8(200)": "-56", "uint32(-1)": "4294967295", "int64(1 << 63)": "-9223372036854775808",
	} {
		x, err := ParseExpr(text, []string{"a", "b", "z", "m"})
		if !assert.NoError(t, err, text) {
			continue
		}
		got, err := x.Eval(operands)
		if assert.NoError(t, err, text) {
			assert.Equal(t, want, got.String(), text)
		}
	}
	assert.Equal(t, "48", operands["a"].String(), "operands stay what they are")
}

// What bounds the work: none of these may take long, nor end in a number.
func TestExpressionsAreBounded(t *testing.T) {
	huge := map[string]*big.Int{"a": new(big.Int).SetUint64(1<<64 - 1)}
	start := time.Now()
	for text, why := range map[string]string{
		"pow(2, pow(10, 9))": "longer than", "pow(a, a)": "longer than", "1 << a": "longer than", "1 << 1 << 1 << a": "longer than",
		"pow(2, 16000) * pow(2, 16000)": "longer than", "factorial(a)": "2000 is the most", "fib(a)": "2000 is the most", "fib(-1)": "must not be negative",
		"powmod(a, a, pow(2, 100))": "modulus above 2^64", "prime(pow(2, 100))": "from 2^64 on", "reverse(a, 65)": "at most 64 bits", "a << -1": "must not be negative",
		"a / 0": "division by zero", "a % 0": "division by zero", "powmod(1, 1, 0)": "division by zero", "sqrt(-1)": "must not be negative", "popcount(-1)": "must not be negative",
		"pow(2, -1)": "must not be negative",
	} {
		x, err := ParseExpr(text, []string{"a"})
		require.NoError(t, err, text)
		_, err = x.Eval(huge)
		assert.ErrorContains(t, err, why, text)
	}
	assert.Less(t, time.Since(start), 5*time.Second)
}

func TestParseExprErrors(t *testing.T) {
	for text, why := range map[string]string{
		"":                        "column 1: expected operand",
		"a b":                     "column 3",
		"a + \n b +":              "expected operand",
		"c":                       "column 1: there is no operand c",
		"a.b":                     "column 1: this is no integer expression",
		"a[0]":                    "this is no integer expression",
		"func() {}":               "this is no integer expression",
		`"text"`:                  "is no whole number",
		"1.5":                     "1.5 is no whole number",
		"'ab'":                    "column 1",
		"sin(a)":                  "there is no function sin; there are abs, cond",
		"gcd(a)":                  "gcd(a, b), with gcd(x, 0) = x",
		"gcd(a, a, a)":            "gcd(a, b)",
		"min()":                   "min(a, b, ...)",
		"max(a...)":               "max(a, b, ...)",
		"a(1)":                    "there is no function a",
		"(a)(1)":                  "only functions with a name",
		"&a":                      "& before a number means nothing here",
		"<-a":                     "<- before a number",
		"*a":                      "this is no integer expression",
		strings.Repeat("a+", 999): "the limit is 1000",
		strings.Repeat("(", 900):  "expected operand",
	} {
		_, err := ParseExpr(text, []string{"a"})
		assert.ErrorContains(t, err, why, clip(text))
	}
}

func TestSurvey(t *testing.T) {
	survey := Survey(5)
	for _, s := range survey[1:] {
		assert.False(t, s.Offset >= RegDMASrc && s.Offset < 0xa0, "a read there could not harm, but tells nothing")
	}
	stock := survey.Run(device{RegID: Identification, RegLive: 0}, nil)
	mine := survey.Run(device{RegID: Identification, 0x28: 7, 0xffc: 0}, nil)
	assert.Empty(t, Differences(survey, stock, stock))
	diffs := Differences(survey, stock, mine)
	require.Len(t, diffs, 2)
	assert.Equal(t, "0x28 answers 0x7 where the stock device has no register", diffs[0].String())
	assert.Equal(t, uint64(0xffc), diffs[1].Offset)
	assert.Empty(t, Differences(survey, stock, Heard{}), "no answer, no difference")
	assert.Equal(t, "0x00 answers 0x1 where the stock device answers 0x2", Difference{0, 2, 1}.String())
}

func TestReadScripts(t *testing.T) {
	for text, why := range map[string]string{
		`{}`: "cannot unmarshal", `[[{"do": "jump", "width": 4}]]`: `script 1, step 1: "jump" is none of`, `[[{"do": "read", "width": 2}]]`: "an access of 2 bytes",
		`[[], [{"do": "read", "width": 8, "offset": 4}]]`:           "script 2, step 1: offset 0x4 is no multiple of 8",
		`[[{"do": "read", "width": 4, "offset": 1048576}]]`:         "in the BAR",
		`[[{"do": "read", "width": 8, "offset": 1048572}]]`:         "in the BAR",
		`[[{"do": "read", "width": 4, "offset": 0, "count": 100}]]`: "unknown field",
	} {
		_, err := ReadScripts(strings.NewReader(text))
		assert.ErrorContains(t, err, why, text)
	}
	h, err := ParseHeard("{\"reads\":[1,2]}\n{\"reads\":[],\"late\":true}\n")
	require.NoError(t, err)
	assert.Equal(t, []Heard{{Reads: []uint64{1, 2}}, {Reads: []uint64{}, Late: true}}, h)
	h, err = ParseHeard("{\"reads\":[1]}\n{\"rea")
	assert.ErrorContains(t, err, "line 2 of virtlab bar")
	assert.Len(t, h, 1, "what came before counts")
}

func FuzzParseOp(f *testing.F) {
	f.Add(reference(f))
	for _, text := range documented(f) {
		f.Add(text)
	}
	f.Add(`{"name": "x", "text": {"template": "{{1}} {1:x}", "register": 40, "chars": 1}}`)
	f.Fuzz(func(t *testing.T, text string) {
		op, err := ParseOp([]byte(text))
		if err != nil {
			assert.Regexp(t, `^line \d+, column \d+: `, err.Error())
			return
		}
		for _, v := range op.Draw(rand.New(rand.NewPCG(1, 2))) {
			if _, err := op.Expect(v); err == nil {
				for _, s := range op.Ask(v, 1) {
					assert.NoError(t, s.check())
				}
			}
			_ = op.Answered(op.Ask(v, 1).Run(device{}, func() {}))
			_ = op.Describe(v)
		}
		if op.Driver != nil && op.Driver.Answer != "" {
			_, _ = op.Answer("fn=0x12\n")
		}
	})
}

func FuzzExpr(f *testing.F) {
	for _, text := range []string{"gcd(a, b)", "pow(2, pow(10, 9))", "cond(a > b, a<<b, ^a)", "uint8(a*b) + 'x'", "powmod(a,b,7)", "a/(b-b)", "factorial(a%2000)"} {
		f.Add(text, uint64(48), uint64(18))
	}
	f.Fuzz(func(t *testing.T, text string, a, b uint64) {
		x, err := ParseExpr(text, []string{"a", "b"})
		if err != nil {
			return
		}
		start := time.Now()
		v, err := x.Eval(map[string]*big.Int{"a": new(big.Int).SetUint64(a), "b": new(big.Int).SetUint64(b)})
		assert.Less(t, time.Since(start), 10*time.Second)
		if err == nil {
			assert.LessOrEqual(t, v.BitLen(), 4*maxExpr+maxBits)
		}
	})
}
