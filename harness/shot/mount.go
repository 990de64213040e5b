package shot

import (
	"os"

	"golang.org/x/sys/unix"
)

// A small guest such as L1 has not mounted everything that a shot looks at. None
// of this is an error: who needs the file system says what is missing.

const debugFS = "/sys/kernel/debug"

func mountDebugFS() { mountOn(debugFS, "debugfs", unix.DEBUGFS_MAGIC) }

func mountDevPTS() {
	_ = os.MkdirAll("/dev/pts", 0o755)
	mountOn("/dev/pts", "devpts", unix.DEVPTS_SUPER_MAGIC)
}

// mountOn mounts a file system on dir unless it is there.
func mountOn(dir, fstype string, magic int64) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err == nil && st.Type == magic {
		return
	}
	_ = unix.Mount(fstype, dir, fstype, unix.MS_NOSUID|unix.MS_NOEXEC, "")
}
