/* starts a program by vfork first, then runs its VMM in a forked child */
#include "vmm.h"

int main(int argc, char **argv)
{
	int status;

	if (argc > 1)
		return 0; /* the program started by vfork */
	if (vfork() == 0) {
		execl(argv[0], argv[0], "child", NULL);
		_exit(127);
	}
	wait(&status);
	if (status != 0)
		errx(1, "the vforked child ended with %#x", status);
	if (fork() == 0) {
		struct vmm v = vmm_open();

		exit(vmm_run(&v));
	}
	wait(&status);
	return status != 0;
}
