package measure

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestParseNumber(t *testing.T) {
	for _, c := range []struct {
		text  string
		in    convention
		value float64
		half  float64
		unit  string
	}{
		{"4736.79", point, 4736.79, 0.005, ""},
		{" 4736 ", point, 4736, 0.5, ""},
		{"4,736.79", point, 4736.79, 0.005, ""},
		{"4.736,79", comma, 4736.79, 0.005, ""},
		{"4 736,79", comma, 4736.79, 0.005, ""},
		{"1.537.724,61", comma, 1537724.61, 0.005, ""},
		{"1,537,724", point, 1537724, 0.5, ""},
		{"1.537.724", point, 1537724, 0.5, ""},
		{"0,21", comma, 0.21, 0.005, ""},
		{"239.27 MiB/s", point, 239.27, 0.005, "MiB/s"},
		{"4.690s", point, 4.69, 0.0005, "s"},
		{"1min 2.5s", point, 62.5, 0.05, "s"},
		{"1.25e3", point, 1250, 5, ""},
		{"１２.５ＭＢ", point, 12.5, 0.05, "MB"},
		{"3.", point, 3, 0.5, ""},
	} {
		n, _, unit, err := c.in.parse(c.text)
		require.NoError(t, err, c.text)
		assert.InDelta(t, c.value, n.Value, 1e-9, c.text)
		assert.InDelta(t, c.half, n.Half, 1e-12, c.text)
		assert.Equal(t, c.unit, unit, c.text)
	}
}

func TestParseNumberRefuses(t *testing.T) {
	for text, why := range map[string]string{
		"=A1/B1":      "a formula",
		"=cmd|'/C'!A": "a formula",
		"@SUM(A1)":    "a formula",
		"#DIV/0!":     "a spreadsheet's error",
		"~12":         "an estimate",
		"≈12":         "an estimate",
		"12%":         "a share",
		"-3":          "negative",
		"fast":        "not a number",
		"NaN":         "not a number",
		"0x10p4":      "unit", // the digits end at x
		"1.2.3":       "2 decimal separators",
		"12,34,5":     "mixes points and commas",
		"1e999":       "not a number that a tool prints",
		"∞":           "not a number",
	} {
		n, _, unit, err := point.parse(text)
		if why == "unit" {
			require.NoError(t, err)
			assert.NotEmpty(t, unit, "%s: %v", text, n)
			continue
		}
		assert.ErrorContains(t, err, why, text)
	}
}

func TestConventionOf(t *testing.T) {
	for _, c := range []struct {
		cells []string
		want  convention
	}{
		{[]string{"4736.79", "0.21"}, point},
		{[]string{"4.736,79", "0,21"}, comma},
		{[]string{"4,736", "139,440"}, point},
		{[]string{"0,210", "4,736"}, comma},
		{[]string{"4,736", "0.21"}, point},
		{[]string{"cpu", "", "="}, point},
	} {
		assert.Equal(t, c.want, conventionOf(c.cells), "%q", c.cells)
	}
}

func TestParseUnit(t *testing.T) {
	for _, c := range []struct {
		text   string
		dim    dimension
		factor float64
	}{
		{"ms", inTime, 1e-3}, {"秒", inTime, 1}, {"μs", inTime, 1e-6},
		{"KB", inBytes, 1024}, {"kbytes", inBytes, 1024}, {"MB", inBytes, 1e6}, {"MiB", inBytes, 1 << 20},
		{"MiB/s", inFlow, 1 << 20}, {"MB/sec", inFlow, 1e6}, {"KB/s", inFlow, 1e3}, {"KiB/s", inFlow, 1 << 10}, {"ＭＢ／ｓ", inFlow, 1e6}, {"GiB/秒", inFlow, 1 << 30},
		{"IOPS", inRate, 1}, {"次/秒", inRate, 1}, {"kiops", inRate, 1e3}, {"ops", inRate, 1}, {"ops", inNumber, 1},
	} {
		u, ok := parseUnit(c.text, c.dim)
		require.True(t, ok, c.text)
		assert.InDelta(t, c.factor, u.factor, 1e-12, c.text)
	}
	_, ok := parseUnit("ms", inFlow)
	assert.False(t, ok)
	_, ok = parseUnit("parsecs", "")
	assert.False(t, ok)
}

func TestSignificant(t *testing.T) {
	assert.Equal(t, 6, significant("4,736.79"))
	assert.Equal(t, 2, significant("0.0021"))
	assert.Equal(t, 3, significant("1.25e10"))
	assert.Equal(t, 0, significant("0"))
}

func TestQuoteIsOneHarmlessLine(t *testing.T) {
	assert.Equal(t, "\"a\uFFFD[31mb\uFFFDc\"", quote("a\x1b[31mb\nc"))
	assert.Len(t, []rune(quote(string(make([]byte, 1000)))), 2+maxQuote+3)
}
