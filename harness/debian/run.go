package debian

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/crypto/ssh"

	"virtlab/harness/bench"
	"virtlab/harness/machine"
	"virtlab/harness/result"
)

// Run runs a program as the user lab and gives what it printed on stdout. What it
// printed on stderr is in the error where it fails, a *machine.ExitError.
func (g *Guest) Run(ctx context.Context, args ...string) (string, error) {
	s, err := g.ssh.NewSession()
	if err != nil {
		return "", g.blame(fmt.Errorf("%s: %w", g.name, err))
	}
	defer s.Close()
	stop := context.AfterFunc(ctx, func() { s.Close() })
	defer stop()
	var stdout, stderr bytes.Buffer
	s.Stdout, s.Stderr = &stdout, &stderr
	err = s.Run(machine.CommandLine(args...))
	var exit *ssh.ExitError
	switch {
	case err == nil:
		return stdout.String(), nil
	case ctx.Err() != nil:
		err = context.Cause(ctx)
	case errors.As(err, &exit):
		err = &machine.ExitError{Status: exit.ExitStatus(), Stderr: strings.TrimSpace(stderr.String())}
	default:
		err = g.blame(err)
	}
	return stdout.String(), fmt.Errorf("%s: %s: %w", g.name, strings.Join(args, " "), err)
}

// Startup is how a guest came up, by systemd's own account.
type Startup struct {
	bench.Startup
	State   string // "running"; "degraded" where units failed
	Failed  string // those units, one a line
	Analyze string // what systemd-analyze time printed
}

// Startup waits until systemd's job queue is empty, and asks systemd-analyze only
// then: before, its answer is "Bootup is not yet finished".
func (g *Guest) Startup(ctx context.Context) (Startup, error) {
	var s Startup
	state, err := g.Run(ctx, "systemctl", "is-system-running", "--wait")
	s.State = strings.TrimSpace(state)
	if s.State != "running" && s.State != "degraded" { // the status is 1 for all but "running"
		return s, result.Errorf(result.Guest, "%s did not come up: systemctl is-system-running says %q (%v)", g.name, s.State, err)
	}
	if s.Failed, err = g.Run(ctx, "systemctl", "--failed", "--plain", "--no-legend", "--no-pager"); err != nil {
		return s, err
	}
	if s.Analyze, err = g.Run(ctx, "systemd-analyze", "time"); err != nil {
		return s, err
	}
	s.Startup, err = bench.ParseStartup(s.Analyze)
	return s, err
}
