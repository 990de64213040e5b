package machine

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The evidence has command lines for a person to paste into a shell.
func TestCommandLineIsReadBackByAShell(t *testing.T) {
	argv := []string{"plain", "", "a b", "it's", `"double"`, `back\slash`, "$HOME", "`id`", "$(id)", "a;b", "a&b", "a|b",
		"<in", ">out", "*", "?", "[a]", "{a,b}", "~", "#comment", "!x", "tab\there", "line\nbreak", "''", "'", "-x", "ä€", "k=v,w=1",
		"(x)", "carriage\rreturn", "percent%s"}
	out, err := exec.Command("sh", "-c", "printf '%s\\0' "+CommandLine(argv...)).Output()
	require.NoError(t, err)
	assert.Equal(t, argv, strings.Split(strings.TrimSuffix(string(out), "\x00"), "\x00"))
	assert.Equal(t, "qemu -m 256M if=none,id=a", CommandLine("qemu", "-m", "256M", "if=none,id=a"), "what needs no quotes gets none")
}

func FuzzCommandLine(f *testing.F) {
	f.Add("it's $HOME")
	f.Fuzz(func(t *testing.T, word string) {
		if strings.Contains(word, "\x00") {
			t.Skip("no program can get a NUL")
		}
		out, err := exec.Command("sh", "-c", "printf %s "+CommandLine(word)).Output()
		require.NoError(t, err)
		require.Equal(t, word, string(out))
	})
}
