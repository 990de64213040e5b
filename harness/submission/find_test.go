package submission

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/result"
)

func TestFindInFolder(t *testing.T) {
	for _, c := range []struct {
		name   string
		folder string
		files  []string
		want   []string // paths below the folder; "." is the folder itself
	}{
		{"zips", "class", []string{"张三-5200.zip", "李四-5201.zip", "grades.csv"}, []string{"张三-5200.zip", "李四-5201.zip"}},
		{"zips with other names", "class", []string{"a.zip", "b.zip"}, []string{"a.zip", "b.zip"}},
		{"archives that will be refused", "class", []string{"a-5200.rar", "b-5201.tar.gz", "c-5202.zip"}, []string{"a-5200.rar", "b-5201.tar.gz", "c-5202.zip"}},
		{"one zip", "class", []string{"a-5200.zip"}, []string{"a-5200.zip"}},
		{"students' folders", "class", []string{"a-5200/report.pdf", "b-5201/x/modified-qemu.c", ".git/config"}, []string{"a-5200", "b-5201"}},
		{"one student's folder, named", "class", []string{"a-5200/src/modified-qemu.c"}, []string{"a-5200"}},
		{"folders without numbers", "class", []string{"anna/modified-qemu.c", "bert/Modified_QEMU.c", "carl/photo.png"}, []string{"anna", "bert", "carl"}},
		{"zips and folders", "class", []string{"a-5200.zip", "b-5201/report.pdf", "c-5202/modified-qemu.c", "__MACOSX/x"}, []string{"a-5200.zip", "b-5201", "c-5202"}},
		{"a class beside a sample solution", "class", []string{"modified-qemu.c", "a-5200.zip", "b-5201.zip"}, []string{"a-5200.zip", "b-5201.zip"}},
		{"a class with a folder for tests", "class", []string{"test/modified-qemu.c", "a-5200.zip", "b-5201.zip"}, []string{"a-5200.zip", "b-5201.zip", "test"}},
		{"a zip file in each folder", "class", []string{"anna/lab.zip", "bert/b-5201.zip"}, []string{"anna/lab.zip", "bert/b-5201.zip"}},
		{"a paper instead of a zip", "class", []string{"a-520001.zip", "b-520002.zip", "c-520003.pdf", "b-520002.pdf"}, []string{"a-520001.zip", "b-520002.zip", "c-520003.pdf"}},
		{"two hand-ins of one student", "class", []string{"a-5200.zip", "a-5200-2.zip"}, []string{"a-5200.zip", "a-5200-2.zip"}},

		{"files on top", "work", []string{"modified-qemu.c", "old/modified-qemu.c", "older/modified-qemu.c"}, []string{"."}},
		{"a student's packed work beside it", "work", []string{"modified-qemu.c", "a-5200.zip"}, []string{"."}},
		{"a log on top", "work", []string{"gpt-dump.txt", "code.zip"}, []string{"."}},
		{"final and old", "work", []string{"final/modified-qemu.c", "old/modified-qemu.c"}, []string{"."}},
		{"by lab", "work", []string{"lab1/modified-qemu.c", "lab4/edu_modified.c", "a-5200.zip"}, []string{"."}},
		{"by lab, in Chinese", "work", []string{"实验一/modified-qemu.c", "第三章/pci_modified.c", "报告/x.pdf"}, []string{"."}},
		{"a report and a zip with the code", "work", []string{"report.pdf", "code.zip"}, []string{"."}},
		{"one folder deep", "work", []string{"x/modified-qemu.c", "x/edu_modified.c", "y/notes.txt"}, []string{"."}},
		{"names before the change", "work", []string{"sample-qemu.c"}, []string{"."}},
		{"nothing but measurements", "work", []string{"bench.txt"}, []string{"."}},
		{"nothing but a module", "work", []string{"x/walk_modified.c"}, []string{"."}},
		{"junk is no work", "class", []string{"anna/lab.zip", "anna/.DS_Store", "bert/lab.zip", "bert/.git/modified-qemu.c", "bert/a.o"}, []string{"anna/lab.zip", "bert/lab.zip"}},
		{"nothing but a report", "work", []string{"report.docx"}, []string{"."}},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), c.folder)
			for _, f := range c.files {
				tree{f: "x"}.write(t, dir)
			}
			found, err := Find(dir)
			require.NoError(t, err)
			var got []string
			for _, h := range found {
				rel, err := filepath.Rel(dir, h.Path)
				require.NoError(t, err)
				got = append(got, rel)
			}
			assert.Equal(t, c.want, got)
		})
	}
}

func TestFindRefuses(t *testing.T) {
	dir := t.TempDir()
	tree{"empty/.keep": "", "notes/notes.txt": "x", "sections/a/1.zip": "", "sections/a/2.zip": "", "file.txt": "x", "linked/b-5201.zip": "x"}.write(t, dir)
	require.NoError(t, os.Symlink("b-5201.zip", filepath.Join(dir, "linked", "a-5200.zip")))
	for _, c := range []struct{ path, want, hint string }{
		{"missing.zip", "missing.zip: no such file", "give a zip file"},
		{"file.txt", "file.txt is neither a zip file nor a folder", "give a zip file"},
		{"empty", "empty is neither a submission nor a class", "give a zip file"},
		{"notes", "notes is neither a submission nor a class", "give a zip file"},
		{"sections", "sections is neither a submission nor a class", filepath.Join("sections", "a")},
		{"linked", filepath.Join("linked", "a-5200.zip") + " is a link", "put what it points to"},
	} {
		t.Run(c.path, func(t *testing.T) {
			_, err := Find(filepath.Join(dir, c.path))
			require.ErrorContains(t, err, c.want)
			assert.ErrorContains(t, err, c.hint)
			assert.Equal(t, result.Submission, result.OwnerOf(err))
		})
	}
}

func TestFindOrderAndNames(t *testing.T) {
	dir := tree{"one/a-5200.zip": "", "two/A-5200.zip": "", "two/b-5201.zip": "", "two/c 5202.zip": ""}.write(t, t.TempDir())
	one, two := filepath.Join(dir, "one"), filepath.Join(dir, "two")
	found, err := Find(two, one, filepath.Join(two, "b-5201.zip"), one+"/../one")
	require.NoError(t, err)
	require.Len(t, found, 4)
	var got []string
	for _, h := range found {
		got = append(got, h.Name)
		assert.True(t, filepath.IsAbs(h.Path))
	}
	assert.Equal(t, []string{"A-5200", "a-5200-2", "b-5201", "c_5202"}, got)
	assert.Equal(t, "one of 2 hand-ins of the same student: A-5200.zip, a-5200.zip", found[0].Note)
	assert.Equal(t, found[0].Note, found[1].Note)
	assert.Empty(t, found[2].Note)
}

func TestFindFolderByRelativePath(t *testing.T) {
	dir := tree{"张三-5200/modified-qemu.c": "x"}.write(t, t.TempDir())
	t.Chdir(filepath.Join(dir, "张三-5200"))
	found, err := Find(".")
	require.NoError(t, err)
	require.Len(t, found, 1)
	assert.Equal(t, "张三-5200", found[0].Name)
	assert.Equal(t, "5200", found[0].ID)
}
