package class

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"virtlab/harness/result"
)

// StageTotal is what a stage took in all submissions.
type StageTotal struct {
	Name           string
	Submissions    int
	Total, Longest float64 // seconds
}

// Stages adds up where the time went, the longest first: the stages of the
// reports, and the checks of each lab besides them.
func Stages(reports []*result.Report) []StageTotal {
	totals := map[string]*StageTotal{}
	for _, r := range reports {
		for name, seconds := range stagesOf(r) {
			t := totals[name]
			if t == nil {
				t = &StageTotal{Name: name}
				totals[name] = t
			}
			t.Submissions++
			t.Total += seconds
			t.Longest = max(t.Longest, seconds)
		}
	}
	var all []StageTotal
	for _, t := range totals {
		all = append(all, *t)
	}
	slices.SortFunc(all, func(a, b StageTotal) int {
		return cmp.Or(cmp.Compare(b.Total, a.Total), cmp.Compare(a.Name, b.Name))
	})
	return all
}

func stagesOf(r *result.Report) map[string]float64 {
	seconds := map[string]float64{}
	for _, s := range r.Stages {
		seconds[s.Name] += s.Seconds
	}
	for _, v := range r.Verdicts {
		if v.Seconds > 0 {
			seconds["checks of "+string(v.Lab)] += v.Seconds
		}
	}
	return seconds
}

// Reason is why a report is no basis for a grade.
func Reason(r *result.Report) string {
	if r.Error != "" {
		return r.Error
	}
	for _, v := range r.Verdicts {
		if v.Outcome == result.Broken {
			return v.ID + ": " + v.Message
		}
	}
	return ""
}

func points(r *result.Report) string {
	s := fmt.Sprintf("%s/%s points", result.Points(r.Score), result.Points(r.Max))
	if failed := r.Unpriced(); len(failed) > 0 {
		s += ", fails " + strings.Join(failed, ", ")
	}
	return s
}
