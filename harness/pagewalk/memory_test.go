package pagewalk

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTranslate(t *testing.T) {
	for _, s := range shapes() {
		w := newWorld(s)
		root, err := RootOf(w.pair.Host)
		require.NoError(t, err)
		got, err := Translate(t.Context(), w.ram, root, uint64(w.pair.Host.Address.Value))
		require.NoError(t, err)
		want := w.pair.Host
		want.Indices, want.Value = nil, Field{}
		assert.Equal(t, want, got, s.String())

		got, err = Translate(t.Context(), w.ram, root, 0x7f_c000_0000)
		require.ErrorIs(t, err, ErrNotMapped)
		assert.Equal(t, 3, got.Unmapped.Level)
	}
}

func TestTranslateRefuses(t *testing.T) {
	_, err := Translate(t.Context(), fakeRAM{}, Root{Kind: EPT, Levels: 3, Table: 0x1000}, 0)
	assert.ErrorContains(t, err, "3 levels")
	_, err = Translate(t.Context(), fakeRAM{}, Root{Kind: EPT, Levels: 4, Table: 1 << 50}, 0)
	assert.ErrorIs(t, err, ErrNoMemory)
	for kind, mmio := range map[Kind]uint64{EPT: 0x6, NPT: 1<<51 | 1} {
		_, err = Translate(t.Context(), fakeRAM{0x1000: mmio}, Root{Kind: kind, Levels: 4, Table: 0x1000}, 0)
		assert.ErrorIs(t, err, ErrNotMapped, "KVM's marks of MMIO, %s", kind)
	}
}

func TestWitnessHost(t *testing.T) {
	for _, s := range shapes() {
		w := newWorld(s)
		got, err := WitnessHost(t.Context(), w.ram, w.pair.Host)
		require.NoError(t, err)
		assert.Empty(t, got.Findings)
		assert.Len(t, got.Reads, s.hostLevels-s.hostLeaf+2, "every entry and the value")
	}
}

func TestWitnessNamesTheFlippedBit(t *testing.T) {
	for _, s := range []shape{{EPT, 4, 1, 4, 1}, {NPT, 5, 2, 4, 1}} {
		w := newWorld(s)
		for _, step := range w.pair.Host.Steps {
			for bit := range 64 {
				at := uint64(step.EntryAddress())
				w.ram[at] ^= 1 << bit
				got, err := WitnessHost(t.Context(), w.ram, w.pair.Host)
				w.ram[at] ^= 1 << bit
				require.NoError(t, err)
				if map[Kind]uint64{EPT: 0x300, NPT: 0x60}[s.host]>>bit&1 == 1 {
					assert.Empty(t, got.Findings, "accessed and dirty may change")
					continue
				}
				require.Len(t, got.Findings, 1)
				assertFirst(t, got.Findings, CheckMemory, step.Level, "bit")
			}
		}
		w.ram[uint64(w.pair.Host.Output.Value)]++
		got, err := WitnessHost(t.Context(), w.ram, w.pair.Host)
		require.NoError(t, err)
		assertFirst(t, got.Findings, CheckMemory, 0, "value")
	}
}

func TestWitnessOfForgedAddress(t *testing.T) {
	w := newWorld(shape{NPT, 4, 1, 4, 1})
	w.pair.Host.Steps[2].Table.Value = 1 << 45
	got, err := WitnessHost(t.Context(), w.ram, w.pair.Host)
	require.NoError(t, err, "the log is wrong, the harness is not")
	assertFirst(t, got.Findings, CheckMemory, 2, "no memory there")

	empty, err := WitnessHost(t.Context(), w.ram, Walk{Kind: NPT, Levels: 4})
	require.NoError(t, err)
	assert.Len(t, empty.Findings.With(Gap), 1, "nothing compared is not a pass")
}

