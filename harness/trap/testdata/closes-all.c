/* closes its standard streams before it runs its VMM */
#include "vmm.h"

int main(void)
{
	struct vmm v = vmm_open();

	close(0);
	close(1);
	close(2);
	vmm_run(&v);
	return 0;
}
