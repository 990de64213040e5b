package class

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"virtlab/harness/result"
)

func ended(name string, score float64, took time.Duration) Ending {
	return Ending{Name: name, Took: took, Report: &result.Report{Score: score, Max: 90}}
}

func TestLines(t *testing.T) {
	var b bytes.Buffer
	p := Lines(&b)
	p.Begin(Plan{Total: 12, Jobs: 2, Why: "2 CPUs", Seed: 42})
	p.Started("ada")
	p.Ended(ended("ada", 78.5, 6100*time.Millisecond))
	kept := ended("bob", 90, 0)
	kept.Kept = true
	kept.Report.Verdicts = []result.Verdict{{Check: result.Check{ID: "mem.module"}, Outcome: result.Fail}}
	p.Ended(kept)
	p.Ended(Ending{Name: "eve\x1b[2J\u202etxt", Err: errors.New("no space\nleft")})
	broken := ended("zoe", 0, time.Second)
	broken.Report.Error = "the grader died\nof this"
	p.Ended(broken)
	p.End()
	assert.Equal(t, strings.Join([]string{
		"12 submissions, 2 at a time (2 CPUs), seed 42",
		"[ 1/12] ada  78.5/90 points  6.1 s",
		"[ 2/12] bob  90/90 points, fails mem.module  kept",
		"[ 3/12] eve␛[2J[U+202E]txt  grading failed: no space  0.0 s",
		"[ 4/12] zoe  grading failed: the grader died  1.0 s",
		"",
	}, "\n"), b.String())
}

func TestTimeLeft(t *testing.T) {
	c := count{total: 10, jobs: 2}
	assert.Zero(t, c.left(), "nobody knows yet")
	c.under = 2
	c.end(ended("a", 1, 10*time.Second))
	c.under++
	// Eight not done besides the two halves under way, two at a time.
	assert.Equal(t, 40*time.Second, c.left())
	kept := ended("b", 1, 0)
	kept.Kept = true
	c.end(kept)
	assert.Equal(t, 37500*time.Millisecond, c.left(), "one that is kept says nothing about the others")
	assert.Equal(t, "1 under way, 1 kept, about 38 s left", c.String())
}

// A bar is for people: the test looks only at what must not be lost in it.
func TestBar(t *testing.T) {
	var b bytes.Buffer
	p := Bar(&b)
	p.Begin(Plan{Total: 2, Jobs: 1, Why: "-j", Seed: 42})
	p.Started("ada")
	p.Ended(ended("ada", 1, time.Second))
	p.Started("eve")
	p.Ended(Ending{Name: "eve", Err: errors.New("no space")})
	p.End()
	assert.Contains(t, b.String(), "seed 42")
	assert.Contains(t, b.String(), "[2/2] eve  grading failed: no space  0.0 s\n")
	assert.Contains(t, b.String(), "(1/2)")
}

func TestStages(t *testing.T) {
	report := func(boot, check float64) *result.Report {
		return &result.Report{
			Stages: []result.Stage{{Name: "boot L1", Seconds: boot}, {Name: "boot L1", Seconds: 1}},
			Verdicts: []result.Verdict{
				{Check: result.Check{Lab: result.CPU}, Seconds: check}, {Check: result.Check{Lab: result.CPU}, Seconds: check},
				{Check: result.Check{Lab: result.ByHand}},
			},
		}
	}
	assert.Equal(t, []StageTotal{
		{Name: "boot L1", Submissions: 2, Total: 7, Longest: 4},
		{Name: "checks of cpu", Submissions: 1, Total: 1, Longest: 1},
	}, Stages([]*result.Report{report(3, 0.5), report(2, 0)}))
}

func TestCapacity(t *testing.T) {
	for _, c := range []struct{ cpus, memory, jobs int }{
		{2, 24000, 2}, {64, 24000, 13}, {8, 3600, 2}, {8, 1000, 1}, {1, 24000, 1},
	} {
		jobs, why := capacity(c.cpus, c.memory)
		assert.Equal(t, c.jobs, jobs)
		assert.NotEmpty(t, why)
	}
	assert.Equal(t, 2048, availableMiB([]byte("MemTotal: 9 kB\nMemAvailable:    2097152 kB\n")))
	assert.Zero(t, availableMiB([]byte("MemTotal: 9 kB\n")))
}
