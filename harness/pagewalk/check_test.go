package pagewalk

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTrueWalksHaveNoFindings(t *testing.T) {
	for _, s := range shapes() {
		w := newWorld(s)
		w.pair.Host = withDetails(w.pair.Host)
		assert.Empty(t, CheckPair(w.pair), s.String())
		assert.Empty(t, CheckNonce(w.pair, uint64(w.nonce)), s.String())
		assert.Empty(t, Diagnose(w.pair), s.String())
	}
}

// clone lets a test change a walk without touching the original's slices.
func clone(w Walk) Walk { return unlined(w) }

func TestFirstWrongLevelIsNamed(t *testing.T) {
	for _, s := range []shape{{EPT, 4, 1, 4, 1}, {NPT, 5, 1, 5, 1}} {
		p := newWorld(s).pair
		for level := 1; level <= s.hostLevels; level++ {
			for _, original := range []Walk{p.Guest, p.Host} {
				at := original.Levels - level
				for name, tc := range map[string]struct {
					spoil func(w *Walk)
					check Check
					level int
				}{
					"index line":  {func(w *Walk) { w.Indices[at].Value ^= 1 }, CheckIndex, level},
					"table index": {func(w *Walk) { w.Steps[at].TableIndex ^= 2 }, CheckIndex, level},
					"entry index": {func(w *Walk) { w.Steps[at].Index ^= 4 }, CheckIndex, level},
					"not present": {func(w *Walk) { w.Steps[at].Entry.Value &^= 7 }, CheckPresent, level},
				} {
					w := clone(original)
					tc.spoil(&w)
					assertFirst(t, CheckWalk(w), tc.check, tc.level, name)
				}
				w := clone(original)
				w.Steps[at].Entry.Value ^= 1 << 30
				if level > 1 {
					assertFirst(t, CheckWalk(w), CheckTable, level-1, "frame of an entry")
				} else {
					assertFirst(t, CheckWalk(w), CheckOutput, 0, "frame of the leaf")
				}
				if at > 0 {
					w = clone(original)
					w.Steps[at].Table.Value ^= 1 << 20
					assertFirst(t, CheckWalk(w), CheckTable, level, "table")
				}
			}
		}
	}
}

func assertFirst(t *testing.T, fs Findings, check Check, level int, msg string) {
	t.Helper()
	first, ok := fs.First()
	if assert.True(t, ok, msg) {
		assert.Equal(t, check, first.Check, "%s: %v", msg, first)
		assert.Equal(t, level, first.Level, "%s: %v", msg, first)
	}
	assert.Error(t, fs.Err())
}

func TestWrongLeaves(t *testing.T) {
	for _, tc := range []struct {
		name  string
		leaf  int
		spoil func(p *Pair)
		check Check
	}{
		{"offset lost", 1, func(p *Pair) { p.Host.Output.Value &^= 0xfff }, CheckOffset},
		{"offset of a small page in a large one", 2, func(p *Pair) { p.Host.Output.Value &^= 0x1ff000 }, CheckOffset},
		{"frame", 3, func(p *Pair) { p.Host.Output.Value ^= 1 << 31 }, CheckOutput},
		{"leaf without bit 7", 2, func(p *Pair) { p.Host.Steps[2].Entry.Value &^= 1 << 7 }, CheckLarge},
		{"leaf one level too high", 1, func(p *Pair) { p.Host.Leaf = 2 }, CheckLarge},
		{"bit 7 above the leaf", 1, func(p *Pair) { p.Guest.Steps[2].Entry.Value |= 1 << 7 }, CheckLarge},
		{"bit 7 in PGD", 1, func(p *Pair) { p.Guest.Steps[0].Entry.Value |= 1 << 7 }, CheckReserved},
		{"not canonical", 1, func(p *Pair) { p.Guest.Address.Value ^= 1 << 60 }, CheckCanonical},
		{"another GPA", 1, func(p *Pair) { p.Guest.Output.Value += 8; p.Guest.Address.Value += 8 }, CheckLink},
		{"another value", 1, func(p *Pair) { p.Host.Value.Value++ }, CheckValue},
		{"detail entry", 1, func(p *Pair) { p.Host.Details[0].Value ^= 1 << 40 }, CheckDetail},
		{"detail HFN", 2, func(p *Pair) { p.Host.Details[2].Value ^= 1 << 40 }, CheckDetail},
		{"detail GPA", 2, func(p *Pair) { p.Host.Details[3].Value ^= 1 << 40 }, CheckDetail},
		{"detail Mask2", 2, func(p *Pair) { p.Host.Details[4].Value = 0xfff }, CheckDetail},
		{"detail Offset", 3, func(p *Pair) { p.Host.Details[5].Value = 0 }, CheckDetail},
	} {
		t.Run(tc.name, func(t *testing.T) {
			p := newWorld(shape{EPT, 4, tc.leaf, 4, 1}).pair
			p.Host = withDetails(p.Host)
			tc.spoil(&p)
			first, ok := CheckPair(p).First()
			require.True(t, ok)
			assert.Equal(t, tc.check, first.Check, first.String())
		})
	}
}

