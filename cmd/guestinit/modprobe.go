package main

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"virtlab/harness/guest/wire"
)

// moduleDirs is where modules are looked for by name.
var moduleDirs = []string{wire.ToolsDir + "/modules", wire.ModuleDir}

// modprobe loads a module and first those it depends on:
// modprobe NAME|FILE.ko [PARAM=VALUE...].
func modprobe(args []string) error {
	if len(args) == 0 {
		return errors.New("usage: modprobe NAME|FILE.ko [PARAM=VALUE...]")
	}
	path, err := findModule(args[0])
	if err != nil {
		return err
	}
	return load(path, strings.Join(args[1:], " "), nil)
}

func findModule(name string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for _, dir := range moduleDirs {
		for _, n := range []string{name, strings.ReplaceAll(name, "_", "-"), strings.ReplaceAll(name, "-", "_")} {
			p := filepath.Join(dir, n+".ko")
			if _, err := os.Stat(p); err == nil {
				return p, nil
			}
		}
	}
	return "", fmt.Errorf("module %s: not in %s", name, strings.Join(moduleDirs, " or "))
}

// load loads the module at path after those it depends on. above are the modules
// that wait for this one.
func load(path, params string, above []string) error {
	if slices.Contains(above, path) {
		return fmt.Errorf("modules depend on each other in a circle: %s", strings.Join(append(above, path), " needs "))
	}
	deps, err := dependencies(path)
	if err != nil {
		return err
	}
	for _, d := range deps {
		p, err := findModule(d)
		if err != nil {
			return fmt.Errorf("%s needs it: %w", filepath.Base(path), err)
		}
		if err := load(p, "", append(above, path)); err != nil {
			return err
		}
	}
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	switch err := unix.FinitModule(int(f.Fd()), params, 0); {
	case err == nil, errors.Is(err, unix.EEXIST):
		return nil
	case errors.Is(err, unix.ENOEXEC):
		return fmt.Errorf("module %s: %w: built for another kernel? The kernel log has the line", filepath.Base(path), err)
	default:
		return fmt.Errorf("module %s: %w", filepath.Base(path), err)
	}
}

// rmmod unloads modules, one after the other.
func rmmod(names []string) error {
	for _, name := range names {
		if err := unix.DeleteModule(strings.ReplaceAll(name, "-", "_"), unix.O_NONBLOCK); err != nil {
			return fmt.Errorf("unloading %s: %w", name, err)
		}
	}
	return nil
}

// dependencies reads "depends=kvm,ccp" from the module's .modinfo section,
// which holds NUL-terminated KEY=VALUE strings.
func dependencies(path string) ([]string, error) {
	f, err := elf.Open(path)
	if err != nil {
		return nil, fmt.Errorf("module %s: %w", path, err)
	}
	defer f.Close()
	sec := f.Section(".modinfo")
	if sec == nil {
		return nil, fmt.Errorf("module %s: no .modinfo section: not a kernel module", path)
	}
	info, err := sec.Data()
	if err != nil {
		return nil, err
	}
	for _, kv := range bytes.Split(info, []byte{0}) {
		if list, ok := strings.CutPrefix(string(kv), "depends="); ok && list != "" {
			return strings.Split(list, ","), nil
		}
	}
	return nil, nil
}
