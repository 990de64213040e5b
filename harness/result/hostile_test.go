package result_test

import (
	"encoding/json"
	"encoding/xml"
	"io"
	"reflect"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/result"
)

// attacks are what a student's program may print, or his files be named.
var attacks = strings.Join([]string{
	"\x1b[2J\x1b[32mPASS\x1b[0m \u009b1;1H",
	`</pre></script><script>alert(1)</script><img src=x onerror=alert(1)>`,
	`]]></failure></testcase><testcase name="forged"/><!--`,
	`"},{"name":"forged","score":100,"status":"passed"},{"x":"`,
	"NUL \x00 and no UTF-8 \xff\xfe\xc3(",
	"\u202eSSAP\u202c \u2066\u200b\ufeff\u2028",
	"```\n# PASS 100/100\n| ✓ | `cpu.text` | 10 / 10 | pass |\n~~~",
	"  ✓ pass           5 / 5  text",
	`{"scores":{"CPU":100}}`,
	"=HYPERLINK(\"http://x\",\"click\")\r\n+1,-1,@x",
	"{{.Student}} {{template \"head\"}} ${x} %s %n",
	"</title></style><base href=\"http://x/\">",
}, "\n")

// withTexts is the sample with texts in all places that a student controls.
func withTexts(long, name string) *result.Report {
	r := sample()
	r.Student, r.ID, r.Source, r.Notes = name, name, name, []string{long, name}
	r.Files = []result.FileUse{{Path: name, Role: "report", Note: long}, {Path: "../" + name}}
	for i := range r.Verdicts {
		v := &r.Verdicts[i]
		v.Message, v.Expected, v.Got, v.Difference = long, long+"x", long+"y", name
		v.Warnings, v.Evidence, v.Replay = []string{long}, []string{"evidence/" + flat(name)}, "make labs SUBMISSION="+name
	}
	return r
}

// flat is text without slashes, as a file's name is.
func flat(s string) string { return strings.ReplaceAll(s, "/", "_") }

func hostile() *result.Report { return withTexts(attacks, attacks) }

// benign has the same shape as hostile and nothing else of it.
func benign() *result.Report { return withTexts("a\nb", "a\nb") }

func export(t testing.TB, name string, r *result.Report) []byte {
	t.Helper()
	got, err := result.Formats[name](r)
	require.NoError(t, err)
	return got
}

// No format has a character that acts on a terminal or turns text around.
func TestHostileTextIsVisible(t *testing.T) {
	for _, name := range result.FormatNames() {
		t.Run(name, func(t *testing.T) {
			got := string(export(t, name, hostile()))
			assert.True(t, utf8.ValidString(got))
			for _, r := range got {
				acts := r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Zl, r))
				require.False(t, acts, "%U", r)
			}
		})
	}
}

// A document's shape is what is left of it without its texts.
func TestHostileTextChangesNoStructure(t *testing.T) {
	for name, shape := range map[string]func(testing.TB, []byte) []string{
		"json": jsonShape, "gradescope": jsonShape, "classroom50": jsonShape, "junit": xmlShape, "html": htmlShape,
	} {
		t.Run(name, func(t *testing.T) {
			want := shape(t, export(t, name, benign()))
			got := shape(t, export(t, name, hostile()))
			assert.Equal(t, want, got)
			assert.Greater(t, len(want), 20)
		})
	}
}

// jsonShape are the keys of a JSON text and the kinds of its values, in order.
func jsonShape(t testing.TB, text []byte) (shape []string) {
	d := json.NewDecoder(strings.NewReader(string(text)))
	isKey := false
	for {
		token, err := d.Token()
		if err == io.EOF {
			return shape
		}
		require.NoError(t, err)
		delim, isDelim := token.(json.Delim)
		key, isText := token.(string)
		switch {
		case isDelim:
			shape = append(shape, delim.String())
		case isText && isKey && !strings.ContainsAny(key, " \n<"):
			shape = append(shape, "text")
		default:
			shape = append(shape, reflect.TypeOf(token).String())
		}
		isKey = !isKey
	}
}

// xmlShape are the elements and attributes of an XML text, in order.
func xmlShape(t testing.TB, text []byte) []string {
	return elements(t, xml.NewDecoder(strings.NewReader(string(text))))
}

// htmlShape is the same of a page; it also sees to it that the page has no
// element or attribute that loads or runs anything.
func htmlShape(t testing.TB, text []byte) []string {
	d := xml.NewDecoder(strings.NewReader(string(text)))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	return elements(t, d)
}

func elements(t testing.TB, d *xml.Decoder) (shape []string) {
	for {
		token, err := d.Token()
		if err == io.EOF {
			return shape
		}
		require.NoError(t, err)
		if start, ok := token.(xml.StartElement); ok {
			shape = append(shape, start.Name.Local)
			for _, a := range start.Attr {
				shape = append(shape, "  "+a.Name.Local)
			}
		}
		if comment, ok := token.(xml.Comment); ok {
			shape = append(shape, "comment "+string(comment))
		}
	}
}

