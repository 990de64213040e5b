package pagewalk

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

type eventKind int

const (
	evIndex    eventKind = iota // " GPT PGD index: 304"
	evTable                     // " NEXT_LVL_GPA(CR3)  =  0…  +   8 * 304"
	evEntry                     // " 304: PGD 0… 0… 0…"
	evAddress                   // " GVA 100110000 … 011001011000"
	evOutput                    // " GPA            =      0… 0…" and "HPA   0… 0… 0…"
	evDetail                    // " Mask1  0… 1… 0…"
	evValue                     // "Value at GVA: 1772334"
	evLeaf                      // "Large PMD detected!", "Huge Page (2M) at level 2 detected!"
	evLabel                     // "This is NPT"
	evUnmapped                  // "no mapping at level 2", "NPT walk: no mapping at level 2 (entry 0x0)"
	evReason                    // "(no memory slot holds this address)", after evUnmapped
	evAsked                     // "hypercall 22: vCPU 0 of process 93 asks for GPA 0x28c9b20, CR3 0x18c4002"
	evUnread                    // "no value at HPA: the frame is not RAM"
)

type side int

const (
	anySide side = iota // an entry line does not say which walk it is of
	guestSide
	hostSide
)

// event is one line of a log that was understood.
type event struct {
	kind   eventKind
	side   side
	source string
	line   int
	name   string // level, register or detail
	tables Kind   // what the line says about the tables, if anything
	value  Hex
	text   string
	index  int // table index, or level number
	scale  int
	groups int // 9-bit groups of an address
	cr3    Field
	torn   bool // the number at its end may lack digits
}

// The patterns are not anchored: logs come with syslog prefixes, indentation, or none.
const (
	levelPattern = `(PGD|P4D|PUD|PMD|PTE)`
	rowPattern   = `([01]{12}) ([01]{40}) ([01]{12})\b`
)

// hint is a piece of text that every match contains: most lines of a console need no
// regular expression.
var patterns = []struct {
	hint string
	re   *regexp.Regexp
	read func(m []string) (event, error)
}{
	{"index:", regexp.MustCompile(`\b(GPT|EPT|NPT|SPT) ` + levelPattern + ` index:\s*(\d{1,5})`), readIndex},
	{"NEXT_LVL_", regexp.MustCompile(`NEXT_LVL_(GPA|HPA)\((\w+)\)\s*=\s*([01]{40})\s*\+\s*(\d{1,5})\s*\*\s*(\d{1,5})`), readTable},
	{":", regexp.MustCompile(`(\d{1,5})\s*:\s*` + levelPattern + `\s+` + rowPattern), readEntry},
	{"GPA", regexp.MustCompile(`\bGPA\s*=\s*([01]{40}) ([01]{12})\b`), readGuestOutput},
	{"G", regexp.MustCompile(`\b(GVA|GPA) ((?:[01]{16} |[01]{7} )?)((?:[01]{9} ){4,5})([01]{12})\b`), readAddress},
	{" ", regexp.MustCompile(`\b(PGD|P4D|PUD|PMD|PTE|Mask1|HFN|GVA|GPA|Mask2|Offset|HPA)\s+` + rowPattern), readDetail},
	{"Value at", regexp.MustCompile(`Value at (GVA|HPA):\s*(\d{1,20})`), readValue},
	{"detected", regexp.MustCompile(`\bLarge ((?i:PGD|P4D|PUD|PMD)) detected`), readGuestLeaf},
	{"Page (", regexp.MustCompile(`(?:Normal|Huge) Page \(\w+\) at level (\d) detected`), readHostLeaf},
	{"This is", regexp.MustCompile(`This is (?:(EPT|NPT)\b|a shadow page table)`), readLabel},
	{"asks for GPA", regexp.MustCompile(`asks for GPA 0x([0-9a-fA-F]{1,16})\b(?:, CR3 0x([0-9a-fA-F]{1,16})\b)?`), readAsked},
	{"no value at", regexp.MustCompile(`no value at (GVA|HPA): (.+)`), readUnread},
	{"no mapping", regexp.MustCompile(`(?:\b(GPT|EPT|NPT|SPT|(?i:shadow)) walk: )?\bno mapping at level (\d)(?:\s*\(entry 0x([0-9a-fA-F]{1,16})\))?`), readUnmapped},
	{"not present", regexp.MustCompile(`\bnot present at ` + levelPattern), readNotPresent},
	{"(", regexp.MustCompile(`^\s*\((.+)\)\s*$`), readReason},
}

// reTableOnly is a NEXT_LVL line that lost its index.
var reTableOnly = regexp.MustCompile(`NEXT_LVL_(GPA|HPA)\((\w+)\)\s*=\s*([01]{40})()()(?:[^01]|$)`)

// reOpening tells a piece of one of the lines above from other text.
var reOpening = regexp.MustCompile(`NEXT_LVL|\d+ *: P(\w?\w?$|(GD|4D|UD|MD|TE)\b)` +
	`|\b(GVA|GPA|HPA|HFN|Mask[12]|Offset|PTE|PMD|PUD)\b[ =01]*$` +
	`|\bValue at?\b[ GHVPA:]*$|\b(GPT|EPT|NPT|SPT) P[GDUMTE4index: ]*$`)

