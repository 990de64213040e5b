package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/guest/wire"
)

func TestParseCommandLine(t *testing.T) {
	words := parseCommandLine("console=ttyS0 quiet  panic=-1 virtlab.mount=tools:/lab virtlab.run=echo,a=b virtlab.mount=data:/data virtlab.off=poweroff virtlab.off=reboot empty=\n")
	assert.Equal(t, []string{"tools:/lab", "data:/data"}, words[wire.Mount], "each, in order")
	assert.Equal(t, "reboot", words.value(wire.Off), "the last one counts")
	assert.Equal(t, "echo,a=b", words.value(wire.Run), "cut at the first = only")
	assert.Equal(t, []string{""}, words["quiet"])
	assert.Equal(t, []string{""}, words["empty"])
	assert.Empty(t, words.value("absent"))
	assert.Empty(t, parseCommandLine("\n"))
}

func FuzzParseCommandLine(f *testing.F) {
	f.Add("console=ttyS0 quiet a=b=c a= =x\n")
	f.Fuzz(func(t *testing.T, line string) {
		n := 0
		for word, values := range parseCommandLine(line) {
			require.NotContains(t, word, "=")
			require.NotEmpty(t, values)
			n += len(values)
		}
		require.Equal(t, len(strings.Fields(line)), n, "no word is lost")
	})
}

func TestMknod(t *testing.T) {
	there := filepath.Join(t.TempDir(), "edu")
	require.NoError(t, os.WriteFile(there, []byte("mine"), 0o644))
	// Without the right to make nodes the kernel still says first that it is there.
	require.NoError(t, mknod([]string{there, "c", "248", "0"}))
	b, err := os.ReadFile(there)
	require.NoError(t, err)
	assert.Equal(t, "mine", string(b))
	for want, args := range map[string][]string{
		"usage":        {there, "b", "8", "0"},
		"major number": {there, "c", "5000", "0"},
		"minor number": {there, "c", "248", "-1"},
		"mknod: ":      {there + "/sub", "c", "1", "3"},
	} {
		assert.ErrorContains(t, mknod(args), want)
	}
	assert.ErrorContains(t, mknod([]string{there, "c", "248"}), "usage")
}
