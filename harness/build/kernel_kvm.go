package build

import (
	"context"
	"os"
	"path/filepath"
	"time"

	"virtlab/harness/result"
)

// kvmRecipeVersion is part of the key: raise it when Make's outcome changes for
// equal inputs.
const kvmRecipeVersion = "1"

// kvmModuleFiles are what KVMRecipe makes, in the order in which they load: a
// machine takes the first two and then the one that fits its processor.
var kvmModuleFiles = []string{"irqbypass.ko", "kvm.ko", "kvm-amd.ko", "kvm-intel.ko"}

// KVMModules gives the paths of the modules in dir, a result of KVMRecipe, in
// the order in which they load: irqbypass, kvm, kvm-amd, kvm-intel. Of the last
// two one loads, the one that fits the processor.
func KVMModules(dir string) []string {
	paths := make([]string, len(kvmModuleFiles))
	for i, f := range kvmModuleFiles {
		paths[i] = filepath.Join(dir, f)
	}
	return paths
}

// kvmKbuild builds KVM's two directories as one external module, so that
// kvm.ko finds irqbypass.ko's symbols.
const kvmKbuild = "obj-m += virt/lib/ arch/x86/kvm/\n"

// KVMRecipe makes the KVM modules for kernel, a result of KernelRecipe, with
// the hypercall of the memory lab from the source file hypercall22.
func KVMRecipe(kernel Kernel, hypercall22 string) (Recipe, error) {
	src, err := FileInput(hypercall22)
	if err != nil {
		return Recipe{}, result.Errorf(result.Host, "the source of hypercall 22: %w", err)
	}
	return Recipe{
		Name:   "kvm",
		Inputs: []string{kvmRecipeVersion, filepath.Base(kernel.Dir), insertionsInput(kvmInsertions), src},
		Expect: 30 * time.Second,
		Make: func(ctx context.Context, dir string, log *Log) error {
			return makeKVM(ctx, kernel, hypercall22, dir, log)
		},
	}, nil
}

func makeKVM(ctx context.Context, kernel Kernel, hypercall22, dir string, log *Log) error {
	work := filepath.Join(dir, "work")
	log.Step("patching")
	for _, d := range []string{"virt", "arch/x86/kvm"} {
		if err := os.CopyFS(filepath.Join(work, d), os.DirFS(filepath.Join(kernel.Tree(), d))); err != nil {
			return err
		}
	}
	if err := patchKVM(filepath.Join(work, "arch/x86/kvm"), hypercall22); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(work, "Kbuild"), []byte(kvmKbuild), 0o644); err != nil {
		return err
	}
	log.Step("compiling")
	stop := countCompiled(log, kvmFiles)
	err := makeModules(ctx, kernel, work, log)
	stop(err)
	if err != nil {
		return err
	}
	built := []string{"virt/lib/irqbypass.ko", "arch/x86/kvm/kvm.ko", "arch/x86/kvm/kvm-amd.ko", "arch/x86/kvm/kvm-intel.ko"}
	return takeModules(ctx, work, built, dir, log)
}
