package build

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// GoProgramRecipe builds the static Go program in cmd/NAME of the project at
// root. dirs are the project's directories it is made from.
func GoProgramRecipe(root, name string, dirs ...string) (Recipe, error) {
	inputs, err := goModule(root)
	if err != nil {
		return Recipe{}, err
	}
	for _, d := range dirs {
		in, err := goSources(filepath.Join(root, d))
		if err != nil {
			return Recipe{}, err
		}
		inputs = append(inputs, d, in)
	}
	return Recipe{
		Name: name, Inputs: inputs, Expect: 15 * time.Second,
		Make: goBuild(root, name, "./cmd/"+name),
	}, nil
}

// GoToolRecipe builds the static program NAME from a package of another module,
// a tool of go.mod. go.mod and go.sum fix its version and content.
func GoToolRecipe(root, name, pkg string) (Recipe, error) {
	inputs, err := goModule(root)
	return Recipe{
		Name: name, Inputs: append(inputs, pkg), Expect: 15 * time.Second,
		Make: goBuild(root, name, pkg),
	}, err
}

// goModule are the recipe inputs of every Go program: compiler and modules.
func goModule(root string) ([]string, error) {
	inputs := []string{runtime.Version()}
	for _, f := range []string{"go.mod", "go.sum"} {
		in, err := FileInput(filepath.Join(root, f))
		if err != nil {
			return nil, err
		}
		inputs = append(inputs, in)
	}
	return inputs, nil
}

// goBuild builds a package of the project or of a module as a static program.
func goBuild(root, name, pkg string) func(context.Context, string, *Log) error {
	return func(ctx context.Context, dir string, log *Log) error {
		log.Step("go build")
		return log.Run(ctx, root, []string{"CGO_ENABLED=0"},
			"go", "build", "-trimpath", "-ldflags", "-s -w", "-o", filepath.Join(dir, name), pkg)
	}
}

// goSources is a recipe input: the Go and assembly files below dir that go into
// a program, without tests.
func goSources(dir string) (string, error) {
	return treeInput(dir, func(name string) bool {
		return strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") || strings.HasSuffix(name, ".s")
	})
}

// CProgramsRecipe compiles C files, each to a static program of the same name
// without the ending; headers are files that they include. It is for the
// project's own files: those of students are compiled in the sandbox.
func CProgramsRecipe(name string, files []string, headers ...string) (Recipe, error) {
	var in string
	for _, f := range slices.Concat(files, headers) {
		b, err := FileInput(f)
		if err != nil {
			return Recipe{}, err
		}
		in += b
	}
	compiler, err := compilerVersion()
	if err != nil {
		return Recipe{}, err
	}
	return Recipe{
		Name: name, Inputs: []string{in, compiler}, Expect: 5 * time.Second,
		Make: func(ctx context.Context, out string, log *Log) error {
			for i, f := range files {
				program := strings.TrimSuffix(filepath.Base(f), ".c")
				log.Step("compiling %s", program)
				log.Count(i, len(files))
				if err := log.Run(ctx, filepath.Dir(f), nil, "gcc", "-static", "-O2", "-Wall", "-Wextra", "-Werror", "-o", filepath.Join(out, program), f); err != nil {
					return err
				}
			}
			return nil
		},
	}, nil
}

// copyInto copies the regular files of dir into out.
func copyInto(out, dir string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, f := range files {
		if !f.Type().IsRegular() {
			continue
		}
		if err := copyFile(filepath.Join(out, f.Name()), filepath.Join(dir, f.Name())); err != nil {
			return err
		}
	}
	return nil
}
