package result_test

import (
	"encoding/xml"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"virtlab/harness/result"
)

// node is an element of an XML text.
type node struct {
	name     string
	attrs    map[string]string
	text     string
	children []*node
}

// parseXML reads XML strictly: a text that is not well-formed fails the test.
func parseXML(t testing.TB, text []byte) *node {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(string(text)))
	root := &node{}
	stack := []*node{root}
	for {
		token, err := d.Token()
		if err == io.EOF {
			require.Len(t, stack, 1)
			require.Len(t, root.children, 1)
			return root.children[0]
		}
		require.NoError(t, err)
		top := stack[len(stack)-1]
		switch token := token.(type) {
		case xml.StartElement:
			n := &node{name: token.Name.Local, attrs: map[string]string{}}
			for _, a := range token.Attr {
				n.attrs[a.Name.Local] = a.Value
			}
			top.children = append(top.children, n)
			stack = append(stack, n)
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		case xml.CharData:
			top.text += string(token)
		}
	}
}

// rule is what Jenkins' junit-10.xsd says of an element.
type rule struct {
	required, optional []string // attributes
	children           []string
	mixed              bool // has text
}

var junitRules = map[string]rule{
	"testsuites": {optional: []string{"name", "time", "tests", "failures", "errors"}, children: []string{"testsuite"}},
	"testsuite": {
		required: []string{"name", "tests", "failures", "errors"},
		optional: []string{"group", "time", "skipped", "timestamp", "hostname", "id", "package", "file", "log", "url", "version"},
		children: []string{"testsuite", "properties", "testcase", "system-out", "system-err"},
	},
	// properties of a test case are not in junit-10.xsd; see junit.go.
	"testcase": {
		required: []string{"name"}, optional: []string{"time", "classname", "group"},
		children: []string{"properties", "skipped", "error", "failure", "system-out", "system-err"},
	},
	"properties": {children: []string{"property"}},
	"property":   {required: []string{"name", "value"}},
	"failure":    {optional: []string{"type", "message"}, mixed: true},
	"error":      {optional: []string{"type", "message"}, mixed: true},
	"skipped":    {optional: []string{"type", "message"}, mixed: true},
	"system-out": {mixed: true},
	"system-err": {mixed: true},
}

// checkJUnit holds an element and all below it against the rules.
func checkJUnit(t testing.TB, n *node) {
	t.Helper()
	r, known := junitRules[n.name]
	require.True(t, known, n.name)
	for _, a := range r.required {
		assert.Contains(t, n.attrs, a, n.name)
	}
	for a := range n.attrs {
		assert.True(t, slices.Contains(r.required, a) || slices.Contains(r.optional, a), "%s of %s", a, n.name)
	}
	if at, has := n.attrs["time"]; has {
		assert.Regexp(t, `^[0-9]+\.[0-9]{3}$`, at)
	}
	if !r.mixed {
		assert.Empty(t, strings.TrimSpace(n.text), n.name)
	}
	for _, c := range n.children {
		assert.Contains(t, r.children, c.name, n.name)
		checkJUnit(t, c)
	}
}

// all are the elements of a name at or below n.
func (n *node) all(name string) (found []*node) {
	if n.name == name {
		found = append(found, n)
	}
	for _, c := range n.children {
		found = append(found, c.all(name)...)
	}
	return found
}

func (n *node) count(t testing.TB, attr string) int {
	t.Helper()
	c, err := strconv.Atoi(n.attrs[attr])
	require.NoError(t, err)
	return c
}

func junit(t testing.TB, r *result.Report) *node {
	t.Helper()
	text, err := result.JUnit(r)
	require.NoError(t, err)
	return parseXML(t, text)
}

func TestJUnitFollowsTheSchema(t *testing.T) {
	for kind, r := range kinds() {
		t.Run(kind, func(t *testing.T) {
			root := junit(t, r)
			checkJUnit(t, root)
			assert.Equal(t, "testsuites", root.name)
			for _, s := range root.all("testsuite") {
				_, err := time.Parse("2006-01-02T15:04:05", s.attrs["timestamp"])
				assert.NoError(t, err)
			}
		})
	}
}

// What the suites say they hold is what they hold, and nothing is a test case
// but a check.
func TestJUnitCounts(t *testing.T) {
	for kind, r := range kinds() {
		t.Run(kind, func(t *testing.T) {
			root := junit(t, r)
			for _, n := range append(root.all("testsuite"), root) {
				assert.Len(t, n.all("testcase"), n.count(t, "tests"))
				assert.Len(t, n.all("failure"), n.count(t, "failures"))
				assert.Len(t, n.all("error"), n.count(t, "errors"))
			}
			for _, s := range root.all("testsuite") {
				assert.Len(t, s.all("skipped"), s.count(t, "skipped"))
			}
			cases := len(r.Verdicts)
			if r.Error != "" {
				cases++
			}
			assert.Len(t, root.all("testcase"), cases)
		})
	}
}

func TestJUnitCases(t *testing.T) {
	got := map[string]string{}
	for _, c := range junit(t, sample()).all("testcase") {
		outcome := "passed"
		for _, name := range []string{"failure", "error", "skipped"} {
			if len(c.all(name)) > 0 {
				outcome = name
			}
		}
		properties := map[string]string{}
		for _, p := range c.all("property") {
			properties[p.attrs["name"]] = p.attrs["value"]
		}
		got[properties["check"]] = c.attrs["classname"] + " " + outcome + " " + properties["points"] + "/" + properties["max"]
	}
	assert.Equal(t, map[string]string{
		"cpu.compiles": "virtlab.cpu passed 2/2", "cpu.text": "virtlab.cpu passed 5/5", "cpu.transform": "virtlab.cpu failure 0/10",
		"mem.module": "virtlab.mem skipped 0/0", "io.interrupt": "virtlab.io error 0/3", "io.test-runs": "virtlab.io skipped 0/4",
		"io.function": "virtlab.io passed 3/6", "bench.parity": "virtlab.bench passed 0.3/0.3", "report.read": "virtlab.report skipped 0/10",
	}, got)
}

func TestJUnitOfAFailedGrading(t *testing.T) {
	r := graded()
	r.Error = "bubblewrap is missing"
	trouble := junit(t, r).all("error")
	require.Len(t, trouble, 1)
	assert.Contains(t, trouble[0].attrs["message"], "has to be repeated")
	assert.Contains(t, trouble[0].text, "bubblewrap is missing")
}
