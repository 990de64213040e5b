package result

import (
	"bytes"
	"cmp"
	"encoding/csv"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Names of the files that WriteClass writes.
const (
	GradesFile = "grades.csv"
	IndexFile  = "index.html"
)

// WriteClass writes grades.csv and index.html for a class into the directory
// that has a directory for each report, named as the report is. The reports may
// come in any order.
func WriteClass(dir string, reports []*Report) error {
	sorted := slices.SortedStableFunc(slices.Values(reports), func(a, b *Report) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.ID, b.ID))
	})
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Errorf(Host, "class: %w", err)
	}
	for _, f := range []struct {
		name   string
		format func([]*Report) ([]byte, error)
	}{{GradesFile, GradesCSV}, {IndexFile, IndexHTML}} {
		content, err := f.format(sorted)
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		if err := writeFile(dir, f.name, content); err != nil {
			return err
		}
	}
	return nil
}

// bom makes Excel read UTF-8, so that names in Chinese stay what they are.
const bom = "\ufeff"

// GradesCSV is a class as a table, RFC 4180, in UTF-8: a line for each report
// with its score, the score of each lab and the points of each check; a word in
// place of points where there are none (error, not graded, fail of a check without).
func GradesCSV(reports []*Report) ([]byte, error) {
	labs, checks := columns(reports)
	header := []string{"name", "student", "id", "score", "max", "by_hand", "status"}
	for _, lab := range labs {
		header = append(header, string(lab))
	}
	header = append(append(header, checks...), "warnings", "report")
	b := bytes.NewBufferString(bom)
	w := csv.NewWriter(b)
	w.UseCRLF = true
	_ = w.Write(header) // its errors stay in w
	for _, r := range reports {
		_ = w.Write(r.row(labs, checks))
	}
	w.Flush()
	return b.Bytes(), w.Error()
}

// columns are the labs and the checks that any of the reports has, in the order
// of the course.
func columns(reports []*Report) (labs []Lab, checks []string) {
	byLab := map[Lab][]string{}
	for _, r := range reports {
		for i := range r.Verdicts {
			v := &r.Verdicts[i]
			if !slices.Contains(byLab[v.Lab], v.ID) {
				byLab[v.Lab] = append(byLab[v.Lab], v.ID)
			}
		}
	}
	for _, lab := range Labs {
		checks = append(checks, byLab[lab]...)
		if lab != ByHand && len(byLab[lab]) > 0 {
			labs = append(labs, lab)
		}
	}
	return labs, checks
}

func (r *Report) row(labs []Lab, checks []string) []string {
	row := []string{cell(r.Name), cell(r.Student), cell(r.ID), Points(r.Score), Points(r.Max), Points(r.Hand), r.Status()}
	scores := map[Lab]string{}
	for _, s := range r.ByLab() {
		scores[s.Lab] = Points(s.Points)
	}
	for _, lab := range labs {
		row = append(row, scores[lab])
	}
	for _, id := range checks {
		row = append(row, r.mark(id))
	}
	return append(row, strconv.Itoa(r.Counts().Warnings), r.page())
}

// Status says in a word whether a report is a basis for a grade: "graded", or
// "repeat" where grading itself failed.
func (r *Report) Status() string {
	if r.Failed() {
		return "repeat"
	}
	return "graded"
}

// mark is what stands for a check in a table: its points, or why it has none to show.
func (r *Report) mark(id string) string {
	for i := range r.Verdicts {
		if v := &r.Verdicts[i]; v.ID == id {
			if v.ByHand() || v.Outcome == NotGraded || v.Outcome == Broken || v.Outcome == Fail && v.Max == 0 {
				return v.word()
			}
			return Points(v.Points)
		}
	}
	return ""
}

// page is the address of the report's page, relative to the class's files.
func (r *Report) page() string { return link(r.Name + "/" + HTMLFile) }

// cell is text as a cell that no spreadsheet takes for a formula: one that
// begins as formulas do (full-width signs too, which some locales accept) gets
// an apostrophe before it (OWASP, "CSV Injection").
func cell(s string) string {
	if strings.ContainsAny(s[:min(1, len(s))], "=+-@\t\r\n") || strings.HasPrefix(s, "＝") || strings.HasPrefix(s, "＋") ||
		strings.HasPrefix(s, "－") || strings.HasPrefix(s, "＠") {
		s = "'" + s
	}
	return Line(s)
}
