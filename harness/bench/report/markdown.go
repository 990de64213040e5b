package report

import (
	"fmt"
	"io"
	"strings"

	pretty "github.com/jedib0t/go-pretty/v6/table"
	"github.com/jedib0t/go-pretty/v6/text"
)

// markdown writes the document to be pasted into a report. Figures are links
// into plots.
func (d *document) markdown(w io.Writer, plots string) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n%s\n", escape(d.Title), escape(d.Subtitle))
	for _, s := range d.Sections {
		fmt.Fprintf(&b, "\n## %s\n", escape(s.Title))
		for _, p := range s.Text {
			fmt.Fprintf(&b, "\n%s\n", escape(p))
		}
		b.WriteString(bullets(s.List))
		for _, i := range s.Items {
			i.markdown(&b, plots)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (i item) markdown(b *strings.Builder, plots string) {
	if f := i.Figure; f != nil {
		fmt.Fprintf(b, "\n![%s](%s/%s.svg)\n\n*%s.* %s\n", escape(f.Title), plots, f.Name, escape(f.Title), escape(f.Caption))
	}
	if t := i.Table; t != nil {
		t.markdown(b)
	}
}

// markdown writes the table below its title. Folded ones are the HTML element,
// which Markdown allows.
func (t *table) markdown(b *strings.Builder) {
	before, after := "\n**"+escape(t.Title)+"**\n", ""
	if t.Folded {
		before, after = "\n<details><summary>"+escapeHTML(t.Title)+"</summary>\n", "\n</details>\n"
	}
	b.WriteString(before)
	if len(t.Rows) > 0 {
		fmt.Fprintf(b, "\n%s\n", t.rows())
	}
	b.WriteString(bullets(t.Notes) + after)
}

// rows is the table alone.
func (t *table) rows() string {
	out := pretty.NewWriter()
	out.AppendHeader(row(t.Head))
	for _, r := range t.Rows {
		out.AppendRow(row(r))
	}
	var columns []pretty.ColumnConfig
	for i := range t.Head {
		if t.number(i) {
			columns = append(columns, pretty.ColumnConfig{Number: i + 1, Align: text.AlignRight})
		}
	}
	out.SetColumnConfigs(columns)
	return out.RenderMarkdown()
}

func row(cells []string) pretty.Row {
	r := make(pretty.Row, len(cells))
	for i, c := range cells {
		r[i] = oneLine(escapeHTML(c))
	}
	return r
}

func bullets(list []string) string {
	if len(list) == 0 {
		return ""
	}
	var b strings.Builder
	b.WriteString("\n")
	for _, l := range list {
		fmt.Fprintf(&b, "- %s\n", escape(l))
	}
	return b.String()
}

// escape keeps a text what it is: on one line, without HTML, emphasis or links
// of its own.
func escape(s string) string {
	return strings.NewReplacer("*", `\*`, "`", "\\`", "[", `\[`, "]", `\]`).Replace(escapeHTML(oneLine(s)))
}

// escapeHTML does it for a table's cell.
func escapeHTML(s string) string { return strings.NewReplacer("&", "&amp;", "<", "&lt;").Replace(s) }
