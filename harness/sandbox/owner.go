package sandbox

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"

	"virtlab/harness/result"
)

// owner is the user that sandboxed programs run as. An ordinary user keeps his
// own uid, in a user namespace where his processes are counted apart (since
// Linux 5.14). For root the kernel counts no processes, and root's files would
// be the program's own: there each sandbox gets a uid that nobody else has.
type owner struct {
	uid      int
	separate bool // not the caller
}

func newOwner() (owner, error) {
	if os.Geteuid() != 0 {
		return owner{uid: os.Geteuid()}, nil
	}
	ids, err := os.ReadFile("/proc/self/uid_map")
	if err != nil {
		return owner{}, result.Errorf(result.Host, "no uid for a sandbox: %w", err)
	}
	uid, err := pickUID(string(ids), rand.Uint64())
	return owner{uid: uid, separate: true}, err
}

// The uids that no distribution, container manager or systemd hands out
// (systemd.io/UIDS-GIDS: container ids end below 0x70000000).
const (
	firstUID = 0x7000_0000
	uids     = 1 << 24
)

// pickUID draws a uid from those that the user namespace of this process has,
// as /proc/self/uid_map lists them: first inside, first outside, count. In a
// container with few it is one of the upper half.
func pickUID(uidMap string, draw uint64) (int, error) {
	var first, outside, count uint64
	for line := range strings.Lines(uidMap) {
		if _, err := fmt.Sscan(line, &first, &outside, &count); err != nil {
			return 0, result.Errorf(result.Host, "no uid for a sandbox: /proc/self/uid_map: %q: %w", line, err)
		}
		if first <= firstUID && first+count >= firstUID+uids {
			return int(firstUID + draw%uids), nil
		}
	}
	if count < 2 {
		return 0, result.Errorf(result.Host, "no uid for a sandbox: this container has no user but root").
			WithHint("run virtlab as an ordinary user, or give the container a range of uids")
	}
	return int(first + count/2 + draw%(count-count/2)), nil
}

// become is the command that makes root the owner, and then runs args.
func (o owner) become(args []string) []string {
	if !o.separate {
		return args
	}
	return append([]string{"setpriv", fmt.Sprintf("--reuid=%d", o.uid), fmt.Sprintf("--regid=%d", o.uid), "--clear-groups", "--inh-caps=-all"}, args...)
}

// give makes a directory the owner's.
func (o owner) give(dir string) error {
	if !o.separate {
		return nil
	}
	if err := os.Lchown(dir, o.uid, o.uid); err != nil {
		return result.Errorf(result.Host, "giving a directory to the sandbox's user: %w", err)
	}
	return nil
}
