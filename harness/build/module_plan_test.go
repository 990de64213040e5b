package build

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestSavedCommand(t *testing.T) {
	for name, c := range map[string]struct{ cmd, want string }{
		"up to Linux 6.3": {"cmd_/w/Module.symvers :=  sed 's/ko$$/o/'  /w/modules.order | scripts/mod/modpost -T - \n\nsource := x\n", "sed 's/ko$/o/'  /w/modules.order | scripts/mod/modpost -T -"},
		"since":           {"savedcmd_/w/a.o := gcc -D'X=\"$(pound)\"' -c a.c\n", "gcc -D'X=\"#\"' -c a.c"},
		"another line":    {"source_/w/a.o := a.c\ncmd_/w/a.o := gcc\n", "gcc"},
	} {
		got, err := savedCommand(c.cmd)
		require.NoError(t, err, name)
		assert.Equal(t, c.want, got, name)
	}
	_, err := savedCommand("deps_/w/a.o := a.h\n")
	assert.ErrorContains(t, err, "no command")
}

// recorded puts down what Kbuild would, with compile for the module's own file.
func recorded(t *testing.T, compile string) (work string) {
	t.Helper()
	work = t.TempDir()
	for _, target := range recordedTargets {
		command := "make-" + target
		if target == recordedFile+".o" {
			command = compile
		}
		require.NoError(t, os.WriteFile(filepath.Join(work, "."+target+".cmd"), []byte("cmd_"+target+" := "+command+"\n"), 0o644))
	}
	return work
}

func TestModuleScript(t *testing.T) {
	work := recorded(t, "gcc")
	_, err := recordedCommands(work)
	assert.ErrorContains(t, err, "compiled the module 0 times")
	file := filepath.Join(work, "."+recordedFile+".o.cmd")
	command := "cmd_x := gcc -fmacro-prefix-map=" + work + "/= -DN='\"" + recordedName + "\"' -c -o " + work + "/" + recordedFile + ".o " + work + "/" + recordedFile + ".c\n"
	require.NoError(t, os.WriteFile(file, []byte(command), 0o644))
	script, err := recordedCommands(work)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(work, modulePlan), []byte(script), 0o644))

	got, err := ModuleScript(work, ModuleBuild{Source: "'/s/my file.c'", Work: "/w", Name: "gpt-dump", Flags: []string{"-iquote", "/s"}})
	require.NoError(t, err)
	assert.Equal(t, `make-modules.order
gcc -iquote /s -DN='"gpt_dump"' -c -o /w/gpt-dump.o '/s/my file.c'
make-gpt-dump.mod
make-Module.symvers
make-gpt-dump.mod.o
make-gpt-dump.ko
`, got)
	_, err = ModuleScript(t.TempDir(), ModuleBuild{})
	assert.ErrorContains(t, err, "run make setup")
	require.NoError(t, os.Remove(file))
	_, err = recordedCommands(work)
	assert.ErrorIs(t, err, os.ErrNotExist)
}