// recognise reads a line of a log; false means that it is none, or unreadable.
func recognise(text string) (event, bool) {
	for _, p := range patterns {
		if !strings.Contains(text, p.hint) {
			continue
		}
		m := p.re.FindStringSubmatch(text)
		if m == nil {
			continue
		}
		ev, err := p.read(m[1:])
		return ev, err == nil
	}
	return event{}, false
}

func sideOf(end string) side {
	if end == "GPA" || end == "GVA" || end == "GPT" {
		return guestSide
	}
	return hostSide
}

func kindOf(prefix string) Kind {
	if k := Kind(strings.ToUpper(prefix)); k == GPT || k == EPT || k == NPT {
		return k
	}
	return Shadow
}

// rootKinds says which tables a root register stands for in a host log.
var rootKinds = map[string]Kind{"EPTP": EPT, "NCR3": NPT, "CR3": Shadow}

func bits(groups ...string) (Hex, error) {
	v, err := strconv.ParseUint(strings.ReplaceAll(strings.Join(groups, ""), " ", ""), 2, 64)
	return Hex(v), err
}

func readIndex(m []string) (event, error) {
	n, err := strconv.Atoi(m[2])
	return event{kind: evIndex, side: sideOf(m[0]), tables: kindOf(m[0]), name: m[1], index: n}, err
}

func readTable(m []string) (event, error) {
	frame, err := bits(m[2])
	ev := event{kind: evTable, side: sideOf(m[0]), name: m[1], value: frame << 12, index: -1}
	if ev.side == hostSide {
		ev.tables = rootKinds[m[1]]
	}
	if _, known := rankAbove[ev.name]; !known || frame>>40 != 0 {
		return ev, fmt.Errorf("unknown table %q", ev.name)
	}
	if m[3] != "" {
		ev.scale, _ = strconv.Atoi(m[3])
		ev.index, err = strconv.Atoi(m[4])
	}
	return ev, err
}

func readEntry(m []string) (event, error) {
	n, _ := strconv.Atoi(m[0])
	v, err := bits(m[2:5]...)
	return event{kind: evEntry, name: m[1], index: n, value: v}, err
}

func readGuestOutput(m []string) (event, error) {
	v, err := bits(m...)
	return event{kind: evOutput, side: guestSide, value: v}, err
}

func readAddress(m []string) (event, error) {
	groups := len(m[2]) / 10
	v, err := bits(m[1:]...)
	ev := event{kind: evAddress, side: guestSide, name: m[0], value: v, groups: groups}
	if m[0] == "GPA" {
		ev.side = hostSide
	} else if m[1] == "" {
		ev.value = signExtend(v, groups)
	}
	return ev, err
}

func readDetail(m []string) (event, error) {
	v, err := bits(m[1:]...)
	if m[0] == "HPA" {
		return event{kind: evOutput, side: hostSide, value: v}, err
	}
	return event{kind: evDetail, side: hostSide, name: m[0], value: v}, err
}

func readValue(m []string) (event, error) {
	v, err := strconv.ParseUint(m[1], 10, 64)
	return event{kind: evValue, side: sideOf(m[0]), value: Hex(v)}, err
}

func readGuestLeaf(m []string) (event, error) {
	return event{kind: evLeaf, side: guestSide, index: rank[strings.ToUpper(m[0])]}, nil
}

func readHostLeaf(m []string) (event, error) {
	n, err := strconv.Atoi(m[0])
	if n < 1 || n > 3 {
		return event{}, fmt.Errorf("no page at level %d", n)
	}
	return event{kind: evLeaf, side: hostSide, index: n}, err
}

func readLabel(m []string) (event, error) {
	return event{kind: evLabel, side: hostSide, tables: kindOf(m[0])}, nil
}

func readUnmapped(m []string) (event, error) {
	n, err := strconv.Atoi(m[1])
	if n < 1 || n > 5 {
		return event{}, fmt.Errorf("no level %d", n)
	}
	ev := event{kind: evUnmapped, index: n, scale: len(m[2])}
	if m[0] != "" {
		ev.side, ev.tables = sideOf(strings.ToUpper(m[0])), kindOf(m[0])
	}
	if m[2] != "" {
		entry, err := strconv.ParseUint(m[2], 16, 64)
		ev.value = Hex(entry)
		return ev, err
	}
	return ev, err
}

func readNotPresent(m []string) (event, error) {
	return event{kind: evUnmapped, name: m[0]}, nil
}

func readReason(m []string) (event, error) {
	return event{kind: evReason, text: m[0]}, nil
}

func readAsked(m []string) (event, error) {
	v, err := strconv.ParseUint(m[0], 16, 64)
	ev := event{kind: evAsked, side: hostSide, value: Hex(v)}
	if m[1] != "" && err == nil {
		var cr3 uint64
		cr3, err = strconv.ParseUint(m[1], 16, 64)
		ev.cr3 = seen(Hex(cr3), 0)
	}
	return ev, err
}

