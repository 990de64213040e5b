package harness

import (
	"runtime/debug"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCommitted(t *testing.T) {
	for _, c := range []struct {
		version, revision, modified string
		want                        bool
	}{
		{"(devel)", "", "", false},
		{"(devel)", "abc", "true", false},
		{"(devel)", "abc", "false", true},
		{"v0.0.0-2026-abc", "abc", "false", true},
		{"v0.0.0-2026-abc+dirty", "abc", "true", false},
		{"v1.2.3", "", "", true},
	} {
		info := &debug.BuildInfo{Main: debug.Module{Version: c.version}, Settings: []debug.BuildSetting{
			{Key: "vcs.revision", Value: c.revision}, {Key: "vcs.modified", Value: c.modified},
		}}
		assert.Equal(t, c.want, committed(info), "%+v", c)
	}
}

func TestVersionNamesTheProgram(t *testing.T) {
	v, err := Version()
	require.NoError(t, err)
	assert.Regexp(t, `, program [0-9a-f]{12}$`, v, "the test binary has no revision")
}
