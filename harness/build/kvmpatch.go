package build

import (
	"os"
	"path/filepath"
	"regexp"
)

// hypercallFile is our own source file in KVM's tree.
const hypercallFile = "mmu/hypercall22.c"

// kvmInsertions make KVM call kvm_hypercall22 in hypercallFile.
//
// The case goes in front of the first one of the switch: that switch is in
// kvm_emulate_hypercall up to 6.11, in __kvm_emulate_hypercall later, and in
// ____kvm_emulate_hypercall from 6.14, and in all of them nr, a0 and ret have
// these names, 32-bit callers are masked and user mode was refused before.
var kvmInsertions = []insertion{
	{
		file:   "Makefile",
		anchor: regexp.MustCompile(`(?m)^obj-\$\(CONFIG_KVM(_X86)?\)\s*\+=\s*kvm\.o$`),
		text:   "kvm-y += mmu/hypercall22.o\n\n",
		mark:   "mmu/hypercall22.o",
	},
	{
		file:   "x86.c",
		anchor: regexp.MustCompile(`(?m)^#include "x86\.h"\n`),
		after:  true,
		text:   "void kvm_hypercall22(struct kvm_vcpu *vcpu, gpa_t gpa);\n",
		mark:   "void kvm_hypercall22(",
	},
	{
		file:   "x86.c",
		anchor: regexp.MustCompile(`(?m)^\tcase KVM_HC_VAPIC_POLL_IRQ:\n`),
		text:   "\tcase 22: /* the memory lab's: print the walk */\n\t\tkvm_hypercall22(vcpu, a0);\n\t\tret = 0;\n\t\tbreak;\n",
		mark:   "kvm_hypercall22(vcpu, a0)",
	},
}

// patchKVM puts hypercall22.c, our source, and the insertions into kvmDir, a
// kernel's arch/x86/kvm.
func patchKVM(kvmDir, hypercall22 string) error {
	err := insertAll(kvmDir, kvmInsertions, "hypercall 22",
		"this kernel's KVM differs from those known (6.1 to 6.12): give kvmInsertions an anchor that fits it")
	if err != nil {
		return err
	}
	src, err := os.ReadFile(hypercall22)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(kvmDir, hypercallFile), src, 0o644)
}
