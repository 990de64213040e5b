package result

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"net/url"
	"path"
	"strings"
	"time"
)

//go:embed page
var pages embed.FS

// page has the templates of package html/template: whatever stands in a report
// is escaped for where it is put. Before that it is made visible (text.go).
var page = template.Must(template.New("").Funcs(template.FuncMap{
	"style": style, "line": Line, "show": show, "brief": brief, "briefs": briefs, "oneline": oneLine,
	"points": Points, "duration": duration, "date": date, "link": link,
	"sign": (*Verdict).sign, "word": (*Verdict).word, "class": (*Verdict).class, "share": (*Verdict).share,
	"state": (*Verdict).state, "warnings": (*Verdict).warnings, "open": (*Verdict).open, "sides": (*Verdict).sides,
	"lab": (*LabScore).points, "bar": (*LabScore).bar,
	"who": (*Report).who, "report": (*Report).page, "why": (*Report).why, "labscore": (*Report).labScore,
}).ParseFS(pages, "page/*.html"))

func oneLine(s string) bool { return !strings.Contains(strings.TrimSpace(s), "\n") }

func date(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }

func style() (template.CSS, error) {
	css, err := pages.ReadFile("page/style.css")
	return template.CSS(css), err
}

// HTML is a report as one page that needs nothing else: no script, no network.
func HTML(r *Report) ([]byte, error) {
	return render("report.html", struct {
		*Report
		Labs []LabScore
	}{r, r.ByLab()})
}

func render(name string, data any) ([]byte, error) {
	var b bytes.Buffer
	if err := page.ExecuteTemplate(&b, name, data); err != nil {
		return nil, fmt.Errorf("page: %w", err)
	}
	return b.Bytes(), nil
}

// why says on one line why grading failed.
func (r *Report) why() string {
	if r.Error != "" {
		return firstLine(r.Error)
	}
	for i := range r.Verdicts {
		if v := &r.Verdicts[i]; v.Outcome == Broken {
			return v.ID + ": " + firstLine(v.Message)
		}
	}
	return ""
}

// labScore is what a lab came to, or "" where it was not graded.
func (r *Report) labScore(lab Lab) string {
	for _, s := range r.ByLab() {
		if s.Lab == lab {
			return Points(s.Points)
		}
	}
	return ""
}

// class is an outcome as a CSS class.
func (v *Verdict) class() string { return strings.ReplaceAll(v.word(), " ", "-") }

// open says whether a check is to be read first: its details are unfolded.
func (v *Verdict) open() bool {
	return !v.ByHand() && (v.Outcome == Fail || v.Outcome == Broken || v.Outcome == NotGraded && v.Max > 0 || len(v.Warnings) > 0)
}

// bar is a lab's score as the widths of a bar's parts, in percent.
type bar struct{ Reached, Open float64 }

// bar divides a lab's points into those reached, those that nothing is known
// about, and the rest.
func (s *LabScore) bar() bar {
	var unknown float64
	for _, v := range s.Verdicts {
		if v.Outcome == NotGraded || v.Outcome == Broken {
			unknown += v.Max
		}
	}
	return bar{percent(s.Points, s.Max), percent(unknown, s.Max)}
}

// link is a relative address of a file beside the page, or "" for a path that
// leaves its directory. The ./ keeps "javascript:x" a file's name.
func link(file string) string {
	if file == "" || path.IsAbs(file) || path.Clean("/"+file) != "/"+file {
		return ""
	}
	var parts []string
	for _, p := range strings.Split(file, "/") {
		parts = append(parts, url.PathEscape(p))
	}
	return "./" + strings.Join(parts, "/")
}

// duration writes seconds as people do.
func duration(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.2f s", seconds)
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", seconds)
	}
	return fmt.Sprintf("%.1f min", d.Minutes())
}
