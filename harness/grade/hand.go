package grade

import (
	"fmt"
	"strings"

	"virtlab/harness/result"
	"virtlab/harness/submission"
)

var handChecks = []result.Check{
	{ID: "report.read", Lab: result.ByHand, Title: "the report, read by a person", Page: "docs/grading.md#by-hand"},
}

// hand lists what a person has to read.
func (g *grading) hand() {
	files := g.answer.Files[submission.Report]
	if len(files) == 0 {
		g.settleAll(notGraded("there is no report among the files"), "report.read")
		return
	}
	var names []string
	for _, f := range files {
		names = append(names, f.Path)
	}
	g.settleAll(notGraded(fmt.Sprintf("by hand: %s", strings.Join(names, ", "))), "report.read")
}
