package labs

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness"
	"virtlab/harness/guest"
	"virtlab/harness/trap"
)

// Experiment 1: CPU virtualization. A mini VMM on the KVM API runs a guest that
// prints "Hello, world!" byte by byte through `out`; each byte is a VM exit. The
// task: rewrite the handling of KVM_EXIT_IO so that upper case comes out.

const hello = "Hello, world!\n"

func TestCPU(t *testing.T) {
	t.Parallel()
	lab := harness.New(t)
	l1 := lab.L1()

	t.Run("sample prints what the guest wrote", func(t *testing.T) {
		lab := lab.In(t)
		log := lab.Watch(l1, lab.Program(l1, "sample-qemu"))
		assert.NoError(t, trap.CheckEnd(log))
		assert.NoError(t, trap.CheckText(log, hello))
		assert.NoError(t, trap.CheckExits(log, len(hello)))
	})

	t.Run("solution", func(t *testing.T) {
		lab := lab.In(t)
		solution := lab.Solution(l1, "modified-qemu.c")
		upper := lab.Transform("upper")
		log := lab.Watch(l1, solution)

		t.Run("prints upper case", func(t *testing.T) {
			assert.NoError(t, trap.CheckEnd(log))
			assert.NoError(t, trap.CheckText(log, string(upper.Apply([]byte(hello)))))
		})
		t.Run("one VM exit per character and one for hlt", func(t *testing.T) {
			assert.NoError(t, trap.CheckExits(log, len(hello)))
		})
		t.Run("transforms what was trapped", func(t *testing.T) {
			lab := lab.In(t)
			nonce := trap.Nonce(lab.Rand, len(hello))
			log := lab.WatchInjecting(l1, solution, nonce)
			require.Len(t, log.Injected, len(nonce), "each trapped byte is replaced")
			assert.NoError(t, trap.CheckTransform(log, upper))
		})
	})

	t.Run("our own mini VMM in Go does the same", func(t *testing.T) {
		res := lab.In(t).MiniVMM(l1, hello, "upper")
		assert.Equal(t, "HELLO, WORLD!\n", string(res.Output))
		assert.Len(t, res.Exits, len(hello)+1, "one KVM_EXIT_IO per character and one KVM_EXIT_HLT")
	})

	for _, mutant := range lab.Mutants("cpu") {
		t.Run("mutant "+mutant.Name, func(t *testing.T) {
			t.Parallel()
			wrongProgram(t, lab.In(t), l1, mutant)
		})
	}
}

// wrongProgram runs a solution that must fail one of the checks of TestCPU, for
// the reason that stands in its first line.
func wrongProgram(t *testing.T, lab *harness.Lab, l1 *guest.Guest, mutant harness.Mutant) {
	program := lab.Program(l1, mutant.Name)
	upper := lab.Transform("upper")
	checks := map[string]func() error{
		"end":   func() error { return trap.CheckEnd(lab.WatchFor(2*time.Second, l1, program)) },
		"text":  func() error { return trap.CheckText(lab.Watch(l1, program), string(upper.Apply([]byte(hello)))) },
		"exits": func() error { return trap.CheckExits(lab.Watch(l1, program), len(hello)) },
		"transform": func() error {
			return trap.CheckTransform(lab.WatchInjecting(l1, program, trap.Nonce(lab.Rand, len(hello))), upper)
		},
	}
	check := checks[mutant.Check]
	require.NotNil(t, check, "the mutant's first line names the check %q", mutant.Check)
	assert.ErrorContains(t, check(), mutant.Reason, "%s", mutant.What)
}
