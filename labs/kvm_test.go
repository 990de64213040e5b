//go:build kvm

package labs

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness"
	"virtlab/harness/kvm"
	"virtlab/harness/machine"
	"virtlab/harness/trap"
	"virtlab/harness/vmm"
)

// With the tag kvm the experiments use this machine's own /dev/kvm: no L1
// between. Without a usable KVM they fail and say what was probed.

// The guest of experiment 1 under our own mini VMM, in this process.
func TestKVMMiniVMM(t *testing.T) {
	lab := harness.NewKVM(t)
	dev, err := kvm.Open(harness.KVMDevice)
	require.NoError(t, err)
	defer dev.Close()

	res, err := kvm.RunConsole(lab.Ctx, dev, kvm.Hello(hello), lab.Transform("upper").Byte)
	require.NoError(t, err)
	assert.Equal(t, "HELLO, WORLD!\n", string(res.Output))
	assert.Len(t, res.Exits, len(hello)+1, "one KVM_EXIT_IO per character and one KVM_EXIT_HLT")
}

// The C programs of experiment 1, watched from outside.
func TestKVMPrograms(t *testing.T) {
	lab := harness.NewKVM(t)
	upper := lab.Transform("upper")
	watch := func(t *testing.T, program string, inject []byte) *trap.Log {
		log, err := trap.Run(lab.Ctx, trap.Config{Argv: []string{lab.Program(machine.Host, program)}, Inject: inject})
		require.NoError(t, err)
		return log
	}
	t.Run("sample", func(t *testing.T) {
		log := watch(t, "sample-qemu", nil)
		assert.NoError(t, trap.CheckText(log, hello))
		assert.NoError(t, trap.CheckExits(log, len(hello)))
	})
	t.Run("reference solution", func(t *testing.T) {
		assert.NoError(t, trap.CheckText(watch(t, "modified-qemu", nil), "HELLO, WORLD!\n"))
		assert.NoError(t, trap.CheckTransform(watch(t, "modified-qemu", trap.Nonce(lab.Rand, len(hello))), upper))
	})
	t.Run("upper-cased guest code fails", func(t *testing.T) {
		assert.NoError(t, trap.CheckText(watch(t, "guest-upper-cased", nil), "HELLO, WORLD!\n"))
		assert.Error(t, trap.CheckTransform(watch(t, "guest-upper-cased", trap.Nonce(lab.Rand, len(hello))), upper))
	})
}

// Linux guests on KVM.
func TestKVMGuest(t *testing.T) {
	for _, m := range []vmm.MachineType{vmm.MicroVM, vmm.PC} {
		t.Run(string(m), func(t *testing.T) {
			lab := harness.NewKVM(t)
			g := lab.BootHost("guest", harness.MachineType(m))
			out, err := machine.Run(lab.Ctx, g, "uname")
			require.NoError(t, err)
			assert.Contains(t, out, "Linux")
			require.NoError(t, g.PowerOff(lab.Ctx))
		})
	}
}

// A guest with a KVM of its own, where the CPU offers nested virtualization.
func TestKVMNested(t *testing.T) {
	lab := harness.NewKVM(t)
	lab.RequireNested()
	g := lab.BootHost("nested")
	lab.LoadKVM(g)
	res := lab.MiniVMMOf(g, hello, "upper")
	assert.Equal(t, "HELLO, WORLD!\n", string(res.Output))
}
