package build

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"virtlab/harness/result"
)

// kvmInsertion is one small change to a file of KVM: text goes in before or after
// the one place that the anchor finds. Anchors name what KVM has had under the
// same name since long, so that they hold for kernels to come.
type kvmInsertion struct {
	file   string // relative to arch/x86/kvm
	anchor *regexp.Regexp
	after  bool // after the anchor's match; otherwise before it
	text   string
	mark   string // found in the file: the insertion was made before
}

// hypercallFile is our own source file in KVM's tree.
const hypercallFile = "mmu/hypercall22.c"

// kvmInsertions make KVM call kvm_hypercall22 in hypercallFile.
//
// The case goes in front of the first one of the switch: that switch is in
// kvm_emulate_hypercall up to 6.11, in __kvm_emulate_hypercall later, and in
// ____kvm_emulate_hypercall from 6.14, and in all of them nr, a0 and ret have
// these names, 32-bit callers are masked and user mode was refused before.
var kvmInsertions = []kvmInsertion{
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
	for _, in := range kvmInsertions {
		if err := in.apply(kvmDir); err != nil {
			return err
		}
	}
	src, err := os.ReadFile(hypercall22)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(kvmDir, hypercallFile), src, 0o644)
}

func (in kvmInsertion) apply(dir string) error {
	path := filepath.Join(dir, in.file)
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	patched, err := in.insert(old)
	if err != nil {
		return result.Errorf(result.Host, "adding hypercall 22 to %s: %w", path, err).
			WithHint("this kernel's KVM differs from those known (6.1 to 6.12): give kvmInsertions an anchor that fits it")
	}
	return os.WriteFile(path, patched, 0o644)
}

func (in kvmInsertion) insert(src []byte) ([]byte, error) {
	if bytes.Contains(src, []byte(in.mark)) {
		return nil, fmt.Errorf("it is there already (%q)", in.mark)
	}
	found := in.anchor.FindAllIndex(src, -1)
	if len(found) != 1 {
		return nil, fmt.Errorf("the anchor %s is there %d times, expected once", in.anchor, len(found))
	}
	at := found[0][0]
	if in.after {
		at = found[0][1]
	}
	return bytes.Join([][]byte{src[:at], []byte(in.text), src[at:]}, nil), nil
}

// insertionsInput is all that the insertions put in and where, as a recipe input.
func insertionsInput() string {
	var b strings.Builder
	for _, in := range kvmInsertions {
		fmt.Fprintf(&b, "%s %s %t %s\n", in.file, in.anchor, in.after, in.text)
	}
	return b.String()
}
