package result

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/BurntSushi/toml"
)

// Rubric says what each check is worth and what a teacher may choose.
type Rubric struct {
	Title     string
	Version   string
	Total     float64 // what the points of all checks add up to, those by hand included
	Transform string  // of the CPU lab: upper, lower, swap or rot13
	// Implausible says what a measurement that can hardly be true costs:
	// "warning" or "fail".
	Implausible string
	Digest      string // "sha256:..." of its text

	points map[string]float64
}

// Points is what a check is worth.
func (r *Rubric) Points(id string) float64 { return r.points[id] }

// What a rubric may choose.
var (
	transforms   = []string{"upper", "lower", "swap", "rot13"}
	implausibles = []string{"warning", "fail"}
	rubricKeys   = []string{"title", "version", "total", "transform", "implausible", "points"}
)

// maxRubric is the size, in bytes, above which a file is not a rubric.
const maxRubric = 1 << 20

// LoadRubric reads a rubric for these checks from a TOML file.
func LoadRubric(path string, checks []Check) (*Rubric, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, Errorf(Host, "the rubric: %w", err)
	}
	if info.Size() > maxRubric {
		return nil, Errorf(Host, "%s: %d bytes are too many for a rubric", path, info.Size())
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, Errorf(Host, "the rubric: %w", err)
	}
	return ParseRubric(text, path, checks)
}

// ParseRubric reads a rubric for these checks. Its error has a line for each
// mistake, "NAME:LINE: what is wrong", all that were found at once.
func ParseRubric(text []byte, name string, checks []Check) (*Rubric, error) {
	p := &rubricParser{name: name, lines: keyLines(string(text)), points: map[string]float64{}}
	p.parse(string(text), checks)
	if err := p.err(); err != nil {
		return nil, err
	}
	p.rubric.Digest = fmt.Sprintf("sha256:%x", sha256.Sum256(text))
	p.rubric.points = p.points
	return &p.rubric, nil
}

// rubricParser gathers what is wrong with a rubric.
type rubricParser struct {
	name   string
	lines  map[string]int // of each key
	values map[string]any
	rubric Rubric
	points map[string]float64
	wrong  []mistake
}

type mistake struct {
	line int // 0: of the file as a whole
	text string
}

func (p *rubricParser) parse(text string, checks []Check) {
	// Into a map, not a struct: a value of the wrong type is to be named in a
	// teacher's words, and the rest read all the same.
	if _, err := toml.Decode(text, &p.values); err != nil {
		p.syntax(err)
		return
	}
	p.unknownKeys()
	p.settings()
	if points, ok := p.value("points", "a table of checks").(map[string]any); ok {
		p.flatten("", points)
		p.compare(checks)
	}
	if len(p.wrong) == 0 {
		p.addUp()
	}
}

// syntax reports what is not TOML; a key that is defined twice is among it.
func (p *rubricParser) syntax(err error) {
	var parse toml.ParseError
	if errors.As(err, &parse) {
		p.at(parse.Position.Line, "%s", strings.TrimSuffix(parse.Message, "."))
		return
	}
	p.at(0, "%s", strings.TrimPrefix(err.Error(), "toml: "))
}

func (p *rubricParser) unknownKeys() {
	for _, key := range slices.Sorted(maps.Keys(p.values)) {
		if !slices.Contains(rubricKeys, key) {
			p.key(key, "there is no such setting%s; there are %s", didYouMean(key, rubricKeys), strings.Join(rubricKeys, ", "))
		}
	}
}

// settings reads everything but the points.
func (p *rubricParser) settings() {
	p.rubric.Title = p.text("title")
	p.rubric.Version = p.text("version")
	p.rubric.Transform = p.oneOf("transform", transforms)
	p.rubric.Implausible = p.oneOf("implausible", implausibles)
	total, isNumber := number(p.value("total", "a number above 0"))
	if isNumber && (!countable(total) || total == 0) {
		p.key("total", "a number above 0 is needed, this is %v", total)
	}
	p.rubric.Total = total
}

// kinds are what the values of a rubric may be.
var kinds = map[string]func(any) bool{
	"a text in quotes":  func(v any) bool { _, ok := v.(string); return ok },
	"a number above 0":  func(v any) bool { _, ok := number(v); return ok },
	"a table of checks": func(v any) bool { _, ok := v.(map[string]any); return ok },
}

