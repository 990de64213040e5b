package shot

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
)

// pageSize is x86's. Guests fill, and pagemap counts, pages of it.
const pageSize = 4096

// pageState is an entry of /proc/PID/pagemap (Documentation/admin-guide/mm/
// pagemap.rst). Without CAP_SYS_ADMIN the frame's number in it is 0, but not the
// flags.
type pageState uint64

func (p pageState) present() bool   { return p>>63&1 == 1 }
func (p pageState) exclusive() bool { return p>>56&1 == 1 }

// addressSpace looks into a process's memory. It takes the rights of a debugger,
// which a parent has over its child (Yama's ptrace_scope 0 and 1).
type addressSpace struct {
	pagemap io.ReaderAt
	mem     io.ReaderAt
}

// openAddressSpace opens the memory of process pid.
func openAddressSpace(pid int) (addressSpace, func(), error) {
	pagemap, err := os.Open(fmt.Sprintf("/proc/%d/pagemap", pid))
	if err != nil {
		return addressSpace{}, nil, err
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		pagemap.Close()
		return addressSpace{}, nil, err
	}
	return addressSpace{pagemap, mem}, func() { pagemap.Close(); mem.Close() }, nil
}

// statesAtOnce is how many entries of pagemap are read by one call.
const statesAtOnce = 8192

// states calls f with the address and state of each page of s.
func (a addressSpace) states(s span, f func(addr uint64, p pageState) error) error {
	buf := make([]byte, 8*statesAtOnce)
	for lo := s.lo; lo < s.hi; lo += statesAtOnce * pageSize {
		n := min(statesAtOnce, int((s.hi-lo)/pageSize))
		if _, err := a.pagemap.ReadAt(buf[:8*n], int64(lo/pageSize*8)); err != nil {
			return fmt.Errorf("pagemap of %x-%x: %w", s.lo, s.hi, err)
		}
		for i := range n {
			p := pageState(binary.NativeEndian.Uint64(buf[8*i:]))
			if err := f(lo+uint64(i)*pageSize, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// find gives the addresses of the pages of s that hold nonce and nothing else.
func (a addressSpace) find(s span, nonce uint64) (found []uint64, err error) {
	page := make([]byte, pageSize)
	err = a.states(s, func(addr uint64, p pageState) error {
		if p.present() && a.holds(addr, nonce, page[:16]) && a.holds(addr, nonce, page) {
			found = append(found, addr)
		}
		return nil
	})
	return found, err
}

// holds tells whether nothing but nonce stands at addr, for as long as buf is.
// What cannot be read (a device's registers) is not what the guest wrote.
func (a addressSpace) holds(addr, nonce uint64, buf []byte) bool {
	if _, err := a.mem.ReadAt(buf, int64(addr)); err != nil {
		return false
	}
	for i := 0; i < len(buf); i += 8 {
		if binary.LittleEndian.Uint64(buf[i:]) != nonce {
			return false
		}
	}
	return true
}
