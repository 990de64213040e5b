/* asks to be traced, stops itself, takes signals, and only then runs its VMM */
#include "vmm.h"

static volatile sig_atomic_t usr1;

static void count(int signal)
{
	(void)signal;
	usr1++;
}

int main(void)
{
	signal(SIGUSR1, count);
	ptrace(PTRACE_TRACEME, 0, 0, 0);
	raise(SIGSTOP);
	raise(SIGTSTP);
	raise(SIGUSR1);
	if (usr1 != 1)
		errx(1, "SIGUSR1 came %d times", (int)usr1);
	struct vmm v = vmm_open();

	return vmm_run(&v);
}
