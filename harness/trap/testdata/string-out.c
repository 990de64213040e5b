/* its guest writes the text with one `rep outsb`, which may be one exit with a count */
#include "vmm.h"

int main(void)
{
	/* mov $text,%si; mov $0x3f8,%dx; mov $14,%cx; rep outsb; hlt */
	static const char code[] = "\xbe\x0c\x10\xba\xf8\x03\xb9\x0e\x00\xf3\x6e\xf4"
				   "Hello, world!\n";
	struct vmm v = vmm_open_with(code, sizeof(code));

	for (;;) {
		must(ioctl(v.vcpu, KVM_RUN, 0), "KVM_RUN");
		if (v.run->exit_reason == KVM_EXIT_HLT)
			return fflush(stdout);
		if (v.run->exit_reason != KVM_EXIT_IO)
			errx(1, "exit reason %u", v.run->exit_reason);
		for (uint32_t i = 0; i < v.run->io.count; i++)
			putchar(toupper(((uint8_t *)v.run)[v.run->io.data_offset + i]));
	}
}
