package result

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Lab is one of the course's experiments.
type Lab string

const (
	CPU    Lab = "cpu"
	Memory Lab = "mem"
	IO     Lab = "io"
	Bench  Lab = "bench"
	ByHand Lab = "report" // what a person has to read
)

// Labs are all labs in the order of the course.
var Labs = []Lab{CPU, Memory, IO, Bench, ByHand}

// Title names a lab for people.
func (l Lab) Title() string {
	switch l {
	case CPU:
		return "CPU"
	case Memory:
		return "Memory"
	case IO:
		return "I/O"
	case Bench:
		return "Comparison"
	case ByHand:
		return "Report"
	}
	return string(l)
}

// Check is one thing that is looked at in a submission.
type Check struct {
	ID    string `json:"id"` // "cpu.transform": the lab, a dot, and a name
	Lab   Lab    `json:"lab"`
	Title string `json:"title"`
	Page  string `json:"page"` // where the task is explained: "docs/cpu.md#the-trap-boundary"
}

// Verdict is how a check ended for a submission.
type Verdict struct {
	Check
	Outcome Outcome `json:"outcome"`
	Points  float64 `json:"points"` // reached, 0 unless passed
	Max     float64 `json:"max"`    // of the rubric
	// Message is for the student: what is wrong or, for a pass, what was seen.
	// It may quote what the student's code printed, as it came.
	Message string `json:"message"`
	// Expected, Got and Difference are the parts of a Message that compares; the
	// first difference is in words.
	Expected   string   `json:"expected,omitempty"`
	Got        string   `json:"got,omitempty"`
	Difference string   `json:"difference,omitempty"`
	Warnings   []string `json:"warnings,omitempty"` // cost no points
	Replay     string   `json:"replay,omitempty"`   // a command that does the same again
	Evidence   []string `json:"evidence,omitempty"` // files, relative to the report's directory
	Seconds    float64  `json:"seconds"`
}

// ByHand says whether a person gives the points; such a verdict counts neither
// as graded nor as failed.
func (v *Verdict) ByHand() bool { return v.Lab == ByHand }

// ReportSchema names the format of Report as JSON. It changes with the meaning
// of a field; fields may be added without.
const ReportSchema = "virtlab/outcome/v1"

// Report is all that grading found out about one submission: outcome.json.
type Report struct {
	Schema  string `json:"schema"`
	Name    string `json:"name"`    // of its directory in the output
	Student string `json:"student"` // from NAME-ID.zip, or the name of what was handed in
	ID      string `json:"id,omitempty"`
	Source  string `json:"source"` // base name of what was handed in
	Digest  string `json:"digest"` // of its content: "sha256:..."

	Harness     string    `json:"harness"`         // version of virtlab
	Rubric      string    `json:"rubric"`          // digest of the rubric
	Title       string    `json:"title,omitempty"` // of the rubric
	Seed        uint64    `json:"seed"`
	Started     time.Time `json:"started"`
	Seconds     float64   `json:"seconds"`
	Unsandboxed bool      `json:"unsandboxed,omitempty"` // the student's code ran with the grader's rights
	// Versions are those of what graded: QEMU, the kernel, the compiler.
	Versions map[string]string `json:"versions,omitempty"`

	Files    []FileUse `json:"files"`
	Notes    []string  `json:"notes,omitempty"` // about the submission as a whole
	Verdicts []Verdict `json:"verdicts"`
	Stages   []Stage   `json:"stages,omitempty"`

	Score float64 `json:"score"`
	Max   float64 `json:"max"`              // of what is graded here, without ByHandMax
	Hand  float64 `json:"byHand,omitempty"` // points that a person has to give
	// Error says why grading itself failed; the submission is to be graded again.
	Error string `json:"error,omitempty"`
}

// FileUse is a file of the submission and what it was taken for.
type FileUse struct {
	Path string `json:"path"`
	Role string `json:"role"`           // "" where it was not used
	Note string `json:"note,omitempty"` // why, or which other file could be meant
}

// Stage is where time went.
type Stage struct {
	Name    string  `json:"name"`
	Seconds float64 `json:"seconds"`
}

// Failed says whether grading itself failed somewhere, so that the report is no
// basis for a grade.
func (r *Report) Failed() bool {
	if r.Error != "" {
		return true
	}
	for _, v := range r.Verdicts {
		if v.Outcome == Broken {
			return true
		}
	}
	return false
}

// Sum rounds the points of each verdict to hundredths and sets Score from them.
func (r *Report) Sum() {
	r.Score = 0
	for i := range r.Verdicts {
		v := &r.Verdicts[i]
		v.Points = round(v.Points)
		r.Score = round(r.Score + v.Points)
	}
}

// Counts says how many checks ended how.
type Counts struct {
	Pass, Fail, NotGraded, Broken int
	ByHand                        int // for a person to look at; none of the above
	Warnings                      int
}

