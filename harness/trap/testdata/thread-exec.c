/* executes itself anew in a thread, which kills the main thread and takes its id */
#include "vmm.h"

static void *again(void *path)
{
	execl(path, path, "again", NULL);
	err(1, "execl");
}

int main(int argc, char **argv)
{
	pthread_t thread;

	if (argc > 1) {
		struct vmm v = vmm_open();

		return vmm_run(&v);
	}
	if (pthread_create(&thread, NULL, again, argv[0]) != 0)
		errx(1, "pthread_create");
	pause();
}
