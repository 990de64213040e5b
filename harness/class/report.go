package class

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"virtlab/harness/grade"
	"virtlab/harness/result"
	"virtlab/harness/submission"
)

// readReport reads the report that lies in dir.
func readReport(dir string) (*result.Report, error) {
	return result.ReadReport(filepath.Join(dir, result.OutcomeFile))
}

// Reports reads the reports in a directory of results, by name. What is no
// report, or was cut by a crash of the machine, is left out: it is not graded.
func Reports(out string) (reports []*result.Report, err error) {
	entries, err := os.ReadDir(out)
	for _, e := range entries {
		if !e.IsDir() || strings.HasPrefix(e.Name(), ".") {
			continue
		}
		if r, err := readReport(filepath.Join(out, e.Name())); err == nil {
			r.Name = e.Name()
			reports = append(reports, r)
		}
	}
	return reports, err
}

// foreign refuses a directory in which something stands where a report is to go
// and is none: it would be replaced.
func (d *outDir) foreign(handins []submission.Handin) error {
	for _, h := range handins {
		entries, err := os.ReadDir(d.report(h.Name))
		switch {
		case errors.Is(err, fs.ErrNotExist), err == nil && len(entries) == 0:
		case err != nil, !slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == result.OutcomeFile }):
			return result.Errorf(result.Host, "%s is no report of virtlab's and would be replaced by one", d.report(h.Name)).
				WithHint("move it away, or give another directory with -o")
		}
	}
	return nil
}

// checksOf are the checks of labs, of all where there are none.
func checksOf(labs []result.Lab) []result.Check {
	return slices.DeleteFunc(grade.Checks(), func(c result.Check) bool {
		return len(labs) > 0 && !slices.Contains(labs, c.Lab)
	})
}

// sameChecks says whether a report has the checks of labs and no others.
func sameChecks(r *result.Report, labs []result.Lab) bool {
	return slices.EqualFunc(r.Verdicts, checksOf(labs), func(v result.Verdict, c result.Check) bool { return v.ID == c.ID })
}

// blank is a report in which all checks ended alike, because nothing of the
// submission could be looked at.
func blank(job Job, rubric *result.Rubric, outcome result.Outcome, message string) *result.Report {
	r := &result.Report{
		Schema: result.ReportSchema, Name: job.Name, Student: job.Student, ID: job.ID, Source: filepath.Base(job.Path),
		Harness: job.Harness, Rubric: rubric.Digest, Seed: job.Seed, Started: time.Now(), Unsandboxed: job.Unsandboxed,
	}
	for _, c := range checksOf(job.Labs) {
		v := result.Verdict{Check: c, Outcome: outcome, Max: rubric.Points(c.ID), Message: message}
		r.Verdicts = append(r.Verdicts, v)
		if c.Lab == result.ByHand {
			r.Hand += v.Max
		} else {
			r.Max += v.Max
		}
	}
	return r
}

// obituary is the report of a submission whose grader died.
func obituary(job Job, rubric *result.Rubric, err error) *result.Report {
	r := blank(job, rubric, result.Broken, err.Error())
	r.Error = err.Error()
	return r
}
