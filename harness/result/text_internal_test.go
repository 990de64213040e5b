package result

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
)

func TestVisible(t *testing.T) {
	for _, c := range []struct{ name, in, want string }{
		{"plain", "HELLO, WORLD!\n\tx", "HELLO, WORLD!\n\tx"},
		{"Chinese, with its space", "你好　世界", "你好　世界"},
		{"ANSI", "\x1b[32mPASS\x1b[0m", "␛[32mPASS␛[0m"},
		{"NUL, bell, backspace, carriage return", "a\x00\a\b\r\n", "a␀␇␈␍\n"},
		{"DEL", "a\x7f", "a␡"},
		{"C1 control sequence introducer", "\u009b31m", "[U+009B]31m"},
		{"bidirectional override", "a\u202egnp.exe\u202c", "a[U+202E]gnp.exe[U+202C]"},
		{"isolates, zero width, byte order mark", "\u2066\u200b\ufeff", "[U+2066][U+200B][U+FEFF]"},
		{"line separator", "a\u2028b", "a[U+2028]b"},
		{"tags", "\U000e0041", "[U+E0041]"},
		{"no UTF-8", "\xff\xc3(", `\xff\xc3(`},
		{"surrogate in UTF-8", "\xed\xa0\x80", `\xed\xa0\x80`},
		{"not for XML", "\ufffe", "[U+FFFE]"},
	} {
		t.Run(c.name, func(t *testing.T) { assert.Equal(t, c.want, visible(c.in)) })
	}
}

func TestLine(t *testing.T) {
	assert.Equal(t, "a␊b␉c", Line("a\nb\tc"))
}

func TestClip(t *testing.T) {
	assert.Equal(t, "short", clip("short", 5))
	long := "BEGIN" + strings.Repeat("é", 1000) + "END"
	got := clip(long, 100)
	assert.True(t, strings.HasPrefix(got, "BEGINé"))
	assert.True(t, strings.HasSuffix(got, "éEND"))
	assert.True(t, utf8.ValidString(got), "no character is torn")
	head, tail, _ := strings.Cut(got, "\n[... 1")
	_, tail, _ = strings.Cut(tail, "\n")
	assert.Contains(t, got, "bytes left out")
	assert.LessOrEqual(t, len(head)+len(tail), 100)
}

func TestClipSaysHowMuch(t *testing.T) {
	got := clip(strings.Repeat("x", 2000), 400)
	assert.Equal(t, strings.Repeat("x", 300)+"\n[... 1600 bytes left out ...]\n"+strings.Repeat("x", 100), got)
}

func TestFew(t *testing.T) {
	list := make([]string, 50)
	got := few(list, Line)
	assert.Len(t, got, shownItems+1)
	assert.Equal(t, "... and 30 more", got[shownItems])
	assert.Len(t, few(list[:shownItems], Line), shownItems)
}

func TestFirstLine(t *testing.T) {
	assert.Equal(t, "one", firstLine("\n one\ntwo"))
	assert.Equal(t, 204, len(firstLine(strings.Repeat("x", 1000))))
}

func TestCode(t *testing.T) {
	assert.Equal(t, "` a `", code("a"))
	assert.Equal(t, "``` a``b ```", code("a``b"))
	assert.Equal(t, "````text\n```\n# PASS\n````", fenced("```\n# PASS\n"))
}

func TestSides(t *testing.T) {
	long := strings.Repeat("-", 5000)
	for _, c := range []struct {
		name, expected, got string
		want                [2]side
	}{
		{"a character", "HELLO", "HEllO", [2]side{{"HE", "L", "LO"}, {"HE", "l", "lO"}}},
		{"of several bytes", "aé", "aè", [2]side{{"a", "é", ""}, {"a", "è", ""}}},
		{"one ends", "ab", "abc", [2]side{{"ab", "(end)", ""}, {"ab", "c", ""}}},
		{"blanks", "a b", "a\tb", [2]side{{"a", "␠", "b"}, {"a", "␉\t", "b"}}},
		{"end of line", "a\n", "a\r\n", [2]side{{"a", "␊\n", ""}, {"a", "␍", "\n"}}},
		{"the same", "a", "a", [2]side{{After: "a"}, {After: "a"}}},
		{"one side", "a", "", [2]side{{After: "a"}, {}}},
		{"broken UTF-8", "a\xffb", "a\xfeb", [2]side{{"a", `\xff`, "b"}, {"a", `\xfe`, "b"}}},
		{"far down", long + "x", long + "y", [2]side{{"[...] " + long[:briefBytes], "x", ""}, {"[...] " + long[:briefBytes], "y", ""}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := Verdict{Expected: c.expected, Got: c.got}
			assert.Equal(t, c.want, v.sides())
		})
	}
}

