package submission

import (
	"archive/zip"
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/simplifiedchinese"
)

const repack = "pack the folder again with the system's own tool (Windows: Send to > Compressed folder), then try to open the zip file before handing it in"

// zip takes in a zip file; its content goes below prefix. All that its directory
// tells is looked at before the first file is unpacked.
func (in *intake) zip(file, prefix string) error {
	f, err := os.Open(file)
	if err != nil {
		return fmt.Errorf("taking in %s: %w", in.where, err)
	}
	defer f.Close()
	r, err := in.directory(f)
	if err != nil {
		return err
	}
	plan, err := in.plan(r.File, prefix)
	if err != nil {
		return err
	}
	for _, e := range plan {
		if err := in.take(e); err != nil {
			return err
		}
	}
	return nil
}

// directory reads the directory of a zip file.
func (in *intake) directory(f *os.File) (*zip.Reader, error) {
	st, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("taking in %s: %w", in.where, err)
	}
	if st.Size() > in.limits.Total {
		return nil, in.refuse(smaller, "the zip file is larger than %s", size(in.limits.Total))
	}
	if err := in.isZip(f, st); err != nil {
		return nil, err
	}
	if err := in.countHeaders(f); err != nil {
		return nil, err
	}
	r, err := zip.NewReader(f, st.Size())
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) { // paths are looked at below
		return nil, in.refuse(repack, "its directory cannot be read (%v): the zip file is cut short or damaged", err)
	}
	return r, nil
}

// magics are how other containers begin.
var magics = []struct{ magic, is string }{
	{"Rar!\x1a\x07", "a RAR archive"},
	{"7z\xbc\xaf\x27\x1c", "a 7z archive"},
	{"\x1f\x8b", "a gzip file"},
	{"\xfd7zXZ\x00", "an xz file"},
	{"BZh", "a bzip2 file"},
	{"\x28\xb5\x2f\xfd", "a zstd file"},
	{"%PDF", "a PDF"},
	{"\xd0\xcf\x11\xe0", "an Office document"},
}

// isZip says what a file is that is no zip file.
func (in *intake) isZip(f *os.File, st fs.FileInfo) error {
	const hint = "hand in a zip file"
	head := make([]byte, 512)
	n, err := f.ReadAt(head, 0)
	if err != nil && err != io.EOF {
		return fmt.Errorf("taking in %s: %w", in.where, err)
	}
	head = head[:n]
	for _, m := range magics {
		if bytes.HasPrefix(head, []byte(m.magic)) {
			return in.refuse(hint, "it is %s", m.is)
		}
	}
	switch {
	case !st.Mode().IsRegular():
		return in.refuse(hint, "it is no file")
	case n == 0:
		return in.refuse(hint, "it is empty")
	case n > 262 && string(head[257:262]) == "ustar":
		return in.refuse(hint, "it is a tar archive")
	case !bytes.HasPrefix(head, []byte("PK")):
		return in.refuse(hint, "it is no zip file")
	}
	return nil
}

// countHeaders refuses what has many more entries than it may have, before they
// are all in memory: 46 bytes of a zip file's directory take ten times that.
// Zip files and documents inside have headers of their own.
func (in *intake) countHeaders(f *os.File) error {
	magic := []byte("PK\x01\x02")
	r, buf, kept, n := io.NewSectionReader(f, 0, 1<<62), make([]byte, 64<<10), 0, 0
	for {
		got, err := r.Read(buf[kept:])
		chunk := buf[:kept+got]
		n += bytes.Count(chunk, magic)
		if n > 4*in.limits.Entries+4096 {
			return in.refuse(smaller, "more than %d files and folders", in.limits.Entries)
		}
		if err == io.EOF {
			return in.ctx.Err()
		}
		if err != nil {
			return fmt.Errorf("taking in %s: %w", in.where, err)
		}
		kept = copy(buf, chunk[max(0, len(chunk)-len(magic)+1):])
	}
}