func TestWitnessUnmapped(t *testing.T) {
	w := newWorld(shape{NPT, 4, 1, 4, 1})
	h := clone(w.pair.Host)
	h.Steps, h.Leaf, h.Output, h.Value = h.Steps[:2], 0, Field{}, Field{}
	h.Unmapped = &Unmapped{Level: 2, Entry: seen(0, 0)}
	got, err := WitnessHost(t.Context(), w.ram, h)
	require.NoError(t, err)
	assertFirst(t, got.Findings, CheckMemory, 2, "memory has a mapping there")

	w.ram[uint64(w.pair.Host.Steps[2].EntryAddress())] = 0
	got, err = WitnessHost(t.Context(), w.ram, h)
	require.NoError(t, err)
	assert.Empty(t, got.Findings)
	assert.Len(t, got.Reads, 3)

	m, err := TwoDimensional(t.Context(), w.ram, Pair{w.pair.Guest, h})
	require.NoError(t, err)
	assert.Empty(t, m.Findings, "log and memory agree that nothing is mapped")
	assert.False(t, m.Confirmed(), "which is no confirmation of a value")
	assert.False(t, m.HPA.Seen)

	m, err = TwoDimensional(t.Context(), w.ram, w.pair)
	require.NoError(t, err)
	assertFirst(t, m.Findings, CheckMemory, 2, "the log shows a mapping that memory lacks")
}

func TestTwoDimensional(t *testing.T) {
	for _, s := range shapes() {
		w := newWorld(s)
		m, err := TwoDimensional(t.Context(), w.ram, w.pair)
		require.NoError(t, err)
		assert.Empty(t, m.Findings, s.String())
		assert.True(t, m.Confirmed())
		guest, host := s.guestLevels-s.guestLeaf+1, s.hostLevels-s.hostLeaf+1
		require.Len(t, m.Rows, guest+1)
		assert.Equal(t, guest*(host+1)+host+1, m.References)
		for _, row := range m.Rows {
			assert.True(t, row.OK)
			assert.Len(t, row.Host, host)
		}
		assert.Equal(t, w.pair.Guest.Output, m.GPA)
		assert.Equal(t, w.pair.Host.Output, m.HPA)
		assert.Equal(t, w.nonce, m.Rows[guest].Memory.Value)
	}
}

func TestTwoDimensionalNamesTheFlippedBit(t *testing.T) {
	for _, s := range []shape{{EPT, 4, 1, 4, 1}, {NPT, 4, 2, 5, 1}, {NPT, 5, 1, 4, 2}} {
		for i, step := range newWorld(s).pair.Guest.Steps {
			for bit := range 64 {
				w := newWorld(s)
				w.pair.Guest.Steps[i].Entry.Value ^= 1 << bit
				assertNamed(t, w, step.Level, GPT, 0x60>>bit&1 == 1)
			}
		}
		for i, step := range newWorld(s).pair.Host.Steps {
			for _, bit := range []uint{2, 3, 8, 10, 12, 20, 30, 52, 63} {
				w := newWorld(s)
				w.pair.Host.Steps[i].Entry.Value ^= 1 << bit
				assertNamed(t, w, step.Level, s.host, s.host == EPT && bit == 8)
			}
		}
	}
}

func assertNamed(t *testing.T, w world, level int, kind Kind, harmless bool) {
	t.Helper()
	m, err := TwoDimensional(t.Context(), w.ram, w.pair)
	require.NoError(t, err)
	if harmless {
		assert.Empty(t, m.Findings)
		return
	}
	assertFirst(t, m.Findings, CheckMemory, level, "flipped bit")
	first, _ := m.Findings.First()
	assert.Equal(t, kind, first.Walk)
}

