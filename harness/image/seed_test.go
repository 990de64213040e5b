package image_test

import (
	"flag"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/kdomanski/iso9660"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/image"
	"virtlab/harness/result"
)

var update = flag.Bool("update", false, "write the files of the seed to testdata")

func labSeed() image.SeedConfig {
	return image.SeedConfig{
		User: "lab", PlainPassword: "p", Hostname: "debian", InstanceID: "virtlab-1",
		AuthorizedKey: "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJx6hsFLIvH1YsvEzo3EMNKhfn1cJPDHUEEm4NGFqu4V lab\n",
	}
}

func TestSeedGoldens(t *testing.T) {
	path := filepath.Join(t.TempDir(), "seed.iso")
	require.NoError(t, image.WriteSeed(path, labSeed()))
	label, files := readISO(t, path)
	assert.Equal(t, "cidata", label, "cloud-init looks for this volume")
	require.Len(t, files, 3)
	for name, got := range files {
		golden := filepath.Join("testdata", "seed-"+name)
		if *update {
			require.NoError(t, os.WriteFile(golden, []byte(got), 0o644))
		}
		want, err := os.ReadFile(golden)
		require.NoError(t, err)
		assert.Equal(t, string(want), got, "run go test -update if this is meant")
	}
}

// readISO gives volume and files as another program finds them.
func readISO(t *testing.T, path string) (label string, files map[string]string) {
	t.Helper()
	f, err := os.Open(path)
	require.NoError(t, err)
	defer f.Close()
	st, err := f.Stat()
	require.NoError(t, err)
	assert.Zero(t, st.Size()%2048, "whole blocks")
	iso, err := iso9660.OpenImage(f)
	require.NoError(t, err)
	label, err = iso.Label()
	require.NoError(t, err)
	root, err := iso.RootDir()
	require.NoError(t, err)
	children, err := root.GetChildren()
	require.NoError(t, err)
	files = map[string]string{}
	for _, c := range children {
		b, err := io.ReadAll(c.Reader())
		require.NoError(t, err)
		files[c.Name()] = string(b)
	}
	return label, files
}

func TestSeedOfOneWayIn(t *testing.T) {
	c := labSeed()
	c.PlainPassword = ""
	files, err := c.Files()
	require.NoError(t, err)
	assert.NotContains(t, files["user-data"], "passwd")
	assert.Contains(t, files["user-data"], "ssh_pwauth: false")

	c = labSeed()
	c.AuthorizedKey = ""
	files, err = c.Files()
	require.NoError(t, err)
	assert.NotContains(t, files["user-data"], "ssh_authorized_keys")
	assert.Contains(t, files["user-data"], "ssh_pwauth: true")
}

func TestSeedQuotes(t *testing.T) {
	c := labSeed()
	c.PlainPassword = `it's "p": #1`
	files, err := c.Files()
	require.NoError(t, err)
	assert.Contains(t, files["user-data"], `  plain_text_passwd: 'it''s "p": #1'`+"\n")
}

func TestSeedFaults(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*image.SeedConfig)
		want   string
	}{
		{"no user", func(c *image.SeedConfig) { c.User = "" }, `user "" does not match`},
		{"a user that is YAML", func(c *image.SeedConfig) { c.User = "lab\n- name: eve" }, `user "lab\n- name: eve" does not match`},
		{"hostname", func(c *image.SeedConfig) { c.Hostname = "-x" }, `hostname "-x" does not match`},
		{"instance", func(c *image.SeedConfig) { c.InstanceID = "" }, `instance ID "" does not match`},
		{"two lines of keys", func(c *image.SeedConfig) { c.AuthorizedKey = "a\nb" }, `authorized key "a\nb" does not match`},
		{"password", func(c *image.SeedConfig) { c.PlainPassword = "\x00" }, `password "\x00" does not match`},
		{"no way in", func(c *image.SeedConfig) { c.PlainPassword, c.AuthorizedKey = "", "" }, "nobody could log in"},
	} {
		t.Run(c.name, func(t *testing.T) {
			seed := labSeed()
			c.change(&seed)
			path := filepath.Join(t.TempDir(), "seed.iso")
			err := image.WriteSeed(path, seed)
			require.ErrorContains(t, err, c.want)
			assert.Equal(t, result.Host, result.OwnerOf(err))
			assert.NoFileExists(t, path)
		})
	}
}

// Whatever is accepted stays one value: a seed never has more lines than ours.
func FuzzSeed(f *testing.F) {
	f.Add("lab", "p", "ssh-ed25519 AAAA x", "debian", "i-1")
	f.Add("lab", "it's", "", "d", "i")
	f.Fuzz(func(t *testing.T, user, password, key, host, id string) {
		c := image.SeedConfig{User: user, PlainPassword: password, AuthorizedKey: key, Hostname: host, InstanceID: id}
		files, err := c.Files()
		if err != nil {
			return
		}
		text := files["user-data"] + files["meta-data"]
		assert.LessOrEqual(t, strings.Count(text, "\n"), 14)
		assert.Zero(t, strings.Count(text, "'")%2, "all quotes are closed:\n%s", text)
	})
}