// Counts counts the report's verdicts.
func (r *Report) Counts() (c Counts) {
	for i := range r.Verdicts {
		c.add(&r.Verdicts[i])
	}
	return c
}

func (c *Counts) add(v *Verdict) {
	c.Warnings += len(v.Warnings)
	switch {
	case v.ByHand():
		c.ByHand++
	case v.Outcome == Pass:
		c.Pass++
	case v.Outcome == Fail:
		c.Fail++
	case v.Outcome == NotGraded:
		c.NotGraded++
	default:
		c.Broken++
	}
}

// LabScore is what one lab came to.
type LabScore struct {
	Lab      Lab
	Points   float64
	Max      float64
	Counts   Counts
	Verdicts []*Verdict
}

// Broken says whether grading itself failed in this lab.
func (s *LabScore) Broken() bool { return s.Counts.Broken > 0 }

// ByLab are the labs that were graded, in the order of the course, the one by
// hand included.
func (r *Report) ByLab() []LabScore {
	var scores []LabScore
	for i := range r.Verdicts {
		v := &r.Verdicts[i]
		at := slices.IndexFunc(scores, func(s LabScore) bool { return s.Lab == v.Lab })
		if at < 0 {
			at = len(scores)
			scores = append(scores, LabScore{Lab: v.Lab})
		}
		s := &scores[at]
		s.Points, s.Max = round(s.Points+v.Points), round(s.Max+v.Max)
		s.Counts.add(v)
		s.Verdicts = append(s.Verdicts, v)
	}
	slices.SortStableFunc(scores, func(a, b LabScore) int { return order(a.Lab) - order(b.Lab) })
	return scores
}

// order is a lab's place in the course; an unknown one comes last.
func order(l Lab) int {
	if i := slices.Index(Labs, l); i >= 0 {
		return i
	}
	return len(Labs)
}

// who names the student; a submission that could not be opened has just its own
// name.
func (r *Report) who() string { return Line(cmp.Or(r.Student, r.Source, r.Name)) }

// Unpriced are the checks that failed and have no points to lose, so that the score
// does not show it.
func (r *Report) Unpriced() (ids []string) {
	for i := range r.Verdicts {
		if v := &r.Verdicts[i]; v.Outcome == Fail && v.Max == 0 {
			ids = append(ids, v.ID)
		}
	}
	return ids
}

// Summary says in one line what the report comes to.
func (r *Report) Summary() string {
	s := fmt.Sprintf("%s of %s points", Points(r.Score), Points(r.Max))
	if r.Hand > 0 {
		s += fmt.Sprintf(", %s more by hand", Points(r.Hand))
	}
	if failed := r.Unpriced(); len(failed) > 0 {
		s += fmt.Sprintf("; failed without points to lose: %s", strings.Join(failed, ", "))
	}
	if r.Failed() {
		s += "; " + mustRepeat
	}
	return s
}

// mustRepeat is what every format says of a report that is no basis for a grade.
const mustRepeat = "grading itself failed and has to be repeated: this is no grade"

// Valid says what of a report cannot be: such a one is neither written nor
// read. A report that says that grading failed is valid.
func (r *Report) Valid() error {
	if r.Schema != ReportSchema {
		return fmt.Errorf("its schema is %q, this virtlab knows %q: grade again, or use the virtlab that wrote it", r.Schema, ReportSchema)
	}
	var errs []error
	var sum float64
	seen := map[string]bool{}
	for i := range r.Verdicts {
		v := &r.Verdicts[i]
		errs = append(errs, v.valid())
		if seen[v.ID] {
			errs = append(errs, fmt.Errorf("%s is counted twice", v.ID))
		}
		seen[v.ID] = true
		sum += v.Points
	}
	if round(sum) != r.Score {
		errs = append(errs, fmt.Errorf("the checks come to %v points, the score is %v", round(sum), r.Score))
	}
	for _, p := range []float64{r.Score, r.Max, r.Hand} {
		if !countable(p) {
			errs = append(errs, fmt.Errorf("%v is no number of points", p))
		}
	}
	return errors.Join(errs...)
}

func (v *Verdict) valid() error {
	switch {
	case v.ID == "":
		return errors.New("a verdict has no check")
	case !slices.Contains([]Outcome{Pass, Fail, NotGraded, Broken}, v.Outcome):
		return fmt.Errorf("%s: there is no outcome %q", v.ID, v.Outcome)
	case !countable(v.Points) || !countable(v.Max) || v.Points > v.Max:
		return fmt.Errorf("%s: %v of %v points cannot be", v.ID, v.Points, v.Max)
	case v.Outcome != Pass && v.Points > 0:
		return fmt.Errorf("%s: %v points for a check that ended in %q", v.ID, v.Points, v.Outcome)
	}
	return nil
}
