package sandbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"virtlab/harness/machine"
	"virtlab/harness/result"
)

// Machine is the host behind walls: each program that it starts runs in a
// sandbox with these limits and sees, besides the system, the files binds, which
// it may read, and the machine's temporary directories, which it may write, all
// at the paths they have on the host. The environment and Cmd.Env do not reach
// it. Files are written and read, and sockets dialled, in the temporary
// directories alone; whatever a program put there leads nowhere else.
func Machine(limits Limits, binds ...string) machine.Machine {
	return &walled{limits: limits, binds: binds, dirs: map[string]*os.File{}}
}

type walled struct {
	limits Limits
	binds  []string

	mu    sync.Mutex
	owner owner
	dirs  map[string]*os.File // temporary directories, opened before any program saw them
}

// Name is "sandbox".
func (*walled) Name() string { return "sandbox" }

// Start starts a program in a sandbox.
func (w *walled) Start(ctx context.Context, cmd machine.Cmd) (machine.Process, error) {
	s := Spec{
		Args: cmd.Args, Dir: cmd.Dir, ReadOnly: w.binds, Sockets: true, Limits: w.limits,
		Stdin: cmd.Stdin, Stdout: cmd.Stdout, Stderr: cmd.Stderr,
	}
	w.mu.Lock()
	s.owner = w.owner
	for dir := range w.dirs {
		s.writable = append(s.writable, dir)
	}
	w.mu.Unlock()
	return Start(ctx, s)
}

// TempDir makes a directory that programs started from now on may write.
func (w *walled) TempDir(ctx context.Context) (_ string, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.owner == (owner{}) && !Unsandboxed {
		if w.owner, err = newOwner(); err != nil {
			return "", err
		}
	}
	dir, err := machine.Host.TempDir(ctx)
	if err != nil {
		return "", err
	}
	f, err := os.Open(dir)
	if err == nil {
		err = w.owner.give(dir)
	}
	if err != nil {
		return "", errors.Join(err, os.Remove(dir))
	}
	w.dirs[dir] = f
	return dir, nil
}

// RemoveAll removes a temporary directory, once the programs that may write it
// have ended, or a file in one.
func (w *walled) RemoveAll(ctx context.Context, path string) error {
	w.mu.Lock()
	f, ok := w.dirs[path]
	delete(w.dirs, path)
	w.mu.Unlock()
	if ok {
		f.Close()
		return machine.Host.RemoveAll(ctx, path)
	}
	return w.in(path, func(dir int, name string) error {
		if err := unix.Unlinkat(dir, name, 0); err != unix.ENOENT {
			return err
		}
		return nil
	})
}

// in calls f with the opened temporary directory that path lies in, and its name
// there.
func (w *walled) in(path string, f func(dir int, name string) error) error {
	w.mu.Lock()
	dir, ok := w.dirs[filepath.Dir(path)]
	w.mu.Unlock()
	if !ok {
		return fmt.Errorf("%s: not in a temporary directory of the sandbox: %w", path, fs.ErrPermission)
	}
	if err := f(int(dir.Fd()), filepath.Base(path)); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// open opens a file that a sandboxed program may have put there: of the kind
// wanted (unix.S_IFREG, unix.S_IFSOCK), not a link to it, and no one else's.
func (w *walled) open(dir int, name string, flags int, kind uint32) (int, error) {
	fd, err := unix.Openat(dir, name, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	var st unix.Stat_t
	err = unix.Fstat(fd, &st)
	switch {
	case err != nil:
	case st.Mode&unix.S_IFMT != kind:
		err = result.Errorf(result.Submission, "the sandboxed program put a file of another kind there (mode %#o)", st.Mode)
	case int(st.Uid) != w.owner.uid && int(st.Uid) != os.Geteuid():
		err = result.Errorf(result.Submission, "the sandboxed program put a file of user %d there", st.Uid)
	default:
		return fd, nil
	}
	unix.Close(fd)
	return -1, err
}

// Dial connects to a socket that a sandboxed program listens on.
func (w *walled) Dial(ctx context.Context, path string) (conn net.Conn, err error) {
	err = w.in(path, func(dir int, name string) error {
		fd, err := w.open(dir, name, unix.O_PATH, unix.S_IFSOCK)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		var d net.Dialer
		// By the open file: the name may mean another one by now.
		conn, err = d.DialContext(ctx, "unix", fmt.Sprintf("/proc/self/fd/%d", fd))
		return err
	})
	return conn, err
}

// WriteFile puts a new file into a temporary directory, in place of what has its
// name.
func (w *walled) WriteFile(_ context.Context, path string, r io.Reader, mode fs.FileMode) error {
	return w.in(path, func(dir int, name string) error {
		if err := unix.Unlinkat(dir, name, 0); err != nil && err != unix.ENOENT {
			return err
		}
		fd, err := unix.Openat(dir, name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, uint32(mode.Perm()))
		if err != nil {
			return err
		}
		f := os.NewFile(uintptr(fd), path)
		_, err = io.Copy(f, r)
		return errors.Join(err, f.Chmod(mode.Perm()), f.Close())
	})
}

// maxRead is the largest file that ReadFile reads, in bytes.
const maxRead = 64 << 20

// ReadFile reads a file in a temporary directory.
func (w *walled) ReadFile(_ context.Context, path string) (b []byte, err error) {
	err = w.in(path, func(dir int, name string) error {
		fd, err := w.open(dir, name, unix.O_RDONLY, unix.S_IFREG)
		if err != nil {
			return err
		}
		f := os.NewFile(uintptr(fd), path)
		defer f.Close()
		b, err = io.ReadAll(io.LimitReader(f, maxRead+1))
		if err == nil && len(b) > maxRead {
			err = result.Errorf(result.Submission, "the file is larger than %d MiB", maxRead>>20)
		}
		return err
	})
	return b, err
}