// pageElements are all that our pages are made of.
var pageElements = strings.Fields(`html head meta title style body main header footer section div h1 h2 h3 p span strong small code pre mark bdi
	a ul li dl dt dd table tr th td details summary svg rect text line br`)

func TestPagesLoadAndRunNothing(t *testing.T) {
	class, err := result.IndexHTML([]*result.Report{hostile(), hostile(), graded(), sample()})
	require.NoError(t, err)
	for name, page := range map[string][]byte{"report": export(t, "html", hostile()), "class": class} {
		t.Run(name, func(t *testing.T) {
			for _, s := range htmlShape(t, page) {
				attribute, isAttribute := strings.CutPrefix(s, "  ")
				if !isAttribute {
					assert.Contains(t, pageElements, s)
					continue
				}
				assert.NotRegexp(t, `^(on.*|src|srcset|style|action|srcdoc|xlink.*)$`, attribute)
			}
			assert.Contains(t, string(page), `http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline';`)
		})
	}
}

func TestPagesLinkToFilesBesideThemOnly(t *testing.T) {
	r := hostile()
	r.Verdicts[0].Evidence = []string{"javascript:alert(1)", "../../secret", "/etc/passwd", "a b/100%.txt"}
	class, err := result.IndexHTML([]*result.Report{r})
	require.NoError(t, err)
	for _, page := range [][]byte{export(t, "html", r), class} {
		d := xml.NewDecoder(strings.NewReader(string(page)))
		d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
		links := 0
		for {
			token, err := d.Token()
			if err == io.EOF {
				break
			}
			require.NoError(t, err)
			start, _ := token.(xml.StartElement)
			for _, a := range start.Attr {
				if a.Name.Local == "href" {
					links++
					assert.Regexp(t, `^\./[A-Za-z0-9%&=$@:+._~/;-]+$`, a.Value)
					assert.NotContains(t, a.Value, "..")
				}
			}
		}
		assert.NotZero(t, links)
	}
	assert.Contains(t, string(export(t, "html", r)), `href="./a%20b/100%25.txt"`)
}

// In plain text what is a student's is indented deeper than what is ours.
func TestHostileTextForgesNoLine(t *testing.T) {
	want := ourLines(export(t, "text", benign()))
	assert.Equal(t, want, ourLines(export(t, "text", hostile())))
	assert.Greater(t, len(want), 9)
}

func ourLines(text []byte) (ours []string) {
	for i, line := range strings.Split(string(text), "\n") {
		if i > 0 && line != "" && !strings.HasPrefix(line, "      ") && !strings.HasPrefix(line, "  note: ") {
			ours = append(ours, line)
		}
	}
	return ours
}

// In Markdown it is inside of fences, which it cannot close.
func TestHostileTextStaysInItsFence(t *testing.T) {
	lines := strings.Split(string(export(t, "markdown", hostile())), "\n")
	fence := ""
	var outside []string
	for _, line := range lines {
		ticks := line[:len(line)-len(strings.TrimLeft(line, "`"))]
		switch {
		case fence == "" && strings.HasSuffix(line, "text") && len(ticks) >= 3:
			fence = ticks
		case fence != "" && line == fence:
			fence = ""
		case fence == "":
			outside = append(outside, line)
		}
	}
	assert.Empty(t, fence, "all are closed")
	heading := outside[0]
	assert.Regexp(t, "^# ````+ .* ````+$", heading)
	for _, line := range outside[1:] {
		assert.NotContains(t, line, "PASS")
		assert.NotContains(t, line, "script")
	}
}

// Two million bytes of a message are cut, with a note, where people read.
func TestLongMessageIsCut(t *testing.T) {
	r := graded()
	spam := strings.Repeat("spam ", 400_000)
	r.Verdicts[2].Message, r.Verdicts[2].Got, r.Verdicts[2].Warnings, r.Notes = spam, spam, []string{spam}, []string{spam}
	for _, name := range result.FormatNames() {
		got := export(t, name, r)
		if name == "json" {
			assert.Greater(t, len(got), 2_000_000, "outcome.json is complete")
			continue
		}
		assert.Less(t, len(got), 100_000, name)
		assert.Contains(t, string(got), "bytes left out", name)
	}
	index, err := result.IndexHTML([]*result.Report{r})
	require.NoError(t, err)
	assert.Less(t, len(index), 50_000)
}

func TestManyWarningsAreCut(t *testing.T) {
	r := graded()
	r.Verdicts[0].Warnings = make([]string, 100_000)
	for _, name := range []string{"gradescope", "html", "junit", "text", "markdown", "classroom50"} {
		got := export(t, name, r)
		assert.Less(t, len(got), 200_000, name)
		assert.Contains(t, string(got), "and 99980 more", name)
	}
}
