package pagewalk

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func readFile(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	require.NoError(t, err)
	return string(b)
}

func parse(t testing.TB, text string) Log {
	t.Helper()
	log, err := Parse(text)
	require.NoError(t, err)
	return log
}

func entries(w Walk) (out []string) {
	for _, s := range w.Steps {
		out = append(out, fmt.Sprintf("%s[%d]@%v=%v", s.Name, s.Index, s.Table, s.Entry))
	}
	return out
}

func TestParseCourseSamples(t *testing.T) {
	guest := parse(t, readFile(t, "course-gpt-dump.txt"))
	require.Len(t, guest.Walks, 1)
	assert.Empty(t, guest.Notes)
	g := guest.Walks[0]
	assert.Equal(t, []string{
		"PGD[304]@0x30c0c000=0x1fd93067", "PUD[502]@0x1fd93000=0x1fd94067",
		"PMD[469]@0x1fd94000=0x3aae4063", "PTE[163]@0x3aae4000=0x800000003aaa3063",
	}, entries(g))
	assert.Equal(t, seen(0xffff987dbaaa3658, 10), g.Address)
	assert.Equal(t, seen(0x3aaa3658, 24), g.Output)
	assert.Equal(t, seen(1772334, 3), g.Value)
	assert.Empty(t, CheckWalk(g))

	host := parse(t, readFile(t, "course-ept-dump.txt"))
	require.Len(t, host.Walks, 1)
	h := host.Walks[0]
	assert.Equal(t, []string{
		"PGD[0]@0x1d7625000=0x221897107", "PUD[0]@0x221897000=0x2028a4107",
		"PMD[469]@0x2028a4000=0x220e1f107", "PTE[163]@0x220e1f000=0x1ade9bf77",
	}, entries(h))
	assert.Equal(t, EPTE, h.Format())
	assert.Equal(t, seen(0x1ade9b658, 33), h.Output)
	assert.Equal(t, Field{Value: 1772334, Line: 34, Seen: true, Torn: true}, h.Value, "the file ends there, without a line end")
	assert.Len(t, h.Details, 6)
	assert.Empty(t, CheckWalk(h))

	pairs := Pairs(guest, host)
	require.Len(t, pairs, 1)
	assert.Empty(t, CheckPair(pairs[0]))
	assert.Empty(t, CheckNonce(pairs[0], 1772334))
}

func TestParseConsoleOfTwoKernels(t *testing.T) {
	log := parse(t, readFile(t, "nested-npt-4level.console.txt"))
	require.Len(t, log.Walks, 3)
	assert.Empty(t, log.Notes)
	copied := log.Walks[1]
	assert.Equal(t, "L2", copied.Source)
	assert.Equal(t, entries(log.Walks[0]), entries(copied))

	pairs := Pairs(log)
	require.Len(t, pairs, 1)
	h := pairs[0].Host
	assert.Equal(t, 2, h.Leaf)
	assert.EqualValues(t, 2<<20, h.PageSize())
	assert.EqualValues(t, 0x100c9b20, h.Output.Value)
	assert.Equal(t, X86, h.Format(), "the heading says EPT, the entries are NPT's")

	findings := CheckPair(pairs[0])
	require.Len(t, findings, 1)
	assert.Equal(t, CheckLabel, findings[0].Check)
	assert.Equal(t, Advice, findings[0].Severity)
	assert.Empty(t, Diagnose(pairs[0]))
}

