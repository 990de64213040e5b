package pagewalk

import (
	"errors"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// assertCutAtMost demands that nothing is called wrong.
func assertCutAtMost(t *testing.T, err error, what string, args ...any) {
	t.Helper()
	var fault *Fault
	if errors.As(err, &fault) && !fault.Cut() {
		assert.Fail(t, "called wrong: "+err.Error(), append([]any{what}, args...)...)
	}
}

// A log that ends too early is cut, wherever it ends.
func TestTruncatedIsNotWrong(t *testing.T) {
	for name, log := range references(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			stride := 7
			if name == "course" {
				stride = 1
			}
			for n := 0; n < len(log[0]); n += stride {
				assertCutAtMost(t, judge(t, log[0][:n], log[1]), "the guest's log after %d bytes", n)
			}
			for n := 0; n < len(log[1]); n += stride {
				assertCutAtMost(t, judge(t, log[0], log[1][:n]), "the host's log after %d bytes", n)
			}
			for n := range strings.Count(log[1], "\n") { // a ring of the kernel's that overran
				rest := strings.SplitAfterN(log[1], "\n", n+1)[n]
				assertCutAtMost(t, judge(t, log[0], rest), "the host's log without its first %d lines", n)
			}
		})
	}
}

func TestLostLinesAreNotWrong(t *testing.T) {
	draw := rand.New(rand.NewPCG(1, 2))
	for name, log := range references(t) {
		t.Run(name, func(t *testing.T) {
			for range 100 {
				lossy := [2]string{log[0], log[1]}
				for i := range lossy {
					lines := strings.SplitAfter(log[i], "\n")
					for range draw.IntN(4) {
						at := draw.IntN(len(lines))
						lines[at] = ""
					}
					lossy[i] = strings.Join(lines, "")
				}
				assertCutAtMost(t, judge(t, lossy[0], lossy[1]), "%s%s", lossy[0], lossy[1])
			}
		})
	}
}

func TestCutSaysWhatIsMissing(t *testing.T) {
	guest := readFile(t, "course-gpt-dump.txt")
	i := strings.Index(guest, " 163: PTE")
	err := CheckWalk(parse(t, guest[:i+30]).Walks[0]).Judge(parse(t, guest[:i+30]).Notes)
	var fault *Fault
	require.ErrorAs(t, err, &fault)
	assert.True(t, fault.Cut())
	assert.ErrorContains(t, err, "cut: GPT PTE: no PTE entry after its NEXT_LVL line")
	assert.ErrorContains(t, err, `line 23: cannot be read: "163: PTE 100000000000 0000000"`)
	expected, got, difference := fault.Parts()
	assert.Empty(t, expected+got)
	assert.Equal(t, "GPT PTE: no PTE entry after its NEXT_LVL line", difference)
}

func TestFaultHasParts(t *testing.T) {
	text := strings.Replace(readFile(t, "course-gpt-dump.txt"), "00011111110110010100 000001100111", "00011111110110010110 000001100111", 1)
	err := CheckWalk(parse(t, text).Walks[0]).Judge(nil)
	assert.EqualError(t, err, "line 18: GPT PMD: table is not the frame in the PUD entry: expected 0x1fd96000, got 0x1fd94000 (they differ in bit 13)")
	var fault *Fault
	require.ErrorAs(t, err, &fault)
	expected, got, difference := fault.Parts()
	assert.Equal(t, "0x1fd96000", expected)
	assert.Equal(t, "0x1fd94000", got)
	assert.Equal(t, "line 18: GPT PMD: table is not the frame in the PUD entry (they differ in bit 13)", difference)
}

func TestManyFaultsAreCounted(t *testing.T) {
	w := newWorld(shape{NPT, 4, 1, 4, 1}).pair.Guest
	w.Address.Value ^= 1<<12 | 1<<21 | 1<<30
	assert.ErrorContains(t, CheckWalk(w).Judge(nil), "\nand 6 more like these")
}

func TestBestPair(t *testing.T) {
	one, two := newWorld(shape{NPT, 4, 1, 4, 1}).pair, newWorld(shape{NPT, 4, 1, 4, 2}).pair
	two.Guest.Output.Value += 0x200000 // ends where no host walk begins

	p, linked := Best([]Walk{two.Guest, one.Guest}, []Walk{one.Host})
	assert.True(t, linked)
	assert.Equal(t, one, p, "of several the one that has a host walk")

	spoilt := clone(one.Host)
	spoilt.Steps[1].Entry.Value ^= 1 << 20
	p, _ = Best([]Walk{one.Guest}, []Walk{spoilt, one.Host})
	assert.Equal(t, one, p, "the right one of two runs")

	p, linked = Best([]Walk{two.Guest}, []Walk{spoilt})
	assert.False(t, linked)
	assert.Equal(t, Pair{two.Guest, spoilt}, p, "each for itself")
	assertFirst(t, CheckJoint(p), CheckLink, 0, "another address")

	hole := clone(one.Guest)
	hole.Steps, hole.Leaf, hole.Output, hole.Unmapped = hole.Steps[:2], 0, Field{}, &Unmapped{Level: 2}
	p, _ = Best([]Walk{hole, one.Guest}, nil)
	assert.Equal(t, one.Guest, p.Guest, "a walk to the end before one that ends in a hole")
	p, linked = Best(nil, nil)
	assert.Zero(t, p)
	assert.False(t, linked)
}

