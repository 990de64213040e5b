package edu

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// referenceBuffer is what reference.dmesg.txt and reference.answers.txt name.
var referenceBuffer = DriverMemory{Buffers: []Range{{0xf1e000, 4096}}}

func TestReferenceDriverIsConfirmed(t *testing.T) {
	tr := traceOf(t, "reference.mmio-trace.txt")
	assert.NoError(t, tr.ConfirmID(Identification))
	assert.NoError(t, tr.ConfirmLive(0x12345678, 0xedcba987))
	for _, n := range []uint32{10, 13, 34} {
		assert.NoError(t, tr.ConfirmFactorial(n, Factorial32(n)))
	}
	for _, f := range tr.Factorials() {
		assert.True(t, f.Waited, "%d!", f.N)
	}
	assert.NoError(t, tr.ConfirmInterrupt(0x55))
	assert.NoError(t, tr.ConfirmIRQ(IRQFactorial))
	assert.NoError(t, tr.ConfirmIRQ(IRQDMA))
	assert.NoError(t, tr.ConfirmFunction(48, 18, GCD(48, 18)))
	assert.NoError(t, tr.ConfirmDMA(false, 100, referenceBuffer))
	assert.NoError(t, tr.ConfirmDMA(true, 100, referenceBuffer))
}

func TestCourseDriverIsConfirmedButForItsDMA(t *testing.T) {
	tr := traceOf(t, "course.mmio-trace.txt")
	assert.NoError(t, tr.ConfirmID(Identification))
	assert.NoError(t, tr.ConfirmInterrupt(0x12345678))
	assert.NoError(t, tr.ConfirmFactorial(10, 0x375f00))
	assert.NoError(t, tr.ConfirmIRQ(IRQDMA))

	dmas := tr.DMAs()
	require.Len(t, dmas, 2)
	assert.Equal(t, DMA{Src: 0x40000, Dst: 0x700100, Count: 4, FromDevice: true, WithIRQ: true, Seen: true, Line: 50}, dmas[0])
	assert.Equal(t, DMA{Src: 0x700104, Dst: 0x40000, Count: 4, WithIRQ: true, Seen: true, Line: 56}, dmas[1])

	mapped := DriverMemory{BAR: 0xffffc90000700000}
	problems := dmas[0].Problems(mapped)
	require.Len(t, problems, 1)
	assert.Contains(t, problems[0].String(), "line 50 of the trace: DMA of 4 bytes from the device, bus address 0x700100")
	assert.Contains(t, problems[0].Why, "0x700100 is the low half of 0xffffc90000700100")
	assert.Contains(t, problems[0].Why, "overwrites unrelated memory")
	assert.Contains(t, dmas[1].Problems(mapped)[0].Why, "reads unrelated memory")

	err := tr.ConfirmDMA(true, 4, DriverMemory{Buffers: []Range{{0x1000000, 4096}}})
	require.ErrorContains(t, err, "in none of the driver's DMA buffers [0x1000000-0x1000fff]")
	require.ErrorContains(t, err, "line 50")
}

func TestConfirmFactorial(t *testing.T) {
	for name, c := range map[string]struct {
		accesses []string
		err      string
	}{
		"busy bit":        {[]string{"w 08 a", "r 20 1", "r 20 0", "r 08 375f00"}, ""},
		"interrupt":       {[]string{"w 20 80", "w 08 a", "r 24 1", "w 64 1", "r 08 375f00"}, ""},
		"another first":   {[]string{"w 08 5", "r 20 0", "r 08 78", "w 08 a", "r 20 0", "r 08 375f00"}, ""},
		"second attempt":  {[]string{"w 08 a", "r 08 a", "w 08 a", "r 20 0", "r 08 375f00"}, ""},
		"never written":   {[]string{"w 08 9", "r 20 0", "r 08 58980"}, "0xa was never written"},
		"never read":      {[]string{"w 08 a", "r 20 0"}, "the result was never read"},
		"read of another": {[]string{"w 08 a", "w 08 9", "r 20 0", "r 08 375f00"}, "the result was never read"},
		"read too early":  {[]string{"w 08 a", "r 20 1", "r 08 a"}, "it answered 0xa, and was read before bit 0x01"},
		"other answer":    {[]string{"w 08 a", "r 20 0", "r 08 1"}, "it answered 0x1 (line 1 of the trace)"},
		"8-byte write":    {[]string{"w8 08 a", "r 20 0", "r 08 375f00"}, "0xa was never written"},
	} {
		t.Run(name, func(t *testing.T) {
			checkError(t, c.err, trace(t, c.accesses...).ConfirmFactorial(10, 0x375f00))
		})
	}
}

