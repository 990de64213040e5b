package sandbox

import (
	"errors"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/result"
)

func TestProbeSaysWhatIsMissing(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	assert.ErrorContains(t, probe(), "install the packages bubblewrap")
}

func TestDiagnose(t *testing.T) {
	for name, c := range map[string]struct {
		said string
		at   surroundings
		hint string
	}{
		"Ubuntu 24.04":     {"bwrap: setting up uid map: Permission denied", surroundings{apparmor: "1", clone: "1", namespaces: "1000"}, "bwrap-userns-restrict"},
		"Debian 10":        {"bwrap: No permissions to create new namespace", surroundings{clone: "0", namespaces: "1000"}, "unprivileged_userns_clone=1"},
		"namespaces off":   {"bwrap: Creating new namespace failed: No space left on device", surroundings{clone: "1", namespaces: "0"}, "max_user_namespaces=10000"},
		"root in a docker": {"bwrap: Creating new namespace failed: Operation not permitted", surroundings{root: true, container: true, namespaces: "1000"}, "--security-opt seccomp=unconfined"},
		"no proc":          {"bwrap: Can't mount proc on /newroot/proc: Operation not permitted", surroundings{container: true}, "systempaths=unconfined"},
		"Ubuntu 22.04":     {"bwrap: Unknown option --size", surroundings{}, "0.8 or newer"},
		"anything else":    {"bwrap: loopback: Failed RTM_NEWADDR: Operation not permitted", surroundings{namespaces: "1000"}, "see that namespaces are allowed"},
	} {
		err := diagnose(errors.New(c.said), c.at)
		assert.ErrorContains(t, err, c.hint, name)
		assert.ErrorContains(t, err, c.said, name)
		assert.Equal(t, result.Host, result.OwnerOf(err), name)
	}
}

// Where namespaces are forbidden nothing runs: tried in a user namespace that
// has no users, where none can be made.
func TestRunRefusesWithoutNamespaces(t *testing.T) {
	need(t)
	c := exec.Command("unshare", "--user", os.Args[0], "-test.run=^TestRefused$")
	c.Env = append(os.Environ(), "VIRTLAB_TEST_REFUSED=1")
	out, err := c.CombinedOutput()
	require.NoError(t, err, string(out))
}

// TestRefused is run by the test above.
func TestRefused(t *testing.T) {
	if os.Getenv("VIRTLAB_TEST_REFUSED") == "" {
		t.Skip("not graded: this runs inside another test")
	}
	err := Run(t.Context(), Spec{Args: []string{"true"}, Limits: Compiler})
	assert.ErrorContains(t, err, "bubblewrap cannot make a sandbox")
	assert.ErrorContains(t, err, "what to do")
	assert.Equal(t, result.Host, result.OwnerOf(err))
}
