// Package corpus makes submissions: the reference, on which every check has to
// pass, and wrong and hostile ones (fixtures/mutants), each with the checks that
// have to fail and what their messages have to say.
package corpus

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"

	"virtlab/harness"
	"virtlab/harness/build"
	"virtlab/harness/result"
)

// Case is a submission that differs from the reference in the files of one lab.
type Case struct {
	Lab     result.Lab `toml:"-"`
	Name    string     // unique within the lab
	What    string     // what is wrong with it
	Hostile bool       // means harm
	// Files replaces files of the submission by files below fixtures/mutants; an
	// empty name removes the file.
	Files map[string]string
	// Append adds a file below fixtures/mutants to the end of one of the
	// submission's.
	Append map[string]string
	// Edu is a function, a file below fixtures/mutants, that takes the place of
	// gcd in the reference's edu.c.
	Edu string
	// Fails says which checks do not end as on the reference, and what their
	// messages must contain. "not graded: TEXT" and "pass: TEXT" ask for those
	// outcomes.
	Fails map[string]string
}

// Load reads the cases of a lab.
func Load(lab result.Lab) ([]Case, error) {
	path, err := harness.Fixture(mutants, string(lab)+".toml")
	if err != nil {
		return nil, err
	}
	var list struct{ Case []Case }
	meta, err := toml.DecodeFile(path, &list)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if unknown := meta.Undecoded(); len(unknown) > 0 {
		return nil, fmt.Errorf("%s: unknown key %s", path, unknown[0])
	}
	seen := map[string]bool{}
	for i := range list.Case {
		c := &list.Case[i]
		c.Lab = lab
		if c.Name == "" || c.What == "" || seen[c.Name] {
			return nil, fmt.Errorf("%s: case %d (%q) wants a name of its own and a line on what is wrong", path, i+1, c.Name)
		}
		seen[c.Name] = true
	}
	return list.Case, nil
}

// Reference writes the reference submission to dir. The labs' assets must have
// been found (harness.Prepare).
func Reference(dir string) error {
	return Case{}.Write(dir)
}

// WriteAll writes to dir a submission with several cases at once, LAB/NAME, at
// most one of a lab.
func WriteAll(dir string, names ...string) error {
	cases, err := find(names)
	if err != nil {
		return err
	}
	return merge(cases).Write(dir)
}

// JudgeAll is Judge for a submission of WriteAll.
func JudgeAll(got, reference *result.Report, names ...string) error {
	cases, err := find(names)
	if err != nil {
		return err
	}
	return merge(cases).Judge(got, reference)
}

// find loads cases by LAB/NAME.
func find(names []string) (found []Case, err error) {
	for _, n := range names {
		lab, name, _ := strings.Cut(n, "/")
		cases, err := Load(result.Lab(lab))
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(cases, func(c Case) bool { return c.Name == name })
		if i < 0 {
			return nil, fmt.Errorf("there is no case %s", n)
		}
		found = append(found, cases[i])
	}
	return found, nil
}

// merge makes one case of cases of different labs.
func merge(cases []Case) Case {
	all := Case{Files: map[string]string{}, Append: map[string]string{}, Fails: map[string]string{}}
	for _, c := range cases {
		maps.Copy(all.Files, c.Files)
		maps.Copy(all.Append, c.Append)
		maps.Copy(all.Fails, c.Fails)
		if c.Edu != "" {
			all.Edu = c.Edu
		}
	}
	return all
}

// Write writes the case's submission to dir.
func (c Case) Write(dir string) error {
	fixtures, err := harness.Fixture()
	if err != nil {
		return err
	}
	w := writer{fixtures: fixtures, dir: dir}
	edu, err := w.edu(c.Edu)
	if err != nil {
		return err
	}
	errs := []error{
		w.copy("modified-qemu.c", "cpu/modified-qemu.c"),
		w.write("edu_modified.c", edu),
		w.copy("pci_modified.c", "io/pci.c"),
		w.copy("edu_ioctl.h", "io/edu_ioctl.h"),
		w.copy("test/test_modified.c", "io/test/test.c"),
		w.copyAll("submission"),
	}
	for to, from := range c.Files {
		errs = append(errs, w.replace(to, from))
	}
	for to, from := range c.Append {
		errs = append(errs, w.append(to, from))
	}
	return errors.Join(errs...)
}

