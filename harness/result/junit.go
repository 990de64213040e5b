package result

import (
	"encoding/xml"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// JUnit XML, in the shape that gotestsum gives the labs' own tests and Jenkins'
// xUnit plugin describes (junit-10.xsd), with one thing more that gotestsum,
// pytest and Jenkins' JUnit plugin know, too: properties of a test case.

type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Name     string       `xml:"name,attr"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Errors   int          `xml:"errors,attr"`
	Time     string       `xml:"time,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name       string          `xml:"name,attr"`
	Tests      int             `xml:"tests,attr"`
	Failures   int             `xml:"failures,attr"`
	Errors     int             `xml:"errors,attr"`
	Skipped    int             `xml:"skipped,attr"`
	Time       string          `xml:"time,attr"`
	Timestamp  string          `xml:"timestamp,attr"`
	Properties []junitProperty `xml:"properties>property"`
	Cases      []junitCase     `xml:"testcase"`
}

type junitCase struct {
	Name       string          `xml:"name,attr"`
	Class      string          `xml:"classname,attr"`
	Time       string          `xml:"time,attr"`
	Properties []junitProperty `xml:"properties>property,omitempty"`
	Failure    *junitOutcome   `xml:"failure"`
	Error      *junitOutcome   `xml:"error"`
	Skipped    *junitOutcome   `xml:"skipped"`
	Out        string          `xml:"system-out,omitempty"`
}

type junitOutcome struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr"`
	Text    string `xml:",chardata"`
}

type junitProperty struct {
	Name  string `xml:"name,attr"`
	Value string `xml:"value,attr"`
}

// JUnit is a report as junit.xml: a suite for each lab, a test case for each
// check and none for the labs, so that nothing is counted twice.
func JUnit(r *Report) ([]byte, error) {
	out := junitSuites{Name: "virtlab", Time: junitTime(r.Seconds)}
	for _, lab := range r.ByLab() {
		out.add(r.junitSuite(lab))
	}
	if r.Error != "" {
		out.add(r.junitTrouble())
	}
	text, err := xml.MarshalIndent(out, "", "  ")
	if err != nil {
		return nil, err
	}
	return slices.Concat([]byte(xml.Header), text, []byte("\n")), nil
}

func (s *junitSuites) add(suite junitSuite) {
	s.Tests += suite.Tests
	s.Failures += suite.Failures
	s.Errors += suite.Errors
	s.Suites = append(s.Suites, suite)
}

func (r *Report) junitSuite(lab LabScore) junitSuite {
	c := lab.Counts
	suite := junitSuite{
		Name: class(lab.Lab), Tests: len(lab.Verdicts), Failures: c.Fail, Errors: c.Broken, Skipped: c.NotGraded + c.ByHand,
		Timestamp: r.Started.UTC().Format("2006-01-02T15:04:05"), Properties: r.junitProperties(),
	}
	var seconds float64
	for _, v := range lab.Verdicts {
		seconds += v.Seconds
		suite.Cases = append(suite.Cases, junitCaseOf(v))
	}
	suite.Time = junitTime(seconds)
	return suite
}

// junitTrouble is a suite that says why grading as a whole failed.
func (r *Report) junitTrouble() junitSuite {
	return junitSuite{
		Name: "virtlab.grading", Tests: 1, Errors: 1, Time: junitTime(0),
		Timestamp: r.Started.UTC().Format("2006-01-02T15:04:05"), Properties: r.junitProperties(),
		Cases: []junitCase{{
			Name: "grading", Class: "virtlab.grading", Time: junitTime(0),
			Error: &junitOutcome{Message: mustRepeat, Type: string(Broken), Text: show(r.Error)},
		}},
	}
}

func (r *Report) junitProperties() []junitProperty {
	return []junitProperty{
		{"submission", Line(r.Name)}, {"student", Line(r.Student)}, {"id", Line(r.ID)}, {"digest", Line(r.Digest)},
		{"seed", strconv.FormatUint(r.Seed, 10)}, {"rubric", Line(r.Rubric)}, {"virtlab", Line(r.Harness)},
	}
}

func junitCaseOf(v *Verdict) junitCase {
	c := junitCase{
		Name: v.local() + ": " + Line(v.Title), Class: class(v.Lab), Time: junitTime(v.Seconds),
		Properties: []junitProperty{{"check", v.ID}, {"points", Points(v.Points)}, {"max", Points(v.Max)}},
	}
	outcome := &junitOutcome{Message: firstLine(v.Message), Type: string(v.Outcome), Text: v.paragraphs()}
	switch {
	case v.ByHand() || v.Outcome == NotGraded:
		c.Skipped = outcome
	case v.Outcome == Pass:
		c.Out = outcome.Text
	case v.Outcome == Fail:
		c.Failure = outcome
	default:
		c.Error = outcome
	}
	return c
}

// class is what JUnit's readers group by.
func class(lab Lab) string { return "virtlab." + string(lab) }

// local is a check's id within its lab: "transform" of "cpu.transform".
func (v *Verdict) local() string { return strings.TrimPrefix(v.ID, string(v.Lab)+".") }

// junitTime writes seconds as Surefire does, with three decimals.
func junitTime(seconds float64) string { return fmt.Sprintf("%.3f", max(0, seconds)) }

// firstLine is the beginning of a message, for where there is one line for it.
func firstLine(s string) string {
	first, _, _ := strings.Cut(strings.TrimSpace(s), "\n")
	const most = 200
	if len(first) > most {
		first = first[:cutBefore(first, most)] + " ..."
	}
	return Line(first)
}
