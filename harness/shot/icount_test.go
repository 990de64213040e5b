package shot

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/job"
)

// fakeMonitor answers on path as QEMU 7.2 does under -icount; each question finds a
// million more instructions done.
func fakeMonitor(t *testing.T, path string) {
	l, err := net.Listen("unix", path)
	require.NoError(t, err)
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go answer(conn)
		}
	}()
}

func answer(conn net.Conn) {
	fmt.Fprintln(conn, `{"QMP": {"version": {"qemu": {"micro": 22, "minor": 2, "major": 7}, "package": ""}, "capabilities": ["oob"]}}`)
	done := 0
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		var req struct {
			Execute, ID string
		}
		_ = json.Unmarshal(lines.Bytes(), &req)
		switch req.Execute {
		case "query-replay":
			done += 1e6
			fmt.Fprintf(conn, `{"return": {"icount": %d, "mode": "none"}, "id": %q}`+"\n", done, req.ID)
		default:
			fmt.Fprintf(conn, `{"return": {}, "id": %q}`+"\n", req.ID)
		}
	}
}

func TestInstructions(t *testing.T) {
	path := filepath.Join(shortDir(t), "qmp")
	ended := make(chan struct{})
	c := countInstructions(path, ended)
	time.Sleep(20 * time.Millisecond)
	fakeMonitor(t, path) // the VMM comes up
	for _, want := range []int64{1e6, 2e6} {
		got, err := c.read()
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
	c.close()
	_, err := c.read()
	assert.Error(t, err)
}

func TestInstructionsWithoutAMonitor(t *testing.T) {
	none := countInstructions("", nil)
	got, err := none.read()
	assert.NoError(t, err)
	assert.Zero(t, got)
	none.close()

	ended := make(chan struct{})
	c := countInstructions(filepath.Join(shortDir(t), "qmp"), ended)
	close(ended)
	_, err = c.read()
	assert.ErrorContains(t, err, "the VMM ended")
	c.close()
}

// Instructions are read with the up frame and around each cell, nowhere else.
func TestAShotCountsInstructions(t *testing.T) {
	dir := shortDir(t)
	spec := fake("does its job", filepath.Join(dir, "disk"), filepath.Join(dir, "qmp"))
	spec.Disk = &Disk{Path: filepath.Join(dir, "disk"), Template: file(t, "template", 10, 't'), Job: &job.Spec{
		End: job.Halt, Cells: []job.Cell{{Name: "a", Run: []string{"true"}}},
	}}
	spec.ICountMonitor = filepath.Join(dir, "qmp")
	o := shoot(t, spec)
	require.Empty(t, o.Fault)
	assert.Empty(t, o.Missing)
	assert.Equal(t, int64(1e6), o.ICount)
	var all []string
	for _, f := range o.Frames {
		all = append(all, fmt.Sprintf("%s %d", f.Name, f.ICount))
	}
	assert.Equal(t, "up 0, begin 2000000, end 3000000, output 0, done 0", strings.Join(all, ", "))
}
