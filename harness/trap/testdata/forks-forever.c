/* makes threads and processes without end */
#include "vmm.h"

int main(void)
{
	for (;;)
		fork();
}
