package pagewalk

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// ErrNoLog says that a text has no line of a translation log.
var ErrNoLog = errors.New("no translation log found")

// Log is what a text says about address translation.
type Log struct {
	Walks []Walk `json:"walks"` // in order of their first lines
	Notes []Note `json:"notes,omitempty"`
}

// maxWalks and lookahead bound the work on a text made to take long. A kernel's log
// buffer holds less than a hundred walks.
const (
	maxWalks  = 2000
	lookahead = 50
)

// Parse reads all walks of both kinds from a text: a log file, dmesg output, or a
// console with the messages of several kernels. Timestamps, printk levels, CRLF and
// the prefix "L2 " are dropped. Bad lines become notes; the error is ErrNoLog.
func Parse(text string) (Log, error) {
	evs, notes := events(segments(text))
	log := Log{Notes: notes}
	for _, source := range sources(evs) {
		for _, w := range assemble(source) {
			w.Source = source[0].source
			log.Walks = append(log.Walks, w)
		}
	}
	slices.SortStableFunc(log.Walks, func(a, b Walk) int { return cmp.Compare(a.First, b.First) })
	if n := len(log.Walks); n > maxWalks {
		log.Notes = append(log.Notes, Note{Kind: NoteCut, Line: log.Walks[maxWalks].First,
			Text: fmt.Sprintf("%d walks from here on are left out", n-maxWalks)})
		log.Walks = log.Walks[:maxWalks]
	}
	if len(log.Walks) == 0 {
		return log, noLog(text, `"GPT PGD index: 304" or "EPT PGD index: 0"`)
	}
	return log, nil
}

// ParseGuest reads the walks that a guest's module printed and leaves the others.
func ParseGuest(text string) (Log, error) {
	log, _ := Parse(text)
	if log.Walks = log.Guests(); len(log.Walks) == 0 {
		return log, noLog(text, `"GPT PGD index: 304"`)
	}
	return log, nil
}

// ParseHost reads the walks that KVM printed and leaves the others.
func ParseHost(text string) (Log, error) {
	log, _ := Parse(text)
	if log.Walks = log.Hosts(); len(log.Walks) == 0 {
		return log, noLog(text, `"EPT PGD index: 0" or "This is NPT"`)
	}
	return log, nil
}

func noLog(text, example string) error {
	lines := strings.Count(text, "\n")
	return fmt.Errorf("%w in %d lines: expected lines such as %s in dmesg", ErrNoLog, lines, example)
}

// Guests returns the guest walks of the log.
func (l Log) Guests() []Walk { return l.only(true) }

// Hosts returns the host walks of the log.
func (l Log) Hosts() []Walk { return l.only(false) }

func (l Log) only(guest bool) []Walk {
	var out []Walk
	for _, w := range l.Walks {
		if w.Kind.Guest() == guest {
			out = append(out, w)
		}
	}
	return out
}

// sources sorts events by the prefix of their lines, keeping their order.
func sources(evs []event) [][]event {
	var names []string
	by := map[string][]event{}
	for _, ev := range evs {
		if by[ev.source] == nil {
			names = append(names, ev.source)
		}
		by[ev.source] = append(by[ev.source], ev)
	}
	out := make([][]event, len(names))
	for i, name := range names {
		out[i] = by[name]
	}
	return out
}

// rank orders level names before it is known whether there are 4 or 5 of them.
var rank = map[string]int{"PGD": 5, "P4D": 4, "PUD": 3, "PMD": 2, "PTE": 1}

// rankAbove is the rank of the name in NEXT_LVL_GPA(NAME): the level whose entry, or
// the register whose content, names the table.
var rankAbove = map[string]int{"CR3": 6, "EPTP": 6, "NCR3": 6, "PGD": 5, "P4D": 4, "PUD": 3, "PMD": 2}

// assembler puts the events of one source together; guest and host messages can
// alternate on one console, so each side has its own draft.
type assembler struct {
	guest, host drafts
	recent      *drafts
}

// assemble returns the walks that a sequence of events describes.
func assemble(evs []event) []Walk {
	a := &assembler{}
	a.guest.kind, a.host.kind = guestSide, hostSide
	a.guest.valueOpens = valueOpens(evs)
	for i, ev := range evs {
		d := a.choose(ev, evs[i+1:])
		d.apply(ev)
		a.recent = d
	}
	return append(a.guest.finish(), a.host.finish()...)
}

