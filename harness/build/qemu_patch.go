package build

import "regexp"

// qemuInsertions mend QEMU's emulation, so that guests under it can be relied on.
//
// The first is for KVM in a guest. An interrupt that KVM injects with VMRUN (EVENTINJ, APM vol. 2, 15.20) is
// delivered by helper_vmrun itself, which leaves its vector behind as a pending
// exception. Where something kicks the CPU out of its loop before the next
// #VMEXIT (stop in the monitor, a device in QEMU's main thread), the loop finds it
// and delivers the interrupt again, whether or not the guest takes interrupts: in
// the middle of the first one's handler, with IF clear. L2's kernel then waits for
// a lock that it holds itself, for ever. QEMU 7.2 does this, and its main branch
// has the same lines.
//
// The others are for every guest with one CPU, or with all of its CPUs on one
// thread. There QEMU makes memory barriers and locked instructions plain ones, as
// if nothing ran beside the CPU; but the devices do, in QEMU's main thread. Linux
// orders its view of a virtqueue with locked instructions (virtio 1.2, 2.7.13.4.1),
// so it may miss that the device wants a notification, or the device that there
// is a request, and both wait for ever. CF_PARALLEL makes them real.
var qemuInsertions = []insertion{
	{
		file:   "target/i386/tcg/sys*/svm_helper.c",
		anchor: regexp.MustCompile(`(?m)^ +do_interrupt_x86_hardirq\(env, vector, 1\);\n`),
		after:  true,
		text:   "            cs->exception_index = -1; /* it is delivered */\n",
		mark:   "/* it is delivered */",
	},
	parallel("mttcg", `current_machine->smp.max_cpus > 1`),
	parallel("rr", `false`),
}

// parallel has a thread that runs CPUs translate for a machine in which others
// run as well. when is QEMU's own condition for that.
func parallel(thread, when string) insertion {
	return insertion{
		file:   "accel/tcg/tcg-accel-ops-" + thread + ".c",
		anchor: regexp.MustCompile(`(?m)^    tcg_cpu_init_cflags\(cpu, ` + regexp.QuoteMeta(when) + `\);\n`),
		after:  true,
		text:   "    cpu->tcg_cflags |= CF_PARALLEL; /* devices run as well */\n",
		mark:   "/* devices run as well */",
	}
}
