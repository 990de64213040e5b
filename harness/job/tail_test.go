package job

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var sample = Spec{
	Pages: 16, Nonce: 1<<64 - 1, Hold: 2 * time.Second, MarkerBytes: 14, Settle: 100 * time.Millisecond,
	Cells: []Cell{{
		Name: "sysbench-fileio/mode=rndwr", Dir: "/lab/data",
		Prepare: [][]string{{"sysbench", "fileio", "prepare"}},
		Run:     []string{"sysbench", "fileio", "run"},
		Cleanup: [][]string{{"sysbench", "fileio", "cleanup"}},
	}},
	End: Reboot,
}

func TestTailAndBack(t *testing.T) {
	tail, err := sample.Tail()
	require.NoError(t, err)
	require.Len(t, tail, TailBytes)
	disk := filepath.Join(t.TempDir(), "disk")
	require.NoError(t, os.WriteFile(disk, append([]byte("a file system"), tail...), 0o644))
	got, err := ReadTail(disk)
	require.NoError(t, err)
	assert.Equal(t, sample, got)
}

func TestTailTooLarge(t *testing.T) {
	s := Spec{End: Halt, Cells: []Cell{{Name: strings.Repeat("x", TailBytes), Run: []string{"true"}}}}
	_, err := s.Tail()
	assert.ErrorContains(t, err, "has room for 65536")
}

// The longest matrix fits: 64 cells with long command lines.
func TestTailHasRoomForAMatrix(t *testing.T) {
	s := sample
	argv := append([]string{"sysbench", "fileio"}, strings.Fields(strings.Repeat("--file-extra-flags=direct ", 10))...)
	for range 64 {
		s.Cells = append(s.Cells, Cell{Name: strings.Repeat("n", 60), Prepare: [][]string{argv}, Run: argv, Cleanup: [][]string{argv}})
	}
	_, err := s.Tail()
	assert.NoError(t, err)
}

func TestReadTailErrors(t *testing.T) {
	dir := t.TempDir()
	write := func(content []byte) string {
		p := filepath.Join(dir, "disk")
		require.NoError(t, os.WriteFile(p, content, 0o644))
		return p
	}
	padded := func(text string) []byte {
		return append([]byte(text), make([]byte, TailBytes-len(text))...)
	}
	_, err := ReadTail(filepath.Join(dir, "none"))
	assert.ErrorIs(t, err, os.ErrNotExist)
	for want, content := range map[string][]byte{
		"is shorter than the job":   []byte("short"),
		"nobody wrote a job":        make([]byte, 2*TailBytes),
		"no job at the end":         padded("ext4"),
		"unknown field":             padded(`{"end":"reboot","speed":11}`),
		"more than a job":           padded(`{"end":"reboot"}{}`),
		`its end is "sometime"`:     padded(`{"end":"sometime"}`),
		"below zero":                padded(`{"end":"halt","hold":-1}`),
		"needs a name and a":        padded(`{"end":"halt","cells":[{"name":"a"}]}`),
		"cell a: a step without":    padded(`{"end":"halt","cells":[{"name":"a","run":["b"],"cleanup":[[]]}]}`),
		"cannot unmarshal":          padded(`{"end":"halt","pages":"many"}`),
		"no job at the end of the ": []byte(strings.Repeat("x", TailBytes)),
	} {
		_, err := ReadTail(write(content))
		assert.ErrorContains(t, err, want)
	}
}

func FuzzParseTail(f *testing.F) {
	tail, err := sample.Tail()
	require.NoError(f, err)
	f.Add(tail[:600])
	f.Add([]byte(`{"end":"halt"}` + "\x00\x00"))
	f.Add([]byte("\x00{"))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseTail(b)
		if err != nil {
			return
		}
		require.NoError(t, s.check())
		text, err := json.Marshal(s)
		require.NoError(t, err)
		again, err := parseTail(text)
		require.NoError(t, err)
		require.Equal(t, normal(s), normal(again))
	})
}

// normal is s with empty lists as JSON has them.
func normal(s Spec) string {
	b, _ := json.Marshal(s)
	return string(b)
}
