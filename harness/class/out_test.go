package class

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness"
	"virtlab/harness/result"
)

func TestCheckOut(t *testing.T) {
	dir := t.TempDir()
	class := filepath.Join(dir, "class")
	require.NoError(t, os.Mkdir(class, 0o755))
	link := filepath.Join(dir, "link")
	require.NoError(t, os.Symlink(class, link))
	t.Chdir(dir)
	for _, c := range []struct {
		out string
		ok  bool
	}{
		{filepath.Join(dir, "grades"), true},
		{filepath.Join(dir, "classes"), true},
		{"grades", true},
		{class, false},
		{filepath.Join(class, "new", "grades"), false},
		{filepath.Join(link, "grades"), false},
		{"class/../class/grades", false},
		{dir, false},
		{".", false},
	} {
		err := CheckOut(c.out, []string{class})
		assert.Equal(t, c.ok, err == nil, "%s: %v", c.out, err)
	}
}

func TestLocks(t *testing.T) {
	out := filepath.Join(t.TempDir(), "out")
	whole := Shard{}
	for _, c := range []struct {
		first, second Shard
		ok            bool
	}{
		{whole, whole, false},
		{whole, Shard{1, 2}, false},
		{Shard{1, 2}, whole, false},
		{Shard{1, 2}, Shard{1, 2}, false},
		{Shard{1, 2}, Shard{2, 2}, true},
	} {
		first, err := openOut(out, c.first)
		require.NoError(t, err)
		second, err := openOut(out, c.second)
		assert.Equal(t, c.ok, err == nil, "%s and %s: %v", c.first, c.second, err)
		if err == nil {
			require.NoError(t, second.close())
		}
		require.NoError(t, first.close())
	}
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	live, err := newScratch(dir, "x-")
	require.NoError(t, err)
	left := filepath.Join(dir, "x-dead")
	require.NoError(t, os.MkdirAll(filepath.Join(left, "deep"), 0o755))
	other := filepath.Join(dir, "y-dead")
	require.NoError(t, os.Mkdir(other, 0o755))
	assert.Equal(t, 1, sweep(dir, "x-"))
	assert.DirExists(t, live.path)
	assert.NoDirExists(t, left)
	assert.DirExists(t, other)
	require.NoError(t, live.remove())
	assert.NoDirExists(t, live.path)
}

func TestReplace(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, name), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name, "f"), []byte(text), 0o644))
	}
	for _, text := range []string{"first", "second"} {
		write("draft", text)
		require.NoError(t, replace(filepath.Join(dir, "draft"), filepath.Join(dir, "report")))
		got, err := os.ReadFile(filepath.Join(dir, "report", "f"))
		require.NoError(t, err)
		assert.Equal(t, text, string(got))
	}
	old, err := os.ReadFile(filepath.Join(dir, "draft", "f"))
	require.NoError(t, err)
	assert.Equal(t, "first", string(old))
}

// Where the file system cannot swap, the old one goes aside.
func TestReplaceAside(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"draft", "report"} {
		require.NoError(t, os.MkdirAll(filepath.Join(dir, name, "of-"+name), 0o755))
	}
	require.NoError(t, replaceAside(filepath.Join(dir, "draft"), filepath.Join(dir, "report")))
	assert.DirExists(t, filepath.Join(dir, "report", "of-draft"))
	left, err := os.ReadDir(dir)
	require.NoError(t, err)
	assert.Len(t, left, 1)
}

func TestDamagedCommon(t *testing.T) {
	out, err := openOut(filepath.Join(t.TempDir(), "out"), Shard{})
	require.NoError(t, err)
	defer out.close()
	for _, text := range []string{"", "{", `{"schema":"other","seed":1}`, `{"schema":"virtlab/class/v1"}`} {
		require.NoError(t, os.WriteFile(out.house("class.json"), []byte(text), 0o644))
		_, err := out.agree(common{}, false, harness.DrawSeed)
		assert.ErrorContains(t, err, "damaged", text)
	}
	got, err := out.agree(common{Labs: []result.Lab{result.CPU}}, true, func() uint64 { return 5 })
	require.NoError(t, err)
	assert.EqualValues(t, 5, got.Seed)
}
