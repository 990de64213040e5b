package harness

import (
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"virtlab/harness/kvm"
	"virtlab/harness/machine"
	"virtlab/harness/sandbox"
	"virtlab/harness/trap"
)

// Program is the path on m of a program from the fixtures.
func (l *Lab) Program(m machine.Machine, name string) string {
	return AssetsOn(m).Programs + "/" + name
}

// Solution is the path on m of the program that the C file source makes: the
// student's, compiled in the sandbox, or the reference. A submission without
// the file is not graded.
func (l *Lab) Solution(m machine.Machine, source string) string {
	l.t.Helper()
	name := strings.TrimSuffix(source, ".c")
	file := SubmissionFile(source)
	if file == "" {
		return l.Program(m, name)
	}
	if _, err := os.Stat(file); err != nil {
		l.t.Skipf("not graded: the submission has no %s", source)
	}
	code, err := os.ReadFile(file)
	l.must(err)
	dir := l.t.TempDir()
	l.must(os.WriteFile(filepath.Join(dir, source), code, 0o644))
	warnings, err := sandbox.CompileC(l.Ctx, dir, source, name)
	if warnings != "" {
		l.t.Logf("the compiler says about %s:\n%s", source, warnings)
	}
	l.must(err)
	program := "/tmp/" + name
	l.must(machine.Upload(l.Ctx, m, filepath.Join(dir, name), program))
	return program
}

// Transform is the change of case that the task asks for.
func (l *Lab) Transform(name string) trap.Transform {
	l.t.Helper()
	t, err := trap.ParseTransform(name)
	l.must(err)
	return t
}

// Watch runs a VMM on m under the trap observer and gives what it saw.
func (l *Lab) Watch(m machine.Machine, program string) *trap.Log {
	l.t.Helper()
	return l.watch(m, "exits.json", program)
}

// WatchInjecting is Watch with each byte that the guest writes replaced by one
// of nonce before the program can look at it.
func (l *Lab) WatchInjecting(m machine.Machine, program string, nonce []byte) *trap.Log {
	l.t.Helper()
	return l.watch(m, "exits-injected.json", program, "-inject", hex.EncodeToString(nonce))
}

// WatchFor is Watch for a program that may not end: it is given as long.
func (l *Lab) WatchFor(limit time.Duration, m machine.Machine, program string) *trap.Log {
	l.t.Helper()
	return l.watch(m, "exits.json", program, "-time", limit.String())
}

// watchLimit is the longest run of a VMM whose guest halts after some twenty
// instructions.
const watchLimit = 10 * time.Second

func (l *Lab) watch(m machine.Machine, evidence, program string, flags ...string) *trap.Log {
	l.t.Helper()
	args := append([]string{l.Program(m, "virtlab"), "trap", "-json", "-time", watchLimit.String()}, flags...)
	out, err := machine.Run(l.Ctx, m, append(args, "--", program)...)
	l.must(err)
	l.Keep(evidence, out)
	var log trap.Log
	l.must(json.Unmarshal([]byte(out), &log))
	return &log
}

// MiniVMM runs the guest that prints text under the Go mini VMM on m.
func (l *Lab) MiniVMM(m machine.Machine, text, transform string) kvm.Result {
	l.t.Helper()
	return l.miniVMM(m, l.Program(m, "virtlab"), text, transform)
}

func (l *Lab) miniVMM(m machine.Machine, virtlab, text, transform string) kvm.Result {
	l.t.Helper()
	out, err := machine.Run(l.Ctx, m, virtlab, "vmm", "-json", "-text", text, "-transform", transform)
	l.must(err)
	l.Keep("vmm.json", out)
	var res kvm.Result
	l.must(json.Unmarshal([]byte(out), &res))
	return res
}

// Mutant is a wrong solution and why it must fail.
type Mutant struct {
	Name   string // of its file, without .c
	What   string // what is wrong with it
	Check  string // the check that must fail
	Reason string // what that check's message must say
}

// Mutants reads the first line of each wrong solution of a lab:
// "// mutant: WHAT; must fail: CHECK: REASON".
func (l *Lab) Mutants(lab string) []Mutant {
	l.t.Helper()
	root, err := Root()
	l.must(err)
	files, err := filepath.Glob(filepath.Join(root, "fixtures", "mutants", lab, "*.c"))
	l.must(err)
	require.NotEmpty(l.t, files)
	var out []Mutant
	for _, f := range files {
		code, err := os.ReadFile(f)
		l.must(err)
		line, _, _ := strings.Cut(string(code), "\n")
		what, rest, ok := strings.Cut(strings.TrimPrefix(line, "// mutant: "), "; must fail: ")
		check, reason, ok2 := strings.Cut(rest, ": ")
		require.True(l.t, ok && ok2, "%s: its first line does not say what must fail and why", f)
		out = append(out, Mutant{Name: strings.TrimSuffix(filepath.Base(f), ".c"), What: what, Check: check, Reason: reason})
	}
	return out
}
