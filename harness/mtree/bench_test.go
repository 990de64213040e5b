package mtree

import "testing"

func BenchmarkParse(b *testing.B) {
	text := read(b, "qemu72-q35-booted-mtree.txt")
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if _, err := Parse(text); err != nil {
			b.Fatal(err)
		}
	}
}