// valueOpens tells the course's guest logs, whose value comes before the walk, from
// logs in which it comes last.
func valueOpens(evs []event) bool {
	var guest []event
	for _, ev := range evs {
		if ev.side == guestSide {
			guest = append(guest, ev)
		}
	}
	return len(guest) > 0 && (guest[0].kind == evValue || guest[len(guest)-1].kind != evValue)
}

// choose returns the side that an event belongs to. Entry lines look alike in both
// logs: one belongs where a NEXT_LVL line waits for it, or else to the walk that is
// under way, or else, where the start is lost, to the walk that goes on below it.
func (a *assembler) choose(ev event, rest []event) *drafts {
	switch {
	case ev.kind == evAddress && ev.name == "GVA" && a.host.awaitsGVA():
		return &a.host
	case ev.side != anySide:
		return a.of(ev.side)
	case (ev.kind == evUnmapped || ev.kind == evReason) && a.recent != nil:
		return a.recent
	case a.guest.awaits(ev) && a.host.awaits(ev):
		return a.closer(ev, rest)
	case a.guest.awaits(ev):
		return &a.guest
	case a.host.awaits(ev):
		return &a.host
	case a.recent != nil && a.recent.accepts(rank[ev.name]):
		return a.recent
	}
	for _, next := range rest[:min(len(rest), lookahead)] {
		if next.side != anySide {
			return a.of(next.side)
		}
	}
	return cmp.Or(a.recent, &a.host)
}

func (a *assembler) of(s side) *drafts {
	if s == guestSide {
		return &a.guest
	}
	return &a.host
}

// closer decides for an entry that both sides wait for: by its index, or by the table
// or page that the next line of a side names.
func (a *assembler) closer(ev event, rest []event) *drafts {
	g, h := a.guest.lastStep().TableIndex == ev.index, a.host.lastStep().TableIndex == ev.index
	if g == h {
		g, h = leadsOn(ev, guestSide, rest), leadsOn(ev, hostSide, rest)
	}
	switch {
	case g && !h:
		return &a.guest
	case h && !g:
		return &a.host
	}
	return a.recent
}

// leadsOn says that an entry's frame is what the next line of a side goes on with.
func leadsOn(entry event, s side, rest []event) bool {
	for _, next := range rest[:min(len(rest), lookahead)] {
		if next.side == s && (next.kind == evTable || next.kind == evOutput) {
			return FrameOf(entry.value) == FrameOf(next.value)
		}
	}
	return false
}

// drafts are the walks of one side while they are read.
type drafts struct {
	kind       side
	valueOpens bool
	walks      []*draft
}

// draft is a walk in the making. Levels are ranks until it is finished; a step whose
// entry is still missing has the negative rank of what is above it.
type draft struct {
	Walk
	labelled, fiveLevels bool
}

// current returns the walk under way, or a new one if there is none or fresh says so.
func (d *drafts) current(line int, fresh func(*draft) bool) *draft {
	if n := len(d.walks); n > 0 && !fresh(d.walks[n-1]) {
		w := d.walks[n-1]
		w.Last = max(w.Last, line)
		return w
	}
	w := &draft{Walk: Walk{First: line, Last: line}}
	if d.kind == guestSide {
		w.Kind = GPT
	}
	d.walks = append(d.walks, w)
	return w
}

func (w *draft) over() bool    { return w.Output.Seen || w.Unmapped != nil }
func (w *draft) walking() bool { return w.over() || len(w.Steps) > 0 }

// rank returns the rank that the last step has or will have, 6 before the first.
func (w *draft) rank() int {
	if len(w.Steps) == 0 {
		return 6
	}
	level := w.Steps[len(w.Steps)-1].Level
	if level < 0 {
		return -level - 1
	}
	return level
}

func (d *drafts) lastStep() Step {
	if n := len(d.walks); n > 0 && len(d.walks[n-1].Steps) > 0 {
		steps := d.walks[n-1].Steps
		return steps[len(steps)-1]
	}
	return Step{}
}

// awaits says that a NEXT_LVL line came for just this entry.
func (d *drafts) awaits(ev event) bool {
	above, r := -d.lastStep().Level, rank[ev.name]
	return ev.kind == evEntry && above > 0 && (above-r == 1 || above == 5 && r == 3)
}

