package submission

import (
	"bytes"
	"compress/flate"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
	"golang.org/x/text/encoding/simplifiedchinese"

	"virtlab/harness/result"
)

func gbk(t testing.TB, s string) string {
	t.Helper()
	out, err := simplifiedchinese.GBK.NewEncoder().String(s)
	require.NoError(t, err)
	return out
}

// unicodeField is the Info-ZIP Unicode Path extra field for an entry.
func unicodeField(about, name string) []byte {
	var b bytes.Buffer
	for _, v := range []any{uint16(0x7075), uint16(5 + len(name)), uint8(1), crc32.ChecksumIEEE([]byte(about)), []byte(name)} {
		_ = binary.Write(&b, binary.LittleEndian, v)
	}
	return b.Bytes()
}

func deflated(t testing.TB, body []byte) string {
	t.Helper()
	var b bytes.Buffer
	w, err := flate.NewWriter(&b, flate.BestCompression)
	require.NoError(t, err)
	_, err = w.Write(body)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.String()
}

const utf8Flag = 1 << 11

func TestOpenZipTakesIn(t *testing.T) {
	for _, c := range []struct {
		name string
		zip  []byte
		want tree
	}{
		{"as it is", tree{"report.md": "r", "lab1/modified-qemu.c": "c"}.zip(t), tree{"report.md": "r", "lab1/modified-qemu.c": "c"}},
		{"one folder around it", rawZip(item{name: "张三/", flags: utf8Flag}, item{name: "张三/x/a.c", body: "a", flags: utf8Flag}, item{name: "张三/b.c", body: "b", flags: utf8Flag}),
			tree{"x/a.c": "a", "b.c": "b"}},
		{"folders around one file", rawZip(item{name: "a/b/c/d.c", body: "d"}), tree{"d.c": "d"}},
		{"UTF-8, not marked", rawZip(item{name: "报告.md", body: "r"}), tree{"报告.md": "r"}},
		{"GBK", rawZip(item{name: gbk(t, "实验/报告.md"), body: "r"}, item{name: gbk(t, "许.c"), body: "x"}), tree{"实验/报告.md": "r", "许.c": "x"}},
		{"GBK with a backslash for its second byte", rawZip(item{name: "\x95\x5c.c", body: "r"}), tree{"昞.c": "r"}},
		{"marked UTF-8, but GBK", rawZip(item{name: gbk(t, "报告.md"), body: "r", flags: utf8Flag}), tree{"报告.md": "r"}},
		{"neither", rawZip(item{name: "caf\x82.md", body: "r"}), tree{"café.md": "r"}},
		{"Unicode path", rawZip(item{name: "b.md", body: "r", extra: unicodeField("b.md", "报.md")}), tree{"报.md": "r"}},
		{"Unicode path of another name", rawZip(item{name: "b.md", body: "r", extra: unicodeField("c.md", "报.md")}), tree{"b.md": "r"}},
		{"backslashes", rawZip(item{name: `lab\src\`}, item{name: `lab\src\a.c`, body: "a"}, item{name: `lab\b.c`, body: "b"}), tree{"src/a.c": "a", "b.c": "b"}},
		{"dots and double slashes", rawZip(item{name: "./a//b.c", body: "b"}, item{name: "c.c", body: "c"}), tree{"a/b.c": "b", "c.c": "c"}},
		{"cases", rawZip(item{name: "A.c", body: "1"}, item{name: "a.c", body: "2"}), tree{"A.c": "1", "a.c": "2"}},
		{"empty folders", rawZip(item{name: "none/"}, item{name: "a.c", body: "a"}), tree{"a.c": "a"}},
		{"junk", rawZip(item{name: "a.c", body: "a"}, item{name: "__MACOSX/._a.c", body: "m"}, item{name: ".DS_Store", body: "m"}, item{name: ".git/HEAD", body: "g"},
			item{name: "a.c~", body: "e"}, item{name: "x/a.o", body: "o"}, item{name: "Thumbs.db", body: "w"}, item{name: "gpt.mod.c", body: "k"}), tree{"a.c": "a"}},
		{"junk twice", rawZip(item{name: "a.c", body: "a"}, item{name: ".DS_Store", body: "1"}, item{name: ".DS_Store", body: "2"}), tree{"a.c": "a"}},
		{"stored and deflated", rawZip(item{name: "a.c", body: "a"}, item{name: "b.c", body: deflated(t, []byte("bbbb")), method: 8, size: 4, crc: crc32.ChecksumIEEE([]byte("bbbb"))}),
			tree{"a.c": "a", "b.c": "bbbb"}},
		{"an executable", rawZip(item{name: "run.sh", body: "x", mode: 0o104755}), tree{"run.sh": "x"}},
		{"newline and quotes", rawZip(item{name: "a\n\"b'.c", body: "a"}), tree{"a\n\"b'.c": "a"}},
		{"a zip in it", tree{"report.md": "r", "code.zip": string(tree{"src/a.c": "a", "b.c": "b"}.zip(t))}.zip(t),
			tree{"report.md": "r", "code.zip/src/a.c": "a", "code.zip/b.c": "b"}},
		{"nothing but a zip in it", tree{"张三.zip": string(tree{"x/a.c": "a"}.zip(t))}.zip(t), tree{"a.c": "a"}},
		{"a zip in a zip in it", tree{"1.zip": string(tree{"a.c": "a", "2.zip": string(tree{"b.c": "b"}.zip(t))}.zip(t))}.zip(t), tree{"a.c": "a"}},
		{"a zip and a folder of one name", tree{"code/a.c": "1", "code.zip": string(tree{"a.c": "2"}.zip(t))}.zip(t), tree{"code/a.c": "1", "code.zip/a.c": "2"}},
		{"an archive that is none of ours", tree{"a.c": "a", "b.rar": "Rar!"}.zip(t), tree{"a.c": "a", "b.rar": "Rar!"}},
		{"an empty file", tree{"modified-qemu.c": ""}.zip(t), tree{"modified-qemu.c": ""}},
		{"Info-ZIP", golden(t, "infozip-plain.zip"), tree{"lab1/modified-qemu.c": "int main(void) { return 0; }\n", "report.md": "note\n"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := handIn(t, "张三-5200.zip", c.zip)
			s := open(t, h)
			assert.Equal(t, c.want, contents(t, s.Dir))
			var listed []string
			for _, f := range s.Files {
				listed = append(listed, f.Path)
				assert.Equal(t, int64(len(c.want[f.Path])), f.Size)
			}
			assert.Len(t, listed, len(c.want))
			assert.Equal(t, []string{"张三-5200", "张三", "5200", "张三-5200.zip"}, []string{s.Name, s.Student, s.ID, s.Source})
			assertAlone(t, s.Dir)
		})
	}
}

// assertAlone checks that nothing was left beside dir.
func assertAlone(t *testing.T, dir string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(dir))
	require.NoError(t, err)
	for _, e := range entries {
		assert.Equal(t, filepath.Base(dir), e.Name())
	}
}

// nest packs a file n times.
func nest(t testing.TB, n int) []byte {
	data := tree{"a.c": "a"}.zip(t)
	for range n {
		data = tree{"n.zip": string(data)}.zip(t)
	}
	return data
}

func TestOpenZipRefuses(t *testing.T) {
	plain := tree{"modified-qemu.c": strings.Repeat("int x;\n", 100), "b.c": "b"}.zip(t)
	zeros := make([]byte, 5<<20)
	bomb := item{name: "bomb.c", body: deflated(t, zeros), method: 8, size: uint32(len(zeros)), crc: crc32.ChecksumIEEE(zeros)}
	liar := bomb
	liar.size = 100
	var many []item
	for i := range 200 {
		many = append(many, item{name: fmt.Sprintf("%d.c", i), body: "x"})
	}
	for _, c := range []struct {
		name string
		zip  []byte
		want string // in the message
		hint string
	}{
		{"parent", rawZip(item{name: "a.c", body: "a"}, item{name: "../b.c", body: "b"}), "../b.c leaves the folder", "relative names"},
		{"parent inside", rawZip(item{name: "a/../../b.c", body: "b"}), "leaves the folder", "relative names"},
		{"parent that comes back", rawZip(item{name: "a/../b.c", body: "b"}), "leaves the folder", "relative names"},
		{"parent with backslashes", rawZip(item{name: `a\..\..\b.c`, body: "b"}), "leaves the folder", "relative names"},
		{"parent in the Unicode path", rawZip(item{name: "b.c", body: "b", extra: unicodeField("b.c", "../b.c")}), "leaves the folder", "relative names"},
		{"parent in junk", rawZip(item{name: "__MACOSX/../../b.c", body: "b"}), "leaves the folder", "relative names"},
		{"parent folder", rawZip(item{name: "a.c", body: "a"}, item{name: "../"}), "leaves the folder", "relative names"},
		{"absolute", rawZip(item{name: "/etc/cron.d/x", body: "b"}), "absolute", "relative names"},
		{"absolute with a backslash", rawZip(item{name: `\\host\share`, body: "b"}), "absolute", "relative names"},
		{"drive", rawZip(item{name: `C:\b.c`, body: "b"}), "drive letter", "relative names"},
		{"drive, relative", rawZip(item{name: "c:b.c", body: "b"}), "drive letter", "relative names"},
		{"zero byte", rawZip(item{name: "a\x00.c", body: "b"}), "zero byte", "pack the folder again"},
		{"no name", rawZip(item{name: "", body: "b"}), "no name", "pack the folder again"},
		{"long name", rawZip(item{name: strings.Repeat("n", 256), body: "b"}), "a name of more than 255 bytes", "shorter"},
		{"deep", rawZip(item{name: strings.Repeat("d/", 40) + "a.c", body: "b"}), "a path of more than 32 folders", "fewer folders"},
		{"long path", rawZip(item{name: strings.Repeat(strings.Repeat("d", 100)+"/", 11) + "a.c", body: "b"}), "or 1024 bytes", "fewer folders"},

		{"link", rawZip(item{name: "a.c", body: "a"}, item{name: "l.c", body: "/etc/shadow", mode: unix.S_IFLNK | 0o777}), "l.c is a symbolic link", "the file itself"},
		{"link in junk", rawZip(item{name: ".git/x", body: "/etc/shadow", mode: unix.S_IFLNK | 0o777}), "is a symbolic link", "the file itself"},
		{"link by Info-ZIP", golden(t, "infozip-symlink.zip"), "work/passwd is a symbolic link", "the file itself"},
		{"device", rawZip(item{name: "sda", mode: unix.S_IFBLK | 0o666}), "sda is a device", "the file itself"},
		{"character device", rawZip(item{name: "mem", mode: unix.S_IFCHR | 0o666}), "mem is a device", "the file itself"},
		{"pipe", rawZip(item{name: "p", mode: unix.S_IFIFO | 0o666}), "p is a named pipe", "the file itself"},
		{"pipe by Info-ZIP", golden(t, "infozip-fifo.zip"), "pipe is a named pipe", "the file itself"},
		{"socket", rawZip(item{name: "s", mode: unix.S_IFSOCK | 0o666}), "s is a socket", "the file itself"},

		{"twice", rawZip(item{name: "a.c", body: "1"}, item{name: "a.c", body: "2"}), "a.c is in it twice", "pack the folder again"},
		{"twice, written differently", rawZip(item{name: "x/a.c", body: "1"}, item{name: `x\.\a.c`, body: "2"}), "x/a.c is in it twice", "pack the folder again"},
		{"file and folder", rawZip(item{name: "a", body: "1"}, item{name: "a/b", body: "2"}), "a is both a file and a folder", "pack the folder again"},
		{"folder and file", rawZip(item{name: "a/b", body: "1"}, item{name: "a", body: "2"}), "a is both a file and a folder", "pack the folder again"},
		{"folder with content", rawZip(item{name: "a/", body: "1"}), "the folder a/ has content", "pack the folder again"},

		{"encrypted", rawZip(item{name: "a.c", body: "a", flags: 1}), "a.c is encrypted", "without a password"},
		{"encrypted with AES", rawZip(item{name: "a.c", body: "a", method: 99, flags: 1}), "a.c is encrypted", "without a password"},
		{"encrypted by Info-ZIP", golden(t, "infozip-encrypted.zip"), "modified-qemu.c is encrypted", "without a password"},
		{"Deflate64", rawZip(item{name: "a.c", body: "a", method: 9}), "a.c is packed with Deflate64", "Deflate"},
		{"BZIP2 by Info-ZIP", golden(t, "infozip-bzip2.zip"), "numbers.txt is packed with BZIP2", "Deflate"},
		{"LZMA by Python", golden(t, "python-lzma.zip"), "numbers.txt is packed with LZMA", "Deflate"},
		{"unknown method", rawZip(item{name: "a.c", body: "a", method: 77}), "a.c is packed with method 77", "Deflate"},

		{"empty file", nil, "it is empty", "hand in a zip"},
		{"no zip", []byte("<html>please log in</html>"), "it is no zip file", "hand in a zip"},
		{"RAR", []byte("Rar!\x1a\x07\x01\x00rest"), "it is a RAR archive", "hand in a zip"},
		{"7z", []byte("7z\xbc\xaf\x27\x1c\x00\x04"), "it is a 7z archive", "hand in a zip"},
		{"gzip", []byte("\x1f\x8b\x08\x00"), "it is a gzip file", "hand in a zip"},
		{"tar", []byte(strings.Repeat("\x00", 257) + "ustar\x0000" + strings.Repeat("\x00", 300)), "it is a tar archive", "hand in a zip"},
		{"PDF", []byte("%PDF-1.7\n"), "it is a PDF", "hand in a zip"},
		{"no entries", rawZip(), "there is no file in it", "files that the course asks for"},
		{"nothing but junk", rawZip(item{name: ".DS_Store", body: "x"}), "there is no file in it that counts (ignored, files of macOS or Windows: .DS_Store)", "files that the course asks for"},
		{"nothing but zips", nest(t, 2), "there is no file in it that counts", "in one zip file"},

		{"directory cut off", plain[:len(plain)-10], "cut short or damaged", "pack the folder again"},
		{"first half", plain[:len(plain)/2], "cut short or damaged", "pack the folder again"},
		{"second half", append([]byte("PK"), plain[len(plain)/2:]...), "cut short or damaged", "pack the folder again"},
		{"wrong checksum", rawZip(item{name: "a.c", body: "a", crc: 7}), "a.c cannot be unpacked (zip: checksum error)", "pack the folder again"},
		{"no checksum", bytes.ReplaceAll(rawZip(item{name: "a.c", body: "aaaa"}), binary.LittleEndian.AppendUint32(nil, crc32.ChecksumIEEE([]byte("aaaa"))), make([]byte, 4)),
			"a.c does not have the checksum", "pack the folder again"},
		{"claims less than there is", rawZip(liar), "bomb.c cannot be unpacked", "pack the folder again"},
		{"claims more than there is", rawZip(item{name: "a.c", body: "a", size: 5}), "a.c cannot be unpacked", "pack the folder again"},
		{"claims more packed bytes than there are", rawZip(item{name: "a.c", body: "a", packed: 1 << 20, size: 1 << 20}), "a.c cannot be unpacked", "pack the folder again"},
		{"broken deflate", rawZip(item{name: "a.c", body: "\xff\xff\xff", method: 8, size: 10}), "a.c cannot be unpacked", "pack the folder again"},

		{"ratio", rawZip(bomb), "bomb.c unpacks to more than 200 times its packed size", "nothing else"},
		{"one large file", rawZip(item{name: "a.c", body: "a", size: 7 << 20}), "a.c is larger than 6 MiB", "nothing else"},
		{"all together", rawZip(item{name: "a.c", body: strings.Repeat("a", 4<<20)}, item{name: "b.c", body: deflated(t, []byte(strings.Repeat("b", 5<<20))), method: 8, size: 5 << 20,
			crc: crc32.ChecksumIEEE(bytes.Repeat([]byte("b"), 5<<20))}), "its files are larger than 8 MiB together", "nothing else"},
		{"the zip file itself", append(rawZip(item{name: "a.c", body: "a"}), make([]byte, 9<<20)...), "the zip file is larger than 8 MiB", "nothing else"},
		{"many", rawZip(many...), "more than 100 files and folders", "nothing else"},
		{"many headers", append(bytes.Repeat([]byte("PK\x01\x02"+strings.Repeat("\x00", 42)), 6000), rawZip(item{name: "a.c", body: "a"})...), "more than 100 files and folders", "nothing else"},
		{"overlap", rawZip(item{name: "a.c", body: "same"}, item{name: "b.c", body: "same", sameAs: 1}), "a.c and b.c overlap", "pack the folder again"},
		{"quoted overlap", quoted(), "overlap", "pack the folder again"},

		{"hostile inside", tree{"a.c": "a", "code.zip": string(rawZip(item{name: "../../b.c", body: "b"}))}.zip(t), `h-5200.zip/code.zip: ../../b.c leaves the folder`, "relative names"},
		{"encrypted inside", tree{"a.c": "a", "code.zip": string(golden(t, "infozip-encrypted.zip"))}.zip(t), "h-5200.zip/code.zip: work/lab1/modified-qemu.c is encrypted", "without a password"},
		{"RAR inside that says zip", tree{"a.c": "a", "code.zip": "Rar!\x1a\x07"}.zip(t), "code.zip: it is a RAR archive", "hand in a zip"},
		{"bomb inside", tree{"a.c": "a", "code.zip": string(rawZip(bomb))}.zip(t), "code.zip/bomb.c unpacks to more than 200 times", "nothing else"},
		{"control characters", rawZip(item{name: "a\x1b[31m/../../b", body: "b"}), `"a\x1b[31m/../../b" leaves the folder`, "relative names"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := handIn(t, "h-5200.zip", c.zip)
			dir := filepath.Join(t.TempDir(), "in")
			s, err := Open(t.Context(), h, dir, Limits{Entries: 100, File: 6 << 20, Total: 8 << 20})
			require.Error(t, err)
			assert.Nil(t, s)
			assert.Equal(t, result.Submission, result.OwnerOf(err))
			assert.ErrorContains(t, err, "h-5200.zip")
			assert.ErrorContains(t, err, c.want)
			_, hint, _ := strings.Cut(err.Error(), "what to do: ")
			assert.Contains(t, hint, c.hint)
			assert.NoFileExists(t, dir)
			assert.NoDirExists(t, dir)
			assertAlone(t, dir)
		})
	}
}

// quoted is a bomb whose first entry holds the second one with its header: each
// byte is unpacked twice, and no two entries begin at one place.
func quoted() []byte {
	inner := rawZip(item{name: "b.c", body: strings.Repeat("b", 50)})
	local := string(inner[:30+3+50])
	all := rawZip(item{name: "a.c", body: local}, item{name: "b.c", body: strings.Repeat("b", 50), sameAs: 1})
	second := bytes.LastIndex(all, []byte("PK\x01\x02"))
	binary.LittleEndian.PutUint32(all[second+42:], 30+3)
	return all
}

// A zip file that holds itself would be unpacked for ever. This one holds its
// twin, which is what a second level looks like.
func TestOpenNestedEndsAfterOneLevel(t *testing.T) {
	h := handIn(t, "h.zip", tree{"r.zip": string(nest(t, 50)), "a.c": "a"}.zip(t))
	s := open(t, h)
	assert.Equal(t, tree{"a.c": "a"}, contents(t, s.Dir))
	assert.Equal(t, []string{"unpacked, too: r.zip", "not opened, zip files inside of a zip file inside of what was handed in: r.zip/n.zip"}, s.Notes)
}

func TestOpenNotesJunk(t *testing.T) {
	s := openTree(t, tree{"a.c": "a", "x/__MACOSX/b": "", ".DS_Store": "", "x/.DS_Store": "", "a.o": "", "b.ko": "", "c.swp": ""})
	assert.Equal(t, []string{
		"ignored, files of macOS or Windows: .DS_Store, __MACOSX",
		"ignored, files that a compiler made: a.o, b.ko",
		"ignored, files of editors and tools: c.swp",
	}, s.Notes)
}

func TestOpenFolder(t *testing.T) {
	dir := t.TempDir()
	work := tree{
		"lab1/modified-qemu.c": "c", ".git/HEAD": "g", "a.c~": "e", "big.img": strings.Repeat("x", 1000),
		gbk(t, "报告") + "/" + gbk(t, "说明.md"): "r", "code.zip": string(tree{"edu_modified.c": "e"}.zip(t)), "none/.DS_Store": "",
	}.write(t, filepath.Join(dir, "张三-5200"))
	secret := tree{"secret": "s"}.write(t, dir)
	require.NoError(t, os.Symlink(filepath.Join(secret, "secret"), filepath.Join(work, "passwd.txt")))
	require.NoError(t, os.Symlink(dir, filepath.Join(work, "lab1", "up")))
	require.NoError(t, os.Symlink("modified-qemu.c", filepath.Join(work, "lab1", "same.c")))
	require.NoError(t, unix.Mkfifo(filepath.Join(work, "pipe"), 0o600))

	s, err := Open(t.Context(), handin(work), filepath.Join(t.TempDir(), "in"), Limits{File: 999})
	require.NoError(t, err)
	assert.Equal(t, tree{"lab1/modified-qemu.c": "c", "报告/说明.md": "r", "code.zip/edu_modified.c": "e"}, contents(t, s.Dir))
	assert.ElementsMatch(t, []string{
		"left out, each is a symbolic link: lab1/same.c, lab1/up, passwd.txt",
		"left out, each is a named pipe: pipe",
		"left out, larger than 999 bytes: big.img",
		"unpacked, too: code.zip",
		"ignored, files of version control: .git",
		"ignored, files of editors and tools: a.c~",
		"ignored, files of macOS or Windows: .DS_Store",
	}, s.Notes)
	assert.Equal(t, "张三-5200", s.Source)
}

func TestOpenFolderRefuses(t *testing.T) {
	for _, c := range []struct {
		name  string
		files tree
		want  string
	}{
		{"many", tree{"a/1": "", "a/2": "", "a/3": "", "a/4": "", "a/5": "", "a/6": ""}, "more than 6 files and folders"},
		{"large", tree{"1": strings.Repeat("x", 60), "2": strings.Repeat("x", 60)}, "its files are larger than 100 bytes together"},
		{"backslashes", tree{`..\..\x`: ""}, "leaves the folder"},
		{"one file, two names", tree{gbk(t, "报"): "1", "报": "2"}, "报 is in it twice"},
		{"nothing", tree{".DS_Store": ""}, "there is no file in it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			work := c.files.write(t, t.TempDir())
			dir := filepath.Join(t.TempDir(), "in")
			require.NoError(t, os.Mkdir(dir, 0o755)) // empty before, empty after
			_, err := Open(t.Context(), handin(work), dir, Limits{Entries: 6, Total: 100})
			require.ErrorContains(t, err, c.want)
			assert.Equal(t, result.Submission, result.OwnerOf(err))
			assert.Empty(t, contents(t, dir))
			assertAlone(t, dir)
		})
	}
}

func TestOpenWhereItMayNot(t *testing.T) {
	work := tree{"a.c": "a"}.write(t, filepath.Join(t.TempDir(), "work"))
	full := tree{"x": ""}.write(t, t.TempDir())
	for _, c := range []struct{ name, dir, want string }{
		{"not empty", full, "is not empty"},
		{"inside of what is handed in", filepath.Join(work, "out", "in"), "would lie inside"},
		{"a file", filepath.Join(full, "x"), "not a directory"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Open(t.Context(), handin(work), c.dir, Limits{})
			require.ErrorContains(t, err, c.want)
			assert.Equal(t, result.Host, result.OwnerOf(err), "not the student's fault")
			assert.Equal(t, tree{"x": ""}, contents(t, full))
			assert.Equal(t, tree{"a.c": "a"}, contents(t, work))
		})
	}
}

func TestOpenIsCancelled(t *testing.T) {
	for _, h := range []Handin{handIn(t, "h.zip", tree{"a.c": "a"}.zip(t)), handin(tree{"a.c": "a"}.write(t, t.TempDir()))} {
		ctx, cancel := context.WithCancelCause(t.Context())
		cancel(errors.New("enough"))
		dir := filepath.Join(t.TempDir(), "in")
		_, err := Open(ctx, h, dir, Limits{})
		require.ErrorIs(t, err, context.Canceled)
		assert.Equal(t, result.Host, result.OwnerOf(err))
		assertAlone(t, dir)
	}
}

func TestOpenMissing(t *testing.T) {
	_, err := Open(t.Context(), Handin{Path: filepath.Join(t.TempDir(), "gone.zip")}, filepath.Join(t.TempDir(), "in"), Limits{})
	require.ErrorIs(t, err, fs.ErrNotExist)
	assert.Equal(t, result.Host, result.OwnerOf(err))
}

func TestOpenPlainSeesReplacement(t *testing.T) {
	dir := tree{"a.c": "a", "b.c": "b"}.write(t, t.TempDir())
	root, err := os.OpenRoot(dir)
	require.NoError(t, err)
	defer root.Close()
	st, err := root.Lstat("a.c")
	require.NoError(t, err)
	for name, replace := range map[string]func(string) error{
		"link": func(p string) error { return os.Symlink("b.c", p) },
		"file": func(p string) error { return os.WriteFile(p, []byte("other"), 0o644) },
		"pipe": func(p string) error { return unix.Mkfifo(p, 0o644) },
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, os.Rename(filepath.Join(dir, "a.c"), filepath.Join(dir, "kept")))
			defer func() {
				require.NoError(t, os.Rename(filepath.Join(dir, "kept"), filepath.Join(dir, "a.c")))
			}()
			require.NoError(t, replace(filepath.Join(dir, "a.c")))
			_, err := openPlain(root, "a.c", st)
			require.Error(t, err)
		})
	}
	f, err := openPlain(root, "a.c", st)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// The digest tells contents and paths, not containers.
func TestDigest(t *testing.T) {
	files := tree{"lab1/modified-qemu.c": "c", "report.md": "r"}
	base := openTree(t, files).Digest
	assert.Regexp(t, `^sha256:[0-9a-f]{64}$`, base)
	same := map[string]*Submission{
		"zip":              open(t, handIn(t, "a.zip", files.zip(t))),
		"another name":     open(t, handIn(t, "b.zip", files.zip(t))),
		"a folder around":  open(t, handIn(t, "c.zip", tree{"x/lab1/modified-qemu.c": "c", "x/report.md": "r"}.zip(t))),
		"junk":             openTree(t, tree{"lab1/modified-qemu.c": "c", "report.md": "r", ".DS_Store": "x", "lab1/a.o": ""}),
		"zip in a zip":     open(t, handIn(t, "d.zip", tree{"e.zip": string(files.zip(t))}.zip(t))),
		"backslashes, raw": open(t, handIn(t, "e.zip", rawZip(item{name: `lab1\modified-qemu.c`, body: "c"}, item{name: "report.md", body: "r"}))),
	}
	for name, s := range same {
		assert.Equal(t, base, s.Digest, name)
	}
	different := []tree{
		{"lab1/modified-qemu.c": "C", "report.md": "r"},
		{"lab2/modified-qemu.c": "c", "report.md": "r"},
		{"lab1/modified-qemu.c": "c", "report.md": "r", "x": ""},
		{"lab1/modified-qemu.c": "r", "report.md": "c"},
	}
	for _, files := range different {
		assert.NotEqual(t, base, openTree(t, files).Digest, "%v", files)
	}
}

// FuzzOpenZip: whatever comes in, nothing is written beside the folder, a
// refusal leaves nothing, and what is taken in is within limits.
func FuzzOpenZip(f *testing.F) {
	for _, name := range []string{"infozip-plain.zip", "infozip-encrypted.zip", "infozip-symlink.zip", "infozip-fifo.zip", "infozip-bzip2.zip", "python-lzma.zip"} {
		f.Add(golden(f, name))
	}
	for _, items := range [][]item{
		{{name: "../b.c", body: "b"}},
		{{name: `\..\b.c`, body: "b", extra: unicodeField(`\..\b.c`, "/报.md")}},
		{{name: "a.c", body: "same"}, {name: "b.c", body: "same", sameAs: 1}},
		{{name: "l", body: "/etc", mode: unix.S_IFLNK | 0o777}, {name: "l/x", body: "x"}},
		{{name: "z.zip", body: string(rawZip(item{name: "../a.c", body: "a"}))}},
		{{name: "a.c", body: "\x03\x00", method: 8, size: 1 << 31, packed: 2}},
	} {
		f.Add(rawZip(items...))
	}
	f.Add(quoted())
	limits := Limits{Entries: 20, File: 1 << 16, Total: 1 << 17, Ratio: 10}
	f.Fuzz(func(t *testing.T, data []byte) {
		top := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(top, "h.zip"), data, 0o644))
		dir := filepath.Join(top, "out", "in")
		s, err := Open(t.Context(), handin(filepath.Join(top, "h.zip")), dir, limits)
		beside := contents(t, top)
		delete(beside, "h.zip")
		if err != nil {
			require.Empty(t, beside)
			require.NoDirExists(t, dir)
			require.Equal(t, result.Submission, result.OwnerOf(err), "%v", err)
			return
		}
		var total int
		for name, body := range beside {
			require.True(t, strings.HasPrefix(name, "out/in/"), "%q lies outside", name)
			total += len(body)
		}
		require.LessOrEqual(t, total, int(limits.Total))
		require.NotEmpty(t, s.Files)
		for _, lab := range result.Labs {
			n := len(s.Answers(lab))
			require.True(t, 1 <= n && n <= maxAnswers, "%d answers", n)
		}
	})
}
