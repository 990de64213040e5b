package report

// document is the report before it becomes a page or a text: both say the same.
type document struct {
	Title    string
	Subtitle string
	Sections []section
}

// section has a heading and what stands below it.
type section struct {
	ID, Title string
	Text      []string
	List      []string
	Items     []item
}

// item is a table or a figure.
type item struct {
	Table  *table
	Figure *figure
}

// addTable appends a table that has rows, or notes that say why it has none.
func (s *section) addTable(t *table) {
	if t != nil && len(t.Rows)+len(t.Notes) > 0 {
		s.Items = append(s.Items, item{Table: t})
	}
}

// addFigure appends a figure, if there is one.
func (s *section) addFigure(f *figure) {
	if f != nil {
		s.Items = append(s.Items, item{Figure: f})
	}
}

// figures are all of a document.
func (d *document) figures() (all []*figure) {
	for _, s := range d.Sections {
		for _, i := range s.Items {
			if i.Figure != nil {
				all = append(all, i.Figure)
			}
		}
	}
	return all
}

// table is a table of texts.
type table struct {
	Title   string
	Head    []string
	Numbers int // the last so many columns are numbers
	Rows    [][]string
	Notes   []string
	// Prose tables have long texts in all columns.
	Prose bool
	// Folded tables are details, behind their title on a page.
	Folded bool
}

func (t *table) add(cells ...string) { t.Rows = append(t.Rows, cells) }

// number tells whether the i-th column is one of numbers.
func (t *table) number(i int) bool { return i >= len(t.Head)-t.Numbers }
