package report

import (
	"embed"
	"fmt"
	"html/template"
	"io"
)

//go:embed page
var pages embed.FS

// page escapes whatever stands in a report for where it is put.
var page = template.Must(template.New("").Funcs(template.FuncMap{
	"style": style, "svg": (*figure).element, "number": (*table).number,
}).ParseFS(pages, "page/report.html"))

func style() (template.CSS, error) {
	css, err := pages.ReadFile("page/style.css")
	return template.CSS(css), err
}

// element is the figure as part of a page. vgsvg escapes the texts in it.
func (f *figure) element() (template.HTML, error) {
	svg, err := f.inline()
	return template.HTML(svg), err
}

// html writes the document as one page that needs nothing else: no script, no
// network.
func (d *document) html(w io.Writer) error {
	if err := page.ExecuteTemplate(w, "report.html", d); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	return nil
}
