package pagewalk

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What arithmetic cannot see in a log: one flipped bit that leaves everything consistent.
//
//   - The flags of an entry that the walk does not depend on: of an x86 table entry bits
//     1 to 6 and 8 to 11, and 52 to 63 (rights, cache, accessed, software, NX); of an EPT
//     one bits 1, 2, 8 to 11 and 52 to 63. Of the guest's leaf bit 7 of a small page or
//     bit 12 of a large one (PAT) besides.
//   - Nothing of the host's leaf: KVM prints it twice.
//   - The root, CR3 or EPTP: no other line has it. Where KVM prints the guest's CR3, the
//     guest's root is seen, but not the flags in CR3.
//   - The top bit of Mask1: a processor may have fewer address bits.
//
// The witness sees all of them but the accessed and dirty bits.
func invisible(f flip, w Walk, cr3 bool) bool {
	flags := f.bit >= 1 && f.bit <= 6 || f.bit >= 8 && f.bit <= 11 || f.bit >= 52
	switch f.field {
	case "entry":
		leaf := f.level == w.Leaf
		switch {
		case leaf && !w.Kind.Guest():
			return false
		case leaf:
			return flags || f.bit == 7 && f.level == 1 || f.bit == 12 && f.level > 1
		case w.Format() == EPTE:
			return flags && (f.bit < 3 || f.bit > 6)
		}
		return flags
	case "table":
		return f.level == w.Levels && !(w.Kind.Guest() && cr3)
	case "Mask1":
		return f.bit == 51
	case "CR3":
		return f.bit < 12 || f.bit >= 52
	}
	return false
}

// flip is a place in a log where a bit of a number can be turned.
type flip struct {
	field string // "entry", "table", "index", "address", "output", "value", or a detail's name
	level int    // 0 where the field is of none
	bit   int
	text  string // the log with that bit turned
}

// names are the words one of which a message has to contain.
func (f flip) names(w Walk) []string {
	switch {
	case f.level > 0:
		return []string{w.Name(f.level)}
	case f.field == "address":
		return []string{"offset", w.Kind.address()}
	case f.field == "output":
		return []string{w.Kind.output()}
	case f.field == "CR3":
		return []string{"CR3"}
	case f.field == "asked":
		return []string{"GPA"}
	}
	return []string{f.field}
}

var (
	flipLevel  = regexp.MustCompile(`\b(PGD|P4D|PUD|PMD|PTE)\b`)
	flipBinary = regexp.MustCompile(`[01]{9}[01]*(?: [01]{9,})*`)
	flipIndex  = regexp.MustCompile(`(?:index: |\* |^ *)(\d+)(?: *:|\s*$)`)
	flipValue  = regexp.MustCompile(`Value at ...: (\d+)`)
	flipHex    = regexp.MustCompile(`(GPA|CR3) 0x([0-9a-f]+)`)
)

// flips turns every bit of every number in the log of one walk.
func flips(text string, w Walk) (out []flip) {
	lines := strings.Split(text, "\n")
	with := func(i int, line string) string {
		changed := append([]string(nil), lines...)
		changed[i] = line
		return strings.Join(changed, "\n")
	}
	for i, line := range lines {
		for _, f := range flipLine(reStamp.ReplaceAllString(rePrintk.ReplaceAllString(line, ""), ""), w) {
			f.text = with(i, f.text)
			out = append(out, f)
		}
	}
	return out
}

func flipLine(line string, w Walk) (out []flip) {
	name := flipLevel.FindString(line)
	level := levelOf(name, w.Levels)
	switch {
	case strings.Contains(line, "NEXT_LVL"):
		if level--; name == "" {
			level = w.Levels
		}
		out = append(flipBits(line, "table", level, 12), flipNumber(line, flipIndex, 10, 9, "index", level)...)
	case strings.Contains(line, "index:"):
		out = flipNumber(line, flipIndex, 10, 9, "index", level)
	case strings.Contains(line, "Value at"):
		out = flipNumber(line, flipValue, 10, 64, "value", 0)
	case strings.Contains(line, "asks for"):
		for _, f := range flipNumber(line, flipHex, 16, 64, "asked", 0) {
			out = append(out, f)
		}
	case strings.Contains(line, ": P"):
		out = append(flipBits(line, "entry", level, 0), flipNumber(line, flipIndex, 10, 9, "index", level)...)
	case flipBinary.MatchString(line):
		out = flipBits(line, strings.Fields(line)[0], level, 0)
		for i := range out {
			f := &out[i]
			switch address := strings.HasPrefix(strings.TrimSpace(line), w.Kind.address()+" ") && !strings.Contains(line, "("); {
			case address && f.bit >= 12:
				f.field, f.level = "address", 1+(f.bit-12)/9
			case address:
				f.field = "address"
			case f.field == w.Kind.output():
				f.field = "output"
			}
		}
	}
	return out
}

