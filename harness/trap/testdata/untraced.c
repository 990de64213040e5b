/* asks the kernel for a child that is hidden from tracers */
#include "vmm.h"

int main(void)
{
	if (syscall(SYS_clone, CLONE_UNTRACED | SIGCHLD, 0, 0, 0, 0) == 0)
		for (;;)
			pause();
	sleep(1);
	puts("escaped");
}
