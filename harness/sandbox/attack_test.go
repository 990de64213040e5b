package sandbox

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/result"
)

// attacksVariable names the program of attacks where it is compiled already.
const attacksVariable = "VIRTLAB_TEST_ATTACKS"

// attacks is the program that tries what a program may try.
func attacks(t *testing.T) string {
	t.Helper()
	need(t)
	if p := os.Getenv(attacksVariable); p != "" {
		return p
	}
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skipf("not graded: %v", err)
	}
	program := filepath.Join(t.TempDir(), "attacks")
	out, err := exec.Command(gcc, "-static", "-Wall", "-Werror", "-o", program, "../../fixtures/mutants/hostile/run/attacks.c").CombinedOutput()
	require.NoError(t, err, string(out))
	return program
}

func TestRunAttacks(t *testing.T) {
	program := attacks(t)
	try := func(s Spec) string {
		var out bytes.Buffer
		s.ReadOnly, s.Stdout, s.Stderr = []string{program}, &out, &out
		assert.NoError(t, Run(t.Context(), s))
		return out.String()
	}
	const none = "end of the attempts\n"
	assert.Equal(t, none, try(Spec{Args: []string{program}, Limits: Compiler}))
	assert.Equal(t, none, try(Spec{Args: []string{program, "sockets"}, Limits: VMM, Sockets: true}))
	// That it would say so: here with a right that it does not expect.
	assert.Equal(t, "succeeded: a socket\n"+none, try(Spec{Args: []string{program}, Limits: VMM, Sockets: true}))
}

func TestRunCountsHiddenMemory(t *testing.T) {
	program := attacks(t)
	limits := Compiler
	limits.MemoryMiB, limits.AddressMiB, limits.Wall = 64, 256, time.Minute
	err := Run(t.Context(), Spec{Args: []string{program, "hide"}, ReadOnly: []string{program}, Limits: limits})
	var over *LimitError
	require.ErrorAs(t, err, &over)
	assert.Contains(t, []Limit{Address, Memory}, over.Limit)
	assert.Equal(t, result.Submission, result.OwnerOf(err))
}
