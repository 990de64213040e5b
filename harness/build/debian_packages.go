package build

import (
	"os/exec"
	"path/filepath"
	"strings"
)

// Package is a Debian package that a build needs.
type Package struct {
	Name  string // Debian's name of it
	Arch  string // Arch Linux's name of what holds the same; empty: Arch has no such package
	Why   string // one line for the user
	Probe string // a command, or a file (a pattern as filepath.Glob takes it), that only an installed package has
}

// Installed says whether the package's probe is there.
func (p Package) Installed() bool {
	if !strings.Contains(p.Probe, "/") {
		_, err := exec.LookPath(p.Probe)
		return err == nil
	}
	found, err := filepath.Glob(p.Probe)
	return err == nil && len(found) > 0
}

// KernelPackages lists what building the lab kernel and its modules takes.
func KernelPackages() []Package {
	return []Package{
		{"linux-source", "", "the source of the lab kernel and of KVM", KernelSourceDir + "/linux-source-*.tar.xz"},
		{"gcc", "gcc", "compiles the kernel and its modules", "gcc"},
		{"libc6-dev", "glibc", "headers for the kernel's build tools", "/usr/include/stdio.h"},
		{"make", "make", "runs the kernel's build", "make"},
		{"binutils", "binutils", "links the kernel and strips it", "ld"},
		{"flex", "flex", "generates the scanner of the kernel's configuration language", "flex"},
		{"bison", "bison", "generates the parser of the kernel's configuration language", "bison"},
		{"bc", "bc", "computes the kernel's time constants", "bc"},
		{"libelf-dev", "libelf", "objtool reads object files with it", "/usr/include/libelf.h"},
		{"lz4", "lz4", "compresses bzImage in the format that unpacks quickest", "lz4"},
		{"xz-utils", "xz", "unpacks the kernel's source", "xz"},
	}
}