// flipBits turns each binary digit of a line; the last one is the bit low.
func flipBits(line, field string, level, low int) (out []flip) {
	at := flipBinary.FindStringIndex(line)
	if at == nil {
		return nil
	}
	bit := low
	for i := at[1] - 1; i >= at[0]; i-- {
		if line[i] == ' ' {
			continue
		}
		out = append(out, flip{field, level, bit, line[:i] + string(line[i]^1) + line[i+1:]})
		bit++
	}
	return out
}

// flipNumber turns each bit of every number that the last group of re finds.
func flipNumber(line string, re *regexp.Regexp, base, width int, field string, level int) (out []flip) {
	for _, m := range re.FindAllStringSubmatchIndex(line, -1) {
		from, to := m[len(m)-2], m[len(m)-1]
		if len(m) == 6 && line[m[2]:m[3]] == "CR3" {
			field = "CR3"
		}
		n, _ := strconv.ParseUint(line[from:to], base, 64)
		for bit := range width {
			out = append(out, flip{field, level, bit, line[:from] + strconv.FormatUint(n^1<<bit, base) + line[to:]})
		}
	}
	return out
}

// only is the part of a text that tells of one walk.
func only(text string, w Walk) string {
	return strings.Join(strings.Split(text, "\n")[w.First-1:w.Last], "\n") + "\n"
}

// references are real logs of one pair each.
func references(t *testing.T) map[string][2]string {
	out := map[string][2]string{
		"course": {readFile(t, "course-gpt-dump.txt"), readFile(t, "course-ept-dump.txt")},
		"cr3":    {readFile(t, "cr3.guest.txt"), readFile(t, "cr3.host.txt")},
	}
	for _, name := range []string{"tdp4-4k", "tdp4-2m", "tdp5-4k", "ept-tdp4-4k"} {
		guest, host := readFile(t, "own/"+name+".guest.txt"), readFile(t, "own/"+name+".host.txt")
		for i, p := range Pairs(parse(t, guest), parse(t, host)) {
			if i == 0 || name == "tdp4-4k" { // the second one has a large page in the guest
				out[fmt.Sprintf("%s %d", name, i)] = [2]string{only(guest, p.Guest), only(host, p.Host)}
			}
		}
	}
	return out
}

// judge is what is said about two logs.
func judge(t *testing.T, guest, host string) error {
	g, _ := ParseGuest(guest)
	h, _ := ParseHost(host)
	p, _ := Best(g.Guests(), h.Hosts())
	return CheckPair(p).Judge(append(g.Notes, h.Notes...))
}

func TestOneFlippedBit(t *testing.T) {
	for name, log := range references(t) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			require.NoError(t, judge(t, log[0], log[1]))
			p, linked := Best(parse(t, log[0]).Guests(), parse(t, log[1]).Hosts())
			require.True(t, linked)
			seen := map[string]int{}
			for _, f := range flips(log[0], p.Guest) {
				seen[f.field]++
				assertSeen(t, f, p.Guest, p.Host.CR3.Seen, judge(t, f.text, log[1]))
			}
			for _, f := range flips(log[1], p.Host) {
				seen[f.field]++
				assertSeen(t, f, p.Host, p.Host.CR3.Seen, judge(t, log[0], f.text))
			}
			tables := p.Guest.Levels - p.Guest.Leaf + 1 + p.Host.Levels - p.Host.Leaf + 1
			assert.Equal(t, tables*64, seen["entry"], "every bit of every entry")
			assert.Equal(t, tables*40, seen["table"], "and of every table's address")
			assert.Equal(t, 52+64, seen["output"])
			assert.Equal(t, 2*64, seen["value"])
		})
	}
}

// assertSeen demands that a flipped bit is found, and its level named, or that it is one
// of those that cannot be.
func assertSeen(t *testing.T, f flip, w Walk, cr3 bool, err error) {
	where := fmt.Sprintf("%s of the %s walk, level %d, bit %d", f.field, w.Kind, f.level, f.bit)
	if invisible(f, w, cr3) {
		assert.NoError(t, err, where)
		return
	}
	var fault *Fault
	if !assert.ErrorAs(t, err, &fault, where) {
		return
	}
	assert.False(t, fault.Cut(), "%s: wrong, not cut: %v", where, fault)
	named := false
	for _, n := range f.names(w) {
		named = named || strings.Contains(strings.SplitN(fault.Error(), "\n", 2)[0], n)
	}
	assert.True(t, named, "%s: the message does not name it: %v", where, fault)
}
