package class

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"path/filepath"
	"strings"

	"virtlab/harness"
	"virtlab/harness/grade"
	"virtlab/harness/result"
	"virtlab/harness/sandbox"
	"virtlab/harness/submission"
)

// Work does the job that it reads: it grades one submission and writes the report.
// It has the process to itself. What it needs for a time lies in TMPDIR, which
// whoever gave the job removes.
func Work(ctx context.Context, in io.Reader) error {
	var job Job
	if err := json.NewDecoder(in).Decode(&job); err != nil {
		return fmt.Errorf("reading the job: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, job.Limit, fmt.Errorf("the time for one submission is up: %s (-deadline)", job.Limit))
	defer cancel()
	harness.SetSeed(job.Seed)
	rubric, err := result.LoadRubric(job.Rubric, grade.Checks())
	if err != nil {
		return err
	}
	report, err := job.grade(ctx, rubric)
	if err != nil {
		return err
	}
	return result.WriteAll(job.Dir, report)
}

func (job Job) grade(ctx context.Context, rubric *result.Rubric) (*result.Report, error) {
	sub, err := submission.Open(ctx, job.Handin, filepath.Join(job.Temp, "submission"), submission.Limits{})
	if err != nil {
		return job.refused(rubric, err)
	}
	if sub.Digest == job.Unless {
		return nil, ErrUnchanged
	}
	if err := flag.Set("accel", job.Accel); err != nil {
		return nil, err
	}
	if err := harness.Prepare(); err != nil {
		return nil, err
	}
	sandbox.Unsandboxed = job.Unsandboxed
	report := grade.Grade(ctx, sub, grade.Options{Rubric: rubric, Dir: job.Dir, Labs: job.Labs, Source: sub.Source})
	report.Harness = job.Harness
	return report, nil
}

// refused is the report of a submission that was not taken in. It has no digest,
// so that the next run looks again, which takes no time.
func (job Job) refused(rubric *result.Rubric, err error) (*result.Report, error) {
	if result.OwnerOf(err) != result.Submission {
		return nil, err
	}
	why := "the submission was refused: " + strings.TrimPrefix(err.Error(), "submission: ")
	r := blank(job, rubric, result.NotGraded, why)
	r.Notes = []string{why}
	return r, nil
}
