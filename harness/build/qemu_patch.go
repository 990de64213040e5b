package build

import "regexp"

// qemuInsertions mend QEMU's emulation of SVM, so that a KVM under emulation can
// be relied on.
//
// An interrupt that KVM injects with VMRUN (EVENTINJ, APM vol. 2, 15.20) is
// delivered by helper_vmrun itself, which leaves its vector behind as a pending
// exception. Where something kicks the CPU out of its loop before the next
// #VMEXIT (stop in the monitor, a device in QEMU's main thread), the loop finds it
// and delivers the interrupt again, whether or not the guest takes interrupts: in
// the middle of the first one's handler, with IF clear. L2's kernel then waits for
// a lock that it holds itself, for ever. QEMU 7.2 does this, and its main branch
// has the same lines.
var qemuInsertions = []insertion{
	{
		file:   "target/i386/tcg/sys*/svm_helper.c",
		anchor: regexp.MustCompile(`(?m)^ +do_interrupt_x86_hardirq\(env, vector, 1\);\n`),
		after:  true,
		text:   "            cs->exception_index = -1; /* it is delivered */\n",
		mark:   "/* it is delivered */",
	},
}
