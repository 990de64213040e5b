package pagewalk

import "fmt"

// Kind says which tables a walk went through.
type Kind string

const (
	GPT    Kind = "GPT"    // the guest's page table: GVA to GPA
	EPT    Kind = "EPT"    // Intel's extended page table: GPA to HPA
	NPT    Kind = "NPT"    // AMD's nested page table: GPA to HPA
	Shadow Kind = "shadow" // a shadow page table that KVM keeps without either: GVA to HPA
)

// Guest says whether the walk was printed inside the guest.
func (k Kind) Guest() bool { return k == GPT }

// address and output name the two ends of a walk as the logs do.
func (k Kind) address() string {
	if k == GPT || k == Shadow {
		return "GVA"
	}
	return "GPA"
}

func (k Kind) output() string {
	if k.Guest() {
		return "GPA"
	}
	return "HPA"
}

// Field is a number that a log shows or lacks. Seen is false where it lacks it;
// Line is its first line in the log, from 1, or 0 for a walk that was computed.
type Field struct {
	Value Hex  `json:"value"`
	Line  int  `json:"line,omitempty"`
	Seen  bool `json:"seen"`
	Torn  bool `json:"torn,omitempty"` // its last digits may be missing
}

func seen(v Hex, line int) Field { return Field{Value: v, Line: line, Seen: true} }

// Index is a table index from a header line such as "GPT PMD index: 469".
type Index struct {
	Level int    `json:"level"`
	Name  string `json:"name"`
	Value int    `json:"value"`
	Line  int    `json:"line,omitempty"`
}

// Step is one level of a walk.
type Step struct {
	Level int    `json:"level"` // 1 is PTE, Walk.Levels is PGD
	Name  string `json:"name"`
	// Index is the number before the entry ("469: PMD"), or that of the NEXT_LVL
	// line where the entry is missing.
	Index int `json:"index"`
	// Table is the physical address of the table, from the NEXT_LVL line. It is a
	// GPA in a guest walk, an HPA in a host walk.
	Table Field `json:"table"`
	// TableIndex is the index in the NEXT_LVL line, -1 where it shows none.
	TableIndex int `json:"tableIndex"`
	// Scale is the factor in the NEXT_LVL line. Entries have 8 bytes; old versions
	// of the course's code print 64 (bits).
	Scale int   `json:"scale,omitempty"`
	Entry Field `json:"entry"` // the raw 64 bits
}

// EntryAddress returns the physical address of the entry in its table.
func (s Step) EntryAddress() Hex { return s.Table.Value + 8*Hex(s.Index) }

// Detail is one of the lines with which the host log explains its leaf: the leaf
// entry again (PTE, PMD or PUD), Mask1, HFN, GPA, Mask2 and Offset.
type Detail struct {
	Name  string `json:"name"`
	Value Hex    `json:"value"`
	Line  int    `json:"line,omitempty"`
}

// Unmapped says at which level a walk found no mapping.
type Unmapped struct {
	Reason string `json:"reason,omitempty"` // KVM's own words, if any
	Level  int    `json:"level"`
	Entry  Field  `json:"entry"`
	Line   int    `json:"line,omitempty"`
}

// NoteKind classifies what a parser has to say about its input.
type NoteKind string

const (
	NoteCut      NoteKind = "cut"      // a line starts like one of the log's and cannot be read
	NoteMissing  NoteKind = "missing"  // a line that belongs to the walk is not there
	NoteRejoined NoteKind = "rejoined" // a line was put together from pieces
	NoteMerged   NoteKind = "merged"   // a walk was put together from several fragments
)

// Note records something that a log lacks or that was hard to read.
type Note struct {
	Kind  NoteKind `json:"kind"`
	About Check    `json:"about,omitempty"` // the check that misses the line, if not the walk's own
	Level int      `json:"level,omitempty"` // the table level it is about, if any
	Line  int      `json:"line,omitempty"`  // where in the log, if anywhere
	Text  string   `json:"text"`
}

// String returns the note with its line number.
func (n Note) String() string {
	if n.Line == 0 {
		return n.Text
	}
	return fmt.Sprintf("line %d: %s", n.Line, n.Text)
}

// Walk is one translation, as printed or as computed by [Translate].
type Walk struct {
	Kind   Kind   `json:"kind"`
	Source string `json:"source,omitempty"` // line prefix such as "L2", if any
	Levels int    `json:"levels"`           // 4 or 5
	// Address is what was translated: a GVA (sign-extended, as logs print 48 or 57
	// bits) or a GPA.
	Address Field `json:"address"`
	// Asked is the GPA that the hypercall was called with, where the log says so. It is
	// more than Address if the tables translate fewer bits, or if they are shadows.
	Asked Field `json:"asked"`
	// CR3 is the guest's at the hypercall, as KVM saw it; older logs lack it.
	CR3     Field   `json:"cr3"`
	Indices []Index `json:"indices,omitempty"`
	Steps   []Step  `json:"steps"` // from the top level down
	// Leaf is the level of the entry that maps the page, 0 if the log shows none.
	Leaf     int       `json:"leaf"`
	LeafLine int       `json:"leafLine,omitempty"`
	Details  []Detail  `json:"details,omitempty"`
	Output   Field     `json:"output"`           // a GPA or an HPA
	Value    Field     `json:"value"`            // the number stored there
	Unread   string    `json:"unread,omitempty"` // why KVM could not read Value
	Unmapped *Unmapped `json:"unmapped,omitempty"`
	Notes    []Note    `json:"notes,omitempty"`
	First    int       `json:"firstLine,omitempty"`
	Last     int       `json:"lastLine,omitempty"`
}

// PageSize returns the size of the page in bytes, 0 if the log shows no leaf.
func (w Walk) PageSize() uint64 { return PageSize(w.Leaf) }

// Step returns the step at a level, if the walk has it.
func (w Walk) Step(level int) (Step, bool) {
	for _, s := range w.Steps {
		if s.Level == level {
			return s, true
		}
	}
	return Step{}, false
}

// GPA returns the guest physical address that a host walk is about.
func (w Walk) GPA() Field {
	if w.Asked.Seen || w.Kind == Shadow {
		return w.Asked
	}
	return w.Address
}

// Root returns the address of the top table: CR3, EPTP or nCR3 without flags.
func (w Walk) Root() Field {
	top, _ := w.Step(w.Levels)
	return top.Table
}

// Name returns Linux' name of a level of this walk.
func (w Walk) Name(level int) string { return LevelName(level, w.Levels) }

// Format returns the layout of the walk's entries. The course's patch prints "This
// is EPT" on AMD too, so the bits decide where they can: an EPT entry that names a
// table has bits 6:3 clear (SDM 3, table 29-6), while KVM sets the accessed bit, 5,
// in every such entry of an NPT. The majority counts, lest one wrong bit turn the table
// into another one.
func (w Walk) Format() Format {
	if w.Kind != EPT {
		return X86
	}
	tables, npt := 0, 0
	for _, s := range w.Steps {
		if s.Entry.Seen && s.Level > 1 && s.Level != w.Leaf && s.Entry.Value&bitLarge == 0 {
			tables++
			if s.Entry.Value&eptMisc != 0 {
				npt++
			}
		}
	}
	if npt > 0 && 2*npt >= tables {
		return X86
	}
	return EPTE
}
