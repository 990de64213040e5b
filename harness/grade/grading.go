package grade

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"virtlab/harness"
	"virtlab/harness/guest"
	"virtlab/harness/machine"
	"virtlab/harness/result"
	"virtlab/harness/submission"
)

// grading is one submission under way.
type grading struct {
	ctx    context.Context
	sub    *submission.Submission
	opts   Options
	report *result.Report

	// Of the answer under way.
	lab      result.Lab
	answer   submission.Answer
	verdicts map[string]*result.Verdict

	// What several checks use, and its end.
	stages []*recorder
	l1     *guest.Guest
	l1err  error
}

// check makes one check. f's error decides the outcome by its owner: nil is a
// pass, an error of the submission or a mismatch is a fail, a notGraded says
// that there was nothing to grade, any other error is the house's. f may lower
// v.Points, and fill in the rest of v.
func (g *grading) check(id string, f func(lab *harness.Lab, v *result.Verdict) error) {
	v := g.verdict(id)
	v.Points = v.Max
	start := time.Now()
	r := g.recorder(id)
	err := r.run(func(lab *harness.Lab) error { return f(lab, v) })
	r.cleanup()
	v.Seconds = time.Since(start).Seconds()
	v.Evidence = append(v.Evidence, r.files(g.opts.Dir)...)
	g.settle(v, err)
}

// settleAll gives checks that could not be made the outcome of err.
func (g *grading) settleAll(err error, ids ...string) {
	for _, id := range ids {
		g.settle(g.verdict(id), err)
	}
}

// settle turns how a check ended into its verdict.
func (g *grading) settle(v *result.Verdict, err error) {
	if err != nil && g.ctx.Err() != nil {
		// Whatever went wrong now may well be the end that was put to it.
		err = result.Errorf(result.Host, "not finished: %w (%v)", context.Cause(g.ctx), err)
	}
	v.Outcome = outcomeOf(err)
	if err != nil {
		v.Points = 0
		v.Message = strings.TrimPrefix(err.Error(), "submission: ")
		v.Expected, v.Got, v.Difference = parts(err)
	}
	v.Replay = g.replay()
}

// outcomeOf is the one place where an error becomes an outcome.
func outcomeOf(err error) result.Outcome {
	var skip notGraded
	var differs mismatch
	switch {
	case err == nil:
		return result.Pass
	case errors.As(err, &skip):
		return result.NotGraded
	case errors.As(err, &differs), result.OwnerOf(err) == result.Submission:
		return result.Fail
	}
	return result.Broken
}

// mismatch is an error that compares: what a check of the packages below found.
type mismatch interface {
	error
	Parts() (expected, got, difference string)
}

func parts(err error) (expected, got, difference string) {
	var m mismatch
	if errors.As(err, &m) {
		return m.Parts()
	}
	return "", "", ""
}

// theirs makes failures of a guest or VMM that ran the student's code the
// submission's.
func theirs(err error) error {
	switch result.OwnerOf(err) {
	case result.Guest, result.VMM:
		return result.Errorf(result.Submission, "%w", err)
	}
	return err
}

// stage does what several checks need and keeps it until the submission is
// graded. Its time stands in the report.
func (g *grading) stage(name string, f func(lab *harness.Lab) error) error {
	start := time.Now()
	r := g.recorder(name)
	g.stages = append(g.stages, r)
	err := r.run(f)
	g.report.Stages = append(g.report.Stages, result.Stage{Name: name, Seconds: time.Since(start).Seconds()})
	return err
}

// cleanup ends what the stages began.
func (g *grading) cleanup() {
	for i := len(g.stages) - 1; i >= 0; i-- {
		g.stages[i].cleanup()
	}
}

// recorder is a test of its own for a check or a stage.
func (g *grading) recorder(name string) *recorder {
	dir := filepath.Join(g.opts.Dir, "evidence", string(g.lab), strings.TrimPrefix(name, string(g.lab)+"."))
	if g.answer.Name != "" {
		dir = filepath.Join(dir, g.answer.Name)
	}
	return &recorder{ctx: g.ctx, name: name, evidence: dir}
}

// verdict is the verdict of a check, made when first asked for.
func (g *grading) verdict(id string) *result.Verdict {
	if v := g.verdicts[id]; v != nil {
		return v
	}
	for _, c := range Checks() {
		if c.ID == id {
			g.verdicts[id] = &result.Verdict{Check: c, Max: g.opts.Rubric.Points(id)}
			return g.verdicts[id]
		}
	}
	panic("no such check: " + id)
}

// path is where the file with a role lies; there is none in a submission
// without it. Of several it is the first.
func (g *grading) path(role submission.Role) (path string, ok bool) {
	files := g.answer.Files[role]
	if len(files) == 0 {
		return "", false
	}
	return filepath.Join(g.sub.Dir, filepath.FromSlash(files[0].Path)), true
}

// machine is L1 of this submission: booted when first asked for, thrown away
// with it.
func (g *grading) machine() (*guest.Guest, error) {
	if g.l1 == nil && g.l1err == nil {
		g.l1err = g.stage("boot L1", func(lab *harness.Lab) error {
			g.l1 = lab.L1(harness.PagingLevels(4))
			return nil
		})
	}
	return g.l1, g.l1err
}

// replay is the command that grades this lab of this submission again with the
// same draws.
func (g *grading) replay() string {
	return machine.CommandLine("make", "labs", "SUBMISSION="+g.opts.Source, fmt.Sprintf("SEED=%d", g.report.Seed))
}
