package corpus

import (
	"archive/zip"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"

	"virtlab/harness/result"
)

// Labs are the labs that have cases.
var Labs = []result.Lab{result.CPU, result.Memory, result.IO, result.Bench}

// Student is one zip of a made-up class and what is wrong in it.
type Student struct {
	Zip  string // NAME-ID.zip
	Case Case   // zero: the reference
}

// surnames and given names that a class of this course has; file names are
// UTF-8 in the zip.
var (
	surnames = []string{"王", "李", "张", "刘", "陈", "杨", "赵", "黄", "Novák", "Müller", "O'Neill", "Ng"}
	given    = []string{"伟", "芳", "敏", "静", "强", "磊", "洋", "艳", "Ada", "Grace", "Linus", "Rosa"}
)

// Class writes n zips to dir: a third of them the reference, the others one case
// each, in an order drawn from seed. With hostile, cases that mean harm are
// among them.
func Class(dir string, n int, seed uint64, hostile bool) ([]Student, error) {
	cases, err := classCases(hostile)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	draw := rand.New(rand.NewPCG(seed, 0))
	draw.Shuffle(len(cases), func(i, j int) { cases[i], cases[j] = cases[j], cases[i] })
	var class []Student
	for i := range n {
		s := Student{Zip: fmt.Sprintf("%s%s-%d.zip", surnames[draw.IntN(len(surnames))], given[draw.IntN(len(given))], 2026000000+i+1)}
		if i%3 != 0 && len(cases) > 0 {
			s.Case = cases[(i-i/3-1)%len(cases)]
		}
		if err := s.write(dir); err != nil {
			return nil, fmt.Errorf("%s: %w", s.Zip, err)
		}
		class = append(class, s)
	}
	return class, nil
}

func classCases(hostile bool) (all []Case, err error) {
	for _, lab := range Labs {
		cases, err := Load(lab)
		if err != nil {
			return nil, err
		}
		for _, c := range cases {
			if hostile || !c.Hostile {
				all = append(all, c)
			}
		}
	}
	return all, nil
}

// write zips the student's submission, in a folder as zippers do.
func (s Student) write(dir string) error {
	tree, err := os.MkdirTemp("", "class")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tree)
	if err := s.Case.Write(filepath.Join(tree, "lab")); err != nil {
		return err
	}
	f, err := os.Create(filepath.Join(dir, s.Zip))
	if err != nil {
		return err
	}
	defer f.Close()
	z := zip.NewWriter(f)
	if err := z.AddFS(os.DirFS(tree)); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return f.Close()
}
