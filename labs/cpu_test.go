package labs

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness"
	"virtlab/harness/gradetest"
	"virtlab/harness/result"
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
		solution := lab.Program(l1, "modified-qemu")
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
}

// The task as it is handed in: a student's files (-submission), or the reference,
// compiled in the sandbox and graded by the checks that a class is graded by.
func TestCPUSubmission(t *testing.T) {
	t.Parallel()
	gradetest.Submission(t, result.CPU)
}

// Wrong and hostile mini VMMs (fixtures/mutants/cpu.toml): each fails for the
// stated reason.
func TestCPUMutants(t *testing.T) {
	t.Parallel()
	gradetest.Mutants(t, result.CPU)
}