func TestParseInterleavedConsole(t *testing.T) {
	text := readFile(t, "nested-ept-bochs.console.txt")
	log := parse(t, text)
	require.Len(t, log.Walks, 4)

	tail, head := log.Hosts()[0], log.Hosts()[1]
	assert.Equal(t, []string{"PMD[20]@-=0x35e25907", "PTE[210]@0x35e25000=0x600000012cd2b77"}, entries(tail))
	assert.EqualValues(t, 0x28d2bb8, tail.Address.Value, "from the lines about the leaf")
	assert.Equal(t, []string{
		"no PGD line: neither its table nor its entry is printed",
		"no PUD line: neither its table nor its entry is printed",
		"no NEXT_LVL line before the PMD entry",
	}, texts(tail.Notes))
	assert.Len(t, head.Steps, 3)
	assert.Contains(t, texts(head.Notes), "no PTE line: neither its table nor its entry is printed")
	assert.Equal(t, []Note{
		{Kind: NoteRejoined, Line: 19, Text: "cut here and joined with line 20"},
		{Kind: NoteRejoined, Line: 88, Text: "cut here and joined with line 89"},
	}, log.Notes)

	pairs := Pairs(log)
	require.Len(t, pairs, 1, "fragments and copies become one pair")
	assert.Empty(t, CheckPair(pairs[0]))
	assert.Empty(t, CheckNonce(pairs[0], 1772334))
	assert.Equal(t, EPTE, pairs[0].Host.Format())

	cut := strings.ReplaceAll(text, "\n01 100100000111", "\n")
	log = parse(t, cut)
	assert.Contains(t, log.Notes, Note{Kind: NoteCut, Line: 88,
		Text: `cannot be read: "20 : PMD 000000000000 00000000000000000000001101011110001001" (51 digits 0 or 1 of it are there)`})
}

func texts(notes []Note) (out []string) {
	for _, n := range notes {
		out = append(out, n.Text)
	}
	return out
}

func TestParseVariants(t *testing.T) {
	guest, host := readFile(t, "course-gpt-dump.txt"), readFile(t, "course-ept-dump.txt")
	eachLine := func(text, format string) string {
		lines := strings.Split(text, "\n")
		for i := range lines {
			lines[i] = fmt.Sprintf(format, lines[i])
		}
		return strings.Join(lines, "\n")
	}
	bare := regexp.MustCompile(`(?m)^\[ *[\d.]+\] ?`).ReplaceAllString(guest+"\n"+host, "")
	want := []Walk{unlined(parse(t, guest).Walks[0]), unlined(parse(t, host).Walks[0])}
	variants := map[string]string{
		"CRLF":           strings.ReplaceAll(bare, "\n", "\r\n"),
		"timestamps":     eachLine(bare, "[    3.817164] %s"),
		"caller":         eachLine(bare, "[    3.817164][   T93] %s"),
		"printk level":   eachLine(bare, "<6>%s"),
		"raw kmsg":       eachLine(bare, "<6>[    3.817164] %s"),
		"prefix":         eachLine(bare, "L2 [    3.817164] %s\r"),
		"prefix, level":  eachLine(bare, "L2 <6>[    3.817164] %s"),
		"syslog":         eachLine(bare, "Nov 22 10:14:55 debian kernel: [ 9016.010071] %s"),
		"human time":     eachLine(bare, "[Sun Nov 22 10:14:55 2026] %s"),
		"no blank lines": strings.ReplaceAll(bare, "\n\n", "\n"),
		"no indentation": strings.ReplaceAll(bare, "\n ", "\n"),
	}
	for width := 45; width < 96; width++ {
		variants[fmt.Sprintf("wrapped at %d", width)] = wrap(bare, width)
	}
	for name, text := range variants {
		t.Run(name, func(t *testing.T) {
			var got []Walk
			for _, w := range parse(t, text).Walks {
				got = append(got, unlined(w))
			}
			assert.Equal(t, want, got)
		})
	}
}

func wrap(text string, width int) string {
	var out []string
	for line := range strings.SplitSeq(text, "\n") {
		for len(line) > width {
			out, line = append(out, line[:width]), line[width:]
		}
		out = append(out, line)
	}
	return strings.Join(out, "\n")
}

