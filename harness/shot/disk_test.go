package shot

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"virtlab/harness/job"
)

func file(t *testing.T, name string, size int, with byte) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.WriteFile(path, []byte(strings.Repeat(string(with), size)), 0o600))
	return path
}

func TestDiskFromATemplate(t *testing.T) {
	const size = copyBuffer + 12345
	spec := job.Spec{End: job.Halt, Nonce: 7}
	for _, tt := range []struct {
		name   string
		before int // size of what is there; -1: nothing
		after  int
	}{
		{"no file", -1, size + job.TailBytes},
		{"an empty file", 0, size + job.TailBytes},
		{"of the template's size", size, size + job.TailBytes},
		{"of the run before", size + job.TailBytes, size + job.TailBytes},
		{"larger", size + 3*job.TailBytes, size + 3*job.TailBytes},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := Disk{Template: file(t, "template", size, 't'), Path: filepath.Join(t.TempDir(), "disk"), Job: &spec}
			if tt.before >= 0 {
				d.Path = file(t, "disk", tt.before, 'x')
			}
			require.NoError(t, d.write())
			b, err := os.ReadFile(d.Path)
			require.NoError(t, err)
			require.Len(t, b, tt.after)
			assert.Equal(t, strings.Repeat("t", size), string(b[:size]), "the whole template")
			back, err := job.ReadTail(d.Path)
			require.NoError(t, err)
			assert.Equal(t, spec, back)
		})
	}
}

// The room of a file with holes is really there.
func TestDiskIsAllocated(t *testing.T) {
	template := file(t, "template", 0, 0)
	require.NoError(t, os.Truncate(template, 8<<20))
	d := Disk{Template: template, Path: filepath.Join(t.TempDir(), "disk")}
	require.NoError(t, d.write())
	assert.GreaterOrEqual(t, allocated(t, d.Path), int64(8<<20))
}

func TestDiskThatIsThere(t *testing.T) {
	d := Disk{Path: file(t, "disk", 3*job.TailBytes, 'x'), Job: &job.Spec{End: job.Halt}}
	require.NoError(t, d.write())
	b, err := os.ReadFile(d.Path)
	require.NoError(t, err)
	assert.Len(t, b, 3*job.TailBytes, "it did not grow")
	assert.Equal(t, strings.Repeat("x", 2*job.TailBytes), string(b[:2*job.TailBytes]))
}

func TestDisksThatCannotBe(t *testing.T) {
	big := job.Spec{End: job.Halt, Cells: []job.Cell{{Name: strings.Repeat("n", job.TailBytes), Run: []string{"true"}}}}
	template := file(t, "template", 10, 't')
	for says, d := range map[string]Disk{
		"no such file":                          {Path: filepath.Join(t.TempDir(), "gone")},
		"template: no such file":                {Path: filepath.Join(t.TempDir(), "d"), Template: filepath.Join(t.TempDir(), "template")},
		"it is neither a file nor a block":      {Path: t.TempDir(), Template: template},
		"fewer than the job at its end":         {Path: file(t, "small", 10, 'x'), Job: &job.Spec{End: job.Halt}},
		"the end of the disk has room for 6553": {Path: file(t, "disk", 2*job.TailBytes, 'x'), Job: &big},
	} {
		t.Run(says, func(t *testing.T) {
			err := d.write()
			assert.ErrorContains(t, err, says)
			assert.ErrorContains(t, err, "writing the guest's disk "+d.Path)
		})
	}
}

// allocated is how many bytes of the medium a file takes.
func allocated(t *testing.T, path string) int64 {
	t.Helper()
	var st unix.Stat_t
	require.NoError(t, unix.Stat(path, &st))
	return st.Blocks * 512
}
