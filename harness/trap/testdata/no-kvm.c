/* prints the text and has never heard of KVM; echoes its input and environment */
#include "vmm.h"

int main(void)
{
	char line[64];

	for (int fd = 0; fd < 3; fd++)
		if (must(fcntl(fd, F_GETFL), "F_GETFL") & O_NONBLOCK)
			errx(1, "stream %d does not block, which no program expects", fd);
	puts("HELLO, WORLD!");
	puts("KVM_EXIT_HLT");
	if (fgets(line, sizeof(line), stdin))
		fputs(line, stdout);
	if (getenv("GREETING"))
		puts(getenv("GREETING"));
}
