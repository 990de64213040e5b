package build

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/result"
)

// The shapes that KVM's hypercall switch has had; written by hand, with what the
// insertions look at in its real form.
var kvmShapes = map[string]struct{ x86, makefile string }{
	"6.1": {
		x86: "#include <linux/kvm_host.h>\n#include \"irq.h\"\n#include \"x86.h\"\n#include \"cpuid.h\"\n\n" +
			"int kvm_emulate_hypercall(struct kvm_vcpu *vcpu)\n{\n\tunsigned long nr, a0, ret;\n\n" +
			"\tswitch (nr) {\n\tcase KVM_HC_VAPIC_POLL_IRQ:\n\t\tret = 0;\n\t\tbreak;\n\tcase KVM_HC_KICK_CPU:\n" +
			"\tdefault:\n\t\tret = -KVM_ENOSYS;\n\t\tbreak;\n\t}\nout:\n\tkvm_rax_write(vcpu, ret);\n}\n",
		makefile: "kvm-y\t\t\t+= x86.o mmu/mmu.o \\\n\t\t\t   mmu/spte.o\n\nobj-$(CONFIG_KVM)\t+= kvm.o\nobj-$(CONFIG_KVM_AMD)\t+= kvm-amd.o\n",
	},
	"6.12": {
		x86: "#include \"x86.h\"\n#include \"mmu.h\"\n\nunsigned long __kvm_emulate_hypercall(struct kvm_vcpu *vcpu, unsigned long nr,\n" +
			"\t\t\t\t      unsigned long a0)\n{\n\tunsigned long ret;\n\n" +
			"\tswitch (nr) {\n\tcase KVM_HC_VAPIC_POLL_IRQ:\n\t\tret = 0;\n\t\tbreak;\n\tdefault:\n\t\tret = -KVM_ENOSYS;\n\t}\nout:\n\treturn ret;\n}\n",
		makefile: "kvm-y += x86.o mmu/spte.o\n\nobj-$(CONFIG_KVM_X86)\t+= kvm.o\nobj-$(CONFIG_KVM_AMD)\t+= kvm-amd.o\n",
	},
	"6.14, with a completion function": {
		x86: "#include \"x86.h\"\n\nint ____kvm_emulate_hypercall(struct kvm_vcpu *vcpu, int cpl,\n" +
			"\t\t\t      int (*complete_hypercall)(struct kvm_vcpu *))\n{\n\tunsigned long ret;\n\tunsigned long a0 = kvm_rbx_read(vcpu);\n\n" +
			"\tswitch (nr) {\n\tcase KVM_HC_VAPIC_POLL_IRQ:\n\t\tret = 0;\n\t\tbreak;\n\tdefault:\n\t\tret = -KVM_ENOSYS;\n\t}\nout:\n" +
			"\tvcpu->run->hypercall.ret = ret;\n\treturn 1;\n}\n",
		makefile: "kvm-y += x86.o\n\nobj-$(CONFIG_KVM_X86) += kvm.o\n",
	},
}

// kvmTree writes a KVM directory of the given shape and our source beside it.
func kvmTree(t *testing.T, x86, makefile string) (kvmDir, hypercall22 string) {
	t.Helper()
	kvmDir, hypercall22 = t.TempDir(), filepath.Join(t.TempDir(), "hypercall22.c")
	writeFiles(t, kvmDir, map[string]string{"x86.c": x86, "Makefile": makefile, "mmu/mmu.c": ""})
	require.NoError(t, os.WriteFile(hypercall22, []byte("/* ours */\n"), 0o644))
	return kvmDir, hypercall22
}

func read(t *testing.T, path ...string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(path...))
	require.NoError(t, err)
	return string(b)
}

func TestPatchKVM(t *testing.T) {
	for name, shape := range kvmShapes {
		t.Run(name, func(t *testing.T) {
			dir, hypercall22 := kvmTree(t, shape.x86, shape.makefile)
			require.NoError(t, patchKVM(dir, hypercall22))

			x86 := read(t, dir, "x86.c")
			assert.Contains(t, x86, "\tswitch (nr) {\n\tcase 22: /* the memory lab's: print the walk */\n"+
				"\t\tkvm_hypercall22(vcpu, a0);\n\t\tret = 0;\n\t\tbreak;\n\tcase KVM_HC_VAPIC_POLL_IRQ:\n\t\tret = 0;\n")
			assert.Contains(t, x86, "#include \"x86.h\"\nvoid kvm_hypercall22(struct kvm_vcpu *vcpu, gpa_t gpa);\n")
			assert.Contains(t, read(t, dir, "Makefile"), "kvm-y += mmu/hypercall22.o\n\nobj-$(CONFIG_KVM")
			assert.Equal(t, "/* ours */\n", read(t, dir, "mmu/hypercall22.c"))
			assert.Equal(t, shape.x86, without(x86, kvmInsertions[1].text, kvmInsertions[2].text), "nothing else changed")
		})
	}
}

func without(s string, pieces ...string) string {
	for _, p := range pieces {
		s = strings.Replace(s, p, "", 1)
	}
	return s
}

func TestPatchKVMTwice(t *testing.T) {
	dir, hypercall22 := kvmTree(t, kvmShapes["6.1"].x86, kvmShapes["6.1"].makefile)
	require.NoError(t, patchKVM(dir, hypercall22))
	err := patchKVM(dir, hypercall22)
	require.ErrorContains(t, err, "there already")
	assert.ErrorContains(t, err, "Makefile")
}

func TestPatchKVMUnfit(t *testing.T) {
	fit := kvmShapes["6.1"]
	tests := map[string]struct {
		x86, makefile string
		want          []string
	}{
		"switch gone":        {"#include \"x86.h\"\n", fit.makefile, []string{"x86.c", "KVM_HC_VAPIC_POLL_IRQ", "0 times"}},
		"switch twice":       {fit.x86 + fit.x86[strings.Index(fit.x86, "int kvm"):], fit.makefile, []string{"x86.c", "KVM_HC_VAPIC_POLL_IRQ", "2 times"}},
		"makefile rewritten": {fit.x86, "kvm.ko: x86.o\n", []string{"Makefile", "0 times"}},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			dir, hypercall22 := kvmTree(t, tt.x86, tt.makefile)
			err := patchKVM(dir, hypercall22)
			for _, want := range tt.want {
				assert.ErrorContains(t, err, want)
			}
			assert.Equal(t, result.Host, result.OwnerOf(err))
		})
	}
}

// What a pointer prints as differs from process to process; a key must not.
func TestInsertionsInputHasNoAddresses(t *testing.T) {
	assert.NotRegexp(t, `0xc0[0-9a-f]{8}`, insertionsInput(kvmInsertions))
	for _, in := range kvmInsertions {
		assert.Contains(t, insertionsInput(kvmInsertions), in.anchor.String())
		assert.Contains(t, insertionsInput(kvmInsertions), in.text)
	}
}

func TestKVMRecipeKey(t *testing.T) {
	_, hypercall22 := kvmTree(t, "", "")
	key := func(kernel string) string {
		r, err := KVMRecipe(Kernel{kernel}, hypercall22)
		require.NoError(t, err)
		return r.Key()
	}
	first := key("/cache/kernel-1")
	assert.Equal(t, first, key("/elsewhere/kernel-1"), "where the cache lies does not matter")
	assert.NotEqual(t, first, key("/cache/kernel-2"), "another kernel")
	require.NoError(t, os.WriteFile(hypercall22, []byte("/* changed */\n"), 0o644))
	assert.NotEqual(t, first, key("/cache/kernel-1"), "another source")
}
