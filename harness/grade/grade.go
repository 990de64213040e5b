// Package grade runs the labs' checks on what a student handed in. Each check
// ends in one of four outcomes (package result); what the student's code prints
// is evidence only where something outside of it confirms it.
//
// The same checks run for a student (go test ./labs/... -submission), for a
// class (virtlab grade), and in the labs' own tests on the reference solutions
// and on wrong ones.
package grade

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"virtlab/harness"
	"virtlab/harness/result"
	"virtlab/harness/sandbox"
	"virtlab/harness/submission"
)

// experiment is a lab with its checks and what makes them. run settles each
// check for the answer under way.
type experiment struct {
	lab    result.Lab
	checks []result.Check
	run    func(*grading)
}

var experiments = []experiment{
	{result.CPU, cpuChecks, (*grading).cpu},
	{result.Memory, memChecks, (*grading).mem},
	{result.IO, ioChecks, (*grading).io},
	{result.Bench, benchChecks, (*grading).bench},
	{result.ByHand, handChecks, (*grading).hand},
}

// Checks are all checks, in the order of the course.
func Checks() []result.Check {
	return slices.Concat(cpuChecks, memChecks, ioChecks, benchChecks, handChecks)
}

// Options say how a submission is graded.
type Options struct {
	Rubric *result.Rubric
	// Dir is the report's directory; evidence goes below it.
	Dir string
	// Labs restricts grading to these; nil: all.
	Labs []result.Lab
	// Source is what was handed in, as it stands in the replay commands: the
	// student's own name for it where the report goes to him.
	Source string
}

// Grade grades a submission. A report always comes back; where grading itself
// failed it says so. The labs' assets must have been found (harness.Prepare).
func Grade(ctx context.Context, sub *submission.Submission, opts Options) *result.Report {
	start := time.Now()
	g := &grading{ctx: ctx, sub: sub, opts: opts, report: newReport(sub, opts.Rubric, start)}
	for _, e := range experiments {
		if opts.Labs == nil || slices.Contains(opts.Labs, e.lab) {
			g.gradeLab(e)
		}
	}
	g.lab, g.answer = "", submission.Answer{}
	g.cleanup()
	g.report.Sum()
	g.report.Seconds = time.Since(start).Seconds()
	return g.report
}

func newReport(sub *submission.Submission, rubric *result.Rubric, start time.Time) *result.Report {
	r := &result.Report{
		Schema: result.ReportSchema, Title: rubric.Title, Name: sub.Name, Student: sub.Student, ID: sub.ID, Source: sub.Source, Digest: sub.Digest,
		Rubric: rubric.Digest, Seed: harness.Seed(), Started: start, Notes: sub.Notes,
		Unsandboxed: sandbox.Unsandboxed,
	}
	for _, f := range sub.Files {
		r.Files = append(r.Files, result.FileUse{Path: f.Path, Role: string(f.Role), Note: f.Note})
	}
	return r
}

// gradeLab grades each answer that the submission has for a lab. The best one
// counts; where there are others each check says how they did.
func (g *grading) gradeLab(e experiment) {
	g.lab = e.lab
	var all []attempt
	best := 0
	for i, a := range g.sub.Answers(e.lab) {
		all = append(all, attempt{a.Name, g.gradeAnswer(e, a)})
		if all[i].points() > all[best].points() {
			best = i
		}
	}
	if len(all) > 1 {
		g.report.Notes = append(g.report.Notes, several(e.lab, all, best))
	}
	for i, v := range all[best].verdicts {
		for k, other := range all {
			if k != best {
				v.Warnings = append(v.Warnings, other.aside(i))
			}
		}
		g.count(v)
	}
}

// count adds a verdict to the report.
func (g *grading) count(v result.Verdict) {
	g.report.Verdicts = append(g.report.Verdicts, v)
	if v.Lab == result.ByHand {
		g.report.Hand += v.Max
		return
	}
	g.report.Max += v.Max
}

// attempt is one of several answers and what came of it.
type attempt struct {
	name     string
	verdicts []result.Verdict
}

func (a attempt) points() (sum float64) {
	for _, v := range a.verdicts {
		sum += v.Points
	}
	return sum
}

// aside tells of a check of this answer beside that of a better one.
func (a attempt) aside(check int) string {
	v := a.verdicts[check]
	return fmt.Sprintf("with %s: %s, %s of %s points: %s", a.name, v.Outcome, result.Points(v.Points), result.Points(v.Max), v.Message)
}

func several(lab result.Lab, all []attempt, best int) string {
	var each []string
	for _, a := range all {
		each = append(each, fmt.Sprintf("%s: %s points", a.name, result.Points(a.points())))
	}
	return fmt.Sprintf("%s: several files could be meant, so each was graded, and %s counts: %s", lab.Title(), all[best].name, strings.Join(each, "; "))
}

// gradeAnswer makes the checks of a lab for one answer.
func (g *grading) gradeAnswer(e experiment, a submission.Answer) []result.Verdict {
	g.answer, g.verdicts = a, map[string]*result.Verdict{}
	if g.ctx.Err() == nil {
		e.run(g)
	}
	var out []result.Verdict
	for _, c := range e.checks {
		v := g.verdict(c.ID)
		if v.Outcome == "" { // a missing result is an error, never a pass
			g.settle(v, fmt.Errorf("this check has no result: %w", cause(g.ctx)))
		}
		out = append(out, *v)
	}
	return out
}

func cause(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	return fmt.Errorf("the harness did not make it")
}
