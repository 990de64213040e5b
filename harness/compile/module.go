package compile

import (
	"context"
	"io"
	"path/filepath"
	"regexp"

	"virtlab/harness/build"
	"virtlab/harness/machine"
	"virtlab/harness/result"
	"virtlab/harness/sandbox"
)

var moduleName = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,54}$`) // MODULE_NAME_LEN

// Module makes the module out/NAME.ko for kernel, whatever the source is called.
// Nothing of Kbuild is run on the source but the commands that Kbuild runs.
func Module(ctx context.Context, kernel build.Kernel, src Source, name, out string) (Product, error) {
	if !moduleName.MatchString(name) {
		return Product{}, result.Errorf(result.Host, "%q is no name for a kernel module", name)
	}
	plan, err := modulePlan(ctx, kernel)
	if err != nil {
		return Product{}, err
	}
	return makeOf(ctx, src, func(s *staged) (job, error) {
		var quoted []string
		for _, f := range s.flags {
			quoted = append(quoted, machine.CommandLine(f))
		}
		script, err := build.ModuleScript(plan, build.ModuleBuild{
			Source: machine.CommandLine(s.source), Work: sandbox.Scratch, Name: name, Flags: quoted,
		})
		made := sandbox.Scratch + "/" + name + ".ko"
		return job{
			script: command("cd", kernel.Tree()) + script + command("objcopy", "--strip-debug", made),
			made:   made, to: filepath.Join(out, name+".ko"), mode: 0o644, reads: []string{kernel.Tree()},
		}, err
	})
}

// modulePlan is how modules are made for a kernel. It is recorded once and lies
// beside the kernel, in the cache.
func modulePlan(ctx context.Context, kernel build.Kernel) (string, error) {
	cache, err := build.OpenCache(filepath.Dir(kernel.Dir), io.Discard)
	if err != nil {
		return "", err
	}
	return cache.Get(ctx, build.ModulePlanRecipe(kernel))
}
