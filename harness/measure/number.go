package measure

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"

	"virtlab/harness/sysbench"
)

// convention is how a file writes numbers: 1,234.5 or 1.234,5.
type convention struct {
	decimal, group string
}

var (
	point = convention{decimal: ".", group: ","}
	comma = convention{decimal: ",", group: "."}
)

var (
	// numeric is a number with what may follow it: "1,234.5 MiB/s".
	numeric = regexp.MustCompile(`^([+-]?[0-9](?:[0-9.,'’ \x{a0}\x{2009}\x{202f}]*[0-9])?\.?(?:[eE][+-]?[0-9]{1,3})?)\s*(.*)$`)
	// minutes is how systemd-analyze writes what takes longer than a minute.
	minutes = regexp.MustCompile(`^([0-9]+)\s*min\s+([0-9.]+)\s*s$`)
	// plain is a number with its group separators taken out.
	plain = regexp.MustCompile(`^[+-]?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?$`)
	// grouped is a whole number in groups of three.
	grouped = regexp.MustCompile(`^[+-]?[0-9]{1,3}([.,'][0-9]{3})+$`)
)

// conventionOf finds out how the cells of a file write numbers. One that can be
// read both ways, 1,234, says nothing; without any better evidence it has a
// thousands separator.
func conventionOf(cells []string) convention {
	votes := map[convention]int{}
	for _, cell := range cells {
		m := numeric.FindStringSubmatch(strings.TrimSpace(halfWidth(cell)))
		if m == nil || grouped.MatchString(m[1]) && !strings.HasPrefix(m[1], "0") {
			continue
		}
		switch dot, com := strings.LastIndex(m[1], "."), strings.LastIndex(m[1], ","); {
		case com > dot:
			votes[comma]++
		case dot > com:
			votes[point]++
		}
	}
	if votes[comma] > votes[point] {
		return comma
	}
	return point
}

// parse reads a number and the unit after it. half is half of the last digit.
func (c convention) parse(cell string) (n sysbench.Number, digits, unit string, err error) {
	text := strings.TrimSpace(halfWidth(cell))
	if m := minutes.FindStringSubmatch(text); m != nil {
		n, digits, _, err := c.parse(m[2])
		long, _ := strconv.ParseFloat(m[1], 64)
		n.Value += 60 * long
		return n, m[1] + "min " + digits, "s", err
	}
	if why := notNumber(text); why != "" {
		return n, "", "", fmt.Errorf("%s is %s", quote(cell), why)
	}
	m := numeric.FindStringSubmatch(text)
	if m == nil {
		return n, "", "", fmt.Errorf("%s is not a number: write the measured value, digits and nothing else", quote(cell))
	}
	digits, unit = m[1], strings.TrimSpace(m[2])
	if unit == "%" {
		return n, "", "", fmt.Errorf("%s is a share, not a measurement: write the value that was measured", quote(cell))
	}
	n, err = c.number(digits)
	if err != nil {
		return n, "", "", fmt.Errorf("%s %w", quote(cell), err)
	}
	return n, digits, unit, nil
}

// notNumber says what a cell is that spreadsheets make of mistakes and formulas.
func notNumber(text string) string {
	switch {
	case strings.HasPrefix(text, "=") || strings.HasPrefix(text, "@"):
		return "a formula, not its result: export the sheet with values (paste special: values only)"
	case strings.HasPrefix(text, "#"):
		return "a spreadsheet's error: mend the formula and export the values"
	case strings.HasPrefix(text, "~") || strings.HasPrefix(text, "≈") || strings.HasPrefix(text, "<") || strings.HasPrefix(text, ">"):
		return "an estimate: write what was measured"
	}
	return ""
}

// number reads the digits.
func (c convention) number(digits string) (sysbench.Number, error) {
	s := strings.NewReplacer(" ", "", "\u00a0", "", "\u2009", "", "\u202f", "", "'", "", "’", "").Replace(digits)
	s, err := c.ungroup(s)
	if err != nil {
		return sysbench.Number{}, err
	}
	v, err := strconv.ParseFloat(s, 64)
	switch {
	case !plain.MatchString(s) || err != nil || math.IsInf(v, 0):
		return sysbench.Number{}, fmt.Errorf("is not a number that a tool prints")
	case v < 0:
		return sysbench.Number{}, fmt.Errorf("is negative: no measurement of this lab can be")
	}
	return sysbench.Number{Value: v, Half: halfOf(s)}, nil
}

// ungroup takes group separators out and makes the decimal separator a point.
func (c convention) ungroup(s string) (string, error) {
	if n := strings.Count(s, c.decimal); n > 1 {
		if !grouped.MatchString(s) || strings.Contains(s, c.group) {
			return "", fmt.Errorf("has %d decimal separators", n)
		}
		return strings.ReplaceAll(s, c.decimal, ""), nil
	}
	whole, fraction, _ := strings.Cut(s, c.decimal)
	if strings.Contains(whole, c.group) {
		if !grouped.MatchString(whole) {
			return "", fmt.Errorf("mixes points and commas: other cells of this file use %q for decimals", c.decimal)
		}
		whole = strings.ReplaceAll(whole, c.group, "")
	}
	if strings.Contains(fraction, c.group) {
		return "", fmt.Errorf("mixes points and commas: other cells of this file use %q for decimals", c.decimal)
	}
	if fraction == "" {
		return whole, nil
	}
	return whole + "." + fraction, nil
}

// halfOf is half of the last digit of a number with a decimal point.
func halfOf(s string) float64 {
	mantissa, exponent, _ := strings.Cut(strings.ToLower(s), "e")
	_, fraction, _ := strings.Cut(mantissa, ".")
	e, _ := strconv.Atoi(exponent)
	return 0.5 * math.Pow10(e-len(fraction))
}

// significant counts the digits of a number that say something.
func significant(digits string) int {
	mantissa, _, _ := strings.Cut(strings.ToLower(digits), "e")
	bare := strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, mantissa)
	return len(strings.TrimLeft(bare, "0"))
}
