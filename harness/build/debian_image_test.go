package build

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const listFile = `# comment
deb http://a.example/debian bookworm main contrib
deb-src http://a.example/debian bookworm main
 deb [signed-by=/k.gpg] http://b.example/debian bookworm-updates main
`

const sourcesFile = `# Debian's
Types: deb deb-src
URIs: http://a.example/debian
Suites: bookworm bookworm-updates
Components: main

# security
Types: deb
URIs: http://b.example/debian-security
Suites: bookworm-security
Components: main
Signed-By: /k.gpg
`

func TestBinaryEntry(t *testing.T) {
	for _, c := range []struct {
		name   string
		text   string
		deb822 bool
		number int
		want   string
	}{
		{"line", listFile, false, 2, "deb http://a.example/debian bookworm main contrib\n"},
		{"line with options", listFile, false, 4, "deb [signed-by=/k.gpg] http://b.example/debian bookworm-updates main\n"},
		{"stanza of both types", sourcesFile, true, 1,
			"Types: deb\nURIs: http://a.example/debian\nSuites: bookworm bookworm-updates\nComponents: main\n"},
		{"stanza with a key", sourcesFile, true, 2,
			"Types: deb\nURIs: http://b.example/debian-security\nSuites: bookworm-security\nComponents: main\nSigned-By: /k.gpg\n\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, ok := binaryEntry(c.text, c.deb822, c.number)
			assert.True(t, ok)
			assert.Equal(t, c.want, got)
		})
	}
	for _, number := range []int{0, 1, 3, 9} {
		_, ok := binaryEntry(listFile, false, number)
		assert.False(t, ok, "entry %d of the list is none", number)
	}
	_, ok := binaryEntry(sourcesFile, true, 3)
	assert.False(t, ok)
}

func TestDebianCommand(t *testing.T) {
	work := t.TempDir()
	b := debianBuild{fixtures: "/f", packages: []string{"dbus", "sysbench"}, sources: aptSources{{"0.list", "deb x\n"}, {"1.sources", "Types: deb\n"}}}
	argv, err := b.command(work, "/out/root.tar.lz4")
	require.NoError(t, err)
	assert.Equal(t, "mmdebstrap", argv[0])
	assert.Contains(t, argv, "--mode=fakechroot", "no root, no mounts, no user namespaces")
	assert.Contains(t, argv, "--include=dbus,sysbench")
	assert.Contains(t, argv, "--customize-hook=/f/customize")
	// No suite: the sources say which.
	assert.Equal(t, []string{"", "/out/root.tar.lz4", filepath.Join(work, "0.list"), filepath.Join(work, "1.sources")}, argv[len(argv)-4:])
	text, err := os.ReadFile(filepath.Join(work, "1.sources"))
	require.NoError(t, err)
	assert.Equal(t, "Types: deb\n", string(text))
}

// The fixtures agree with each other and with the recipes.
func TestDebianFixtures(t *testing.T) {
	dir := filepath.Join("..", "..", "fixtures", "debian")
	packages, err := readList(filepath.Join(dir, debianPackages))
	require.NoError(t, err)
	for _, p := range []string{"systemd", "systemd-sysv", "openssh-server", "sysbench"} {
		assert.Contains(t, packages, p)
	}
	for _, script := range []string{debianCustomize, debianPack} {
		st, err := os.Stat(filepath.Join(dir, script))
		require.NoError(t, err)
		assert.NotZero(t, st.Mode()&0o111, "%s is executable", script)
	}
	unit, err := os.ReadFile(filepath.Join(dir, "root/etc/systemd/system/virtlab-job.service"))
	require.NoError(t, err)
	assert.Contains(t, string(unit), "\nConditionKernelCommandLine=virtlab.job=debian\n")
	assert.Contains(t, string(unit), "\nExecStart=/usr/local/bin/guestjob /dev/vda\n")
	preset, err := os.ReadFile(filepath.Join(dir, "root/etc/systemd/system-preset/00-virtlab.preset"))
	require.NoError(t, err)
	assert.True(t, strings.HasSuffix(string(preset), "\ndisable *\n"), "what is not named does not start")
}