func TestLink(t *testing.T) {
	for in, want := range map[string]string{
		"evidence/a b%.txt":   "./evidence/a%20b%25.txt",
		"实验.txt":              "./%E5%AE%9E%E9%AA%8C.txt",
		"javascript:alert(1)": "./javascript:alert%281%29",
		"a#b?c":               "./a%23b%3Fc",
		"../x":                "",
		"a/../../x":           "",
		"/etc/shadow":         "",
		"a//b":                "",
		"":                    "",
	} {
		assert.Equal(t, want, link(in), in)
	}
}

func TestCell(t *testing.T) {
	for in, want := range map[string]string{
		"=HYPERLINK(1)": "'=HYPERLINK(1)", "+1": "'+1", "-1": "'-1", "@x": "'@x", "\tx": "'␉x", "\rx": "'␍x", "\n=1": "'␊=1",
		"＝1": "'＝1", "a=1": "a=1", "": "", "小明": "小明", "\x00=1": "␀=1",
	} {
		assert.Equal(t, want, cell(in), "%q", in)
	}
}

func TestDuration(t *testing.T) {
	for in, want := range map[float64]string{0.25: "0.25 s", 41.2: "41 s", 150: "2.5 min"} {
		assert.Equal(t, want, duration(in))
	}
}

// wholesOf is what the maxima come to as whole numbers.
func wholesOf(maxima ...float64) []int {
	var verdicts []*Verdict
	for _, m := range maxima {
		verdicts = append(verdicts, &Verdict{Max: m})
	}
	return wholes(verdicts)
}

func TestWholes(t *testing.T) {
	assert.Equal(t, []int{2, 5, 10}, wholesOf(2, 5, 10))
	assert.Equal(t, []int{1, 1, 0, 0}, wholesOf(0.5, 0.5, 0.5, 0.5), "2 in all, not 4")
	assert.Equal(t, []int{3, 3, 4}, wholesOf(3.33, 3.33, 3.34))
	assert.Equal(t, []int{0, 0}, wholesOf(0, 0))
	assert.Empty(t, wholesOf())
}

func TestPart50(t *testing.T) {
	for _, c := range []struct {
		points, max float64
		whole, want int
	}{
		{6, 6, 6, 6}, {3, 6, 6, 3}, {2.5, 5, 5, 3}, {0, 5, 5, 0}, {0.5, 0.5, 1, 1},
		{4.9, 5, 5, 4}, // only full points are full
		{0.5, 1, 1, 0}, {0, 0, 0, 0}, {0.2, 0.3, 0, 0},
	} {
		assert.Equal(t, c.want, part50(&Verdict{Points: c.points, Max: c.max}, c.whole), "%+v", c)
	}
}

// Whatever is made visible acts on nothing, and nothing is lost but what clip
// says it left out.
func FuzzVisible(f *testing.F) {
	for _, s := range []string{"plain", "\x1b[2J\x9b", "\u202e\U000e0041", "\xff\xfe", "]]>\x00", "\n\t\r"} {
		f.Add(s, 10)
	}
	f.Add("\x7f", 1)
	f.Fuzz(func(t *testing.T, s string, most int) {
		got := visible(s)
		assert.True(t, utf8.ValidString(got))
		assert.Negative(t, strings.IndexFunc(got, invisible))
		assert.Equal(t, got, visible(got), "once is enough")
		assert.NotContains(t, Line(s), "\n")
		if most > 0 && most < 1<<20 {
			assert.LessOrEqual(t, len(clip(s, most)), max(len(s), most)+64)
			assert.True(t, utf8.ValidString(shown(s, most)))
		}
		v := Verdict{Expected: s, Got: strings.ToUpper(s)}
		for _, side := range v.sides() {
			assert.Negative(t, strings.IndexFunc(side.Before+side.Mark+side.After, invisible))
		}
	})
}