func TestNonce(t *testing.T) {
	p := newWorld(shape{EPT, 4, 1, 4, 1}).pair
	assert.Len(t, CheckNonce(p, 7).With(Wrong), 2)
	p.Host.Value = Field{}
	assert.Len(t, CheckNonce(p, 0xfeed1234567).With(Gap), 1)
}

func TestRoots(t *testing.T) {
	a, b := newWorld(shape{NPT, 4, 1, 4, 1}).pair, newWorld(shape{NPT, 4, 1, 4, 1}).pair
	assert.Empty(t, CheckRoots([]Walk{a.Guest, a.Host, b.Host}))
	b.Host.Steps[0].Table.Value += 0x1000
	assert.Len(t, CheckRoots([]Walk{a.Host, b.Host}).With(Advice), 1)
}

func TestDirectMapIsAdvice(t *testing.T) {
	p := newWorld(shape{NPT, 4, 1, 4, 1}).pair
	p.Guest.Output.Value ^= 1 << 29
	p.Guest.Steps[3].Entry.Value ^= 1 << 29
	findings := CheckWalk(p.Guest)
	require.Len(t, findings, 1)
	assert.Equal(t, CheckDirectMap, findings[0].Check)
	assert.Equal(t, Advice, findings[0].Severity)
}

func TestFindingReadsLikeASentence(t *testing.T) {
	text := strings.Replace(readFile(t, "course-gpt-dump.txt"), "469: PMD", "468: PMD", 1)
	assert.EqualError(t, CheckWalk(parse(t, text).Walks[0]).Err(),
		"line 20: GPT PMD: index before the entry differs from the bits of the address: expected 469, got 468")
}

func TestDiagnoseFiveLevels(t *testing.T) {
	log := parse(t, readFile(t, "nested-npt-5level-broken.console.txt"))
	pairs := Pairs(log)
	require.Len(t, pairs, 1)
	assert.NoError(t, CheckPair(pairs[0]).Err(), "nothing in it is the student's mistake")

	found := Diagnose(pairs[0])
	require.Len(t, found, 2)
	for i, kind := range []Kind{GPT, EPT} {
		assert.Equal(t, FiveLevelPaging, found[i].Cause)
		assert.Equal(t, kind, found[i].Walk)
		assert.True(t, found[i].Certain)
		assert.Contains(t, found[i].Cure, "la57=off")
	}
	assert.Equal(t, 410, found[0].Line)
	assert.Equal(t, 445, found[1].Line)

	host := Diagnose(Pair{Host: pairs[0].Host})
	require.Len(t, host, 1)
	assert.False(t, host[0].Certain, "a cut log looks the same")
}

func TestDiagnoseSuspectsButDoesNotExcuse(t *testing.T) {
	g := newWorld(shape{NPT, 4, 1, 4, 1}).pair.Guest
	g.Steps, g.Leaf = nil, 0
	found := Diagnose(Pair{Guest: g})
	require.Len(t, found, 1)
	assert.False(t, found[0].Certain, "bit 47 is set: the student may have printed nothing")

	g = newWorld(shape{NPT, 4, 1, 4, 1}).pair.Guest
	g.Steps[3].Entry.Value ^= 1 << 20
	assert.Empty(t, Diagnose(Pair{Guest: g}), "a wrong entry is not the environment's fault")
}
