package submission

import (
	"cmp"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
)

// Limits bound what is taken in. A zero field has the default.
type Limits struct {
	Entries int   // files and folders, those that are ignored too: 4096
	File    int64 // bytes of one file: 64 MiB
	Total   int64 // bytes of all files, and of the zip file: 256 MiB
	Ratio   int64 // unpacked over packed bytes of a file of more than 4 MiB: 200
}

// ratioFloor is how much a file may unpack to whatever its ratio is: a few MiB
// of a log repeat themselves as they like.
const ratioFloor = 4 << 20

func (l Limits) orDefault() Limits {
	return Limits{
		Entries: cmp.Or(l.Entries, 4096),
		File:    cmp.Or(l.File, 64<<20),
		Total:   cmp.Or(l.Total, 256<<20),
		Ratio:   cmp.Or(l.Ratio, 200),
	}
}

// unreadable tells a container that makes no sense from a disk that fails.
func (in *intake) unreadable(e entry, err error) error {
	var disk *fs.PathError
	if e.crc == nil || errors.As(err, &disk) {
		return fmt.Errorf("taking in %s: %s: %w", in.where, shown(e.name), err)
	}
	return in.refuse(repack, "%s cannot be unpacked (%v): the zip file is cut short or damaged", shown(e.name), err)
}

// meter reads an entry and counts what really comes out.
type meter struct {
	in  *intake
	e   entry
	r   io.Reader
	n   int64
	crc uint32
	err error // why it ended early
}

func (m *meter) Read(p []byte) (int, error) {
	if err := m.in.ctx.Err(); err != nil {
		m.err = fmt.Errorf("taking in %s: %w", m.in.where, err)
		return 0, m.err
	}
	n, err := m.r.Read(p)
	m.n += int64(n)
	m.in.bytes += int64(n)
	m.crc = crc32.Update(m.crc, crc32.IEEETable, p[:n])
	if m.err = m.excess(); m.err != nil {
		return 0, m.err
	}
	if err != nil && err != io.EOF {
		m.err = m.in.unreadable(m.e, err)
		return 0, m.err
	}
	return n, err
}

// excess says which limit has been passed.
func (m *meter) excess() error {
	l, name := m.in.limits, shown(m.e.name)
	switch {
	case m.n > l.File:
		return m.in.refuse(smaller, "%s is larger than %s", name, size(l.File))
	case m.in.bytes > l.Total:
		return m.in.refuse(smaller, "its files are larger than %s together", size(l.Total))
	case m.e.packed > 0 && m.n > ratioFloor && m.n/m.e.packed > l.Ratio:
		return m.in.refuse(smaller, "%s unpacks to more than %d times its packed size", name, l.Ratio)
	}
	return nil
}

// size is a number of bytes as people say it.
func size(n int64) string {
	for _, unit := range []struct {
		name  string
		bytes int64
	}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}} {
		if n >= unit.bytes {
			return fmt.Sprintf("%.4g %s", float64(n)/float64(unit.bytes), unit.name)
		}
	}
	return fmt.Sprintf("%d bytes", n)
}
