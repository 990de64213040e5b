package class

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"virtlab/harness"
	"virtlab/harness/machine"
	"virtlab/harness/result"
	"virtlab/harness/submission"
)

// grace is what a worker gets past the deadline of its submission to end its
// guests and write down how far it came.
var grace = 20 * time.Second

const (
	logName     = "grader.log" // in the report's directory
	scratchName = "vlg"        // begins the names of temporary directories
)

// newRun makes ready what the jobs have in common.
func newRun(out *outDir, handins []submission.Handin, opts Options) (*run, error) {
	r := &run{opts: opts, out: out}
	for _, h := range handins {
		if opts.Shard.Has(h.Name) {
			r.handins = append(r.handins, h)
		}
	}
	if err := out.foreign(r.handins); err != nil {
		return nil, err
	}
	same, err := out.agree(common{Seed: opts.Seed, Labs: opts.Labs}, opts.Again, harness.DrawSeed)
	if err != nil {
		return nil, err
	}
	rubric := filepath.Join(out.run.path, "rubric.toml")
	if err := os.WriteFile(rubric, opts.RubricText, 0o644); err != nil {
		return nil, err
	}
	if r.temp, err = newTemp(); err != nil {
		return nil, err
	}
	r.job = Job{
		Rubric: rubric, Seed: same.Seed, Labs: opts.Labs, Accel: opts.Accel,
		Harness: opts.Harness, Unsandboxed: opts.Unsandboxed, Limit: opts.Deadline,
	}
	return r, nil
}

// newTemp makes the directory that holds the workers' temporary files, and
// removes those of runs that were killed.
func newTemp() (*scratch, error) {
	sweep(os.TempDir(), scratchName)
	temp, err := newScratch(os.TempDir(), scratchName)
	if err != nil {
		return nil, result.Errorf(result.Host, "no temporary directory: %w", err).WithHint("set TMPDIR to a writable directory")
	}
	// Room for a worker's directory, a guest's in it, and its longest socket.
	if err := machine.CheckSocketPath(temp.path + "/9999/vl4294967295/9999/socket-name"); err != nil {
		return nil, errors.Join(err, temp.remove())
	}
	return temp, nil
}

// one grades the i-th submission. done is false where ctx ended before that.
func (r *run) one(ctx context.Context, i int) (e Ending, done bool) {
	start := time.Now()
	before := r.usable(r.handins[i].Name)
	job := r.jobFor(i, before)
	e = Ending{Name: job.Name}
	err := errors.Join(r.out.newDraft(job.Name), os.Mkdir(job.Temp, 0o700))
	if err == nil {
		err = r.work(ctx, job)
	}
	cleanErr := removeAll(job.Temp)
	switch {
	case errors.Is(err, ErrUnchanged):
		e.Report, e.Kept = before, true
	case err != nil && ctx.Err() != nil:
		return e, false
	default:
		e.Report, e.Err = r.finish(job, err)
	}
	e.Err, e.Took = errors.Join(e.Err, cleanErr), time.Since(start)
	return e, true
}

// jobFor is the job for the i-th submission, of which before is known.
func (r *run) jobFor(i int, before *result.Report) Job {
	job := r.job
	job.Handin = r.handins[i]
	job.Dir = r.out.draft(job.Name)
	job.Temp = filepath.Join(r.temp.path, strconv.Itoa(i))
	if before != nil {
		job.Unless = before.Digest
	}
	return job
}

// usable is the report of a run before, if it says what this one would of the
// same content.
func (r *run) usable(name string) *result.Report {
	if r.opts.Again {
		return nil
	}
	report, err := readReport(r.out.report(name))
	if err != nil || !r.wouldBe(report) {
		return nil
	}
	return report
}

func (r *run) wouldBe(report *result.Report) bool {
	return !report.Failed() && report.Harness == r.job.Harness && report.Rubric == r.opts.Rubric.Digest &&
		report.Seed == r.job.Seed && report.Unsandboxed == r.opts.Unsandboxed && sameChecks(report, r.opts.Labs)
}

// work runs a worker to its end.
func (r *run) work(ctx context.Context, job Job) error {
	log, err := newLog(filepath.Join(job.Dir, logName))
	if err != nil {
		return err
	}
	defer log.close()
	input, err := json.Marshal(job)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, job.Limit+grace, fmt.Errorf("it did not end within %s", job.Limit+grace))
	defer cancel()
	p, err := machine.Host.Start(ctx, machine.Cmd{
		Args: r.opts.Worker, Env: []string{"TMPDIR=" + job.Temp}, Stdin: bytes.NewReader(input), Stdout: log, Stderr: log,
	})
	if err != nil {
		return err
	}
	return explain(ctx, p.Wait(), log)
}

// explain says why a worker ended as it did.
func explain(ctx context.Context, err error, log *boundedLog) error {
	var exit *machine.ExitError
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.As(err, &exit) && exit.Status == StatusUnchanged:
		return ErrUnchanged
	}
	if last := log.lastLines(5); last != "" {
		return fmt.Errorf("%w; its last words:\n%s", err, last)
	}
	return err
}

// finish publishes what a worker made. Where it made no report, for it was
// killed or crashed, there is one that says so, with the evidence up to there.
func (r *run) finish(job Job, err error) (*result.Report, error) {
	report, readErr := readReport(job.Dir)
	if err == nil {
		err = readErr
	}
	if err != nil {
		report = obituary(job, r.opts.Rubric, fmt.Errorf("the grader of this submission failed: %w", err))
		if err := result.WriteAll(job.Dir, report); err != nil {
			return report, err
		}
	}
	return report, r.out.publish(job.Name)
}
