// Package pagewalk reads the translation logs of the memory lab, checks them by
// arithmetic and compares them with the memory they claim to describe.
//
// Two logs describe one access of a nested guest. The guest log is written by a
// kernel module in L2: the walk from a guest virtual address (GVA) to a guest
// physical one (GPA). The host log is written by KVM in L1: the walk from that
// GPA to a host physical address (HPA) through EPT (Intel) or NPT (AMD).
//
//	log, err := pagewalk.Parse(console)     // both kinds, in order of appearance
//	pair := pagewalk.Pairs(log)[0]          // a guest walk and the host walk of its GPA
//	pagewalk.CheckPair(pair)                // arithmetic only
//	pagewalk.TwoDimensional(ctx, mem, pair) // against real memory
//
// For a verdict on what a student hands in, Best chooses the walks that count, and
// [Findings.Judge] makes one error of what is wrong with them, or missing.
//
// A log is text that a student may have cut, wrapped or typed. So parsing never
// fails on a bad line: what could not be read is a [Note] with its line number.
// What a log claims is judged by [Finding]s; that the environment rather than the
// student is to blame is a [Diagnosis].
//
// Of a whole pair of logs arithmetic sees every flipped bit but these: the flags of
// entries that the walk does not depend on (rights, cache, accessed, dirty, software,
// NX) except in the host's leaf, which is printed twice; the root, unless KVM prints
// CR3; the flags in CR3; and the top bit of Mask1. The row that repeats the indices and
// the legends are not read. Memory shows all of that but the accessed and dirty bits.
//
// Formats: Intel SDM volume 3, chapter 4 (paging) and section 29.3 (EPT); AMD APM
// volume 2, section 15.25 (nested paging). The package starts no process.
package pagewalk
