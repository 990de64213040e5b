package result

import (
	"cmp"
	"math"
	"net/url"
	"os"
	"strings"
	"time"
)

// Classroom 50's result.json, "classroom50/result/v1"
// (foundation50/classroom50, schemas/result-v1.schema.json).

type classroom50Result struct {
	Schema         string            `json:"schema"`
	Classroom      string            `json:"classroom"`
	Assignment     string            `json:"assignment"`
	AssignmentType string            `json:"assignment_type"`
	Owner          string            `json:"owner"`
	Submission     string            `json:"submission"`
	Commit         string            `json:"commit"`
	Release        string            `json:"release"`
	Review         string            `json:"review"`
	Datetime       string            `json:"datetime"`
	GradedAt       string            `json:"graded_at"`
	Score          int               `json:"score"`
	MaxScore       int               `json:"max-score"`
	Tests          []classroom50Test `json:"tests"`
}

type classroom50Test struct {
	Name     string `json:"test-name"`
	Passed   bool   `json:"passed"`
	Score    int    `json:"score"`
	MaxScore int    `json:"max-score"`
	// More than the schema asks for; Classroom 50 keeps it.
	Check   string `json:"check"`
	Outcome string `json:"outcome"`
	Message string `json:"message"`
}

// Classroom50 is a report as result.json. Who handed it in is asked of env:
// Classroom 50's runner sets CLASSROOM, ASSIGNMENT, ASSIGNMENT_TYPE, OWNER,
// SUBMISSION_TAG, COMMIT_URL, RELEASE_URL and REVIEW_URL. Where they are not set
// the report stands for itself, under a classroom's name, "local", that no
// collector takes for its own.
//
// Points are whole numbers there. A check's max-score is its points rounded
// such that all max-scores add up to the rounded whole (largest remainder);
// its score is its part of that, rounded, and full only where all points were
// reached. Score and max-score of the whole are the sums.
func Classroom50(r *Report, env func(string) string) ([]byte, error) {
	graded := r.Started.UTC().Format(time.RFC3339)
	out := classroom50Result{
		Schema:    "classroom50/result/v1",
		Classroom: cmp.Or(env("CLASSROOM"), "local"), Assignment: cmp.Or(env("ASSIGNMENT"), "virtlab"),
		AssignmentType: cmp.Or(env("ASSIGNMENT_TYPE"), "individual"),
		Owner:          cmp.Or(env("OWNER"), Line(r.Name), "unknown"),
		Submission:     cmp.Or(env("SUBMISSION_TAG"), r.tag()),
		Datetime:       graded, GradedAt: graded,
		Tests: r.classroom50Tests(),
	}
	out.Commit = cmp.Or(env("COMMIT_URL"), Line(r.Digest), "unknown")
	out.Release = cmp.Or(env("RELEASE_URL"), out.Commit)
	out.Review = cmp.Or(env("REVIEW_URL"), out.Commit)
	for _, t := range out.Tests {
		out.Score += t.Score
		out.MaxScore += t.MaxScore
	}
	return encode(out)
}

// classroom50Here is Classroom50 as this process was started.
func classroom50Here(r *Report) ([]byte, error) { return Classroom50(r, os.Getenv) }

// tag names the graded content as Classroom 50 names a submission.
func (r *Report) tag() string {
	digest := strings.TrimPrefix(r.Digest, "sha256:")
	return "submit/" + r.Started.UTC().Format("2006-01-02T15-04-05Z") + "-" + url.PathEscape(digest[:min(7, len(digest))])
}

func (r *Report) classroom50Tests() []classroom50Test {
	tests := []classroom50Test{}
	if r.Failed() { // the format has no other place to say so
		tests = append(tests, classroom50Test{
			Name: "grading", Check: "grading", Outcome: string(Broken), Message: strings.TrimSpace(mustRepeat + "\n" + brief(r.Error)),
		})
	}
	graded := r.graded()
	max := wholes(graded)
	for i, v := range graded {
		tests = append(tests, classroom50Test{
			Name: v.name(), Passed: v.Outcome == Pass, Score: part50(v, max[i]), MaxScore: max[i],
			Check: v.ID, Outcome: string(v.Outcome), Message: clip(v.paragraphs(), 2*briefBytes),
		})
	}
	return r.byHand50(tests)
}

// byHand50 adds what a person grades: seen, and not counted.
func (r *Report) byHand50(tests []classroom50Test) []classroom50Test {
	for i := range r.Verdicts {
		if v := &r.Verdicts[i]; v.ByHand() {
			tests = append(tests, classroom50Test{
				Name: v.name() + " (by hand, not counted here)", Check: v.ID, Outcome: "by hand", Message: v.paragraphs(),
			})
		}
	}
	return tests
}

// graded are the verdicts that programs gave, in the order of the course.
func (r *Report) graded() (all []*Verdict) {
	for _, lab := range r.ByLab() {
		if lab.Lab != ByHand {
			all = append(all, lab.Verdicts...)
		}
	}
	return all
}

// wholes rounds the verdicts' Max to whole numbers that add up to their rounded
// sum: each is rounded down, and what is left goes to the largest remainders.
func wholes(verdicts []*Verdict) []int {
	var sum float64
	out := make([]int, len(verdicts))
	left := 0
	for i, v := range verdicts {
		sum += v.Max
		out[i] = int(math.Floor(v.Max))
		left -= out[i]
	}
	for left += int(math.Round(round(sum))); left > 0; left-- {
		largest := 0
		for i, v := range verdicts {
			if v.Max-float64(out[i]) > verdicts[largest].Max-float64(out[largest]) {
				largest = i
			}
		}
		out[largest]++
	}
	return out
}

// part50 is a verdict's score where its check has max points.
func part50(v *Verdict, max int) int {
	if v.Max == 0 {
		return 0
	}
	score := int(math.Round(v.Points / v.Max * float64(max)))
	if score == max && v.Points < v.Max {
		return max - min(1, max)
	}
	return score
}
