/* its guest loops; a timer's signal gets KVM_RUN back with EINTR */
#include "vmm.h"

static void ignore(int signal) { (void)signal; }

int main(void)
{
	struct vmm v = vmm_open_with("\xeb\xfe", 2); /* jmp . */
	struct itimerval soon = { .it_value = { .tv_usec = 50000 }, .it_interval = { .tv_usec = 50000 } };

	signal(SIGALRM, ignore);
	setitimer(ITIMER_REAL, &soon, NULL);
	if (ioctl(v.vcpu, KVM_RUN, 0) == 0 || errno != EINTR)
		errx(1, "no EINTR");
	return 0;
}