// plan looks at all entries of a zip file and says which are to be unpacked.
func (in *intake) plan(files []*zip.File, prefix string) (plan []entry, err error) {
	var ranges []span
	for _, f := range files {
		e, err := in.planOne(f, prefix)
		if err != nil {
			return nil, err
		}
		if e != nil {
			plan = append(plan, *e)
		}
		s, err := in.span(f)
		if err != nil {
			return nil, err
		}
		ranges = append(ranges, s)
	}
	return plan, in.disjoint(ranges)
}

// planOne checks one entry; nil: nothing to unpack.
func (in *intake) planOne(f *zip.File, prefix string) (*entry, error) {
	if err := in.count(); err != nil {
		return nil, err
	}
	raw := entryName(f)
	name, folder, err := in.place(raw)
	if err != nil {
		return nil, err
	}
	if err := in.acceptable(f, raw); err != nil {
		return nil, err
	}
	folder = folder || f.Mode().IsDir()
	if kind, part := junkPath(name); kind != "" {
		in.ignore(kind, part)
		return nil, nil
	}
	switch {
	case folder && f.UncompressedSize64 > 0:
		return nil, in.refuse(repack, "the folder %s has content", shown(raw))
	case name == "" && folder:
		return nil, nil
	case name == "":
		return nil, in.refuse(repack, "an entry has no name")
	}
	name = path.Join(prefix, name)
	if err := in.claim(name, folder); err != nil || folder {
		return nil, err
	}
	return &entry{name: name, open: f.Open, packed: int64(max(f.CompressedSize64, 1)), crc: &f.CRC32}, nil
}

// acceptable refuses what is no plain file or folder, and what cannot be
// unpacked.
func (in *intake) acceptable(f *zip.File, raw string) error {
	const (
		encrypted     = 1 << 0
		strong        = 1 << 6
		maskedHeaders = 1 << 13
		aes           = 99
	)
	switch {
	case f.Flags&(encrypted|strong|maskedHeaders) != 0 || f.Method == aes:
		return in.refuse("pack the folder again without a password", "%s is encrypted", shown(raw))
	case f.Method != zip.Store && f.Method != zip.Deflate:
		return in.refuse("pack the folder again with the normal method (Deflate)", "%s is packed with %s", shown(raw), method(f.Method))
	case f.UncompressedSize64 > uint64(in.limits.File):
		return in.refuse(smaller, "%s is larger than %s", shown(raw), size(in.limits.File))
	}
	if kind := special(f.Mode()); kind != "" {
		return in.refuse("hand in the file itself", "%s is %s", shown(raw), kind)
	}
	return nil
}

// special says what is neither a file nor a folder.
func special(m fs.FileMode) string {
	switch {
	case m&fs.ModeSymlink != 0:
		return "a symbolic link"
	case m&fs.ModeDevice != 0:
		return "a device"
	case m&fs.ModeNamedPipe != 0:
		return "a named pipe"
	case m&fs.ModeSocket != 0:
		return "a socket"
	case !m.IsRegular() && !m.IsDir():
		return "no plain file"
	}
	return ""
}

// method is a compression method's name, from APPNOTE.TXT 4.4.5.
func method(n uint16) string {
	switch n {
	case 1:
		return "Shrink"
	case 6:
		return "Implode"
	case 9:
		return "Deflate64"
	case 12:
		return "BZIP2"
	case 14:
		return "LZMA"
	case 93:
		return "Zstandard"
	case 95:
		return "XZ"
	case 98:
		return "PPMd"
	}
	return fmt.Sprintf("method %d", n)
}

// span is where an entry's packed bytes lie.
type span struct {
	name     string
	from, to int64
}

func (in *intake) span(f *zip.File) (span, error) {
	from, err := f.DataOffset()
	if err != nil {
		return span{}, in.refuse(repack, "%s is not where the directory says (%v): the zip file is cut short or damaged", shown(entryName(f)), err)
	}
	to := from + int64(f.CompressedSize64)
	if to < from {
		return span{}, in.refuse(repack, "%s does not fit into the zip file", shown(entryName(f)))
	}
	return span{entryName(f), from, to}, nil
}

