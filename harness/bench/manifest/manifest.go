// Package manifest says under what conditions the comparison was made: what was
// equal for all VMMs, what was not, and what that does to the numbers. It also
// holds what the VMMs' makers claim.
package manifest

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
)

// Manifest holds the conditions of every contender.
type Manifest struct {
	Sides []Side `json:"sides"`
}

// Side holds the conditions of one contender.
type Side struct {
	VMM     string  `json:"vmm"`
	On      string  `json:"on"`
	Entries []Entry `json:"entries"`
}

// Entry is one condition. Group and Key together occur once in a side.
type Entry struct {
	Group string `json:"group"`
	Key   string `json:"key"`
	Value string `json:"value"`
}

// The groups, in their order. Own is what makes a contender itself, so that it
// is no difference in the conditions.
const (
	Own     = "VMM"
	Guest   = "guest"
	Machine = "virtual machine"
	Memory  = "guest RAM"
	Disk    = "disk"
	Work    = "workload"
	Host    = "host"
)

// Load reads a manifest as bench.Data keeps it. None is an empty one.
func Load(raw json.RawMessage) (Manifest, error) {
	var m Manifest
	if len(raw) == 0 {
		return m, nil
	}
	if err := json.Unmarshal(raw, &m); err != nil {
		return m, fmt.Errorf("the manifest of the benchmark is damaged: %w", err)
	}
	return m, nil
}

// Side finds a contender's side.
func (m Manifest) Side(vmm, on string) (Side, bool) {
	i := slices.IndexFunc(m.Sides, func(s Side) bool { return s.VMM == vmm && s.On == on })
	if i < 0 {
		return Side{}, false
	}
	return m.Sides[i], true
}

// Get is the value of an entry; empty: the side has none.
func (s Side) Get(group, key string) string {
	i := slices.IndexFunc(s.Entries, func(e Entry) bool { return e.Group == group && e.Key == key })
	if i < 0 {
		return ""
	}
	return s.Entries[i].Value
}

// File is a file that took part.
type File struct {
	Path   string
	SHA256 string // in hex
	Bytes  int64
}

// HashFile reads a file of this machine for its hash.
func HashFile(path string) (File, error) {
	f, err := os.Open(path)
	if err != nil {
		return File{}, fmt.Errorf("manifest: %w", err)
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	if err != nil {
		return File{}, fmt.Errorf("manifest: read %s: %w", path, err)
	}
	return File{path, fmt.Sprintf("%x", h.Sum(nil)), n}, nil
}

// String is the file's hash, shortened as git does, and its size: by them files
// are compared, wherever they lie.
func (f File) String() string {
	if f.SHA256 == "" {
		return "none"
	}
	return fmt.Sprintf("sha256 %.16s, %d bytes", f.SHA256, f.Bytes)
}

// named is the file with its name, by which one knows its format.
func (f File) named() string {
	if f.SHA256 == "" {
		return f.String()
	}
	return filepath.Base(f.Path) + ", " + f.String()
}