func TestParseMissingLines(t *testing.T) {
	text := readFile(t, "course-gpt-dump.txt")
	for _, tc := range []struct {
		name, drop, note string
		severity         Severity
	}{
		{"PTE entry", "163: PTE", "no PTE entry after its NEXT_LVL line", Gap},
		{"PMD table", "NEXT_LVL_GPA(PUD)", "no NEXT_LVL line before the PMD entry", Advice},
		{"root", "NEXT_LVL_GPA(CR3)", "no NEXT_LVL line before the PGD entry", Gap},
		{"GPA", "GPA            =", "no GPA line", Gap},
		{"GVA", "GVA 1001", "no GVA line", Gap},
		{"value", "Value at", `no line "Value at GVA"`, Gap},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var kept []string
			for line := range strings.SplitSeq(text, "\n") {
				if !strings.Contains(line, tc.drop) {
					kept = append(kept, line)
				}
			}
			log := parse(t, strings.Join(kept, "\n"))
			require.Len(t, log.Walks, 1)
			assert.Contains(t, texts(log.Walks[0].Notes), tc.note)
			findings := CheckWalk(log.Walks[0])
			assert.NoError(t, findings.Err(), "a gap is not wrong")
			assert.NotEmpty(t, findings.With(tc.severity))
		})
	}
}

func TestParseTruncatedAnywhere(t *testing.T) {
	whole := readFile(t, "course-ept-dump.txt")
	for n := range len(whole) {
		log, err := Parse(whole[:n])
		if err != nil {
			require.ErrorIs(t, err, ErrNoLog)
			continue
		}
		require.Len(t, log.Walks, 1, "first %d bytes", n)
	}
}

func TestParseSmallVariants(t *testing.T) {
	text := strings.ReplaceAll(readFile(t, "course-gpt-dump.txt"), "+   8 *", "+ 64 *")
	findings := CheckWalk(parse(t, text).Walks[0])
	require.Len(t, findings, 1)
	assert.Equal(t, CheckScale, findings[0].Check)

	garbled := strings.Replace(readFile(t, "course-gpt-dump.txt"), "PMD 000000000000 0", "PMD 0000?0000000 0", 1)
	log := parse(t, garbled)
	require.Len(t, log.Notes, 1)
	assert.Equal(t, NoteCut, log.Notes[0].Kind)
	assert.Equal(t, 20, log.Notes[0].Line)
}

func TestParseLargeGuestPageOfTheCourse(t *testing.T) {
	for _, said := range []string{"Large PMD detected! return", "Large pmd detected! return"} {
		p := newWorld(shape{NPT, 4, 1, 4, 2}).pair
		text := strings.Replace(render(p.Guest, style{course: true}), "Large PMD detected!", said, 1)
		w := parse(t, text).Walks[0]
		assert.Equal(t, 2, w.Leaf)
		assert.Len(t, w.Steps, 2)
		findings := CheckWalk(w)
		assert.NoError(t, findings.Err())
		assert.Empty(t, findings.With(Gap), "the course prints no entry of a large page")
		assert.Empty(t, Diagnose(Pair{Guest: w}))
	}
}

func TestParseNothing(t *testing.T) {
	for _, text := range []string{"", "hello\nworld\n", "[    1.0] ACPI: Core revision", "EPT violation at 5: PMDs"} {
		_, err := Parse(text)
		assert.ErrorIs(t, err, ErrNoLog)
	}
	_, err := ParseHost(readFile(t, "course-gpt-dump.txt"))
	assert.ErrorIs(t, err, ErrNoLog)
	_, err = ParseGuest(readFile(t, "course-ept-dump.txt"))
	assert.ErrorContains(t, err, `expected lines such as "GPT PGD index: 304"`)
	log, err := ParseGuest(readFile(t, "nested-npt-4level.console.txt"))
	require.NoError(t, err)
	assert.Len(t, log.Walks, 2)
}