// disjoint refuses entries that share their bytes: so the worst bombs are made
// (https://www.bamsoftware.com/hacks/zipbomb/).
func (in *intake) disjoint(spans []span) error {
	spans = slices.DeleteFunc(spans, func(s span) bool { return s.from == s.to })
	slices.SortFunc(spans, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	for i := 1; i < len(spans); i++ {
		if spans[i].from < spans[i-1].to {
			return in.refuse(repack, "%s and %s overlap in the zip file", shown(spans[i-1].name), shown(spans[i].name))
		}
	}
	return nil
}

const (
	maxPart  = 255 // bytes: what Linux allows
	maxPath  = 1024
	maxDepth = 32
)

// place cleans an entry's path. One that could lead out of the folder is
// refused, whatever it would lead to.
func (in *intake) place(raw string) (name string, folder bool, err error) {
	const hint = "pack the folder itself, with relative names below it"
	slashed := strings.ReplaceAll(raw, `\`, "/")
	switch {
	case strings.HasPrefix(slashed, "/"):
		return "", false, in.refuse(hint, "%s: an absolute path", shown(raw))
	case len(slashed) > 1 && slashed[1] == ':' && isLetter(slashed[0]):
		return "", false, in.refuse(hint, "%s: a path with a drive letter", shown(raw))
	case strings.ContainsRune(slashed, 0):
		return "", false, in.refuse(repack, "%s: there is a zero byte in the name", shown(raw))
	}
	var parts []string
	for part := range strings.SplitSeq(slashed, "/") {
		switch {
		case part == "..":
			return "", false, in.refuse(hint, "%s leaves the folder", shown(raw))
		case len(part) > maxPart:
			return "", false, in.refuse("give it a shorter name", "%s: a name of more than %d bytes", shown(cut(part, 40)+"..."), maxPart)
		case part != "" && part != ".":
			parts = append(parts, part)
		}
	}
	name = strings.Join(parts, "/")
	if len(parts) > maxDepth || len(name) > maxPath {
		return "", false, in.refuse("hand in fewer folders inside of each other", "%s: a path of more than %d folders or %d bytes", shown(cut(raw, 40)+"..."), maxDepth, maxPath)
	}
	if name != "" && (!filepath.IsLocal(filepath.FromSlash(name)) || !fs.ValidPath(name)) {
		return "", false, in.refuse(hint, "%s leaves the folder", shown(raw))
	}
	return name, strings.HasSuffix(slashed, "/"), nil
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// entryName is an entry's name in UTF-8, with the separators it came with. The
// Unicode path field comes first; then a name that is UTF-8, whether it is said
// to be or not (macOS does not say); then GBK.
func entryName(f *zip.File) string {
	if name, ok := unicodePath(f); ok {
		return name
	}
	return utf8Name(f.Name)
}

// unicodePath is the Info-ZIP Unicode Path extra field (APPNOTE.TXT 4.6.9),
// where it is about the name that the entry has.
func unicodePath(f *zip.File) (string, bool) {
	const id, header = 0x7075, 5 // version, CRC of the name
	for extra := f.Extra; len(extra) >= 4; {
		tag, n := binary.LittleEndian.Uint16(extra), int(binary.LittleEndian.Uint16(extra[2:]))
		if extra = extra[4:]; n > len(extra) {
			break
		}
		body := extra[:n]
		extra = extra[n:]
		if tag == id && n > header && body[0] == 1 && binary.LittleEndian.Uint32(body[1:]) == crc32.ChecksumIEEE([]byte(f.Name)) {
			return string(body[header:]), utf8.Valid(body[header:])
		}
	}
	return "", false
}

// utf8Name decodes a file's name. Code page 437 is what the zip format means by
// an unmarked name, and has a character for each byte.
func utf8Name(raw string) string {
	if utf8.ValidString(raw) {
		return raw
	}
	if name := decodeWith(simplifiedchinese.GB18030, []byte(raw)); !strings.ContainsRune(name, utf8.RuneError) {
		return name
	}
	return decodeWith(charmap.CodePage437, []byte(raw))
}