func readUnread(m []string) (event, error) {
	return event{kind: evUnread, side: sideOf(m[0]), text: strings.TrimSpace(m[1])}, nil
}

// events reads all segments, joining the lines that were wrapped or cut by another
// kernel's message. What starts like a line of a log and stays unreadable is noted.
func events(segs []segment) (out []event, notes []Note) {
	used := make([]bool, len(segs))
	for i, s := range segs {
		if used[i] {
			continue
		}
		ev, ok := recognise(s.text)
		if !ok && reOpening.MatchString(s.text) {
			var note Note
			ev, note, ok = repair(segs, i, used)
			notes = append(notes, note)
		} else if ok && openEnded(ev) {
			ev, notes, ok = endNumber(segs, i, used, ev, notes)
		}
		if ok {
			ev.line, ev.source = s.line, s.source
			out = append(out, ev)
		}
	}
	return out, notes
}

// endNumber sees to a line that ends in a number of any width: wrapped or cut there,
// it can be read and is wrong. A number that may go on counts only where nothing else
// tells it; false means that the line is of no use without.
func endNumber(segs []segment, i int, used []bool, ev event, notes []Note) (event, []Note, bool) {
	s := segs[i]
	if s.cut || s.unended {
		ev.torn = true
		if ev.kind == evTable {
			ev.index = -1
		}
		return ev, append(notes, cutNote(s, "the number at its end may go on")), ev.kind == evTable || ev.kind == evValue
	}
	if i+1 < len(segs) && segs[i+1].line <= s.line+1 && continues(s, segs[i+1]) && reDigits.MatchString(segs[i+1].text) {
		if longer, ok := recognise(s.text + segs[i+1].text); ok {
			used[i+1] = true
			return longer, append(notes, joinedNote(s, segs[i+1].line)), true
		}
	}
	return ev, notes, true
}

func joinedNote(s segment, last int) Note {
	return Note{Kind: NoteRejoined, Line: s.line, Text: fmt.Sprintf("cut here and joined with line %d", last)}
}

// openEnded says that an event ends in a number without a fixed width.
func openEnded(ev event) bool {
	return ev.kind == evIndex || ev.kind == evTable || ev.kind == evValue || ev.kind == evAsked
}

// repair reads a line that is cut, with the help of what follows if it can.
func repair(segs []segment, i int, used []bool) (event, Note, bool) {
	if ev, last, ok := rejoin(segs, i, used); ok {
		return ev, joinedNote(segs[i], last), true
	}
	if m := reTableOnly.FindStringSubmatch(segs[i].text); m != nil {
		ev, err := readTable(m[1:])
		return ev, cutNote(segs[i], "the index is not there"), err == nil
	}
	return event{}, cutNote(segs[i], "cannot be read"), false
}

var (
	reBits   = regexp.MustCompile(`^[01 ]+$`)
	reDigits = regexp.MustCompile(`^\d{1,20}\s*$`)
	// reIndexRow is the line that repeats all indices: it continues nothing.
	reIndexRow = regexp.MustCompile(`^\s*\d{1,3}(\s+\d{1,3}){3,4}\s*$`)
)

// reach is how many segments after a cut line may hold its rest.
const reach = 6

// rejoin looks for the rest of segment i. The rest has no timestamp, and counts only
// if the pieces together make a whole line of a log. A line that another kernel's
// message cut may go on after that message; a wrapped one goes on at once.
func rejoin(segs []segment, i int, used []bool) (ev event, last int, ok bool) {
	text, pieces := segs[i].text, []int{}
	for j := i + 1; j < len(segs) && j <= i+reach; j++ {
		next := segs[j]
		if !continues(segs[i], next) || used[j] {
			if !segs[i].cut {
				break
			}
			continue
		}
		for _, joint := range []string{"", " "} {
			if ev, ok = recognise(text + joint + next.text); ok {
				markUsed(used, append(pieces, j))
				return ev, next.line, true
			}
		}
		if !segs[i].cut || reBits.MatchString(next.text) {
			text, pieces = text+next.text, append(pieces, j)
		}
	}
	return event{}, 0, false
}

func continues(s, next segment) bool {
	if next.stamped || next.source != s.source || reIndexRow.MatchString(next.text) {
		return false
	}
	_, whole := recognise(next.text)
	return !whole && !reOpening.MatchString(next.text)
}

func markUsed(used []bool, pieces []int) {
	for _, j := range pieces {
		used[j] = true
	}
}

func cutNote(s segment, why string) Note {
	text := strings.TrimSpace(s.text)
	if len(text) > 100 {
		text = text[:100] + "…"
	}
	digits := strings.Count(text, "0") + strings.Count(text, "1")
	return Note{Kind: NoteCut, Line: s.line, Text: fmt.Sprintf("%s: %q (%d digits 0 or 1 of it are there)", why, text, digits)}
}
