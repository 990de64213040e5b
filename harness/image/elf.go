package image

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Program adds a program of this host as guestPath, with the dynamic loader and
// every shared library it needs, at the paths where the loader looks for them.
func (t *Tree) Program(guestPath, host string) error {
	if err := t.File(guestPath, host); err != nil {
		return err
	}
	return t.needs(host, map[string]bool{})
}

// needs adds what the ELF file at host asks for: its interpreter (PT_INTERP)
// and libraries (DT_NEEDED), and what those ask for in turn.
func (t *Tree) needs(host string, done map[string]bool) error {
	f, err := elf.Open(host)
	if err != nil {
		return fmt.Errorf("%s: %w", host, err)
	}
	defer f.Close()
	if interp := interpreter(f); interp != "" {
		if err := t.resolved(interp); err != nil {
			return err
		}
	}
	libs, err := f.ImportedLibraries()
	if err != nil {
		return fmt.Errorf("%s: %w", host, err)
	}
	dirs := librarySearchPath(f, host)
	for _, lib := range libs {
		if done[lib] {
			continue
		}
		done[lib] = true
		p, err := findLibrary(lib, dirs)
		if err != nil {
			return fmt.Errorf("%s: %w", host, err)
		}
		if err := errors.Join(t.resolved(p), t.needs(p, done)); err != nil {
			return err
		}
	}
	return nil
}

// resolved adds the file that p names, following links, as p.
func (t *Tree) resolved(p string) error {
	real, err := filepath.EvalSymlinks(p)
	if err != nil {
		return err
	}
	return t.File(p, real)
}

func interpreter(f *elf.File) string {
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		b := make([]byte, p.Filesz)
		if _, err := p.ReadAt(b, 0); err == nil {
			return strings.TrimRight(string(b), "\x00")
		}
	}
	return ""
}

// librarySearchPath is where ld.so(8) looks: DT_RUNPATH or DT_RPATH, then the
// system's directories, those of Debian's multiarch first.
func librarySearchPath(f *elf.File, host string) []string {
	var dirs []string
	for _, tag := range []elf.DynTag{elf.DT_RUNPATH, elf.DT_RPATH} {
		paths, _ := f.DynString(tag)
		for _, p := range paths {
			for _, d := range strings.Split(p, ":") {
				dirs = append(dirs, strings.ReplaceAll(d, "$ORIGIN", filepath.Dir(host)))
			}
		}
	}
	return append(dirs, "/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/lib", "/usr/lib")
}

func findLibrary(name string, dirs []string) (string, error) {
	for _, d := range dirs {
		p := filepath.Join(d, name)
		if _, err := os.Stat(p); err == nil {
			return p, nil
		}
	}
	return "", fmt.Errorf("library %s is in none of %s", name, strings.Join(dirs, ", "))
}
