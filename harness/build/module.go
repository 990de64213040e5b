package build

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"virtlab/harness/result"
)

// moduleRecipeVersion is part of the key: raise it when Make's outcome changes
// for equal inputs.
const moduleRecipeVersion = "1"

// ModuleRecipe makes the external modules in srcDir (with a Kbuild file or a
// Makefile) for kernel, a result of KernelRecipe. The result's directory has
// the .ko files. Nothing is written to srcDir.
func ModuleRecipe(name, srcDir string, kernel Kernel) (Recipe, error) {
	src, err := TreeInput(srcDir)
	if err != nil {
		return Recipe{}, result.Errorf(result.Host, "the source of module %s: %w", name, err)
	}
	return Recipe{
		Name:   name,
		Inputs: []string{moduleRecipeVersion, filepath.Base(kernel.Dir), src},
		Expect: 3 * time.Second,
		Make: func(ctx context.Context, dir string, log *Log) error {
			return makeModule(ctx, srcDir, kernel, dir, log)
		},
	}, nil
}

// MutantModulesRecipe makes a module of each C file in mutantDir. Those files
// include ones from srcDir, beside which they are compiled.
func MutantModulesRecipe(name, srcDir, mutantDir string, kernel Kernel) (Recipe, error) {
	src, err := TreeInput(srcDir)
	if err != nil {
		return Recipe{}, result.Errorf(result.Host, "the source of %s: %w", name, err)
	}
	mutants, err := TreeInput(mutantDir)
	if err != nil {
		return Recipe{}, result.Errorf(result.Host, "the source of %s: %w", name, err)
	}
	return Recipe{
		Name:   name,
		Inputs: []string{moduleRecipeVersion, filepath.Base(kernel.Dir), src, mutants},
		Expect: 5 * time.Second,
		Make: func(ctx context.Context, dir string, log *Log) error {
			staged, err := os.MkdirTemp("", name)
			if err != nil {
				return err
			}
			defer os.RemoveAll(staged)
			if err := stageMutants(staged, srcDir, mutantDir); err != nil {
				return err
			}
			return makeModule(ctx, staged, kernel, dir, log)
		},
	}, nil
}

// stageMutants puts the sources together with a Kbuild file that names the
// mutants alone.
func stageMutants(staged, srcDir, mutantDir string) error {
	files, err := filepath.Glob(filepath.Join(mutantDir, "*.c"))
	if err != nil {
		return err
	}
	if err := errors.Join(copyInto(staged, srcDir), copyInto(staged, mutantDir)); err != nil {
		return err
	}
	kbuild := "obj-m :="
	for _, f := range files {
		kbuild += " " + strings.TrimSuffix(filepath.Base(f), ".c") + ".o"
	}
	return os.WriteFile(filepath.Join(staged, "Kbuild"), []byte(kbuild+"\n"), 0o644)
}

func makeModule(ctx context.Context, srcDir string, kernel Kernel, dir string, log *Log) error {
	work := filepath.Join(dir, "work")
	if err := os.CopyFS(work, os.DirFS(srcDir)); err != nil {
		return err
	}
	log.Step("compiling")
	if err := makeModules(ctx, kernel, work, log); err != nil {
		return err
	}
	built, err := filepath.Glob(filepath.Join(work, "*.ko"))
	if err != nil {
		return err
	}
	if len(built) == 0 {
		return fmt.Errorf("%s made no .ko file: it needs a Kbuild file or a Makefile with obj-m", srcDir)
	}
	for i := range built {
		built[i] = filepath.Base(built[i])
	}
	return takeModules(ctx, work, built, dir, log)
}

// makeModules builds the external modules in work against kernel's tree. Where
// the cache lies does not show in them: warnings name files relative to work.
func makeModules(ctx context.Context, kernel Kernel, work string, log *Log) error {
	return kernelMake(ctx, kernel.Tree(), log, "KCFLAGS=-fmacro-prefix-map="+work+"/=", "M="+work, "modules")
}

// takeModules moves the modules built, relative to work, into dir without their
// debugging sections, and removes work.
func takeModules(ctx context.Context, work string, built []string, dir string, log *Log) error {
	for _, ko := range built {
		to := filepath.Join(dir, filepath.Base(ko))
		if err := log.Run(ctx, work, nil, "objcopy", "--strip-debug", ko, to); err != nil {
			return err
		}
	}
	return removeTree(work)
}
