/* KVM_RUN is called in a thread, not by the one that made the vCPU */
#include "vmm.h"

static void *work(void *v)
{
	vmm_run(v);
	return NULL;
}

int main(void)
{
	struct vmm v = vmm_open();
	pthread_t thread;

	if (pthread_create(&thread, NULL, work, &v) != 0)
		errx(1, "pthread_create");
	return pthread_join(thread, NULL);
}
