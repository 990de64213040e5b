/* writes to stdout without end */
#include "vmm.h"

int main(void)
{
	for (;;)
		puts("flood flood flood flood");
}
