package grade

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"virtlab/harness"
	"virtlab/harness/machine"
	"virtlab/harness/result"
	"virtlab/harness/submission"
)

var handChecks = []result.Check{
	{ID: "report.read", Lab: result.ByHand, Title: "the report, read by a person", Page: "docs/grading.md#by-hand"},
}

// hand keeps what a person has to read.
func (g *grading) hand() {
	g.check("report.read", func(lab *harness.Lab, _ *result.Verdict) error {
		files := g.answer.Files[submission.Report]
		if len(files) == 0 {
			return notGraded("there is no report among the files")
		}
		var names []string
		for _, f := range files {
			if err := g.keep(f, lab.Evidence); err != nil {
				return err
			}
			names = append(names, f.Path)
		}
		return notGraded(fmt.Sprintf("by hand: %s", strings.Join(names, ", ")))
	})
}

// keep copies a file of the submission below dir.
func (g *grading) keep(f submission.File, dir string) error {
	name := filepath.FromSlash(f.Path)
	to := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return machine.Copy(to, filepath.Join(g.sub.Dir, name))
}
