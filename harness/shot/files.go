package shot

import (
	"fmt"
	"os"
)

// prepare does what is to be done before the clock starts.
func (s Spec) prepare() error {
	s.removeSockets()
	for path, content := range s.Files {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			return fmt.Errorf("a file for the VMM: %w", err)
		}
	}
	if s.KVM {
		mountDebugFS()
	}
	if s.Initramfs != nil {
		if err := s.Initramfs.write(); err != nil {
			return err
		}
	}
	if s.Disk == nil {
		return nil
	}
	return s.Disk.write()
}

// removeFiles takes away what was written for the VMM, and its sockets: a VMM
// that is killed leaves them, and one that finds them cannot listen.
func (s Spec) removeFiles() {
	for path := range s.Files {
		_ = os.Remove(path)
	}
	s.removeSockets()
}

func (s Spec) removeSockets() {
	for _, path := range []string{s.ConsolePath, s.ICountMonitor} {
		if st, err := os.Lstat(path); err == nil && st.Mode()&os.ModeSocket != 0 {
			_ = os.Remove(path)
		}
	}
}
