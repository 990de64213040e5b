package grade

import (
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness"
	"virtlab/harness/edu"
	"virtlab/harness/result"
)

const squareOp = `{"name": "square", "operands": [{"name": "x", "register": 40, "max": 100}],
	"result": {"register": 44, "expression": "x*x"}, "driver": {"args": ["{x}"], "answer": "is (\\d+)"}}`

// squares is work in which the device and the driver answer the squares of 1, 5
// and 100 as they should, and the stock device nothing.
func squares(t *testing.T, op string) *ioWork {
	t.Helper()
	w := &ioWork{his: &ioSide{}, stock: &ioSide{stock: true}, asks: []edu.Values{{1}, {5}, {100}}}
	var err error
	w.op, err = edu.ParseOp([]byte(op))
	require.NoError(t, err)
	for _, v := range w.asks {
		square := v[0] * v[0]
		w.his.heard = append(w.his.heard, edu.Heard{Reads: []uint64{square}})
		w.stock.heard = append(w.stock.heard, edu.Heard{Reads: []uint64{edu.Absent}})
		got, err := w.op.Expect(v)
		require.NoError(t, err)
		w.his.paths = append(w.his.paths, pathAnswer{operands: v, got: got})
		w.stock.paths = append(w.stock.paths, pathAnswer{operands: v, got: "4294967295"})
	}
	return w
}

func TestCheckFunction(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*ioWork)
		says   string // "" where it passes
	}{
		"right":             {func(*ioWork) {}, ""},
		"wrong for large":   {func(w *ioWork) { w.his.heard[2].Reads[0] = 16; w.his.heard[1].Reads[0] = 9 }, "past the driver square of x = 5: expected 25, got 9 (2 of 3 operands are wrong, these are the smallest)"},
		"no register":       {func(w *ioWork) { w.his.heard[0].Reads[0] = edu.Absent }, "got 4294967295; that is all ones, as where there is no register: is there one at 0x2c?"},
		"silent":            {func(w *ioWork) { w.his.heard, w.his.barred = w.his.heard[:1], errors.New("gone") }, "the device did not answer to x = 5: gone"},
		"stock":             {func(w *ioWork) { w.stock.heard = w.his.heard }, "QEMU's own device gives the same answers"},
		"wrong by driver":   {func(w *ioWork) { w.his.paths[1].got = "24" }, "the device is right, but through the driver square of x = 5: expected 25, got 24"},
		"no answer":         {func(w *ioWork) { w.his.paths[0].err = errors.New("nothing matches") }, "through the driver square of x = 1 cannot be seen: nothing matches"},
		"faked":             {func(w *ioWork) { w.stock.paths = w.his.paths }, "which has no such function (x = 100: 10000; the device's side of the bus shows no access to its registers)"},
		"faked once":        {func(w *ioWork) { w.stock.paths[0].got = "1" }, ""},
		"does not load":     {func(w *ioWork) { w.his.loaded = errors.New("no"); w.his.paths = nil }, ""},
		"no driver":         {func(w *ioWork) { w.driver.err = notGraded("none"); w.his.paths = nil }, ""},
		"his QEMU is gone":  {func(w *ioWork) { w.his.boot = result.Errorf(result.VMM, "qemu ended") }, "qemu ended"},
		"device not handed": {func(w *ioWork) { w.device.err = notGraded("the submission has none") }, "the submission has none"},
		"device not built":  {func(w *ioWork) { w.device = product{file: "edu.c", err: result.Errorf(result.Submission, "line 7")} }, "edu.c does not build"},
	} {
		t.Run(name, func(t *testing.T) {
			w := squares(t, squareOp)
			c.change(w)
			v := &result.Verdict{Points: 6, Max: 6}
			err := w.checkFunction(nil, v)
			if c.says == "" {
				require.NoError(t, err)
				assert.Contains(t, v.Message, "square: 3 drawn operands are right past the driver")
				return
			}
			require.ErrorContains(t, err, c.says)
			assert.NotEqual(t, result.Broken, outcomeOf(err), "the student's doing, not ours")
		})
	}
}

func TestOurOwnGuestIsOurs(t *testing.T) {
	w := squares(t, squareOp)
	w.stock.boot = errors.New("no space left")
	assert.Equal(t, result.Broken, outcomeOf(w.checkFunction(nil, &result.Verdict{})))
	w.his.boot = errors.New("no space left")
	assert.Equal(t, result.Broken, outcomeOf(w.blame(w.his.boot)), "neither boots: the machine is to blame")
}

func TestPrintedOnQEMUsOutput(t *testing.T) {
	const op = `{"name": "hello", "operands": [{"name": "x", "register": 40, "max": 100}], "text": {"template": "hello {x}"}, "driver": {"args": ["{x}"]}}`
	w := squares(t, op)
	w.his.said = "hello 1\nboot messages hello 5\r\nhello 100\n"
	assert.NoError(t, w.judgeDevice())
	assert.ErrorContains(t, w.judgeDriver(&result.Verdict{}), `expected the line "hello 1" on QEMU's output, got it 1 times, where it was asked for 2 times`)
	w.his.said += w.his.said
	assert.NoError(t, w.judgeDriver(&result.Verdict{}))
	w.his.said = "hello 1\nhello 55\nhello 100"
	assert.ErrorContains(t, w.judgeDevice(), `hello of x = 5: expected the line "hello 5" on QEMU's output, got none`)
}