func TestRenderedLogsReadBack(t *testing.T) {
	for _, s := range shapes() {
		t.Run(s.String(), func(t *testing.T) {
			p := newWorld(s).pair
			p.Host = withDetails(p.Host)
			for _, st := range []style{{}, {valueLast: true}} {
				log := parse(t, render(p.Guest, st)+render(p.Host, st)+"other text\n"+render(p.Guest, st))
				require.Len(t, log.Walks, 3)
				assert.Empty(t, log.Notes)
				for i, want := range []Walk{p.Guest, p.Host, p.Guest} {
					assert.Empty(t, log.Walks[i].Notes)
					assert.Equal(t, want, unlined(log.Walks[i]))
				}
			}
		})
	}
}

func TestParseUnmapped(t *testing.T) {
	p := newWorld(shape{NPT, 5, 1, 4, 1}).pair
	w := p.Host
	w.Asked = w.Address
	w.Steps[3].Entry.Value, w.Steps = 0x5a0, w.Steps[:4]
	w.Leaf, w.Output, w.Value = 0, Field{}, Field{}
	w.Unmapped = &Unmapped{Level: 2, Entry: seen(0x5a0, 0), Reason: "no memory slot holds this address: an access is MMIO for the VMM"}
	log := parse(t, render(w, style{})+render(p.Host, style{}))
	require.Len(t, log.Walks, 2)
	assert.Equal(t, w, unlined(log.Walks[0]))
	assert.Empty(t, CheckWalk(log.Walks[0]))

	log = parse(t, "EPT PGD index: 0\nNPT walk: no mapping at level 3 (entry 0xdead)\n")
	require.NotNil(t, log.Walks[0].Unmapped)
	assert.Equal(t, Unmapped{Level: 3, Entry: seen(0xdead, 2), Line: 2}, *log.Walks[0].Unmapped)
	log = parse(t, "GPT PGD index: 0\nnot present at PUD\n")
	assert.Equal(t, 3, log.Walks[0].Unmapped.Level)
}

func TestParseShadow(t *testing.T) {
	s := newWorld(shape{NPT, 4, 1, 4, 1})
	w := withDetails(func() Walk { w := s.pair.Guest; w.Kind = Shadow; w.Asked = seen(0x28c9b20, 0); return w }())
	log := parse(t, render(s.pair.Guest, style{})+render(w, style{}))
	require.Len(t, log.Walks, 2)
	assert.Equal(t, w, unlined(log.Walks[1]))
	assert.Len(t, Pairs(log), 1, "paired by the GPA that was asked for")
}

func TestParseUnread(t *testing.T) {
	w := newWorld(shape{NPT, 4, 1, 4, 1}).pair.Host
	w.Value, w.Unread = Field{}, "the frame is not RAM"
	got := parse(t, render(w, style{})).Walks[0]
	assert.Equal(t, w, unlined(got))
	assert.Equal(t, []string{"no value at HPA: the frame is not RAM"}, texts(got.Notes))
}

// Two kernels print at once, line by line.
func TestParseAlternatingLines(t *testing.T) {
	p := newWorld(shape{NPT, 4, 1, 4, 1}).pair
	g, h := strings.Split(render(p.Guest, style{}), "\n"), strings.Split(render(p.Host, style{}), "\n")
	var mixed []string
	for i := range max(len(g), len(h)) {
		if i < len(h) {
			mixed = append(mixed, h[i])
		}
		if i < len(g) {
			mixed = append(mixed, g[i])
		}
	}
	log := parse(t, strings.Join(mixed, "\n"))
	require.Len(t, log.Walks, 2)
	assert.Equal(t, p.Host, unlined(log.Walks[0]))
	assert.Equal(t, p.Guest, unlined(log.Walks[1]))
}