// awaitsGVA says that a shadow walk has begun, whose tables a GVA indexes.
func (d *drafts) awaitsGVA() bool {
	n := len(d.walks)
	if n == 0 {
		return false
	}
	w := d.walks[n-1]
	return w.Kind == Shadow && !w.walking() && !w.Address.Seen
}

// accepts says that the walk under way can go on with an entry of this rank.
func (d *drafts) accepts(r int) bool {
	n := len(d.walks)
	return n > 0 && !d.walks[n-1].over() && r < d.walks[n-1].rank()
}

func (d *drafts) apply(ev event) {
	switch ev.kind {
	case evIndex:
		d.index(ev)
	case evTable:
		d.table(ev)
	case evEntry:
		d.entry(ev)
	case evAddress:
		w := d.current(ev.line, func(w *draft) bool { return w.walking() || w.Address.Seen })
		w.Address = seen(ev.value, ev.line)
		w.fiveLevels = w.fiveLevels || ev.groups == 5
	case evOutput:
		w := d.current(ev.line, (*draft).over)
		w.Output = seen(ev.value, ev.line)
	case evDetail:
		w := d.current(ev.line, (*draft).over)
		w.Details = append(w.Details, Detail{Name: ev.name, Value: ev.value, Line: ev.line})
	case evValue:
		w := d.current(ev.line, func(w *draft) bool { return w.Value.Seen || d.valueOpens })
		w.Value = Field{Value: ev.value, Line: ev.line, Seen: true, Torn: ev.torn}
	case evLeaf:
		w := d.current(ev.line, func(w *draft) bool { return w.over() || w.Leaf != 0 })
		w.Leaf, w.LeafLine = ev.index, ev.line
	case evLabel:
		w := d.current(ev.line, func(w *draft) bool { return w.walking() || w.labelled })
		w.Kind, w.labelled = ev.tables, true
	case evUnmapped:
		d.unmapped(ev)
	case evReason:
		d.reason(ev)
	case evAsked:
		w := d.current(ev.line, func(*draft) bool { return true })
		w.Asked = seen(ev.value, ev.line)
		if ev.cr3.Seen {
			w.CR3 = seen(ev.cr3.Value, ev.line)
		}
	case evUnread:
		w := d.current(ev.line, func(w *draft) bool { return w.Unread != "" })
		w.Unread = ev.text
	}
}

func (d *drafts) index(ev event) {
	w := d.current(ev.line, func(w *draft) bool {
		n := len(w.Indices)
		return w.walking() || w.Address.Seen || n > 0 && rank[ev.name] >= rank[w.Indices[n-1].Name]
	})
	w.Indices = append(w.Indices, Index{Name: ev.name, Value: ev.index, Line: ev.line})
	w.fiveLevels = w.fiveLevels || ev.name == "P4D"
	w.learn(ev.tables)
}

// learn takes the kind of the tables from a line that says it in passing.
func (w *draft) learn(k Kind) {
	if w.Kind == "" && k != "" {
		w.Kind = k
	}
}

func (d *drafts) table(ev event) {
	above := rankAbove[ev.name]
	w := d.current(ev.line, func(w *draft) bool { return w.over() || above > w.rank() })
	w.Steps = append(w.Steps, Step{
		Level: -above, Index: ev.index, TableIndex: ev.index, Scale: ev.scale, Table: seen(ev.value, ev.line),
	})
	w.fiveLevels = w.fiveLevels || ev.name == "P4D"
	w.learn(ev.tables)
}

func (d *drafts) entry(ev event) {
	r, waiting := rank[ev.name], d.awaits(ev)
	w := d.current(ev.line, func(w *draft) bool { return !waiting && (w.over() || r >= w.rank()) })
	if !waiting {
		w.Steps = append(w.Steps, Step{TableIndex: -1})
	}
	s := &w.Steps[len(w.Steps)-1]
	s.Level, s.Index, s.Entry = r, ev.index, seen(ev.value, ev.line)
	w.fiveLevels = w.fiveLevels || ev.name == "P4D"
}

func (d *drafts) unmapped(ev event) {
	w := d.current(ev.line, (*draft).over)
	w.Unmapped = &Unmapped{Level: ev.index, Line: ev.line}
	if ev.scale > 0 {
		w.Unmapped.Entry = seen(ev.value, ev.line)
	}
	if ev.name != "" {
		w.Unmapped.Level = -rank[ev.name]
	}
	w.learn(ev.tables)
}

