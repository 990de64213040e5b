package class

import (
	"errors"
	"time"

	"virtlab/harness/result"
	"virtlab/harness/submission"
)

// Job is what a worker reads from its standard input, as JSON.
type Job struct {
	submission.Handin
	Dir    string        `json:"dir"`    // an empty directory for the report
	Temp   string        `json:"temp"`   // an empty directory for everything else; TMPDIR
	Unless string        `json:"unless"` // nothing is to be done for content of this digest
	Rubric string        `json:"rubric"`
	Seed   uint64        `json:"seed"`
	Labs   []result.Lab  `json:"labs"`
	Accel  string        `json:"accel"`
	Limit  time.Duration `json:"limit"`

	Harness     string `json:"harness"`
	Unsandboxed bool   `json:"unsandboxed"`
}

// ErrUnchanged is how a worker ends that has nothing to do (Job.Unless).
var ErrUnchanged = errors.New("nothing changed since it was graded")

// StatusUnchanged is the exit status of a worker whose Work ended in ErrUnchanged.
// With 0 the report is in Job.Dir, with any other there is none.
const StatusUnchanged = 10