// value is the value of a key if it is there and of that kind, else nil.
func (p *rubricParser) value(key, kind string) any {
	v, has := p.values[key]
	switch {
	case !has:
		p.at(0, "%s is missing: %s is needed", key, kind)
	case !kinds[kind](v):
		p.key(key, "%s is needed, this is %s", kind, literal(v))
	default:
		return v
	}
	return nil
}

func (p *rubricParser) text(key string) string {
	s, _ := p.value(key, "a text in quotes").(string)
	return s
}

func (p *rubricParser) oneOf(key string, allowed []string) string {
	v, ok := p.value(key, "a text in quotes").(string)
	if ok && !slices.Contains(allowed, v) {
		p.key(key, "%q is none of %s%s", v, strings.Join(allowed, ", "), didYouMean(v, allowed))
	}
	return v
}

// flatten turns tables within tables into ids: [points.cpu] text is cpu.text,
// and so is "cpu.text" in [points].
func (p *rubricParser) flatten(prefix string, table map[string]any) {
	for _, name := range slices.Sorted(maps.Keys(table)) {
		id := prefix + name
		if inner, isTable := table[name].(map[string]any); isTable {
			p.flatten(id+".", inner)
			continue
		}
		p.add(id, table[name])
	}
}

func (p *rubricParser) add(id string, value any) {
	points, isNumber := number(value)
	_, twice := p.points[id]
	switch {
	case twice:
		p.key("points."+id, "this check is counted twice")
	case !isNumber:
		p.key("points."+id, "a number of points is needed, this is %s", literal(value))
	case !countable(points):
		p.key("points."+id, "%v is no number of points", points)
	case math.Abs(round(points)-points) > 1e-9:
		p.key("points."+id, "%v points: they go in steps of 0.01", points)
	}
	p.points[id] = points
}

func number(value any) (float64, bool) {
	switch n := value.(type) {
	case int64:
		return float64(n), true
	case float64:
		return n, true
	}
	return 0, false
}

// literal writes a value as it may have stood in the file.
func literal(value any) string {
	if s, isText := value.(string); isText {
		return strconv.Quote(s)
	}
	return fmt.Sprint(value)
}

// compare holds the points against the checks that there are.
func (p *rubricParser) compare(checks []Check) {
	var ids []string
	for _, c := range checks {
		if slices.Contains(ids, c.ID) {
			p.at(0, "the harness has two checks named %s; this is a mistake of virtlab", c.ID)
		}
		ids = append(ids, c.ID)
		if _, has := p.points[c.ID]; !has {
			p.at(0, "the check %s has no points; write 0 where it is not to count", c.ID)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(p.points)) {
		if !slices.Contains(ids, id) {
			p.key("points."+id, "there is no such check%s", didYouMean(id, ids))
		}
	}
}

func (p *rubricParser) addUp() {
	var sum float64
	for _, id := range slices.Sorted(maps.Keys(p.points)) {
		sum += p.points[id]
	}
	switch missing := round(p.rubric.Total - sum); {
	case missing > 0:
		p.key("total", "the points add up to %s, but total is %s: %s too few", Points(sum), Points(p.rubric.Total), Points(missing))
	case missing < 0:
		p.key("total", "the points add up to %s, but total is %s: %s too many", Points(sum), Points(p.rubric.Total), Points(-missing))
	}
}

// at notes a mistake.
func (p *rubricParser) at(line int, format string, args ...any) {
	p.wrong = append(p.wrong, mistake{line, fmt.Sprintf(format, args...)})
}

// key notes a mistake where a key stands.
func (p *rubricParser) key(key, format string, args ...any) {
	p.at(p.lines[key], "%s: %s", strings.TrimPrefix(key, "points."), fmt.Sprintf(format, args...))
}

func (p *rubricParser) err() error {
	if len(p.wrong) == 0 {
		return nil
	}
	slices.SortStableFunc(p.wrong, func(a, b mistake) int { return cmp.Compare(uint(a.line-1), uint(b.line-1)) }) // 0 comes last
	var lines []string
	for _, m := range p.wrong {
		where := p.name
		if m.line > 0 {
			where += fmt.Sprintf(":%d", m.line)
		}
		lines = append(lines, where+": "+m.text)
	}
	return Errorf(Host, "the rubric cannot be used:\n%s", strings.Join(lines, "\n")).
		WithHint("fixtures/rubric.toml is one that works and explains itself")
}
