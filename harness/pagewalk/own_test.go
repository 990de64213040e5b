package pagewalk

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// ownLog is the name of a log that our module and our KVM printed: EPT, perhaps
// without A/D bits, or NPT; MMU, levels, and the size of the host's leaf.
var ownLog = regexp.MustCompile(`^(?:ept-(?:noad-)?)?(tdp|shadowmmu|spt)(\d)(?:-guest(\d))?-(4k|2m|1g)$`)

// oddAddresses is what the hypercall was asked besides: not touched yet, the local
// APIC, the PCI hole, beyond memory, beyond what tables translate, unaligned, and
// across the end of a page.
var oddAddresses = []Hex{0x7000000, 0xfee00000, 0xc0000000, 0xfebf0000, 0x40000010, 0x7ff00008, 1 << 47, 1 << 56, ^Hex(0), 0xffc, 0x1ffd, 0x1fff}

var leafOf = map[string]int{"4k": 1, "2m": 2, "1g": 3}

func TestOwnLogs(t *testing.T) {
	files, err := filepath.Glob("testdata/own/*.guest.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".guest.txt")
		t.Run(name, func(t *testing.T) {
			m := ownLog.FindStringSubmatch(name)
			require.NotNil(t, m)
			guestText, err := os.ReadFile(f)
			require.NoError(t, err)
			hostText, err := os.ReadFile(strings.Replace(f, ".guest.", ".host.", 1))
			require.NoError(t, err)
			guest, err := ParseGuest(string(guestText))
			require.NoError(t, err)
			host, err := ParseHost(string(hostText))
			require.NoError(t, err)

			levels, _ := strconv.Atoi(m[2])
			guestLevels := levels
			if m[3] != "" {
				guestLevels, _ = strconv.Atoi(m[3])
			}
			pairs := Pairs(guest, host)
			require.Len(t, pairs, 3, "one each for leaf=4k, 2m and course")
			for _, p := range pairs {
				assert.NoError(t, CheckPair(p).Err())
				assert.Empty(t, CheckPair(p).With(Gap))
				assert.NoError(t, CheckNonce(p, 1772334).Err())
				assert.Equal(t, guestLevels, p.Guest.Levels)
				assert.Equal(t, levels, p.Host.Levels)
				assert.Equal(t, m[1] == "spt", p.Host.Kind == Shadow)
				assert.Equal(t, strings.HasPrefix(name, "ept-"), p.Host.Kind == EPT)
				if m[1] != "spt" { // a shadow table follows the guest's own leaves
					assert.Equal(t, leafOf[m[4]], p.Host.Leaf)
				}
			}
			assert.Len(t, host.Hosts(), 3+len(oddAddresses))
		})
	}
}
