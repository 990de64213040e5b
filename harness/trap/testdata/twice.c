/* maps kvm_run twice, reads through the second mapping, runs through a dup of the vCPU */
#include "vmm.h"

int main(void)
{
	struct vmm v = vmm_open();
	int vcpu = must(fcntl(v.vcpu, F_DUPFD_CLOEXEC, 100), "F_DUPFD_CLOEXEC");

	close(v.vcpu);
	v.vcpu = vcpu;
	v.run = mmap(NULL, v.size, PROT_READ | PROT_WRITE, MAP_SHARED, vcpu, 0);
	return vmm_run(&v);
}
