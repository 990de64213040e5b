package result

import (
	"bytes"
	_ "embed" // the schema
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"unicode/utf16"
	"unicode/utf8"
)

// Names of the files that WriteAll writes.
const (
	GradescopeFile  = "results.json"
	JUnitFile       = "junit.xml"
	Classroom50File = "result.json"
	HTMLFile        = "report.html"
	OutcomeFile     = "outcome.json"
)

// OutcomeSchema is the JSON schema (2020-12) of outcome.json.
//
//go:embed outcome.schema.json
var OutcomeSchema []byte

// Format makes one format of a report.
type Format func(*Report) ([]byte, error)

// Formats are the formats by the names that -format takes.
var Formats = map[string]Format{
	"autolab":     autolabOutput,
	"classroom50": classroom50Here,
	"gradescope":  Gradescope,
	"html":        HTML,
	"json":        JSON,
	"junit":       JUnit,
	"markdown":    Markdown,
	"text":        Text,
}

// FormatNames are the names of the formats, sorted.
func FormatNames() []string { return slices.Sorted(maps.Keys(Formats)) }

// files are what WriteAll writes, in this order: outcome.json is the last, so
// that where it is the others are, too.
var files = []struct {
	name   string
	format Format
}{
	{GradescopeFile, Gradescope},
	{JUnitFile, JUnit},
	{Classroom50File, classroom50Here},
	{HTMLFile, HTML},
	{OutcomeFile, JSON},
}

// WriteAll writes a report into its directory in all formats. Each file is
// written whole or not at all. A report that cannot be (see Valid) is not
// written.
func WriteAll(dir string, r *Report) error {
	if err := r.Valid(); err != nil {
		return fmt.Errorf("the report of %s: %w", Line(r.Name), err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return Errorf(Host, "report: %w", err)
	}
	for _, f := range files {
		content, err := f.format(r)
		if err != nil {
			return fmt.Errorf("%s of %s: %w", f.name, Line(r.Name), err)
		}
		if err := writeFile(dir, f.name, content); err != nil {
			return err
		}
	}
	return nil
}

// writeFile writes a file whole or not at all: what a power cut leaves is the
// old one or the new one.
func writeFile(dir, name string, content []byte) error {
	f, err := os.CreateTemp(dir, "."+name+".*")
	if err != nil {
		return Errorf(Host, "writing %s: %w", name, err)
	}
	_, err = f.Write(content)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), filepath.Join(dir, name))
	}
	if err != nil {
		return Errorf(Host, "writing %s: %w", filepath.Join(dir, name), errors.Join(err, os.Remove(f.Name())))
	}
	return syncDir(dir)
}

// syncDir makes a rename in dir last.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return Errorf(Host, "%w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return Errorf(Host, "syncing %s: %w", dir, err)
	}
	return nil
}

// JSON is outcome.json: the report, complete.
func JSON(r *Report) ([]byte, error) {
	if err := r.Valid(); err != nil {
		return nil, err
	}
	return encode(r.tidy())
}

// tidy is a copy that encodes the same everywhere: numbers rounded, times in
// UTC, no list that is null.
func (r *Report) tidy() *Report {
	c := *r
	c.Started, c.Seconds = r.Started.UTC(), milli(r.Seconds)
	c.Score, c.Max, c.Hand = round(r.Score), round(r.Max), round(r.Hand)
	c.Files = append([]FileUse{}, r.Files...)
	c.Verdicts = append([]Verdict{}, r.Verdicts...)
	c.Stages = slices.Clone(r.Stages)
	for i := range c.Verdicts {
		v := &c.Verdicts[i]
		v.Points, v.Max, v.Seconds = round(v.Points), round(v.Max), milli(v.Seconds)
	}
	for i := range c.Stages {
		c.Stages[i].Seconds = milli(c.Stages[i].Seconds)
	}
	return &c
}

// maxOutcome is the size, in bytes, above which a file is no outcome.json.
const maxOutcome = 256 << 20

// ReadReport reads what WriteAll wrote as outcome.json. A report that cannot
// be, or of another schema, is refused.
func ReadReport(path string) (*Report, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxOutcome+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if len(text) > maxOutcome {
		return nil, fmt.Errorf("%s: longer than %d bytes", path, maxOutcome)
	}
	r, err := ParseReport(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// ParseReport is ReadReport for text. Fields that this virtlab does not know
// are ignored: a schema grows without a new name.
func ParseReport(text []byte) (*Report, error) {
	var r Report
	if err := json.Unmarshal(text, &r); err != nil {
		return nil, fmt.Errorf("no report: %w", err)
	}
	return &r, r.Valid()
}

// encode writes JSON that is as safe to look at in a terminal as to parse:
// characters that would act on a terminal are escaped.
func encode(v any) ([]byte, error) {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, err
	}
	return append(escapeInvisible(text), '\n'), nil
}

// escapeInvisible escapes characters that cannot be seen, and the one that
// stands for bytes that were no text, as package json does where it puts it.
// Outside of its strings JSON has none of them, so that this changes no more
// than how a string is written.
func escapeInvisible(text []byte) []byte {
	escaped := func(r rune) bool { return invisible(r) || r == utf8.RuneError }
	if bytes.IndexFunc(text, escaped) < 0 {
		return text
	}
	var b bytes.Buffer
	for _, r := range string(text) {
		if !escaped(r) {
			b.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&b, `\u%04x`, unit)
		}
	}
	return b.Bytes()
}
