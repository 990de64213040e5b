package sandbox

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestPickUID(t *testing.T) {
	for name, c := range map[string]struct {
		uidMap string
		draw   uint64
		want   int
		fails  string
	}{
		"the host":           {uidMap: "         0          0 4294967295\n", draw: 5, want: firstUID + 5},
		"the last one":       {uidMap: "0 0 4294967295\n", draw: uids - 1, want: firstUID + uids - 1},
		"around":             {uidMap: "0 0 4294967295\n", draw: uids, want: firstUID},
		"rootless podman":    {uidMap: "0 1000 1\n1 100000 65536\n", draw: 3, want: 1 + 32768 + 3},
		"its last":           {uidMap: "0 1000 1\n1 100000 65536\n", draw: 32767, want: 65536},
		"docker's remapping": {uidMap: "0 231072 65536\n", draw: 32768, want: 32768},
		"a single user":      {uidMap: "0 1000 1\n", fails: "no user but root"},
		"none":               {uidMap: "", fails: "no user but root"},
		"something else":     {uidMap: "a b c\n", fails: "uid_map"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := pickUID(c.uidMap, c.draw)
			if c.fails != "" {
				require.ErrorContains(t, err, c.fails)
				return
			}
			require.NoError(t, err)
			assert.Equal(t, c.want, got)
		})
	}
}
