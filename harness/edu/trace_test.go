package edu

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func golden(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	return string(b)
}

func traceOf(t testing.TB, name string) Trace {
	t.Helper()
	trace, err := ReadTrace(strings.NewReader(golden(t, name)))
	require.NoError(t, err)
	return trace
}

// trace makes a trace of accesses "w 08 a" and "r 08 375f00", 4 bytes each, or
// "w8 80 ..." for 8 bytes.
func trace(t testing.TB, accesses ...string) Trace {
	t.Helper()
	var log strings.Builder
	for _, a := range accesses {
		var verb string
		var offset, value uint64
		_, err := fmt.Sscanf(a, "%s %x %x", &verb, &offset, &value)
		require.NoError(t, err, a)
		size := 4
		if strings.HasSuffix(verb, "8") {
			size = 8
		}
		op := map[byte]string{'r': "read", 'w': "write"}[verb[0]]
		fmt.Fprintf(&log, "memory_region_ops_%s cpu 0 mr 0x1 addr 0x%x value 0x%x size %d name 'edu-mmio'\n", op, 0xfeb00000+offset, value, size)
	}
	tr, err := ReadTrace(strings.NewReader(log.String()))
	require.NoError(t, err)
	require.Len(t, tr, len(accesses))
	return tr
}

func TestReadTraceOfTheCourse(t *testing.T) {
	tr := traceOf(t, "course.mmio-trace.txt")
	require.Len(t, tr, 58)
	assert.Equal(t, Access{Line: 1, Addr: 0xfeb00000, Value: Identification, Size: 4}, tr[0])
	assert.Equal(t, Access{Line: 4, Addr: 0xfeb0000c, Value: Absent, Size: 4}, tr[3], "64 ones are cut to the access's size")
	assert.Equal(t, Access{Line: 43, Write: true, Addr: 0xfeb00008, Value: 10, Size: 4}, tr[42])
	assert.EqualValues(t, 0x08, tr[42].Offset())
	assert.Equal(t, "line 43: write 0x08 <- 0xa", tr[42].String())
}

func TestReadTraceKeepsOnlyEdu(t *testing.T) {
	tr := traceOf(t, "reference.mmio-trace.txt")
	require.NotEmpty(t, tr)
	assert.Equal(t, strings.Count(golden(t, "reference.mmio-trace.txt"), "'edu-mmio'"), len(tr))
	assert.Less(t, len(tr), strings.Count(golden(t, "reference.mmio-trace.txt"), "\n"), "the log has other devices too")
}

const eduRead = "memory_region_ops_read cpu 0 mr 0x1 addr 0xfeb00000 value 0x10000ed size 4 name 'edu-mmio'"

func TestReadTraceLines(t *testing.T) {
	for name, c := range map[string]struct {
		log  string
		want int
		err  string
	}{
		"time stamp":              {"4711@1700000000.123456:" + eduRead + "\n", 1, ""},
		"CR LF":                   {eduRead + "\r\n", 1, ""},
		"no CPU":                  {strings.Replace(eduRead, "cpu 0", "cpu -1", 1) + "\n", 1, ""},
		"other device":            {strings.Replace(eduRead, "edu-mmio", "acpi-tmr", 1) + "\n", 0, ""},
		"no name":                 {strings.TrimSuffix(eduRead, " name 'edu-mmio'") + "\n", 0, ""},
		"message of QEMU":         {"EDU: clamping DMA 0x1 to 0x2!\n" + eduRead + "\n", 1, ""},
		"last line whole, no end": {eduRead, 1, ""},
		"last line cut":           {eduRead + "\n" + eduRead[:40], 1, ""},
		"damaged":                 {"\n" + strings.Replace(eduRead, "0x10000ed", "zzz", 1) + "\n", 0, "line 2 of the trace is damaged"},
		"huge line":               {strings.Repeat("x", 10*maxLine) + "\n" + eduRead + "\n", 1, ""},
		"huge line names edu":     {eduRead + strings.Repeat(" 'edu-mmio'", maxLine) + "\n", 0, ""},
		"value too long":          {strings.Replace(eduRead, "0x10000ed", "0x11112222333344445", 1) + "\n", 0, "damaged"},
		"empty":                   {"", 0, ""},
	} {
		t.Run(name, func(t *testing.T) {
			tr, err := ReadTrace(strings.NewReader(c.log))
			if c.err == "" {
				require.NoError(t, err)
			} else {
				require.ErrorContains(t, err, c.err)
			}
			assert.Len(t, tr, c.want)
		})
	}
}

func TestReadTraceCountsLinesAcrossLongOnes(t *testing.T) {
	tr, err := ReadTrace(strings.NewReader(strings.Repeat("y", 3*maxLine) + "\nother\n" + eduRead + "\n"))
	require.NoError(t, err)
	require.Len(t, tr, 1)
	assert.Equal(t, 3, tr[0].Line)
}

func TestReadTraceHasALimit(t *testing.T) {
	tr, err := readTrace(strings.NewReader(strings.Repeat(eduRead+"\n", 4)), 3)
	require.ErrorIs(t, err, ErrTooLong)
	assert.Len(t, tr, 3)
	tr, err = readTrace(strings.NewReader(strings.Repeat(eduRead+"\n", 3)), 3)
	require.NoError(t, err)
	assert.Len(t, tr, 3)
}

func FuzzReadTrace(f *testing.F) {
	f.Add(golden(f, "course.mmio-trace.txt"))
	f.Add(golden(f, "reference.mmio-trace.txt"))
	f.Add(eduRead)
	f.Fuzz(func(t *testing.T, log string) {
		tr, _ := ReadTrace(strings.NewReader(log))
		for _, a := range tr {
			assert.Less(t, a.Offset(), uint64(BARSize))
			assert.LessOrEqual(t, a.Line, strings.Count(log, "\n")+1)
		}
		for _, c := range tr.Factorials() {
			if len(c.Results) > 0 {
				assert.NoError(t, tr.ConfirmFactorial(c.N, c.Results[len(c.Results)-1]))
			}
		}
		for _, d := range tr.DMAs() {
			for _, p := range d.Problems(DriverMemory{Buffers: []Range{{0xf1e000, 4096}}, BAR: 0xffffc90000700000}) {
				assert.NotEmpty(t, p.Why)
			}
		}
		_ = tr.ConfirmIRQ(IRQDMA)
		_ = tr.ConfirmFunction(1, 2, 3)
	})
}
