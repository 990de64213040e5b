package submission

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	textunicode "golang.org/x/text/encoding/unicode"

	"virtlab/harness/result"
)

func utf16(t testing.TB, order textunicode.Endianness, bom textunicode.BOMPolicy, s string) string {
	t.Helper()
	out, err := textunicode.UTF16(order, bom).NewEncoder().String(s)
	require.NoError(t, err)
	return out
}

func TestReadText(t *testing.T) {
	const log = "[    8.31] This is EPT\n[    8.32]  163: PTE 100000000000\n"
	chinese := "实验环境：虚拟机\n" + log
	for _, c := range []struct{ name, data, want string }{
		{"plain", log, log},
		{"empty", "", ""},
		{"UTF-8", chinese, chinese},
		{"UTF-8 with a mark", "\xef\xbb\xbf" + chinese, chinese},
		{"Windows line ends", strings.ReplaceAll(log, "\n", "\r\n"), log},
		{"PowerShell", utf16(t, textunicode.LittleEndian, textunicode.UseBOM, strings.ReplaceAll(chinese, "\n", "\r\n")), chinese},
		{"UTF-16, big end first", utf16(t, textunicode.BigEndian, textunicode.UseBOM, chinese), chinese},
		{"UTF-16 without a mark", utf16(t, textunicode.LittleEndian, textunicode.IgnoreBOM, log), log},
		{"UTF-16, big end first, without a mark", utf16(t, textunicode.BigEndian, textunicode.IgnoreBOM, log), log},
		{"UTF-16 cut in the middle", utf16(t, textunicode.LittleEndian, textunicode.UseBOM, log) + "x", log + "\ufffd"},
		{"GBK", gbk(t, chinese), chinese},
		{"a stray byte", "\xb5PTE 1000\n", "\ufffdPTE 1000\n"},
		{"UTF-8 with a stray byte", "实验环境\n\xe5PTE 1000\n", "实验环境\n\ufffdPTE 1000\n"},
		{"noise", "\x80\xff\x81", "\ufffd"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := filepath.Join(t.TempDir(), "log.txt")
			require.NoError(t, os.WriteFile(p, []byte(c.data), 0o644))
			got, err := ReadText(p, 1000)
			require.NoError(t, err)
			assert.Equal(t, c.want, got)
		})
	}
}

func TestReadTextLimits(t *testing.T) {
	p := filepath.Join(t.TempDir(), "log.txt")
	require.NoError(t, os.WriteFile(p, []byte(strings.Repeat("x", 100)), 0o644))
	got, err := ReadText(p, 100)
	require.NoError(t, err)
	assert.Len(t, got, 100)
	_, err = ReadText(p, 99)
	require.ErrorContains(t, err, "log.txt is longer than 99 bytes")
	assert.Equal(t, result.Submission, result.OwnerOf(err))
	_, err = ReadText(p+"x", 99)
	require.ErrorIs(t, err, os.ErrNotExist)
	assert.Equal(t, result.Host, result.OwnerOf(err))
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{"", "\xff\xfe", "\xfe\xff\xd8", "a\x00b\x00c\x00d\x00", "\xef\xbb\xbf", "\xb5\xb5\xb5\xb5", "实\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		s := decode(data)
		require.True(t, utf8.ValidString(s))
		require.NotContains(t, s, "\r\n")
		require.LessOrEqual(t, len(s), 3*len(data)+3)
	})
}
