package result

import (
	"fmt"
	"strings"
)

// Gradescope's results.json, as its autograder specification has it
// (gradescope-autograders.readthedocs.io, "Autograder Specifications").

type gradescopeResults struct {
	Score         float64 `json:"score"` // overrides the sum of the tests
	ExecutionTime float64 `json:"execution_time"`
	Output        string  `json:"output"`
	// Without it Gradescope renders the top-level output as HTML.
	OutputFormat string           `json:"output_format"`
	Visibility   string           `json:"visibility"`
	Tests        []gradescopeTest `json:"tests"`
}

type gradescopeTest struct {
	Name       string `json:"name"`
	NameFormat string `json:"name_format"`
	Number     string `json:"number"`
	// Score and MaxScore are left out where nothing is to be had, and Status
	// where there is neither a pass nor a fail: the test is shown and not counted.
	Score        *float64          `json:"score,omitempty"`
	MaxScore     *float64          `json:"max_score,omitempty"`
	Status       string            `json:"status,omitempty"` // passed or failed; Gradescope has no third
	Output       string            `json:"output"`
	OutputFormat string            `json:"output_format"`
	Visibility   string            `json:"visibility"`
	ExtraData    map[string]string `json:"extra_data"`
}

// What the fields of the same name may say; "text" renders nothing, so that
// what a student's program printed stays text.
const (
	plainText   = "text"
	alwaysShown = "visible"
)

// Gradescope is a report as results.json.
func Gradescope(r *Report) ([]byte, error) {
	out := gradescopeResults{
		Score: round(r.Score), ExecutionTime: milli(r.Seconds),
		Output: r.preface(), OutputFormat: plainText, Visibility: alwaysShown,
		Tests: []gradescopeTest{},
	}
	for i, lab := range r.ByLab() {
		for j, v := range lab.Verdicts {
			out.Tests = append(out.Tests, gradescopeOf(v, fmt.Sprintf("%d.%d", i+1, j+1)))
		}
	}
	return encode(out)
}

func gradescopeOf(v *Verdict, number string) gradescopeTest {
	t := gradescopeTest{
		Name: v.name(), NameFormat: plainText, Number: number,
		Output: v.paragraphs(), OutputFormat: plainText, Visibility: alwaysShown,
		ExtraData: map[string]string{"check": v.ID, "outcome": string(v.Outcome)},
	}
	if v.ByHand() || v.Max == 0 && v.Outcome == NotGraded {
		return t
	}
	points, max := round(v.Points), round(v.Max)
	t.Score, t.MaxScore, t.Status = &points, &max, "failed"
	if v.Outcome == Pass {
		t.Status = "passed"
	}
	return t
}

// name is a check's name for people who see all labs in one list.
func (v *Verdict) name() string { return v.Lab.Title() + ": " + Line(v.Title) }

// preface is what stands above the checks, for formats that have one field for it.
func (r *Report) preface() string {
	var b strings.Builder
	if r.Failed() {
		fmt.Fprintf(&b, "ATTENTION: %s.\n", mustRepeat)
	}
	if r.Error != "" {
		fmt.Fprintf(&b, "What failed: %s\n", hang(brief(r.Error)))
	}
	if r.Unsandboxed {
		fmt.Fprintf(&b, "%s\n", unsandboxedNote)
	}
	fmt.Fprintf(&b, "%s points reached of %s", Points(r.Score), Points(r.Max))
	if r.Hand > 0 {
		fmt.Fprintf(&b, "; up to %s more are given by a person", Points(r.Hand))
	}
	fmt.Fprintf(&b, ".\nseed %d, virtlab %s\n", r.Seed, Line(r.Harness))
	for _, note := range briefs(r.Notes) {
		fmt.Fprintf(&b, "note: %s\n", hang(note))
	}
	return b.String()
}

const unsandboxedNote = "The student's code ran without a sandbox, with the rights of the grader: this report may have been tampered with."
