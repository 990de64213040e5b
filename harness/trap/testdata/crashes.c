/* dies by SIGSEGV at the first exit */
#include "vmm.h"

int main(void)
{
	struct vmm v = vmm_open();

	must(ioctl(v.vcpu, KVM_RUN, 0), "KVM_RUN");
	*(volatile int *)0 = 0;
}
