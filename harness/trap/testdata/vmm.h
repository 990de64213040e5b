/* What the test programs share: a VMM whose guest says "Hello, world!". */
#define _GNU_SOURCE
#include <ctype.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

struct vmm {
	int vcpu, size;
	struct kvm_run *run;
};

static inline int must(int result, const char *what)
{
	if (result < 0)
		err(1, "%s", what);
	return result;
}

static inline struct vmm vmm_open_with(const void *code, size_t length)
{
	struct vmm v;
	int kvm = must(open("/dev/kvm", O_RDWR), "open /dev/kvm");
	int vm = must(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	void *memory = mmap(NULL, 0x1000, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct kvm_userspace_memory_region region = {
		.guest_phys_addr = 0x1000, .memory_size = 0x1000, .userspace_addr = (uintptr_t)memory,
	};
	struct kvm_regs regs = { .rip = 0x1000, .rflags = 2 };
	struct kvm_sregs sregs;

	memcpy(memory, code, length);
	must(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
	v.vcpu = must(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
	v.size = must(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE");
	v.run = mmap(NULL, v.size, PROT_READ | PROT_WRITE, MAP_SHARED, v.vcpu, 0);
	must(ioctl(v.vcpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
	sregs.cs.base = sregs.cs.selector = 0;
	must(ioctl(v.vcpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
	must(ioctl(v.vcpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
	return v;
}

static inline struct vmm vmm_open(void)
{
	/* mov $text,%si; mov $0x3f8,%dx; lodsb; test %al,%al; jz; out; jmp; hlt */
	static const char code[] = "\xbe\x0f\x10\xba\xf8\x03\xac\x84\xc0\x74\x03\xee\xeb\xf8\xf4"
				   "Hello, world!\n";

	return vmm_open_with(code, sizeof(code));
}

/* Runs the guest to its halt; 0 on success. */
static inline int vmm_run(struct vmm *v)
{
	for (;;) {
		must(ioctl(v->vcpu, KVM_RUN, 0), "KVM_RUN");
		if (v->run->exit_reason == KVM_EXIT_HLT)
			return fflush(stdout);
		if (v->run->exit_reason != KVM_EXIT_IO)
			errx(1, "exit reason %u", v->run->exit_reason);
		putchar(toupper(((uint8_t *)v->run)[v->run->io.data_offset]));
	}
}
