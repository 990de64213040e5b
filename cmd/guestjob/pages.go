package main

import (
	"encoding/binary"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"virtlab/harness/job"
)

// pages fills pages, tells where they are and holds them.
func (r runner) pages(spec job.Spec) error {
	mem, err := fillPages(spec.Pages, spec.Nonce)
	if err != nil {
		return err
	}
	defer unix.Munmap(mem)
	gpa, err := physical(mem)
	if err != nil {
		return err
	}
	if err := r.data(job.FramePages, job.Pages{GPA: gpa}); err != nil {
		return err
	}
	time.Sleep(spec.Hold)
	return nil
}

// fillPages gives n pages, locked in memory, that are full of nonce.
func fillPages(n int, nonce uint64) ([]byte, error) {
	mem, err := unix.Mmap(-1, 0, n*os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, fmt.Errorf("mapping %d pages: %w", n, err)
	}
	for i := 0; i < len(mem); i += 8 {
		binary.LittleEndian.PutUint64(mem[i:], nonce)
	}
	if err := unix.Mlock(mem); err != nil {
		_ = unix.Munmap(mem)
		return nil, fmt.Errorf("locking %d pages: %w", n, err)
	}
	return mem, nil
}

// Bits of an entry of /proc/PID/pagemap (Documentation/admin-guide/mm/pagemap.rst).
const (
	pagePresent = 1 << 63
	pageFrame   = 1<<55 - 1
)

// physical gives the physical address of each page of mem.
func physical(mem []byte) ([]uint64, error) {
	f, err := os.Open("/proc/self/pagemap")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	size := uint64(os.Getpagesize())
	first := uint64(uintptr(unsafe.Pointer(unsafe.SliceData(mem)))) / size
	entries := make([]byte, 8*(uint64(len(mem))/size))
	if _, err := f.ReadAt(entries, int64(8*first)); err != nil {
		return nil, fmt.Errorf("pagemap: %w", err)
	}
	out := make([]uint64, len(entries)/8)
	for i := range out {
		e := binary.LittleEndian.Uint64(entries[8*i:])
		// Who lacks CAP_SYS_ADMIN is shown frame 0, where Linux never puts a process.
		if e&pagePresent == 0 || e&pageFrame == 0 {
			return nil, fmt.Errorf("pagemap: entry %d is %#x: no frame in it: does the guest's runner lack CAP_SYS_ADMIN?", i, e)
		}
		out[i] = (e & pageFrame) * size
	}
	return out, nil
}
