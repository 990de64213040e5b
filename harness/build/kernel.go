package build

import (
	"bufio"
	"bytes"
	"context"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"

	"virtlab/harness/result"
)

// kernelRecipeVersion is part of the key: raise it when Make's outcome changes
// for equal inputs.
const kernelRecipeVersion = "1"

// Kernel is the directory that KernelRecipe makes.
type Kernel struct{ Dir string }

// BzImage is the compressed image: the one format that every VMM takes.
func (k Kernel) BzImage() string { return filepath.Join(k.Dir, "bzImage") }

// VMLinux is the uncompressed ELF image, stripped, with the PVH entry note.
func (k Kernel) VMLinux() string { return filepath.Join(k.Dir, "vmlinux") }

// Config is the full configuration.
func (k Kernel) Config() string { return filepath.Join(k.Dir, "config") }

// SystemMap has the address of each symbol of VMLinux.
func (k Kernel) SystemMap() string { return filepath.Join(k.Dir, "System.map") }

// Tree is what is left of the source tree: enough for `make -C Tree M=...` and
// the source of KVM.
func (k Kernel) Tree() string { return filepath.Join(k.Dir, "tree") }

// lapicKHz is our own source file in the kernel's tree: the parameter lapic_khz=.
const lapicKHz = "lapic_khz.c"

// kernelInsertions have it compiled.
var kernelInsertions = []insertion{{
	file:   "arch/x86/kernel/apic/Makefile",
	anchor: regexp.MustCompile(`(?m)^obj-\$\(CONFIG_X86_IO_APIC\)\s*\+=\s*io_apic\.o$`),
	text:   "obj-$(CONFIG_X86_LOCAL_APIC) += lapic_khz.o\n",
	mark:   "lapic_khz.o",
}}

// KernelRecipe makes the lab kernel (a Kernel) from src, with the configuration
// fragment lab.config and the source file lapic_khz.c of fixtures, the directory
// fixtures/kernel.
func KernelRecipe(src KernelSource, fixtures string) (Recipe, error) {
	config, err := os.ReadFile(filepath.Join(fixtures, "lab.config"))
	if err != nil {
		return Recipe{}, result.Errorf(result.Host, "the kernel's configuration: %w", err)
	}
	lapic, err := os.ReadFile(filepath.Join(fixtures, lapicKHz))
	if err != nil {
		return Recipe{}, err
	}
	cc, err := compilerVersion()
	if err != nil {
		return Recipe{}, err
	}
	return Recipe{
		Name:   "kernel",
		Inputs: []string{kernelRecipeVersion, src.Version, cc, options(config), insertionsInput(kernelInsertions), string(lapic)},
		Expect: 4 * time.Minute,
		Make: func(ctx context.Context, dir string, log *Log) error {
			return makeKernel(ctx, src, config, lapic, Kernel{dir}, log)
		},
	}, nil
}

// options is what Kconfig reads of a configuration: a changed remark is no
// reason to compile for minutes.
func options(config []byte) string {
	var b strings.Builder
	for line := range strings.Lines(string(config)) {
		if strings.HasPrefix(line, "CONFIG_") || strings.HasSuffix(line, " is not set\n") {
			b.WriteString(line)
		}
	}
	return b.String()
}

// compilerVersion is the first line of `gcc --version`: modules must come from
// the compiler that made the kernel.
func compilerVersion() (string, error) {
	out, err := exec.Command("gcc", "--version").Output()
	if err != nil {
		return "", result.Errorf(result.Host, "no C compiler: %w", err).
			WithHint("run make setup, or: apt-get install gcc")
	}
	line, _, _ := strings.Cut(string(out), "\n")
	return line, nil
}

func makeKernel(ctx context.Context, src KernelSource, config, lapic []byte, k Kernel, log *Log) error {
	log.Step("unpacking the source")
	if err := unpackKernel(ctx, src.Path, k.Tree()); err != nil {
		return err
	}
	if err := patchKernel(k.Tree(), lapic); err != nil {
		return err
	}
	log.Step("configuring")
	if err := configure(ctx, config, k, log); err != nil {
		return err
	}
	log.Step("compiling")
	stop := countCompiled(log, kernelFiles)
	err := kernelMake(ctx, k.Tree(), log, "bzImage", "modules_prepare")
	stop(err)
	if err != nil {
		return err
	}
	log.Step("keeping what is needed")
	return keepKernel(ctx, k, log)
}

// patchKernel puts lapic_khz.c and what compiles it into the tree.
func patchKernel(tree string, lapic []byte) error {
	err := insertAll(tree, kernelInsertions, "lapic_khz=", "this kernel differs from those known (6.1 to 6.12): give kernelInsertions an anchor that fits it")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(tree, "arch/x86/kernel/apic", lapicKHz), lapic, 0o644)
}

// configure makes .config of the fragment and sees to it that all of the
// fragment is in it: Kconfig drops without a word what it cannot give.
func configure(ctx context.Context, fragment []byte, k Kernel, log *Log) error {
	const name = "lab.config"
	if err := os.WriteFile(filepath.Join(k.Tree(), name), fragment, 0o644); err != nil {
		return err
	}
	if err := kernelMake(ctx, k.Tree(), log, "KCONFIG_ALLCONFIG="+name, "allnoconfig"); err != nil {
		return err
	}
	got, err := os.ReadFile(filepath.Join(k.Tree(), ".config"))
	if err != nil {
		return err
	}
	if lost := lostOptions(fragment, got); len(lost) > 0 {
		return result.Errorf(result.Host, "this kernel cannot be configured with %s", strings.Join(lost, ", ")).
			WithHint("take these lines out of fixtures/kernel/lab.config, name what they depend on there, or list them as not in all kernels")
	}
	return nil
}