func checkError(t *testing.T, want string, err error) {
	t.Helper()
	if want == "" {
		require.NoError(t, err)
		return
	}
	require.ErrorContains(t, err, want)
	var u *Unconfirmed
	require.ErrorAs(t, err, &u)
}

func TestFactorialWaited(t *testing.T) {
	assert.False(t, trace(t, "r 20 0", "w 08 a", "r 08 375f00").Factorials()[0].Waited, "the status was read before the start")
	assert.False(t, trace(t, "w 08 a", "r 24 100", "r 08 375f00").Factorials()[0].Waited, "another interrupt")
	assert.True(t, trace(t, "w 08 a", "r 08 a", "r 20 80", "r 08 375f00").Factorials()[0].Waited)
}

func TestConfirmID(t *testing.T) {
	checkError(t, "never read", trace(t, "r 04 0").ConfirmID(Identification))
	checkError(t, "it answered 0x20000ed", trace(t, "r 00 20000ed").ConfirmID(Identification))
}

func TestConfirmLive(t *testing.T) {
	for name, c := range map[string]struct {
		accesses []string
		err      string
	}{
		"good":             {[]string{"w 04 1", "r 04 fffffffe"}, ""},
		"never written":    {[]string{"r 04 fffffffe"}, "0x1 was never written"},
		"never read":       {[]string{"w 04 1"}, "never read"},
		"overwritten":      {[]string{"w 04 1", "w 04 1234", "r 04 fffffffe"}, "never read"},
		"not complemented": {[]string{"w 04 1", "r 04 1"}, "it answered 0x1"},
	} {
		t.Run(name, func(t *testing.T) {
			checkError(t, c.err, trace(t, c.accesses...).ConfirmLive(1, 0xfffffffe))
		})
	}
}

func TestConfirmInterrupt(t *testing.T) {
	for name, c := range map[string]struct {
		accesses []string
		err      string
	}{
		"good":             {[]string{"w 60 55", "r 24 55", "w 64 55"}, ""},
		"with another":     {[]string{"w 60 55", "r 24 155", "w 64 155"}, ""},
		"not raised":       {[]string{"r 24 55", "w 64 55"}, "never written to register 0x60"},
		"others raised":    {[]string{"w 60 ff", "r 24 ff", "w 64 ff"}, "never written to register 0x60"},
		"not handled":      {[]string{"w 60 55"}, "no handler read it"},
		"acknowledged 1st": {[]string{"w 60 55", "w 64 55", "r 24 0"}, "no handler read it"},
		"not acknowledged": {[]string{"w 60 55", "r 24 55", "w 64 5"}, "not acknowledged"},
		"seen too late":    {[]string{"w 60 55", "w 60 1", "r 24 55", "w 64 55"}, "no handler read it"},
	} {
		t.Run(name, func(t *testing.T) {
			checkError(t, c.err, trace(t, c.accesses...).ConfirmInterrupt(0x55))
		})
	}
}

func TestConfirmIRQ(t *testing.T) {
	checkError(t, "no handler read it", trace(t, "r 24 1", "w 64 1").ConfirmIRQ(IRQDMA))
}

