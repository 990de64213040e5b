package grade

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"virtlab/harness"
	"virtlab/harness/machine"
)

// What is done in a guest that the student's code may hang, flood or kill at any time.

// do does a step within its time, unless the guest is dead.
func (s *ioSide) do(what string, f func(context.Context) error) error {
	if s.dead != nil {
		return s.dead
	}
	ctx, cancel := harness.GuestTimeout(s.lab.Ctx, s.guest, stepTime, fmt.Errorf("%s was not done after %s", what, stepTime))
	defer cancel()
	return s.notice(f(ctx))
}

// notice finds out whether the guest still answers after something failed.
func (s *ioSide) notice(err error) error {
	var exit *machine.ExitError
	if err == nil || errors.As(err, &exit) && exit.Signal == "" {
		return err
	}
	ctx, cancel := harness.GuestTimeout(s.lab.Ctx, s.guest, lifeSign, fmt.Errorf("the guest has not answered for %s since", lifeSign))
	defer cancel()
	if _, gone := machine.Run(ctx, s.guest, "uname"); gone != nil {
		s.dead = fmt.Errorf("%w (%w)", err, gone)
		return s.dead
	}
	return err
}

// lifeSign is how long a guest that is well may take for one.
const lifeSign = 5 * time.Second

// collect runs a program and gives what it printed. One that prints too much, or
// does not end, is killed.
func (s *ioSide) collect(limit time.Duration, cmd machine.Cmd) (stdout, stderr string, err error) {
	if s.dead != nil {
		return "", "", s.dead
	}
	ctx, cancel := harness.GuestTimeout(s.lab.Ctx, s.guest, limit, fmt.Errorf("had not ended after %s, and was killed", limit))
	defer cancel()
	ctx, flooded := context.WithCancelCause(ctx)
	defer flooded(nil)
	var out, errs flood
	out.over, errs.over = flooded, flooded
	cmd.Stdout, cmd.Stderr = &out, &errs
	p, err := s.guest.Start(ctx, cmd)
	if err == nil {
		err = p.Wait()
	}
	if cause := context.Cause(ctx); err != nil && cause != nil {
		err = fmt.Errorf("%w", cause)
		_ = s.notice(err)
		return out.String(), errs.String(), err
	}
	return out.String(), errs.String(), s.notice(ended(err))
}

// ended says how a program ended in words that follow its name.
func ended(err error) error {
	var exit *machine.ExitError
	switch {
	case errors.As(err, &exit) && exit.Signal != "":
		return fmt.Errorf("was ended by a signal: %s%w", exit.Signal, silent{err})
	case errors.As(err, &exit):
		return fmt.Errorf("ended with status %d%w", exit.Status, silent{err})
	case err != nil:
		return fmt.Errorf("did not end: %w", err)
	}
	return nil
}

// silent is an error that stays in the chain without a word.
type silent struct{ error }

func (silent) Error() string   { return "" }
func (s silent) Unwrap() error { return s.error }

// flood keeps what is written to it, and complains where that is too much.
type flood struct {
	mu   sync.Mutex // a guest that is given up may still be heard
	b    bytes.Buffer
	over context.CancelCauseFunc
}

func (f *flood) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.b.Len()+len(p) > testOutput {
		f.over(fmt.Errorf("printed more than %d MiB, and was killed", testOutput>>20))
		return len(p), nil
	}
	return f.b.Write(p)
}

func (f *flood) String() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.b.String()
}

// newDmesg gives a function that returns what the kernel has logged since.
func (s *ioSide) newDmesg() func() string {
	read := func() (text string) {
		_ = s.do("reading the kernel's log", func(ctx context.Context) (err error) {
			text, err = s.guest.Dmesg(ctx)
			return err
		})
		return text
	}
	before := read()
	return func() string { return newLines(before, read()) }
}

// newLines is what a log has after the last line of what it had before; all of
// it where that line is gone.
func newLines(before, now string) string {
	if rest, ok := strings.CutPrefix(now, before); ok {
		return rest
	}
	last := before[strings.LastIndexByte(strings.TrimRight(before, "\n"), '\n')+1:]
	if i := strings.LastIndex(now, last); i >= 0 && last != "" {
		return now[i+len(last):]
	}
	return now
}