func TestTwoDimensionalFollowsMemory(t *testing.T) {
	for _, s := range []shape{{NPT, 4, 1, 4, 1}, {EPT, 5, 1, 5, 1}} {
		for level := 1; level <= s.guestLevels; level++ {
			w := newWorld(s)
			step, _ := w.pair.Guest.Step(level)
			root, err := RootOf(w.pair.Host)
			require.NoError(t, err)
			at, err := Translate(t.Context(), w.ram, root, uint64(step.EntryAddress()))
			require.NoError(t, err)
			w.ram[uint64(at.Output.Value)] = 0
			m, err := TwoDimensional(t.Context(), w.ram, w.pair)
			require.NoError(t, err)
			assertFirst(t, m.Findings, CheckMemory, level, "entry wiped")
		}
		w := newWorld(s)
		w.ram[uint64(w.pair.Host.Output.Value)]++
		m, err := TwoDimensional(t.Context(), w.ram, w.pair)
		require.NoError(t, err)
		assertFirst(t, m.Findings, CheckMemory, 0, "data")
		assert.False(t, m.Confirmed())

		w = newWorld(s)
		w.pair.Host.Output.Value += 0x1000
		m, err = TwoDimensional(t.Context(), w.ram, w.pair)
		require.NoError(t, err)
		assertFirst(t, m.Findings, CheckOutput, 0, "HPA")
	}
}

// The course's guest log lacks the entry of a large page: memory has it.
func TestTwoDimensionalFillsTheGap(t *testing.T) {
	w := newWorld(shape{NPT, 4, 1, 4, 2})
	w.pair.Guest = parse(t, render(w.pair.Guest, style{course: true})).Walks[0]
	m, err := TwoDimensional(t.Context(), w.ram, w.pair)
	require.NoError(t, err)
	assert.NoError(t, m.Findings.Err())
	assert.True(t, m.Confirmed())
	require.Len(t, m.Rows, 4)
	assert.False(t, m.Rows[2].Printed.Seen)
	assert.True(t, m.Rows[2].Memory.Seen)
}

type brokenRAM struct{}

func (brokenRAM) ReadPhys(context.Context, uint64) (uint64, error) {
	return 0, errors.New("monitor gone")
}

func TestReaderFailuresAreErrors(t *testing.T) {
	p := newWorld(shape{NPT, 4, 1, 4, 1}).pair
	_, err := WitnessHost(t.Context(), brokenRAM{}, p.Host)
	assert.ErrorContains(t, err, "monitor gone")
	_, err = TwoDimensional(t.Context(), brokenRAM{}, p)
	assert.ErrorContains(t, err, "monitor gone")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = TwoDimensional(ctx, newWorld(shape{NPT, 4, 1, 4, 1}).ram, p)
	assert.ErrorIs(t, err, context.Canceled)
}

func TestTwoDimensionalNeedsRoots(t *testing.T) {
	w := newWorld(shape{NPT, 4, 1, 4, 1})
	for _, spoil := range []func(p *Pair){
		func(p *Pair) { p.Guest.Steps = p.Guest.Steps[1:] },
		func(p *Pair) { p.Host.Steps = nil },
		func(p *Pair) { p.Guest.Address = Field{} },
	} {
		p := Pair{clone(w.pair.Guest), clone(w.pair.Host)}
		spoil(&p)
		_, err := TwoDimensional(t.Context(), w.ram, p)
		assert.ErrorIs(t, err, ErrIncomplete)
	}
	p := w.pair
	p.Host.Kind = Shadow
	_, err := TwoDimensional(t.Context(), w.ram, p)
	assert.ErrorContains(t, err, "shadow")
}

func TestMatrixReadsWell(t *testing.T) {
	w := newWorld(shape{NPT, 4, 2, 4, 1})
	w.pair.Guest.Value.Value++
	m, err := TwoDimensional(t.Context(), w.ram, w.pair)
	require.NoError(t, err)
	text := m.Table()
	for _, part := range []string{
		"GVA 0xffff8dba828c9b20 → GPA 0x28c9b20 → HPA 0x828c9b20: 20 memory references",
		"host PMD", "in memory", "0xfeed1234567", "differs", "wrong: GPT: memory at 0x828c9b20",
	} {
		assert.Contains(t, text, part)
	}
	b, err := json.Marshal(m)
	require.NoError(t, err)
	var back Matrix
	require.NoError(t, json.Unmarshal(b, &back))
	assert.Equal(t, m, back)
	t.Log("\n" + text)
}
