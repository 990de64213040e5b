package submission

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestHandin(t *testing.T) {
	for _, c := range []struct{ file, name, student, id string }{
		{"张三-520030910123.zip", "张三-520030910123", "张三", "520030910123"},
		{"520030910123-张三.zip", "520030910123-张三", "张三", "520030910123"},
		{"张三_520030910123.ZIP", "张三_520030910123", "张三", "520030910123"},
		{"张三 520030910123.zip", "张三_520030910123", "张三", "520030910123"},
		{"张三－５２００３０９１０１２３.zip", "张三_５２００３０９１０１２３", "张三", "520030910123"},
		{"张三—520030910123.zip", "张三_520030910123", "张三", "520030910123"},
		{"张三520030910123.zip", "张三520030910123", "张三", "520030910123"},
		{"520030910123.zip", "520030910123", "520030910123", "520030910123"},
		{"Zhang San-SA23011001.zip", "Zhang_San-SA23011001", "Zhang San", "SA23011001"},
		{"zhang_san-1234.zip", "zhang_san-1234", "zhang san", "1234"},
		{"张三-520030910123-2.zip", "张三-520030910123-2", "张三", "520030910123"},
		{"张三-520030910123 (1).zip", "张三-520030910123_1", "张三", "520030910123"},
		{"2026-张三-520030910123.zip", "2026-张三-520030910123", "2026 张三", "520030910123"},
		{"zhangsan_LATE_12345_678901_张三-520030910123.zip", "张三-520030910123", "张三", "520030910123"},
		{"zhangsan_12345_678901_lab.zip", "zhangsan_12345_678901_lab", "zhangsan", ""},
		{"张三_20481_assignsubmission_file_", "张三", "张三", ""},
		{"lab.zip", "lab", "lab", ""},
		{"张三-123.zip", "张三-123", "张三-123", ""},
		{"李四.rar", "李四", "李四", ""},
		{"..zip", "submission", ".", ""},
		{"-rf.zip", "rf", "-rf", ""},
		{".hidden-5200.zip", "hidden-5200", ".hidden", "5200"},
		{"a\nb'\"$(x)`-5200.zip", "a_b_x_-5200", "a b'\"$(x)`", "5200"},
		{"index.html.zip", "index_html", "index.html", ""},
		{"e\u0301te\u0301.zip", "\u00e9t\u00e9", "e\u0301te\u0301", ""},
		{"\xd5\xc5-5200.zip", "张-5200", "张", "5200"},
	} {
		t.Run(c.file, func(t *testing.T) {
			h := handin("/class/" + c.file)
			assert.Equal(t, c.name, h.Name)
			assert.Equal(t, c.student, h.Student)
			assert.Equal(t, c.id, h.ID)
		})
	}
}

func TestUniqueNames(t *testing.T) {
	taken := names{}
	var got []string
	for _, n := range []string{"a", "a", "A", "a-2", "b"} {
		got = append(got, taken.unique(n))
	}
	assert.Equal(t, []string{"a", "a-2", "A-3", "a-2-2", "b"}, got)
}

func FuzzName(f *testing.F) {
	for _, s := range []string{"张三-520030910123.zip", "..", "", "-", "/", "a\x00b", "\xff\xfe", strings.Repeat("é", 300), "...zip", "a\n'\"", "CON"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, base string) {
		label, student, id := identify(base)
		name := safeName(label)
		require.NotEmpty(t, name)
		require.LessOrEqual(t, len(name), nameMax)
		require.True(t, utf8.ValidString(name+student+id))
		require.NotContains(t, ".-_", name[:1], "it could be hidden, or an option")
		for _, r := range name {
			require.True(t, r == '-' || r == '_' || unicode.In(r, unicode.L, unicode.M, unicode.Nd), "%q in %q", r, name)
		}
	})
}
