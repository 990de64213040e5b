package class

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/result"
)

// part grades files into a directory of its own, with a seed.
func part(t *testing.T, seed uint64, files map[string]string) string {
	t.Helper()
	f := newFixture(t, files)
	f.opts.Seed = seed
	f.grade()
	return f.out
}

func TestMerge(t *testing.T) {
	a := part(t, 7, map[string]string{"ada": "points 1", "bob": "flood\npoints 2"})
	b := part(t, 7, map[string]string{"eve": "points 0", "zoe": "broken"})
	out := filepath.Join(t.TempDir(), "all")
	m, err := Merge(MergeOptions{Out: out, Dirs: []string{a, b}})
	require.NoError(t, err)
	assert.Empty(t, m.Notes)
	var names []string
	for _, r := range m.Reports {
		names = append(names, r.Name)
	}
	assert.Equal(t, []string{"ada", "bob", "eve", "zoe"}, names)
	for _, file := range []string{"bob/" + logName, "bob/" + result.OutcomeFile, "eve/" + result.HTMLFile, result.GradesFile, result.IndexFile} {
		assert.FileExists(t, filepath.Join(out, file))
	}

	again, err := Merge(MergeOptions{Out: out, Dirs: []string{a, b}})
	require.NoError(t, err)
	assert.Len(t, again.Reports, 4)
	assert.Empty(t, again.Notes, "its own copies are no news")
}

func TestMergeUpdates(t *testing.T) {
	f := newFixture(t, map[string]string{"ada": "points 1"})
	f.grade()
	out := filepath.Join(t.TempDir(), "all")
	_, err := Merge(MergeOptions{Out: out, Dirs: []string{f.out}})
	require.NoError(t, err)
	f.hand("ada", "points 2")
	f.grade()
	_, err = Merge(MergeOptions{Out: out, Dirs: []string{f.out}})
	require.NoError(t, err)
	r, err := readReport(filepath.Join(out, "ada"))
	require.NoError(t, err)
	assert.Equal(t, 2.0, r.Score)
}

func TestMergeDuplicates(t *testing.T) {
	a := part(t, 7, map[string]string{"ada": "points 1"})
	b := part(t, 7, map[string]string{"ada": "points 1"})
	out := filepath.Join(t.TempDir(), "all")
	m, err := Merge(MergeOptions{Out: out, Dirs: []string{b, a}})
	require.NoError(t, err)
	assert.Equal(t, []string{"ada is in " + b + " and in " + a + ": the report in " + b + " counts"}, m.Notes)

	other := part(t, 7, map[string]string{"ada": "points 2"})
	_, err = Merge(MergeOptions{Out: filepath.Join(t.TempDir(), "all"), Dirs: []string{a, other}})
	assert.ErrorContains(t, err, "ada is in "+a+" and in "+other+" with different contents")
}

func TestMergeRefusesMixed(t *testing.T) {
	a := part(t, 7, map[string]string{"ada": "points 1"})
	b := part(t, 8, map[string]string{"bob": "points 1"})
	out := filepath.Join(t.TempDir(), "all")
	_, err := Merge(MergeOptions{Out: out, Dirs: []string{a, b}})
	require.EqualError(t, err, "these results do not compare (-mixed merges them all the same): the seed of ada is 7, of bob it is 8")
	assert.NoDirExists(t, filepath.Join(out, "ada"), "nothing was merged")
	m, err := Merge(MergeOptions{Out: out, Dirs: []string{a, b}, Mixed: true})
	require.NoError(t, err)
	assert.Len(t, m.Reports, 2)
}

func TestMergeOfNothing(t *testing.T) {
	empty := t.TempDir()
	_, err := Merge(MergeOptions{Out: filepath.Join(t.TempDir(), "all"), Dirs: []string{empty}})
	assert.EqualError(t, err, empty+" holds no results")
	_, err = Merge(MergeOptions{Out: filepath.Join(t.TempDir(), "all"), Dirs: []string{filepath.Join(empty, "gone")}})
	assert.ErrorIs(t, err, os.ErrNotExist)
}

func TestMergeWaitsForNobody(t *testing.T) {
	f := newFixture(t, map[string]string{"ada": "points 1"})
	busy, err := openOut(f.out, Shard{1, 2})
	require.NoError(t, err)
	defer busy.close()
	_, err = Merge(MergeOptions{Out: f.out})
	assert.ErrorContains(t, err, "another run is writing")
}

// Evidence is copied as what it is for a reader: files.
func TestCopyTreeTakesFilesOnly(t *testing.T) {
	from, to := t.TempDir(), filepath.Join(t.TempDir(), "to")
	require.NoError(t, os.Mkdir(filepath.Join(from, "sub"), 0o755))
	require.NoError(t, os.WriteFile(filepath.Join(from, "sub", "file"), []byte("text"), 0o600))
	require.NoError(t, os.Symlink("/etc/passwd", filepath.Join(from, "link")))
	require.NoError(t, copyTree(from, to))
	assert.FileExists(t, filepath.Join(to, "sub", "file"))
	assert.NoFileExists(t, filepath.Join(to, "link"))
}
