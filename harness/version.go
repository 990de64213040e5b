package harness

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"slices"
	"strings"
)

// Version is what grades: a release, or the commit that it was built from. Where
// neither names the state, since not all of it was committed, the program's digest
// stands behind, so that another program is another version.
func Version() (string, error) {
	name := "unknown"
	info, ok := debug.ReadBuildInfo()
	if ok {
		name = cmp.Or(setting(info, "vcs.revision"), info.Main.Version)
	}
	if ok && committed(info) {
		return name, nil
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
	return fmt.Sprintf("%s, program %x", name, h.Sum(nil)[:6]), nil
}

// committed says whether a program was built from a state that has a name.
func committed(info *debug.BuildInfo) bool {
	released := strings.HasPrefix(info.Main.Version, "v") && !strings.Contains(info.Main.Version, "+dirty")
	return released || setting(info, "vcs.revision") != "" && setting(info, "vcs.modified") == "false"
}

// setting is how a program was built, "" where that is not known.
func setting(info *debug.BuildInfo, key string) string {
	i := slices.IndexFunc(info.Settings, func(s debug.BuildSetting) bool { return s.Key == key })
	if i < 0 {
		return ""
	}
	return info.Settings[i].Value
}
