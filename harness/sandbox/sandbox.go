// Package sandbox runs a program that may be hostile: with bubblewrap, without
// network, on a read-only system, with limits on time, memory, processes and
// files.
package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"time"

	"virtlab/harness/machine"
	"virtlab/harness/result"
)

// Spec is a program to run in a sandbox.
type Spec struct {
	Args []string
	// Dir is the one host directory the program may write. It sees it as
	// /work and starts there.
	Dir string
	// Limits; zero values are replaced by those of a compiler run.
	Time      time.Duration // wall clock: 60 s
	MemoryMiB int           // address space per process: 2048
	Processes int           // of this user: 256
	FileMiB   int           // largest file it may write: 256
}

// Output is bounded, so that a program that prints for ever fills no memory.
const maxOutput = 1 << 20

// Run runs the program to its end and returns what it printed, stdout and
// stderr together, cut at 1 MiB. A status other than 0 is a *machine.ExitError;
// that there is no working sandbox is the host's fault.
func Run(ctx context.Context, s Spec) (string, error) {
	if err := Available(); err != nil {
		return "", err
	}
	s = s.withDefaults()
	ctx, cancel := context.WithTimeoutCause(ctx, s.Time, fmt.Errorf("not done after %s", s.Time))
	defer cancel()
	out := &bounded{}
	p, err := machine.Host.Start(ctx, machine.Cmd{Args: s.command(), Stdout: out, Stderr: out})
	if err != nil {
		return "", err
	}
	err = p.Wait()
	if ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return out.String(), err
}

func (s Spec) withDefaults() Spec {
	if s.Time == 0 {
		s.Time = time.Minute
	}
	if s.MemoryMiB == 0 {
		s.MemoryMiB = 2048
	}
	if s.Processes == 0 {
		s.Processes = 256
	}
	if s.FileMiB == 0 {
		s.FileMiB = 256
	}
	return s
}

// command is the command line: bubblewrap makes the walls, prlimit the limits.
func (s Spec) command() []string {
	a := []string{"bwrap",
		"--unshare-all", "--die-with-parent", "--new-session", "--clearenv",
		"--setenv", "PATH", "/usr/bin:/bin", "--setenv", "HOME", "/work", "--setenv", "LC_ALL", "C.UTF-8",
		"--ro-bind", "/usr", "/usr"}
	for _, d := range []string{"bin", "lib", "lib64", "sbin"} {
		// Merged /usr (Debian 12, Arch): the rest of the root is not needed.
		a = append(a, "--symlink", "usr/"+d, "/"+d)
	}
	a = append(a, "--ro-bind-try", "/etc/alternatives", "/etc/alternatives",
		"--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache",
		"--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp",
		"--bind", s.Dir, "/work", "--chdir", "/work", "--cap-drop", "ALL", "--",
		"prlimit",
		fmt.Sprintf("--cpu=%d", int(s.Time.Seconds())+1),
		fmt.Sprintf("--as=%d", s.MemoryMiB<<20),
		fmt.Sprintf("--nproc=%d", s.Processes),
		fmt.Sprintf("--fsize=%d", s.FileMiB<<20),
		"--core=0", "--")
	return append(a, s.Args...)
}

// Available says whether bubblewrap can make a sandbox here, by making one.
func Available() error {
	if _, err := exec.LookPath("bwrap"); err != nil {
		return result.Errorf(result.Host, "no sandbox: %w", err).WithHint("run make setup, or install the package bubblewrap")
	}
	out, err := exec.Command("bwrap", "--unshare-all", "--ro-bind", "/", "/", "true").CombinedOutput()
	if err == nil {
		return nil
	}
	e := result.Errorf(result.Host, "bubblewrap cannot make a sandbox: %s", strings.TrimSpace(string(out)))
	if b, rerr := os.ReadFile("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"); rerr == nil && strings.TrimSpace(string(b)) == "1" {
		return e.WithHint("AppArmor forbids user namespaces: allow them with sysctl kernel.apparmor_restrict_unprivileged_userns=0, or give bwrap a profile")
	}
	return e.WithHint("allow user namespaces: sysctl kernel.unprivileged_userns_clone=1 and user.max_user_namespaces above 0")
}

// CompileC compiles one C file, which may be anyone's, to a static program in
// dir, a directory of its own that already holds the file. Warnings are
// returned; an error of the compiler is the submission's.
func CompileC(ctx context.Context, dir, source, program string) (warnings string, err error) {
	out, err := Run(ctx, Spec{Dir: dir, Args: []string{"gcc", "-static", "-O2", "-Wall", "-o", program, "./" + source}})
	var exit *machine.ExitError
	if errors.As(err, &exit) {
		return out, result.Errorf(result.Submission, "%s does not compile:\n%s", source, out)
	}
	if err != nil {
		return out, fmt.Errorf("compiling %s: %w", source, err)
	}
	return out, nil
}

// bounded keeps the first maxOutput bytes.
type bounded struct{ b bytes.Buffer }

func (w *bounded) Write(p []byte) (int, error) {
	if room := maxOutput - w.b.Len(); room > 0 {
		w.b.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

func (w *bounded) String() string { return w.b.String() }