func TestMergeKeepsWhatDiffers(t *testing.T) {
	a, b := newWorld(shape{NPT, 4, 1, 4, 1}).pair.Host, newWorld(shape{NPT, 4, 1, 4, 1}).pair.Host
	assert.Len(t, Merge([]Walk{a, b}), 1)
	b.Steps[3].Entry.Value ^= 1 << 20
	assert.Len(t, Merge([]Walk{a, b}), 2)
	assert.Len(t, Merge([]Walk{{Kind: EPT, Levels: 4}, {Kind: EPT, Levels: 4}}), 2, "nothing in common")
}

func TestEvidenceSurvivesJSON(t *testing.T) {
	log := parse(t, readFile(t, "nested-npt-4level.console.txt"))
	b, err := json.Marshal(log)
	require.NoError(t, err)
	assert.Contains(t, string(b), `"0xffff8dba828c9b20"`)
	var back Log
	require.NoError(t, json.Unmarshal(b, &back))
	assert.Equal(t, log, back)
}

// A student's file must not keep the grader busy for hours.
func TestHostileLogsTakeSeconds(t *testing.T) {
	entry := " 304: PGD 000000000000 0000000000000000000000011111110110010011 000001100111\n"
	gva := " GVA 100110000 111110110 111010101 010100011 011001011000\n"
	for name, line := range map[string]string{
		"entries":       entry,
		"values":        "Value at GVA: 1\n",
		"addresses":     gva,
		"one address":   gva + "Value at GVA: 1\n GPA            =      0000000000000000000000111010101010100011 011001011000\n",
		"cut lines":     " NEXT_LVL_GPA(CR3)  =  0000\n",
		"one long line": "[    1.000000] 304: PGD 0",
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			log, _ := Parse(strings.Repeat(line, 1<<19/len(line)))
			assert.LessOrEqual(t, len(log.Walks), maxWalks)
			Pairs(log)
			assert.Less(t, time.Since(start), 20*time.Second)
		})
	}
}

// Inputs are long, and by default minimizing one takes up to a minute:
// go test -fuzz FuzzParseGuest -fuzzminimizetime 5x

func FuzzParseGuest(f *testing.F) { fuzzParser(f, ParseGuest) }
func FuzzParseHost(f *testing.F)  { fuzzParser(f, ParseHost) }

// fuzzParser holds what must be true of any text: no panic, no endless loop, line
// numbers within the text, sensible levels, and checks that stand any walk.
func fuzzParser(f *testing.F, parse func(string) (Log, error)) {
	names, err := filepath.Glob("testdata/*.txt")
	require.NoError(f, err)
	for _, name := range names {
		b := readFile(f, filepath.Base(name))
		f.Add(b[max(0, len(b)-8000):])
	}
	for _, s := range []shape{{EPT, 5, 3, 5, 2}, {NPT, 4, 2, 5, 3}} {
		p := newWorld(s).pair
		f.Add(render(p.Guest, style{}) + render(withDetails(p.Host), style{}))
	}
	f.Add("hypercall 22: vCPU 0 of process 93 asks for GPA 0x28c9b20\nSPT PGD index: 0\nno mapping at level 4\n(reason)\n")
	f.Fuzz(func(t *testing.T, text string) {
		log, err := parse(text)
		require.Equal(t, err != nil, len(log.Walks) == 0)
		lines := strings.Count(text, "\n") + 1
		for _, w := range log.Walks {
			require.True(t, 0 < w.First && w.First <= w.Last && w.Last <= lines, "lines %d to %d", w.First, w.Last)
			require.True(t, w.Levels == 4 || w.Levels == 5)
			require.True(t, 0 <= w.Leaf && w.Leaf <= w.Levels)
			below := 6
			for _, s := range w.Steps {
				require.True(t, 0 < s.Level && s.Level < below, "levels go down: %v", entries(w))
				below = s.Level
			}
			_ = CheckWalk(w).Err()
		}
		merged := Merge(log.Walks)
		require.LessOrEqual(t, len(merged), len(log.Walks))
		for _, p := range append(Pairs(log), Pair{}) {
			_, _ = CheckPair(p).First()
			_ = Diagnose(p)
		}
	})
}
