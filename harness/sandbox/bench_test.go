package sandbox

import (
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// What the walls cost: a program that does nothing, behind them and without.
func BenchmarkRun(b *testing.B) {
	require.NoError(b, Available())
	for b.Loop() {
		require.NoError(b, Run(b.Context(), Spec{Args: []string{"true"}, Limits: Compiler}))
	}
}

func BenchmarkRunWithoutWalls(b *testing.B) {
	for b.Loop() {
		require.NoError(b, exec.Command("true").Run())
	}
}
