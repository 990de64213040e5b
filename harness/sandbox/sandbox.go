// Package sandbox runs programs that may be hostile: behind bubblewrap, without
// network, on a read-only system, as a user of their own or in a user namespace,
// with limits on what all their processes use together. When the program has
// ended none of its processes is left.
package sandbox

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"strings"

	"virtlab/harness/machine"
	"virtlab/harness/result"
)

// Unsandboxed takes the walls away: programs run with the caller's rights and
// resource limits alone. It is for a student's own machine and his own program,
// where no sandbox can be had, and is set before anything runs.
var Unsandboxed bool

// Scratch stands in Spec.Args for the private directory of a sandbox: /tmp behind
// walls, a new one without.
const Scratch = "@SCRATCH@"

// Spec is a program to run in a sandbox. It sees the system's programs and
// libraries, a private directory (Scratch, $TMPDIR), and of the host's other files
// those named here, each at the place where it is. Its environment is PATH, HOME,
// TMPDIR and LC_ALL=C.
type Spec struct {
	Args     []string
	Dir      string   // working directory; empty: Scratch
	ReadOnly []string // files and directories
	Sockets  bool     // grant unix sockets
	Limits   Limits

	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer

	writable []string // directories
	owner    owner    // of those; drawn where it is not set
}

// Run runs the program to its end. A limit that it ran into is a *LimitError
// owned by the submission, a status other than 0 or a signal a
// *machine.ExitError; that the sandbox did not come up is the host's fault.
func Run(ctx context.Context, s Spec) error {
	p, err := Start(ctx, s)
	if err != nil {
		return err
	}
	err = p.Wait()
	var exit *machine.ExitError
	if ctx.Err() != nil && errors.As(err, &exit) {
		return context.Cause(ctx)
	}
	return err
}

// Start starts the program. It ends when ctx ends, when it is killed, or when
// this process dies, and all it started with it.
func Start(ctx context.Context, s Spec) (machine.Process, error) {
	if len(s.Args) == 0 {
		return nil, errors.New("no program to run in the sandbox")
	}
	if Unsandboxed {
		return startBare(ctx, s)
	}
	if err := Available(); err != nil {
		return nil, err
	}
	return start(ctx, s)
}

func start(ctx context.Context, s Spec) (_ machine.Process, err error) {
	if s.owner == (owner{}) {
		if s.owner, err = newOwner(); err != nil {
			return nil, err
		}
	}
	argv := s.command()
	c := exec.Command(argv[0], argv[1:]...)
	c.Env = []string{} // what bubblewrap's own process has can be read in there
	return launch(ctx, s, c)
}

// startBare is Start without walls.
func startBare(ctx context.Context, s Spec) (machine.Process, error) {
	dir, err := os.MkdirTemp("", "bare")
	if err != nil {
		return nil, result.Errorf(result.Host, "no temporary directory: %w", err)
	}
	argv := append(append(append([]string{"prlimit"}, s.Limits.rlimits()...), "--"), s.args(dir)...)
	c := exec.Command(argv[0], argv[1:]...)
	c.Dir = s.Dir
	if c.Dir == "" {
		c.Dir = dir
	}
	c.Env = append(withoutVariables(os.Environ(), "TMPDIR", "LC_ALL"), "TMPDIR="+dir, "LC_ALL=C")
	p := newProcess(s)
	if err := p.spawn(ctx, s, c); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	go p.followBare(dir)
	return p, nil
}

// args are the program and its arguments with its private directory in them.
func (s Spec) args(scratch string) (out []string) {
	for _, a := range s.Args {
		out = append(out, strings.ReplaceAll(a, Scratch, scratch))
	}
	return out
}

func withoutVariables(env []string, names ...string) (out []string) {
next:
	for _, e := range env {
		for _, n := range names {
			if strings.HasPrefix(e, n+"=") {
				continue next
			}
		}
		out = append(out, e)
	}
	return out
}
