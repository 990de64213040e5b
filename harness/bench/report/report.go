// Package report writes what a comparison of VMMs came to: a page and a
// Markdown text for people (what was not equal, verdicts, claims, the course's
// tables, figures), the Go benchmark format for benchstat, and CSV.
package report

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"virtlab/harness/bench"
)

// Names of the files of a report. Plots is a directory.
const (
	BenchFile    = "bench.txt"
	CSVFile      = "bench.csv"
	MarkdownFile = "report.md"
	HTMLFile     = "report.html"
	Plots        = "plots"
)

// Write writes the report on d into dir, which is made if it is not there. It
// can be written at any time, from what there is.
func Write(dir string, d *bench.Data) error {
	doc, err := view{d}.compose()
	if err != nil {
		return fmt.Errorf("report: %w", err)
	}
	if err := doc.plots(filepath.Join(dir, Plots)); err != nil {
		return err
	}
	for name, write := range map[string]func(io.Writer) error{
		BenchFile:    func(w io.Writer) error { return GoBench(w, d) },
		CSVFile:      func(w io.Writer) error { return CSV(w, d) },
		MarkdownFile: func(w io.Writer) error { return doc.markdown(w, Plots) },
		HTMLFile:     doc.html,
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			return fmt.Errorf("report %s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b.Bytes(), 0o644); err != nil {
			return fmt.Errorf("report: %w", err)
		}
	}
	return nil
}

// plots writes the figures as files of their own.
func (d *document) plots(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	for _, f := range d.figures() {
		svg, err := f.SVG()
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, f.Name+".svg"), svg, 0o644); err != nil {
			return fmt.Errorf("report: %w", err)
		}
	}
	return nil
}