// lostOptions lists the CONFIG_X=value lines of asked that are not in got. A
// comment in asked names options that may be missing.
func lostOptions(asked, got []byte) (lost []string) {
	have, excused := map[string]bool{}, map[string]bool{}
	for line := range bytes.Lines(got) {
		have[strings.TrimSpace(string(line))] = true
	}
	for line := range bytes.Lines(asked) {
		option := strings.TrimSpace(string(line))
		name, _, _ := strings.Cut(option, "=")
		if names, ok := strings.CutPrefix(option, "# Not in all kernels:"); ok {
			maps.Copy(excused, wordSet(names))
		} else if strings.HasPrefix(option, "CONFIG_") && !have[option] && !excused[name] {
			lost = append(lost, option)
		}
	}
	return lost
}

// kernelMake runs make in a kernel tree so that equal sources give equal files.
func kernelMake(ctx context.Context, tree string, log *Log, args ...string) error {
	env := []string{
		"KBUILD_BUILD_TIMESTAMP=Thu Jan  1 00:00:00 UTC 1970",
		"KBUILD_BUILD_USER=virtlab", "KBUILD_BUILD_HOST=virtlab", "KBUILD_BUILD_VERSION=1",
		"LC_ALL=C",
		// The environment of who calls must not reach in: a kernel build takes these.
		"ARCH=x86_64", "CROSS_COMPILE=", "LOCALVERSION=", "KCFLAGS=", "MAKEFLAGS=", "O=", "KBUILD_OUTPUT=",
	}
	return log.Run(ctx, tree, env, append([]string{"make", "-j" + strconv.Itoa(runtime.NumCPU())}, args...)...)
}

// Files that a first build is about to compile: later ones know better.
const (
	kernelFiles = 1270
	kvmFiles    = 45
)

// countCompiled moves the progress by the files compiled so far, as the log
// tells them, against the number of the last build that went well. What it
// returns stops that, and wants to know how the build went.
func countCompiled(log *Log, all int) (stop func(error)) {
	last := log.times + ".files"
	if b, err := os.ReadFile(last); err == nil {
		if n, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
			all = n
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for t := time.Tick(time.Second); ; {
			select {
			case <-ctx.Done():
				return
			case <-t:
				n := compiledFiles(log.path)
				log.Count(n, max(n, all))
			}
		}
	}()
	return func(err error) {
		cancel()
		<-done
		if err == nil {
			_ = os.WriteFile(last, []byte(strconv.Itoa(compiledFiles(log.path))), 0o644)
		}
	}
}

// compiledFiles counts Kbuild's lines for a compiled or assembled file.
func compiledFiles(logPath string) (n int) {
	f, err := os.Open(logPath)
	if err != nil {
		return 0
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		if strings.HasPrefix(s.Text(), "  CC ") || strings.HasPrefix(s.Text(), "  AS ") {
			n++
		}
	}
	return n
}

// keepKernel takes the images out of the tree and removes what neither an
// external module nor KVM needs.
func keepKernel(ctx context.Context, k Kernel, log *Log) error {
	out := func(name string) string { return filepath.Join(k.Tree(), name) }
	// modpost of external modules looks for Module.symvers, which only a build
	// with modules writes; without any it would be equal to vmlinux.symvers.
	for from, to := range map[string]string{
		out("arch/x86/boot/bzImage"): k.BzImage(),
		out("System.map"):            k.SystemMap(),
		out("vmlinux.symvers"):       out("Module.symvers"),
	} {
		if err := os.Rename(from, to); err != nil {
			return err
		}
	}
	if err := log.Run(ctx, k.Dir, nil, "objcopy", "--strip-all", out("vmlinux"), k.VMLinux()); err != nil {
		return err
	}
	config, err := os.ReadFile(out(".config"))
	if err != nil {
		return err
	}
	if err := os.WriteFile(k.Config(), config, 0o644); err != nil {
		return err
	}
	return prune(k.Tree(), keptKernelFile)
}

// What building modules reads of the tree: the build system itself, headers,
// and KVM's source for KVMRecipe.
var keptKernelDirs = wordSet(`
	arch/x86/include arch/x86/kvm arch/x86/scripts include scripts virt
`)

func keptKernelFile(name string) bool {
	switch name {
	case ".config", "Makefile", "Kbuild", "Kconfig", "Module.symvers", "tools/objtool/objtool", "COPYING":
		return true
	}
	base := filepath.Base(name)
	if strings.HasSuffix(base, ".o") || strings.HasSuffix(base, ".a") {
		return false
	}
	if strings.HasPrefix(name, "arch/x86/Makefile") {
		return true
	}
	return below(name, keptKernelDirs)
}

// prune removes the files below dir that keep does not want, and directories
// that become empty.
func prune(dir string, keep func(name string) bool) error {
	var dirs []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			dirs = append(dirs, p)
			return nil
		}
		if rel, _ := filepath.Rel(dir, p); !keep(rel) {
			return os.Remove(p)
		}
		return nil
	})
	for i := len(dirs) - 1; i > 0; i-- {
		_ = os.Remove(dirs[i]) // fails where something is left, as it should
	}
	return err
}