func TestEvidence(t *testing.T) {
	answers := func(at28 uint64) edu.Heard {
		h := edu.Survey(1).Run(nothing{}, nil)
		h.Reads[10] = at28 // 0x28
		return h
	}
	for name, c := range map[string]struct {
		change func(*ioWork)
		says   string // of the error, or of the pass with half the points
		passes bool
	}{
		"shown":     {func(w *ioWork) { w.his.test.dmesg = "<6>[  5.1] sum 7\n" }, `half the points: your device differs from QEMU's own (0x28 answers 0x7 where the stock device has no register), and so does the log of your test program ("sum 7")`, true},
		"printed":   {func(w *ioWork) { w.his.survey, w.his.said = w.stock.survey, "Hello from edu!\n" }, `QEMU prints "Hello from edu!"`, true},
		"not shown": {func(*ioWork) {}, "the log of your test program is the same on both", false},
		"time only": {func(w *ioWork) { w.his.test.dmesg = "[  99.000001] sum 6\n" }, "the same on both", false},
		"stock":     {func(w *ioWork) { w.his.survey = w.stock.survey; w.his.test.stdout = "sum 7" }, "nothing tells your device from QEMU's own", false},
		"no driver": {func(w *ioWork) { w.driver.err = notGraded("none") }, "without a driver and a test program that build there is no log", false},
	} {
		t.Run(name, func(t *testing.T) {
			w := squares(t, squareOp)
			w.op, w.opProblem, w.survey = nil, errors.New("there is no edu-op.json"), edu.Survey(1)
			w.his.survey, w.stock.survey = answers(7), answers(edu.Absent)
			w.his.test.dmesg, w.stock.test.dmesg = "[  5.100000] sum 6\n", "[  4.900000] sum 6\n"
			c.change(w)
			v := &result.Verdict{Points: 6, Max: 6}
			err := w.checkFunction(nil, v)
			assert.Contains(t, v.Warnings[0], "there is no edu-op.json")
			if !c.passes {
				require.ErrorContains(t, err, c.says)
				return
			}
			require.NoError(t, err)
			assert.Contains(t, v.Message, c.says)
			assert.InDelta(t, 3, v.Points, 0)
		})
	}
}

// nothing is a BAR without registers.
type nothing struct{}

func (nothing) Read(uint64, int) uint64   { return edu.Absent }
func (nothing) Write(uint64, int, uint64) {}

func TestCheckTestRuns(t *testing.T) {
	lab := harness.New(t)
	w := squares(t, squareOp)
	w.his.boot = errors.New("no guest")
	w.stock.test.err = result.Errorf(result.Submission, "test.c ended with status 1")
	err := w.checkTestRuns(lab, &result.Verdict{})
	assert.ErrorContains(t, err, "with QEMU's own device, which may lack what it needs, test.c ended with status 1")
	assert.Equal(t, result.NotGraded, outcomeOf(err))
	w.stock.loaded = errors.New("no")
	assert.ErrorContains(t, w.checkTestRuns(lab, &result.Verdict{}), "the driver did not load")
	assert.Equal(t, result.Fail, outcomeOf(w.checkLoads(nil, &result.Verdict{})))
}

func TestChars(t *testing.T) {
	before := parseChars("Character devices:\n  1 mem\n 10 misc\n\nBlock devices:\n259 blkext\n253 virtblk\n", " 63 vga_arbiter\n")
	assert.Equal(t, chars{"mem": 1, "misc": 10, "vga_arbiter": 0}, before)
	after := parseChars("Character devices:\n  1 mem\n 10 misc\n248 pci_edu\n247 other\n\nBlock devices:\n259 new\n", " 63 vga_arbiter\n 62 edu_misc\n")
	added := after.without(before)
	assert.Equal(t, "edu_misc (major 0), other (major 247), pci_edu (major 248)", added.String())
	assert.Equal(t, []node{{"/dev/edu", 247}, {"/dev/pci_edu", 248}}, nodes(`open("/dev/pci_edu", O_RDWR); x = "/dev/../etc"; "/dev/"; printf("/dev/edu failed")`, added))
	assert.Equal(t, []node{{"/dev/edu", 247}}, nodes("", added))
	assert.Empty(t, nodes(`"/dev/edu"`, chars{"edu_misc": 0}), "it has its node")
}

func TestNewLines(t *testing.T) {
	assert.Equal(t, "c\n", newLines("a\nb\n", "a\nb\nc\n"))
	assert.Equal(t, "c\n", newLines("a\nb\n", "b\nc\n"), "the log's ring has lost a line")
	assert.Equal(t, "x\ny\n", newLines("a\nb\n", "x\ny\n"), "it has lost them all")
	assert.Equal(t, "a\n", newLines("", "a\n"))
}

func TestMoreLines(t *testing.T) {
	assert.Equal(t, []string{"b", "a"}, moreLines("<6>[ 1.0] a\nb\n[2.5] a\n", "a\n"))
	assert.Empty(t, moreLines("a\n\n", "[ 0.1] a\n"))
}

func TestSpread(t *testing.T) {
	assert.Equal(t, []int{0, 1}, spread([]int{0, 1}, 6))
	assert.Equal(t, []int{0, 2, 4, 6, 8, 10}, spread([]int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, 6))
}

func TestFlood(t *testing.T) {
	var cause error
	f := flood{over: func(err error) { cause = err }}
	_, _ = f.Write([]byte(strings.Repeat("x", testOutput)))
	require.NoError(t, cause)
	n, err := f.Write([]byte("yz"))
	assert.NoError(t, err)
	assert.Equal(t, 2, n, "the guest is not told: it is killed")
	assert.ErrorContains(t, cause, "printed more than 1 MiB, and was killed")
	assert.Len(t, f.String(), testOutput)
}

func TestDifferenceHasParts(t *testing.T) {
	var err error = &ioDifference{about: "6!", expected: "720", got: "0"}
	expected, got, difference := parts(err)
	assert.Equal(t, []string{"720", "0", "6!"}, []string{expected, got, difference})
	assert.Equal(t, result.Fail, outcomeOf(err))
}