// A module may build a page table of its own and print a walk through it.
func TestForgedRoot(t *testing.T) {
	p := newWorld(shape{NPT, 4, 1, 4, 1}).pair
	p.Host.CR3 = seen(p.Guest.Root().Value|0x002, 0) // with a PCID
	assert.Empty(t, CheckPair(p))
	p.Host.CR3.Value += 0x1000
	assertFirst(t, CheckJoint(p), CheckRoot, 4, "forged")
}

func TestCR3IsRead(t *testing.T) {
	w := newWorld(shape{NPT, 4, 1, 4, 1}).pair.Host
	text := render(w, style{})
	h := parse(t, "hypercall 22: vCPU 0 of process 93 asks for GPA 0x28c9b20, CR3 0x1000002\n"+text).Walks[0]
	assert.Equal(t, seen(0x28c9b20, 1), h.Asked)
	assert.Equal(t, seen(0x1000002, 1), h.CR3)
	h = parse(t, "hypercall 22: vCPU 0 of process 93 asks for GPA 0x28c9b20\n"+text).Walks[0]
	assert.Zero(t, h.CR3, "logs of the older format")
}

func TestPublishedWalksAreKnown(t *testing.T) {
	for _, name := range []string{"course-gpt-dump.txt", "course-ept-dump.txt"} {
		assert.True(t, parse(t, readFile(t, name)).Walks[0].Published(), name)
	}
	p := newWorld(shape{EPT, 4, 1, 4, 1}).pair
	assert.False(t, p.Guest.Published())
	assert.Empty(t, Walk{}.Fingerprint())
	assert.False(t, Walk{}.Published())
}

func TestReservedBits(t *testing.T) {
	for _, tc := range []struct {
		name  string
		shape shape
		spoil func(p *Pair)
		level int
	}{
		{"write without read", shape{EPT, 4, 1, 4, 1}, func(p *Pair) { p.Host.Steps[1].Entry.Value &^= 1 }, 3},
		{"bit of a memory type above a table", shape{EPT, 4, 1, 4, 1}, func(p *Pair) { p.Host.Steps[0].Entry.Value |= 1 << 4 }, 4},
		{"memory type 7", shape{EPT, 4, 1, 4, 1}, func(p *Pair) { p.Host.Steps[3].Entry.Value |= 7 << 3 }, 1},
		{"low frame bit of a 2 MiB page", shape{NPT, 4, 2, 4, 1}, func(p *Pair) { p.Host.Steps[2].Entry.Value |= 1 << 13 }, 2},
		{"and of one in EPT, which has no PAT bit", shape{EPT, 4, 2, 4, 1}, func(p *Pair) { p.Host.Steps[2].Entry.Value |= 1 << 12 }, 2},
	} {
		p := newWorld(tc.shape).pair
		tc.spoil(&p)
		assertFirst(t, CheckWalk(p.Host), CheckReserved, tc.level, tc.name)
	}
}

func FuzzJudge(f *testing.F) {
	guest, host := readFile(f, "course-gpt-dump.txt"), readFile(f, "course-ept-dump.txt")
	f.Add(guest, host)
	f.Add(host, guest[:500])
	f.Add("hypercall 22: vCPU 0 of process 93 asks for GPA 0x28c9b20, CR3 0x1\n"+host, guest)
	f.Fuzz(func(t *testing.T, a, b string) {
		one, _ := Parse(a)
		two, _ := Parse(b)
		p, linked := Best(append(one.Guests(), two.Guests()...), append(one.Hosts(), two.Hosts()...))
		if linked {
			require.Equal(t, p.Guest.Output.Value, p.Host.GPA().Value)
		}
		var fault *Fault
		if err := CheckPair(p).Judge(append(one.Notes, two.Notes...)); errors.As(err, &fault) {
			require.NotEmpty(t, fault.Findings)
			require.NotEmpty(t, err.Error())
			_, _, difference := fault.Parts()
			require.NotEmpty(t, difference)
		}
	})
}
