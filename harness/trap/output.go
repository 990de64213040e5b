//go:build linux && amd64

package trap

import (
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// streams are the program's three standard streams. Its output is collected as
// it comes, so that a full pipe never stops it.
type streams struct {
	stdin, stdout, stderr *os.File // the program's ends
	feed                  *os.File // our end of stdin, nil for /dev/null
	out, err              *capture
	group                 sync.WaitGroup
}

// capture holds at most limit bytes of a stream.
type capture struct {
	file  *os.File
	limit int
	data  []byte
	full  chan<- string // told once when the limit is passed
	name  string
}

// openStreams makes the pipes. The name of a stream that passes its limit is
// sent to full.
func openStreams(stdin []byte, limit int, full chan<- string) (_ *streams, err error) {
	s := &streams{}
	defer func() {
		if err != nil {
			s.closeAll()
			err = fmt.Errorf("trap: make pipes: %w", err)
		}
	}()
	if s.stdin, s.feed, err = openInput(stdin); err != nil {
		return nil, err
	}
	s.out = &capture{name: "stdout", limit: limit, full: full, data: []byte{}}
	s.err = &capture{name: "stderr", limit: limit, full: full, data: []byte{}}
	if s.out.file, s.stdout, err = os.Pipe(); err != nil {
		return nil, err
	}
	if s.err.file, s.stderr, err = os.Pipe(); err != nil {
		return nil, err
	}
	return s, nil
}

// openInput returns both ends of standard input.
func openInput(stdin []byte) (read, write *os.File, err error) {
	if stdin == nil {
		read, err = os.Open(os.DevNull)
		return read, nil, err
	}
	return os.Pipe()
}

func (s *streams) closeAll() {
	for _, file := range []*os.File{s.stdin, s.feed, s.stdout, s.stderr} {
		if file != nil {
			file.Close()
		}
	}
	for _, c := range []*capture{s.out, s.err} {
		if c != nil && c.file != nil {
			c.file.Close()
		}
	}
}

// fds are the descriptors that the program is started with.
func (s *streams) fds() []uintptr {
	return []uintptr{s.stdin.Fd(), s.stdout.Fd(), s.stderr.Fd()}
}

// start closes the program's ends on our side, which it has by now, and begins
// to move data.
func (s *streams) start(stdin []byte) {
	for _, file := range []**os.File{&s.stdin, &s.stdout, &s.stderr} {
		(*file).Close()
		*file = nil
	}
	s.group.Go(s.out.read)
	s.group.Go(s.err.read)
	if s.feed != nil {
		s.group.Go(func() {
			s.feed.Write(stdin) // a program need not read its input
			s.feed.Close()
		})
	}
}

// finish waits for the end of the output. All writers are dead by then, so the
// deadline matters only for a descriptor that was passed to a process outside.
func (s *streams) finish() (stdout, stderr []byte) {
	deadline := time.Now().Add(time.Second)
	s.out.file.SetReadDeadline(deadline)
	s.err.file.SetReadDeadline(deadline)
	if s.feed != nil {
		s.feed.SetWriteDeadline(time.Now())
	}
	s.group.Wait()
	s.closeAll()
	return s.out.data, s.err.data
}

// read collects the stream up to its limit and throws away the rest.
func (c *capture) read() {
	buffer := make([]byte, 32<<10)
	for {
		n, err := c.file.Read(buffer)
		keep := min(n, c.limit-len(c.data))
		c.data = append(c.data, buffer[:keep]...)
		if keep < n {
			select {
			case c.full <- c.name:
			default:
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrDeadlineExceeded) {
				c.data = append(c.data, "\n[reading the program's output failed: "+err.Error()+"]\n"...)
			}
			return
		}
	}
}
