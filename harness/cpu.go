package harness

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/stretchr/testify/require"

	"virtlab/harness/kvm"
	"virtlab/harness/machine"
	"virtlab/harness/result"
	"virtlab/harness/trap"
)

// Program is the path on m of a program from the fixtures.
func (l *Lab) Program(m machine.Machine, name string) string {
	return AssetsOn(m).Programs + "/" + name
}

// Transform is the change of case that the task asks for.
func (l *Lab) Transform(name string) trap.Transform {
	l.t.Helper()
	t, err := trap.ParseTransform(name)
	l.must(err)
	return t
}

// Watch runs a VMM on m, a guest, under the trap observer and gives what it saw.
// The VMM may be anyone's: it runs walled in (trap.Confinement).
func (l *Lab) Watch(m machine.Machine, program string) *trap.Log {
	l.t.Helper()
	return l.WatchFor(WatchLimit, m, program)
}

// WatchInjecting is Watch with each byte that the guest writes replaced by one
// of nonce before the program can look at it.
func (l *Lab) WatchInjecting(m machine.Machine, program string, nonce []byte) *trap.Log {
	l.t.Helper()
	return l.WatchFor(WatchLimit, m, program, nonce...)
}

// WatchLimit is the longest run of a VMM whose guest halts after some seventy
// instructions. It takes a third of a second.
const WatchLimit = 7 * time.Second

const (
	// watchedUser is nobody.
	watchedUser = 65534
	// watchMargin is what a guest may take beyond a program's time to start the
	// observer and to send its log.
	watchMargin = 30 * time.Second
)

// WatchFor is Watch, or WatchInjecting where there is a nonce, for a program that
// may not end: it is given as long. Time that the guest waits for the host's CPUs
// does not count. A machine that does not survive the program is the guest's
// failure.
func (l *Lab) WatchFor(limit time.Duration, m machine.Machine, program string, nonce ...byte) *trap.Log {
	l.t.Helper()
	ctx, cancel := context.WithCancelCause(l.Ctx)
	defer cancel(nil)
	stdin, hold := io.Pipe()
	defer stdin.Close()
	go func() {
		// The nonce is not on the command line, where the program could read it.
		fmt.Fprintln(hold, hex.EncodeToString(nonce))
		cancel(holdFor(ctx, limit, m, hold))
	}()
	out, err := machine.RunCmd(ctx, m, machine.Cmd{
		Args: []string{l.Program(m, "virtlab"), "trap", "-json", "-inject", "-", "-hold", "-user", strconv.Itoa(watchedUser),
			"-time", (20 * limit).String(), "--", program},
		Stdin: stdin,
	})
	evidence := "exits.json"
	if len(nonce) > 0 {
		evidence = "exits-injected.json"
	}
	l.Keep(evidence, out)
	l.must(err)
	var log trap.Log
	l.must(json.Unmarshal([]byte(out), &log))
	return &log
}

// holdFor holds the observer's input open for a program's time, and waits for the
// end of ctx. An observer that has not ended long after is m's failure.
func holdFor(ctx context.Context, limit time.Duration, m machine.Machine, hold io.Closer) error {
	clock := startStopwatch(m)
	_ = clock.wait(ctx, limit)
	_ = hold.Close()
	if err := clock.wait(ctx, limit+watchMargin); err != nil {
		return err
	}
	return result.Errorf(result.Guest, "%s gave no account of a program that it ran for %s", m.Name(), limit)
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
	dir, err := Fixture("mutants", lab)
	l.must(err)
	files, err := filepath.Glob(filepath.Join(dir, "*.c"))
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
