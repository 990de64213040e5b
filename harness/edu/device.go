// Package edu knows QEMU's educational PCI device: its registers, what it has
// to answer, and how to confirm from the device's side of the bus what a guest
// claims about it.
//
// The device is described in docs/specs/edu.txt of QEMU's source and is
// hw/misc/edu.c. The course's students write a Linux driver for it and add a
// function to it.
package edu

import "math/rand/v2"

// PCI identity of the device.
const (
	Vendor   = 0x1234
	Device   = 0x11e8
	Class    = 0x00ff // PCI_CLASS_OTHERS: lspci says "Unclassified device"
	Revision = 0x10
)

// Region is the name of BAR 0 in QEMU's traces and memory tree; BARSize its
// size in bytes.
const (
	Region  = "edu-mmio"
	BARSize = 1 << 20
)

// Registers of BAR 0. Those below 0x80 take 4-byte accesses only, the DMA
// registers 4 or 8 bytes. Where there is no register reads give all ones.
const (
	RegID        = 0x00 // read: Identification
	RegLive      = 0x04 // reads as the complement of what was written
	RegFactorial = 0x08 // write n, read n! once StatusBusy is clear
	RegStatus    = 0x20 // StatusBusy, StatusIRQ
	RegIRQStatus = 0x24 // read: interrupts raised and not acknowledged
	RegIRQRaise  = 0x60 // write: raises these bits
	RegIRQAck    = 0x64 // write: clears these bits; a handler has to
	RegDMASrc    = 0x80
	RegDMADst    = 0x88
	RegDMACount  = 0x90 // bytes
	RegDMACmd    = 0x98 // DMAStart and what goes with it
)

// Registers of the reference function, GCD, which a stock device lacks:
// fixtures/qemu/README.md.
const (
	RegFnA      = 0x28
	RegFnB      = 0x2c
	RegFnResult = 0x30
)

// Identification is the value of RegID: major and minor version 1.0, "ed" for edu.
const Identification = 0x010000ed

// Absent is what a read gives where there is no register.
const Absent = 0xffffffff

// Bits of RegStatus.
const (
	StatusBusy = 0x01 // a factorial is being computed; read only
	StatusIRQ  = 0x80 // raise IRQFactorial when it is done
)

// Bits of RegIRQStatus that the device sets by itself. It raises IRQDMA for
// both directions: the status 0x101 that the course's driver takes for the end
// of a DMA write is the two of them at once, and says nothing about direction.
const (
	IRQFactorial = 0x001
	IRQDMA       = 0x100
)

// Bits of RegDMACmd.
const (
	DMAStart      = 0x1
	DMAFromDevice = 0x2 // from the device's buffer to RAM; else to the buffer
	DMAWithIRQ    = 0x4 // raise IRQDMA when it is done, 100 ms later
)

// The device's DMA buffer in its own address space, and the bits of a bus
// address that it drives unless started with another dma_mask.
const (
	BufferStart = 0x40000
	BufferSize  = 4096
	BusBits     = 28
)

// Factorial32 is n! modulo 2^32, as the device computes it. From 34 on it is 0.
func Factorial32(n uint32) uint32 {
	if n >= 34 { // 34! has the factor 2^32; the device takes n steps to see that
		return 0
	}
	product := uint32(1)
	for ; n > 0; n-- {
		product *= n
	}
	return product
}

// Live is what RegLive reads after x was written.
func Live(x uint32) uint32 { return ^x }

// GCD is the reference function: the greatest common divisor, GCD(x, 0) = x.
func GCD(a, b uint32) uint32 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// Pattern is the data that the test program (fixtures/io/test) sends by DMA for
// a seed: n bytes from Marsaglia's 32-bit xorshift, the upper byte of each step.
func Pattern(seed uint32, n int) []byte {
	x := max(seed, 1) // 0 is a fixed point of xorshift
	data := make([]byte, n)
	for i := range data {
		x ^= x << 13
		x ^= x >> 17
		x ^= x << 5
		data[i] = byte(x >> 24)
	}
	return data
}

// DrawDMA draws what to send to the device and back: the seed of a Pattern and its
// length in bytes, up to what the driver's buffer takes. Its last byte is not 0,
// because a buffer holds zeros before: a transfer that leaves the byte out must show.
func DrawDMA(rand *rand.Rand) (seed uint32, size int) {
	seed, size = rand.Uint32(), 1+rand.IntN(BufferSize-1)
	for Pattern(seed, size)[size-1] == 0 {
		seed++
	}
	return seed, size
}
