package build

// QEMUPackages lists what building QEMU and running the I/O lab's variants of
// it takes. On Arch Linux the libraries come without the static archives that
// the build links, and there is no source package: the names help those who
// bring a QEMU of their own.
func QEMUPackages() []Package {
	return []Package{
		{"dpkg-dev", "dpkg", "unpacks Debian's source packages", "dpkg-source"},
		{"gcc", "gcc", "compiles QEMU", "gcc"},
		{"g++", "gcc", "links QEMU", "g++"},
		{"libc6-dev", "glibc", "the C library that QEMU is linked with", "/usr/include/stdio.h"},
		{"make", "make", "QEMU's configure asks for it", "make"},
		{"meson", "meson", "configures QEMU and libslirp", "meson"},
		{"ninja-build", "ninja", "runs QEMU's build", "ninja"},
		{"pkg-config", "pkgconf", "finds the libraries", "pkg-config"},
		{"python3-venv", "python", "QEMU's configure and its code generators are in Python", "/usr/share/doc/python3-venv"},
		{"libaio-dev", "libaio", "asynchronous disk access (aio=native) for the comparison lab", "/usr/include/libaio.h"},
		{"libfdt-dev", "dtc", "device trees, which QEMU's boards are built with", "/usr/include/libfdt.h"},
		{"libglib2.0-dev", "glib2", "QEMU's base library", "/usr/include/glib-2.0/glib.h"},
		{"libpcre2-dev", "pcre2", "glib needs it", "/usr/include/pcre2.h"},
		{"libpixman-1-dev", "pixman", "QEMU's consoles need it, also without a display", "/usr/include/pixman-1/pixman.h"},
		{"libseccomp-dev", "libseccomp", "QEMU's own sandbox", "/usr/include/seccomp.h"},
		{"libslirp-dev", "libslirp", "user networking: the version of libslirp to build", "/usr/include/slirp/libslirp.h"},
		{"zlib1g-dev", "zlib", "QEMU's migration streams", "/usr/include/zlib.h"},
		{"qemu-system-data", "qemu-system-x86-firmware", "firmware; its version says which QEMU to build", "/usr/share/qemu/pvh.bin"},
		{"seabios", "seabios", "the BIOS of the machines pc and q35", "/usr/share/seabios/bios-256k.bin"},
	}
}
