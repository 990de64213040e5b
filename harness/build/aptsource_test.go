package build

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Debian 12's own file, with a third stanza.
const debianSources = `Types: deb
# http://snapshot.debian.org/archive/debian/20250520T000000Z
URIs: http://mirror.example/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
# http://snapshot.debian.org/archive/debian-security/20250520T000000Z
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

# Ours.
` + "\t" + `
types: deb deb-src
URIs: http://example.org/
Suites: ./
Signed-By:
 -----BEGIN PGP PUBLIC KEY BLOCK-----
 .
 mDMEY865UxYJKwYB
 -----END PGP PUBLIC KEY BLOCK-----
`

func TestDebSrcStanza(t *testing.T) {
	first, ok := debSrcStanza(debianSources, 1)
	require.True(t, ok)
	assert.Equal(t, "Types: deb-src\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\nComponents: main\n"+
		"Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n", first)
	second, ok := debSrcStanza(debianSources, 2)
	require.True(t, ok)
	assert.Contains(t, second, "debian-security")
	third, ok := debSrcStanza(debianSources, 3)
	require.True(t, ok, "a stanza of comments is none")
	assert.Contains(t, third, "Types: deb-src\n")
	assert.Contains(t, third, " mDMEY865UxYJKwYB\n", "an inline key is kept")
	for _, n := range []int{0, 4, -1} {
		_, ok = debSrcStanza(debianSources, n)
		assert.False(t, ok, "stanza %d", n)
	}
}

func TestDebSrcLine(t *testing.T) {
	const list = "# main\ndeb [signed-by=/k.gpg] http://mirror.example/debian bookworm main\n\ndeb-src http://x y z\n  deb http://a b c # why\n"
	for n, want := range map[int]string{
		2: "deb-src [signed-by=/k.gpg] http://mirror.example/debian bookworm main\n",
		5: "deb-src http://a b c # why\n",
	} {
		got, ok := debSrcLine(list, n)
		require.True(t, ok)
		assert.Equal(t, want, got)
	}
	for _, n := range []int{0, 1, 3, 4, 6, 100} {
		_, ok := debSrcLine(list, n)
		assert.False(t, ok, "line %d", n)
	}
}

func TestDebianEntries(t *testing.T) {
	got := debianEntries(`Debian /etc/apt/sources.list.d/debian.sources:1
Debian /etc/apt/sources.list.d/debian.sources:1
. nodistro /etc/apt/sources.list.d/nodesource.sources:1
Debian /etc/apt/sources.list.d/debian.sources:2
Ubuntu /etc/apt/with:colon.list:12
Debian /etc/apt/damaged.list
`)
	assert.Equal(t, []sourcesEntry{
		{"/etc/apt/sources.list.d/debian.sources", 1},
		{"/etc/apt/sources.list.d/debian.sources", 2},
		{"/etc/apt/with:colon.list", 12},
	}, got)
	assert.Empty(t, debianEntries(""))
}

func TestSourcesEntry(t *testing.T) {
	file := filepath.Join(t.TempDir(), "debian.sources")
	require.NoError(t, os.WriteFile(file, []byte(debianSources), 0o644))
	text, err := sourcesEntry{file, 2}.debSrc()
	require.NoError(t, err)
	assert.Contains(t, text, "Types: deb-src\n")
	_, err = sourcesEntry{file, 9}.debSrc()
	require.ErrorContains(t, err, "no binary source as its entry 9")
	_, err = sourcesEntry{file + "x", 1}.debSrc()
	require.ErrorContains(t, err, "no such file")
}

func TestAptConfigKeepsStateApart(t *testing.T) {
	conf := aptConfig("/cache/apt")
	for _, line := range []string{
		`Dir::Etc::sourcelist "/dev/null";`, `Dir::Etc::sourceparts "/cache/apt/sources";`, `Dir::State::lists "/cache/apt/lists";`,
		`Dir::Cache "/cache/apt/cache";`, `APT::Sandbox::User "root";`, `#clear APT::Update::Post-Invoke;`,
	} {
		assert.Contains(t, conf, line+"\n")
	}
	assert.NotContains(t, conf, "AllowUnauthenticated")
	assert.NotContains(t, conf, "AllowInsecure")
}

func TestOnlyInstalled(t *testing.T) {
	got, err := onlyInstalled("installed gcc 4:12.2.0-3\ninstalled zlib1g-dev 1:1.2.13.dfsg-1\n")
	require.NoError(t, err)
	assert.Equal(t, "gcc 4:12.2.0-3\nzlib1g-dev 1:1.2.13.dfsg-1", got)
	for _, out := range []string{"config-files gcc 4:12.2.0-3\n", "not-installed gcc \n", ""} {
		_, err = onlyInstalled(out)
		require.ErrorContains(t, err, "make setup", out)
	}
}

func TestDscVersion(t *testing.T) {
	file := filepath.Join(t.TempDir(), "qemu.dsc")
	require.NoError(t, os.WriteFile(file, []byte("Format: 3.0 (quilt)\nSource: qemu\nVersion: 1:7.2+dfsg-7+deb12u18\nStandards-Version: 4.6.1\n"), 0o644))
	version, err := dscVersion(file)
	require.NoError(t, err)
	assert.Equal(t, "1:7.2+dfsg-7+deb12u18", version)
	require.NoError(t, os.WriteFile(file, []byte("Source: qemu\n"), 0o644))
	_, err = dscVersion(file)
	require.ErrorContains(t, err, "no Version field")
}

func TestSourcePackageString(t *testing.T) {
	assert.Equal(t, "qemu=1:7.2", SourcePackage{"qemu", "1:7.2"}.String())
}
