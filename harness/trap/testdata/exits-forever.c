/* its guest writes to a port without end */
#include "vmm.h"

int main(void)
{
	struct vmm v = vmm_open_with("\xee\xeb\xfd", 3); /* out %al,(%dx); jmp */

	for (;;)
		must(ioctl(v.vcpu, KVM_RUN, 0), "KVM_RUN");
}
