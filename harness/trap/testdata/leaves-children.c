/* ends, but leaves children behind, one of them a daemon that holds stdout */
#include "vmm.h"

static void linger(void)
{
	for (int signal = 1; signal < NSIG; signal++)
		sigaction(signal, &(struct sigaction){ .sa_handler = SIG_IGN }, NULL);
	for (;;)
		pause();
}

int main(void)
{
	struct vmm v = vmm_open();
	int ready[2];
	char byte;

	must(pipe(ready), "pipe");
	if (fork() == 0) {
		setsid();
		if (fork() == 0) {
			must(write(ready[1], "x", 1), "write");
			linger();
		}
		linger();
	}
	must(read(ready[0], &byte, 1), "read");
	return vmm_run(&v);
}
