package main

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/edu"
)

// A plain file stands for the BAR.
func barFile(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "resource0")
	require.NoError(t, os.WriteFile(file, make([]byte, edu.BARSize), 0o644))
	return file
}

func TestRunScripts(t *testing.T) {
	file := barFile(t)
	bar, err := mapBAR(file)
	require.NoError(t, err)
	scripts, err := edu.ReadScripts(strings.NewReader(`[
		[{"do": "write", "offset": 40, "width": 4, "value": 4294967295}, {"do": "read", "offset": 40, "width": 8}],
		[{"do": "write", "offset": 48, "width": 8, "value": 18446744073709551615}, {"do": "read", "offset": 52, "width": 4}],
		[{"do": "wait", "offset": 40, "width": 4, "mask": 3, "value": 1, "looks": 2}, {"do": "read", "offset": 40, "width": 4}],
		[{"do": "wait", "offset": 40, "width": 4, "mask": 3, "value": 3}]
	]`))
	require.NoError(t, err)
	var out bytes.Buffer
	require.NoError(t, runScripts(t.Context(), bar, scripts, &out))
	assert.Equal(t, `{"reads":[4294967295]}
{"reads":[4294967295]}
{"reads":[],"late":true}
{"reads":[]}
`, out.String())
	b, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, uint64(0xffffffff), binary.LittleEndian.Uint64(b[40:]), "4 bytes were written, not 8")
}

func TestRunBarArguments(t *testing.T) {
	var out, stderr bytes.Buffer
	assert.ErrorIs(t, runBar(t.Context(), []string{"now"}, &out, &stderr), errUsage)
	assert.Contains(t, stderr.String(), `unexpected argument "now"`)
	_, err := mapBAR(filepath.Join(t.TempDir(), "none"))
	assert.ErrorIs(t, err, os.ErrNotExist)
}

func TestFindPCI(t *testing.T) {
	root := t.TempDir()
	add := func(slot, vendor, device string) string {
		dir := filepath.Join(root, slot)
		require.NoError(t, os.Mkdir(dir, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "vendor"), []byte(vendor+"\n"), 0o644))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "device"), []byte(device+"\n"), 0o644))
		return dir
	}
	add("0000:00:00.0", "0x8086", "0x1237")
	_, err := findPCI(root, edu.Vendor, edu.Device)
	assert.ErrorContains(t, err, "there are 0 PCI devices 1234:11e8")
	want := add("0000:00:04.0", "0x1234", "0x11e8")
	got, err := findPCI(root, edu.Vendor, edu.Device)
	require.NoError(t, err)
	assert.Equal(t, want, got)
	require.NoError(t, decode(got), "a file called enable will do")
	add("0000:00:05.0", "0x1234", "0x11e8")
	_, err = findPCI(root, edu.Vendor, edu.Device)
	assert.ErrorContains(t, err, "there are 2")
}
