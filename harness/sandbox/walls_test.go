package sandbox

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
)

// after lists the words of a command line that follow a word.
func after(argv []string, word string) (out []string) {
	for i, a := range argv[:len(argv)-1] {
		if a == word {
			out = append(out, argv[i+1])
		}
	}
	return out
}

func TestCommand(t *testing.T) {
	s := Spec{Args: []string{"gcc", "a b.c"}, ReadOnly: []string{"/data/x"}, writable: []string{"/tmp/w"}, Limits: Compiler}
	s.owner = owner{uid: 1000}
	user := s.command()
	assert.Contains(t, user, "--unshare-user")
	assert.NotContains(t, user, "setpriv")
	assert.NotContains(t, user, "--cap-add")
	assert.Equal(t, []string{"gcc", "a b.c"}, user[len(user)-2:])
	assert.Contains(t, strings.Join(user, " "), "--dir /data --ro-bind /data/x /data/x --dir /tmp --bind /tmp/w /tmp/w --remount-ro / --chdir /tmp --cap-drop ALL")

	s.owner = owner{uid: 7, separate: true}
	root := strings.Join(s.command(), " ")
	assert.NotContains(t, root, "--unshare-user")
	assert.Contains(t, root, "-- setpriv --reuid=7 --regid=7 --clear-groups --inh-caps=-all prlimit --nproc=48 --cpu=30:31 ")
	assert.NotContains(t, root, "/dev/kvm")

	s.Dir = "/data/x"
	assert.Equal(t, []string{"/data/x"}, after(s.command(), "--chdir"))
}

func TestRlimits(t *testing.T) {
	l := Limits{CPU: 1500 * time.Millisecond, AddressMiB: 2, FileMiB: 3, OpenFiles: 4}
	assert.Equal(t, "--cpu=2:3 --as=2097152 --fsize=3145728 --nofile=4 --stack=67108864 --core=1 --memlock=65536 --msgqueue=0",
		strings.Join(l.rlimits(), " "))
	assert.Contains(t, Limits{}.rlimits(), "--cpu=1:2")
}

func TestEachLimitHasWords(t *testing.T) {
	for _, l := range []Limit{CPU, Wall, Memory, Address, Processes, FileSize, Space, Files, Output} {
		assert.NotEmpty(t, Compiler.Exceeded(l).Text, l)
	}
	assert.Equal(t, "used more than 1024 MiB of memory in all", Compiler.Exceeded(Memory).Text)
}
