//go:build linux && amd64

package trap

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

const nobody = 65534

// needCells skips a test where no cell can be made. L1 is a machine for it:
//
//	CGO_ENABLED=0 go test -c ./harness/trap
//	virtlab l1 trap.test -test.run Cell
func needCells(t *testing.T) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("only root confines programs")
	}
	g, err := newGroup(64, 8)
	if err != nil {
		t.Skipf("this machine makes no cells: %v", err)
	}
	g.close()
}

// inCell tells whether this process runs confined: nothing else starts in such a
// place.
func inCell() bool {
	dir, _ := os.Getwd()
	return os.Getuid() == nobody && dir == cellWork
}

// watchCell runs one of this file's tests again, confined.
func watchCell(t *testing.T, test string, c Confinement) *Log {
	t.Helper()
	c.UID = nobody
	return watch(t, Config{Argv: []string{os.Args[0], "-test.run=^" + test + "$", "-test.v"}, Confine: &c, Limit: patient, Env: []string{"SECRET=1"}})
}

func TestCell(t *testing.T) {
	if inCell() {
		lookAround(t)
		return
	}
	needCells(t)
	outside := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(outside, "answers"), nil, 0o644))
	log := watchCell(t, t.Name(), Confinement{})
	assert.NoError(t, CheckEnd(log))
	assert.Contains(t, string(log.Stdout), "--- PASS: TestCell")
	t.Logf("%s%s", log.Stdout, log.Stderr)
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	require.NoError(t, err)
	assert.NotContains(t, string(mounts), cellWork)
}

// lookAround is what a confined program finds.
func lookAround(t *testing.T) {
	assert.Empty(t, os.Getenv("SECRET"))
	groups, err := os.Getgroups()
	assert.NoError(t, err)
	assert.Empty(t, groups)

	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var capabilities [2]unix.CapUserData
	require.NoError(t, unix.Capget(&header, &capabilities[0]))
	assert.Zero(t, capabilities)
	gain, err := unix.PrctlRetInt(unix.PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0)
	assert.NoError(t, err)
	assert.Equal(t, 1, gain)

	entries, err := os.ReadDir("/")
	require.NoError(t, err)
	assert.Len(t, entries, 3, "dev, program and work: %v", entries)
	assert.NoError(t, os.WriteFile("mine", []byte("text"), 0o600))
	assert.ErrorIs(t, os.WriteFile("/not-mine", nil, 0o600), unix.EACCES)
	assert.ErrorIs(t, os.WriteFile(cellProgram, nil, 0o600), unix.EACCES)
	kvm, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
	if assert.True(t, err == nil || os.IsNotExist(err) || err.(*os.PathError).Err == unix.ENXIO, "%v", err) && err == nil {
		kvm.Close()
	}

	assert.ErrorIs(t, unix.Kill(1, unix.SIGKILL), unix.EPERM)
	assert.ErrorIs(t, unix.Kill(os.Getppid(), unix.SIGSTOP), unix.EPERM)
	assert.ErrorIs(t, unix.PtraceAttach(os.Getppid()), unix.EPERM)
	assert.ErrorIs(t, unix.Unshare(unix.CLONE_NEWUSER), unix.ENOSYS)
	assert.ErrorIs(t, unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_STRICT, 0, 0, 0), unix.ENOSYS)
	interfaces, err := net.Interfaces()
	assert.NoError(t, err)
	for _, i := range interfaces {
		assert.Zero(t, i.Flags&net.FlagUp, "%s is up", i.Name)
	}
}

func TestCellBoundsFiles(t *testing.T) {
	if inCell() {
		large, err := os.Create("large")
		require.NoError(t, err)
		written := 0
		for block := make([]byte, 1<<20); written < 10*cellFilesMiB; written++ {
			if _, err := large.Write(block); err != nil {
				break
			}
		}
		assert.Less(t, written, cellFilesMiB)
		return
	}
	needCells(t)
	assert.NoError(t, CheckEnd(watchCell(t, t.Name(), Confinement{})))
}

func TestCellBoundsMemory(t *testing.T) {
	if inCell() {
		var all [][]byte
		for range 256 {
			block := make([]byte, 1<<20)
			for i := range block {
				block[i] = 1
			}
			all = append(all, block)
		}
		t.Log(len(all))
		return
	}
	needCells(t)
	log := watchCell(t, t.Name(), Confinement{MemoryMiB: 64})
	assert.Equal(t, MemoryLimit, log.Ending)
	assert.Equal(t, "more than 64 MiB", log.Detail)
}

// TestCellLeavesNothing looks for processes and control groups after a program that
// leaves processes behind.
func TestCellLeavesNothing(t *testing.T) {
	if inCell() {
		sleeper := exec.Command(cellProgram, "-test.run=^TestCellSleeps$")
		sleeper.SysProcAttr = &unix.SysProcAttr{Setsid: true}
		require.NoError(t, sleeper.Start())
		return
	}
	needCells(t)
	log := watchCell(t, t.Name(), Confinement{})
	assert.ErrorContains(t, CheckEnd(log), "left behind")
	hierarchy, err := mountNowhere("cgroup2", nil)
	require.NoError(t, err)
	defer hierarchy.Close()
	groups, err := filepath.Glob(at(hierarchy, "virtlab-trap-*"))
	require.NoError(t, err)
	assert.Empty(t, groups)
	statuses, err := filepath.Glob("/proc/[0-9]*")
	require.NoError(t, err)
	for _, dir := range statuses {
		var st unix.Stat_t
		if unix.Stat(dir, &st) == nil {
			assert.NotEqual(t, uint32(nobody), st.Uid, "%s is alive", dir)
		}
	}
}

// TestCellSleeps is a program for TestCellLeavesNothing.
func TestCellSleeps(t *testing.T) {
	if !inCell() {
		t.Skip("a part of TestCellLeavesNothing")
	}
	select {}
}

func TestCellNeedsAUser(t *testing.T) {
	_, err := Run(t.Context(), Config{Argv: []string{os.Args[0]}, Confine: &Confinement{}})
	assert.ErrorContains(t, err, "the confined user is 0")
}