func TestConfirmFunction(t *testing.T) {
	for name, c := range map[string]struct {
		accesses []string
		err      string
	}{
		"good":              {[]string{"w 28 30", "w 2c 12", "r 30 6"}, ""},
		"other order":       {[]string{"w 2c 12", "w 28 30", "r 30 6"}, ""},
		"one operand":       {[]string{"w 28 30", "r 30 6"}, "never in registers"},
		"operand overwrote": {[]string{"w 28 30", "w 2c 12", "w 2c 1", "r 30 6"}, "never in registers"},
		"never read":        {[]string{"w 28 30", "w 2c 12"}, "never in registers"},
		"stock device":      {[]string{"w 28 30", "w 2c 12", "r 30 ffffffff"}, "it answered 0xffffffff"},
	} {
		t.Run(name, func(t *testing.T) {
			checkError(t, c.err, trace(t, c.accesses...).ConfirmFunction(48, 18, 6))
		})
	}
}

func TestDMAProblems(t *testing.T) {
	good := DMA{Src: 0xf1e000, Dst: BufferStart, Count: 100}
	with := func(change func(*DMA)) DMA {
		d := good
		change(&d)
		return d
	}
	for name, c := range map[string]struct {
		dma  DMA
		want string
	}{
		"good":                {good, ""},
		"all but one byte":    {with(func(d *DMA) { d.Count = BufferSize - 1 }), ""},
		"nothing":             {with(func(d *DMA) { d.Count = 0 }), "moves nothing"},
		"to the last byte":    {with(func(d *DMA) { d.Count = BufferSize }), "ends exactly where"},
		"beyond":              {with(func(d *DMA) { d.Dst = BufferStart + BufferSize - 1; d.Count = 2 }), "damages its own memory"},
		"before":              {with(func(d *DMA) { d.Dst = BufferStart - 1 }), "damages its own memory"},
		"count wraps":         {with(func(d *DMA) { d.Count = ^uint64(0) }), "damages its own memory"},
		"offset, not address": {with(func(d *DMA) { d.Dst = 0 }), "damages its own memory"},
		"29 bits":             {with(func(d *DMA) { d.Src = 0x10f1e000 }), "drives 28 address bits, so it reads 0xf1e000 instead"},
		"leaves the buffer":   {with(func(d *DMA) { d.Src = 0xf1efff }), "in none of the driver's DMA buffers"},
		"pointer":             {with(func(d *DMA) { d.Src = 0x700100 }), "virtual address of the mapped BAR plus 0x100"},
	} {
		t.Run(name, func(t *testing.T) {
			m := referenceBuffer
			m.BAR = 0xffffc90000700000
			problems := c.dma.Problems(m)
			if c.want == "" {
				assert.Empty(t, problems)
				return
			}
			require.NotEmpty(t, problems)
			assert.Contains(t, problems[0].Why, c.want)
		})
	}
}

func TestDMAOfUnknownBuffersIsNotJudgedByThem(t *testing.T) {
	assert.Empty(t, DMA{Src: 0x123000, Dst: BufferStart, Count: 4}.Problems(DriverMemory{}))
}

func TestDMAs(t *testing.T) {
	tr := trace(t,
		"w8 80 100000000", "w 80 f1e000", // the 4-byte write clears the upper half
		"w 88 40000", "w 90 4", "w 98 4", // no start bit: nothing happens
		"w 98 1",
		"w 90 8", "w8 98 7", "r 24 100")
	assert.Equal(t, []DMA{
		{Src: 0xf1e000, Dst: 0x40000, Count: 4, Line: 6},
		{Src: 0xf1e000, Dst: 0x40000, Count: 8, FromDevice: true, WithIRQ: true, Seen: true, Line: 8},
	}, tr.DMAs())
	checkError(t, "no such transfer", tr.ConfirmDMA(false, 8, referenceBuffer))
}

func TestRangeHolds(t *testing.T) {
	r := Range{100, 10}
	assert.True(t, r.Holds(100, 10))
	assert.True(t, r.Holds(110, 0))
	assert.False(t, r.Holds(99, 1))
	assert.False(t, r.Holds(101, 10))
	assert.False(t, r.Holds(111, 0))
	assert.False(t, r.Holds(105, ^uint64(0)))
}
