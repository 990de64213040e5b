package build

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"virtlab/harness/result"
)

// ModulePlanRecipe records how Kbuild makes an external module of one file for
// kernel, so that the next ones need no make, which takes longer than the
// compiler. The commands are read off a module that has nothing in it.
func ModulePlanRecipe(kernel Kernel) Recipe {
	return Recipe{
		Name: "module-plan", Inputs: []string{modulePlanVersion, filepath.Base(kernel.Dir)}, Expect: 2 * time.Second,
		Make: func(ctx context.Context, dir string, log *Log) error {
			work := filepath.Join(dir, "work")
			if err := writeEmptyModule(work); err != nil {
				return err
			}
			log.Step("recording Kbuild")
			if err := makeModules(ctx, kernel, work, log); err != nil {
				return err
			}
			script, err := recordedCommands(work)
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(dir, modulePlan), []byte(script), 0o644); err != nil {
				return err
			}
			return removeTree(work)
		},
	}
}

const (
	modulePlanVersion = "1"
	modulePlan        = "module.sh"
)

// The name of the recorded module. Kbuild makes the dash of a file's name an
// underscore where it names the module.
const (
	recordedFile = "virtlab-recorded"
	recordedName = "virtlab_recorded"
)

func writeEmptyModule(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	code := "#include <linux/module.h>\nMODULE_LICENSE(\"GPL\");\n"
	if err := os.WriteFile(filepath.Join(dir, recordedFile+".c"), []byte(code), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "Kbuild"), []byte("obj-m := "+recordedFile+".o\n"), 0o644)
}

// What the commands make, in order: Kbuild keeps the command for FILE in
// .FILE.cmd (scripts/Kbuild.include).
var recordedTargets = []string{"modules.order", recordedFile + ".o", recordedFile + ".mod", "Module.symvers", recordedFile + ".mod.o", recordedFile + ".ko"}

// Placeholders in a recorded script.
const (
	planSource = "@SOURCE@" // the C file
	planWork   = "@WORK@"   // the directory that is written
	planFile   = "@FILE@"   // the module as a file is named
	planName   = "@NAME@"   // the module as the kernel names it
	planFlags  = "@FLAGS@"  // more flags of the compiler
)

// recordedCommands is a shell script of the commands that Kbuild kept in work.
func recordedCommands(work string) (string, error) {
	var script strings.Builder
	for _, target := range recordedTargets {
		b, err := os.ReadFile(filepath.Join(work, "."+target+".cmd"))
		if err != nil {
			return "", fmt.Errorf("what Kbuild did: %w", err)
		}
		command, err := savedCommand(string(b))
		if err != nil {
			return "", fmt.Errorf("what Kbuild did for %s: %w", target, err)
		}
		script.WriteString(command + "\n")
	}
	source := work + "/" + recordedFile + ".c"
	if n := strings.Count(script.String(), " -c -o "+work+"/"+recordedFile+".o "+source); n != 1 {
		return "", fmt.Errorf("Kbuild compiled the module %d times, expected once", n)
	}
	return strings.NewReplacer(
		"-fmacro-prefix-map="+work+"/=", planFlags,
		source, planSource, work, planWork, recordedFile, planFile, recordedName, planName,
	).Replace(script.String()), nil
}

// savedLine is a command as make keeps it; it is called cmd_ up to Linux 6.3.
var savedLine = regexp.MustCompile(`(?m)^(?:saved)?cmd_\S+ := (.*)$`)

// savedCommand is the shell command in a .cmd file.
func savedCommand(cmd string) (string, error) {
	m := savedLine.FindStringSubmatch(cmd)
	if m == nil {
		return "", fmt.Errorf("no command in %q", firstLines(cmd, 1))
	}
	// make's escapes.
	return strings.NewReplacer("$$", "$", "$(pound)", "#").Replace(strings.TrimSpace(m[1])), nil
}

// ModuleBuild is a module to make with a recorded plan. All of it is put into
// shell commands as it is: it has to be quoted.
type ModuleBuild struct {
	Source string   // the C file
	Work   string   // directory for what is made, NAME.ko in the end
	Name   string   // of letters, digits, dashes and underscores
	Flags  []string // of the compiler
}

// ModuleScript gives the shell commands that make a module as plan, the result of
// ModulePlanRecipe, says. They run in the kernel's tree.
func ModuleScript(plan string, m ModuleBuild) (string, error) {
	script, err := os.ReadFile(filepath.Join(plan, modulePlan))
	if err != nil {
		return "", result.Errorf(result.Host, "how modules are made: %w", err).WithHint("run make setup")
	}
	return strings.NewReplacer(
		planSource, m.Source, planWork, m.Work, planFile, m.Name,
		planName, strings.ReplaceAll(m.Name, "-", "_"), planFlags, strings.Join(m.Flags, " "),
	).Replace(string(script)), nil
}
