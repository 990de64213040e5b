package class

import (
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strings"

	"virtlab/harness"
)

// Version is what grades: harness.Version. Where that is no state that can be
// had again, since nothing or not all of it was committed, the program's digest
// stands behind it, so that another program is another version.
func Version() (string, error) {
	info, ok := debug.ReadBuildInfo()
	if ok && committed(info) {
		return harness.Version(), nil
	}
	program, err := os.Open("/proc/self/exe")
	if err != nil {
		return "", err
	}
	defer program.Close()
	h := sha256.New()
	if _, err := io.Copy(h, program); err != nil {
		return "", err
	}
	return fmt.Sprintf("%s, program %x", harness.Version(), h.Sum(nil)[:6]), nil
}

// committed says whether a program was built from a state that has a name.
func committed(info *debug.BuildInfo) bool {
	setting := func(key string) string {
		i := slices.IndexFunc(info.Settings, func(s debug.BuildSetting) bool { return s.Key == key })
		if i < 0 {
			return ""
		}
		return info.Settings[i].Value
	}
	released := strings.HasPrefix(info.Main.Version, "v") && !strings.Contains(info.Main.Version, "+dirty")
	return released || setting("vcs.revision") != "" && setting("vcs.modified") == "false"
}
