package measure

import (
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// sane is what holds for each table, whatever was read.
func sane(t *testing.T, table *Table) {
	for _, r := range table.Rows {
		if r.VMM == "" || r.Repeat < 1 || len(r.Cell.missing()) > 0 {
			t.Fatalf("%s is no row: %+v", r, r.Cell)
		}
		for m, v := range r.Values {
			if !(v.Value > 0) || math.IsInf(v.Value, 0) || !(v.Half >= 0) {
				t.Fatalf("%s: %s is %+v", r, m, v)
			}
		}
	}
	for _, f := range all(Join(table, &Table{})) {
		if f.Severity == "" || f.Text == "" || len(f.String()) > 2000 {
			t.Fatalf("no finding for a reader: %+v", f)
		}
	}
}

func seeds(f *testing.F, patterns ...string) {
	for _, pattern := range patterns {
		paths, err := filepath.Glob(pattern)
		require.NoError(f, err)
		require.NotEmpty(f, paths)
		for _, p := range paths {
			text, err := os.ReadFile(p)
			require.NoError(f, err)
			f.Add(string(text[:min(len(text), 1000)]))
		}
	}
}

func FuzzReadGo(f *testing.F) {
	seeds(f, reference, "../../fixtures/mutants/bench/*.txt")
	f.Fuzz(func(t *testing.T, text string) {
		table := &Table{}
		readGo(table, "bench.txt", text)
		sane(t, table)
	})
}

func FuzzReadCSV(f *testing.F) {
	seeds(f, "testdata/*.csv", "testdata/*.md", "../../fixtures/mutants/bench/*.csv")
	f.Fuzz(func(t *testing.T, text string) {
		table := &Table{}
		readCSV(table, "qemu.csv", text)
		sane(t, table)
	})
}

func FuzzRead(f *testing.F) {
	seeds(f, "testdata/*", reference)
	f.Fuzz(func(t *testing.T, text string) { sane(t, Read("stratovirt.txt", text)) })
}