// writer puts a submission together from the fixtures.
type writer struct{ fixtures, dir string }

// mutants is where the files of cases lie, in the fixtures.
const mutants = "mutants"

func (w writer) write(to string, content []byte) error {
	path := filepath.Join(w.dir, to)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	return os.WriteFile(path, content, 0o644)
}

func (w writer) copy(to, from string) error {
	content, err := os.ReadFile(filepath.Join(w.fixtures, from))
	if err != nil {
		return err
	}
	return w.write(to, content)
}

// copyAll copies the files of a folder of the fixtures.
func (w writer) copyAll(from string) error {
	files, err := os.ReadDir(filepath.Join(w.fixtures, from))
	if err != nil {
		return err
	}
	for _, f := range files {
		if err := w.copy(f.Name(), filepath.Join(from, f.Name())); err != nil {
			return err
		}
	}
	return nil
}

func (w writer) replace(to, from string) error {
	if from == "" {
		return os.Remove(filepath.Join(w.dir, to))
	}
	return w.copy(to, filepath.Join(mutants, from))
}

func (w writer) append(to, from string) error {
	more, err := os.ReadFile(filepath.Join(w.fixtures, mutants, from))
	if err != nil {
		return err
	}
	have, err := os.ReadFile(filepath.Join(w.dir, to))
	if err != nil {
		return err
	}
	return w.write(to, append(have, more...))
}

// edu is the reference's edu.c, with another function in place of gcd where one
// is named.
func (w writer) edu(function string) ([]byte, error) {
	qemu := filepath.Join(w.fixtures, "qemu")
	stock, err := build.StockEdu(harness.Assets().QEMUDir)
	if err != nil {
		return nil, err
	}
	edu, err := build.InsertFunction(stock, qemu)
	if err != nil || function == "" {
		return edu, err
	}
	right, err := os.ReadFile(filepath.Join(qemu, "gcd-function.c.inc"))
	if err != nil {
		return nil, err
	}
	wrong, err := os.ReadFile(filepath.Join(w.fixtures, mutants, function))
	if err != nil {
		return nil, err
	}
	if !bytes.Contains(edu, right) {
		return nil, fmt.Errorf("the reference's edu.c does not hold gcd-function.c.inc as it is")
	}
	return bytes.Replace(edu, right, wrong, 1), nil
}

// Judge tells where a report of the case is not as it has to be: every check
// that the case names fails with its message, all others end as on the
// reference.
func (c Case) Judge(got, reference *result.Report) error {
	var errs []error
	want := map[string]result.Outcome{}
	for _, v := range reference.Verdicts {
		want[v.ID] = v.Outcome
	}
	for id := range c.Fails {
		if !slices.ContainsFunc(got.Verdicts, func(v result.Verdict) bool { return v.ID == id }) {
			errs = append(errs, fmt.Errorf("%s: there is no such check in the report", id))
		}
	}
	for _, v := range got.Verdicts {
		outcome, text := want[v.ID], ""
		if says, ok := c.Fails[v.ID]; ok {
			outcome, text = demand(says)
		}
		switch {
		case v.Outcome != outcome:
			errs = append(errs, fmt.Errorf("%s: %s, not %s: %s", v.ID, v.Outcome, outcome, v.Message))
		case !strings.Contains(v.Message, text):
			errs = append(errs, fmt.Errorf("%s: its message does not say %q: %s", v.ID, text, v.Message))
		}
	}
	return errors.Join(errs...)
}

// demand reads what a case says about a check: "TEXT", or "OUTCOME: TEXT".
func demand(says string) (outcome result.Outcome, text string) {
	for _, o := range []result.Outcome{result.Pass, result.NotGraded} {
		if rest, ok := strings.CutPrefix(says, string(o)+": "); ok {
			return o, rest
		}
	}
	return result.Fail, says
}
