package shot

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A tree as KVM makes it in debugfs: the counters of two machines of this process,
// of another's, and of the machine's CPUs.
func counters(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	ids, err := threadIDs(os.Getpid())
	require.NoError(t, err)
	for name, value := range map[string]string{
		fmt.Sprintf("%d-11/exits", ids[0]):                "1500\n",
		fmt.Sprintf("%d-11/halt_exits", ids[0]):           "7\n",
		fmt.Sprintf("%d-11/mmu_page_header", ids[0]):      "no number\n",
		fmt.Sprintf("%d-11/vcpu0/pid", ids[0]):            "99\n",
		fmt.Sprintf("%d-12/exits", ids[len(ids)-1]):       "20\n",
		fmt.Sprintf("%d-12/nx_lpage_splits", ids[0]):      "0\n",
		fmt.Sprintf("%d-5/exits", os.Getpid()*10+1000000): "1\n",
	} {
		path := filepath.Join(root, name)
		require.NoError(t, os.MkdirAll(filepath.Dir(path), 0o755))
		require.NoError(t, os.WriteFile(path, []byte(value), 0o600))
	}
	return root
}

func TestStatistics(t *testing.T) {
	s := &statistics{root: counters(t), pid: os.Getpid()}
	for range 2 {
		got, err := s.read()
		require.NoError(t, err)
		assert.Equal(t, &Exits{"exits": 1520, "halt_exits": 7, "nx_lpage_splits": 0}, got)
	}
}

func TestStatisticsThatAreNotThere(t *testing.T) {
	got, err := newStatistics(false, 1).read()
	assert.NoError(t, err)
	assert.Nil(t, got, "nobody asked")

	_, err = (&statistics{root: t.TempDir(), pid: os.Getpid()}).read()
	assert.ErrorContains(t, err, "none has the VMM's process id")
	_, err = (&statistics{root: filepath.Join(t.TempDir(), "kvm"), pid: os.Getpid()}).read()
	assert.ErrorIs(t, err, os.ErrNotExist)
}

// That they cannot be read is noted once, and costs nothing else.
func TestAShotWithoutStatistics(t *testing.T) {
	spec := fake("good")
	spec.KVM = true
	o := shoot(t, spec)
	assert.Empty(t, o.Fault)
	assert.Nil(t, o.Exits)
	require.Len(t, o.Missing, 1)
	assert.Contains(t, o.Missing[0], "KVM's statistics: ")
}