// reason takes a line in brackets for the reason if it comes after a hole.
func (d *drafts) reason(ev event) {
	if n := len(d.walks); n > 0 && d.walks[n-1].Unmapped != nil {
		u := d.walks[n-1].Unmapped
		u.Reason = cmp.Or(u.Reason, ev.text)
	}
}

func (d *drafts) finish() []Walk {
	var out []Walk
	for _, w := range d.walks {
		out = append(out, w.finish())
	}
	return out
}

// finish turns ranks into levels and says what is missing.
func (w *draft) finish() Walk {
	w.Levels = 4
	if w.fiveLevels {
		w.Levels = 5
	}
	w.learn(EPT) // the course's logs name no other
	for i := range w.Indices {
		w.Indices[i].Level = w.level(rank[w.Indices[i].Name])
	}
	for i := range w.Steps {
		w.nameStep(&w.Steps[i])
	}
	w.finishUnmapped()
	w.Leaf = w.level(w.Leaf)
	if s, ok := w.Walk.Step(1); ok && s.Entry.Seen && w.Leaf == 0 && w.Unmapped == nil {
		w.Leaf = 1
	}
	w.addressFromDetail()
	w.Walk.Notes = w.missing()
	return w.Walk
}

// level turns the rank of a name into its level: with 4 levels, PGD is the fourth.
func (w *draft) level(rank int) int { return min(rank, w.Levels) }

func (w *draft) nameStep(s *Step) {
	switch {
	case s.Level == -5 && !w.fiveLevels: // below PGD there is no P4D
		s.Level = 3
	case s.Level < 0:
		s.Level = w.level(-s.Level - 1)
	default:
		s.Level = w.level(s.Level)
	}
	s.Name = w.Name(s.Level)
}

// finishUnmapped takes the entry that is not present from the step, if it is there.
func (w *draft) finishUnmapped() {
	u := w.Unmapped
	if u == nil {
		return
	}
	u.Level = w.level(max(u.Level, -u.Level))
	if s, ok := w.Walk.Step(u.Level); ok && !u.Entry.Seen {
		u.Entry = s.Entry
	}
}

// addressFromDetail takes the address from the lines about the leaf when the start of
// the walk is lost.
func (w *draft) addressFromDetail() {
	for _, d := range w.Details {
		if d.Name == w.Kind.address() && !w.Address.Seen {
			w.Address = seen(d.Value, d.Line)
		}
	}
}

// missing lists the lines that the walk should have and does not.
func (w Walk) missing() []Note {
	var notes []Note
	note := func(absent bool, level int, format string, args ...any) {
		if absent {
			notes = append(notes, Note{Kind: NoteMissing, Level: level, Text: fmt.Sprintf(format, args...)})
		}
	}
	value := func(absent bool, format string, args ...any) {
		if absent {
			notes = append(notes, Note{Kind: NoteMissing, About: CheckValue, Text: fmt.Sprintf(format, args...)})
		}
	}
	note(!w.Address.Seen, 0, "no %s line", w.Kind.address())
	bottom := w.bottom()
	for level := w.Levels; level >= bottom; level-- {
		s, ok := w.Step(level)
		note(!ok, level, "no %s line: neither its table nor its entry is printed", w.Name(level))
		note(ok && !s.Table.Seen, level, "no NEXT_LVL line before the %s entry", w.Name(level))
		note(ok && !s.Entry.Seen, level, "no %s entry after its NEXT_LVL line", w.Name(level))
	}
	if w.Unmapped != nil {
		return notes
	}
	note(w.Leaf == 0, 0, "no level that maps the page")
	note(!w.Output.Seen, 0, "no %s line", w.Kind.output())
	value(!w.Value.Seen && w.Unread == "", "no line \"Value at %s\"", w.end())
	value(w.Unread != "", "no value at %s: %s", w.end(), w.Unread)
	return notes
}

// bottom is the lowest level whose entry the walk should show.
func (w Walk) bottom() int {
	switch {
	case w.Unmapped != nil:
		return w.Unmapped.Level + 1
	case w.Leaf != 0:
		return w.Leaf
	}
	return 1
}

// end is the address at which the log prints the stored number.
func (w Walk) end() string {
	if w.Kind.Guest() {
		return "GVA"
	}
	return "HPA"
}
