package grade

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"virtlab/harness"
	"virtlab/harness/build"
	"virtlab/harness/compile"
	"virtlab/harness/guest"
	"virtlab/harness/pagewalk"
	"virtlab/harness/result"
	"virtlab/harness/submission"
)

// walkModule is a student's module on its way through the lab.
type walkModule struct {
	file     submission.File
	ko       string // on the host
	warnings string // of the compiler
	nonce    uint64 // the number that it is to write
	replaced bool   // the course's number in its source was replaced by it
	param    bool   // it takes the number as a parameter

	l2       *guest.Guest
	patience time.Duration // with its loading
	run      *harness.ModuleRun
}

func (g *grading) memModule() {
	files := g.answer.Files[submission.WalkModule]
	if len(files) == 0 {
		g.settleAll(notGraded("no module of one's own was handed in"), "mem.module", "mem.witness")
		return
	}
	m := &walkModule{file: files[0]}
	err := g.compileModule(m)
	if err == nil {
		err = g.bootL2(m)
	}
	g.check("mem.module", func(lab *harness.Lab, v *result.Verdict) error {
		if len(files) > 1 {
			v.Warnings = append(v.Warnings, fmt.Sprintf("%d more modules were handed in and not looked at", len(files)-1))
		}
		if err != nil {
			return err
		}
		m.run = lab.RunModule(g.l1, m.l2, m.ko, m.patience, m.params()...)
		return m.judgeLoad(v)
	})
	g.check("mem.witness", m.judgeWitness)
	g.closeL2(m)
}

// How long a module may take to load: a few times as long as L2 takes to boot, which
// tells how slow machines are here.
const (
	leastPatience   = 30 * time.Second
	mostPatience    = 90 * time.Second
	patienceInBoots = 3
)

// bootL2 boots the guest in which the module is loaded.
func (g *grading) bootL2(m *walkModule) error {
	l1, err := g.machine()
	if err != nil {
		return err
	}
	return g.stage("mem.boot-L2", func(lab *harness.Lab) error {
		lab.HostPages(l1, false)
		start := time.Now()
		m.l2 = lab.L2(l1)
		m.patience = min(max(leastPatience, patienceInBoots*time.Since(start)), mostPatience)
		return nil
	})
}

// closeL2 throws L2 away, and L1 with it unless all went well there: whatever the module
// did to L2, L1 may bear traces of it.
func (g *grading) closeL2(m *walkModule) {
	if m.l2 == nil {
		return
	}
	_ = m.l2.Close()
	if m.run == nil || m.run.Load != nil || m.run.Unload != nil {
		g.discardMachine()
	}
}

// compileModule draws the number and compiles the module in the sandbox.
func (g *grading) compileModule(m *walkModule) error {
	return g.stage("mem.compile", func(lab *harness.Lab) error {
		m.nonce = drawNumber(lab)
		staged, out := lab.TempDir(), lab.TempDir()
		var err error
		if m.replaced, err = stageModule(g.sub.Dir, m.file.Path, staged, m.nonce); err != nil {
			return err
		}
		p, err := compile.Module(lab.Ctx, build.Kernel{Dir: harness.Assets().Kernel}, compile.Source{Root: staged, File: m.file.Path}, moduleName, out)
		if err != nil {
			return err
		}
		m.ko, m.warnings = p.Path, p.Warnings
		m.param, err = hasParameter(p.Path, "nonce")
		return err
	})
}

// moduleName is what L2 calls the module, whatever its file was called.
const moduleName = "walk"

// drawNumber draws a number that fits into an int and has no fewer digits than the
// course's.
func drawNumber(lab *harness.Lab) uint64 { return courseNumber + 2 + lab.Nonce()%(1<<30) }

// courseNumber is what the course's module writes; the one for Linux 4 writes one less
// and adds it.
const courseNumber = 1772334

var courseLiteral = regexp.MustCompile(`\b(?:177233[34]|0[xX]1[bB]0[bB]2[dDeE])([uUlL]{0,3})\b`)

// replaceLiteral puts another number in the place of the course's.
func replaceLiteral(code []byte, nonce uint64) (changed []byte, replaced bool) {
	changed = courseLiteral.ReplaceAllFunc(code, func(literal []byte) []byte {
		replaced = true
		digits := strings.TrimRight(string(literal), "uUlL")
		old, _ := strconv.ParseUint(digits, 0, 64)
		return []byte(strconv.FormatUint(nonce-(courseNumber-old), 10) + string(literal[len(digits):]))
	})
	return changed, replaced
}

// stageModule copies a module's source and all headers of a submission to a directory,
// with another number in the place of the course's.
func stageModule(root, file, to string, nonce uint64) (replaced bool, err error) {
	err = filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil || filepath.ToSlash(rel) != file && !strings.EqualFold(filepath.Ext(rel), ".h") {
			return err
		}
		code, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		code, changed := replaceLiteral(code, nonce)
		replaced = replaced || changed
		dest := filepath.Join(to, rel)
		return errors.Join(os.MkdirAll(filepath.Dir(dest), 0o755), os.WriteFile(dest, code, 0o644))
	})
	return replaced, err
}

// hasParameter says whether a module takes a parameter.
func hasParameter(ko, name string) (bool, error) {
	f, err := elf.Open(ko)
	if err != nil {
		return false, err
	}
	defer f.Close()
	section := f.Section(".modinfo")
	if section == nil {
		return false, nil // the kernel will say what it lacks
	}
	info, err := section.Data()
	if err != nil {
		return false, err
	}
	return declares(info, name), nil
}

// declares looks for a parameter in the strings of a module's .modinfo.
func declares(info []byte, parameter string) bool {
	return slices.ContainsFunc(bytes.Split(info, []byte{0}), func(entry []byte) bool {
		return bytes.HasPrefix(entry, []byte("parmtype="+parameter+":"))
	})
}

func (m *walkModule) params() []string {
	if m.param {
		return []string{fmt.Sprintf("nonce=%d", m.nonce)}
	}
	return nil
}

// number tells where the number came from.
func (m *walkModule) number() string {
	switch {
	case m.param:
		return fmt.Sprintf("loaded with nonce=%d", m.nonce)
	case m.replaced:
		return fmt.Sprintf("with %d in its source replaced by %d", courseNumber, m.nonce)
	}
	return "with its own number"
}

func (m *walkModule) judgeLoad(v *result.Verdict) error {
	if m.warnings != "" {
		v.Warnings = append(v.Warnings, "the compiler warns:\n"+m.warnings)
	}
	if err := errors.Join(m.run.Load, m.run.Unload); err != nil {
		return result.Errorf(result.Submission, "%s, %s: %w", m.file.Path, m.number(), err)
	}
	v.Message = fmt.Sprintf("%s compiles, loads and unloads, %s", m.file.Path, m.number())
	return nil
}

// judgeWitness compares what both kernels printed with memory, and with itself.
func (m *walkModule) judgeWitness(lab *harness.Lab, v *result.Verdict) error {
	switch {
	case m.run == nil:
		return notGraded("the module was not loaded")
	case m.run.Ended:
		return notGraded("L2 did not survive the module")
	}
	pair, err := m.walks()
	if err != nil {
		return err
	}
	if !m.param && !m.replaced {
		v.Warnings = append(v.Warnings, "the number is the module's own, not one drawn here: a module parameter named nonce would take one")
	}
	if err := errors.Join(m.judgePair(pair), m.judgeMemory(lab)); err != nil {
		return err
	}
	v.Message = fmt.Sprintf("witnessed: L1's memory, read from outside%s, holds all that both logs show, %d references from CR3 to the number: %s", m.when(), m.run.Matrix.References, describe(pair.Guest))
	return nil
}

// walks are the pair that counts, or why there is none.
func (m *walkModule) walks() (pagewalk.Pair, error) {
	if m.run.Matrix != nil {
		return m.run.Pair, nil
	}
	host, err := pagewalk.ParseHost(m.run.HostLog)
	if err != nil {
		return pagewalk.Pair{}, result.Errorf(result.Submission, "the module makes no hypercall 22: KVM in L1 printed no walk (kvm_hypercall1(22, GPA) asks for one)")
	}
	guest, err := pagewalk.ParseGuest(m.run.GuestLog)
	if err != nil {
		return pagewalk.Pair{}, result.Errorf(result.Submission, "the module prints no walk: L2's kernel log has no lines such as %s", logNames[submission.GuestLog].lines)
	}
	pair, _ := pagewalk.Best(guest.Guests(), host.Hosts())
	if err := pagewalk.CheckPair(pair).Judge(guest.Notes); err != nil {
		return pair, err
	}
	return pair, result.Errorf(result.Submission, "the module's walk does not arrive at an address that could be compared with memory")
}

// judgePair checks the two walks by arithmetic, and the number. KVM's own line names CR3.
func (m *walkModule) judgePair(p pagewalk.Pair) error {
	if !p.Host.CR3.Seen {
		return fmt.Errorf("KVM in L1 does not say what CR3 was: its hypercall 22 is not ours")
	}
	findings := pagewalk.CheckPair(p)
	if m.param || m.replaced {
		findings = append(findings, pagewalk.CheckNonce(p, m.nonce)...)
	}
	return findings.Judge(nil)
}

// judgeMemory judges what was read from outside. When that was too late the number may
// have gone; KVM saw it at the hypercall.
func (m *walkModule) judgeMemory(lab *harness.Lab) error {
	lab.Keep("walk.txt", m.run.Matrix.Table())
	findings := m.run.Matrix.Findings
	if m.run.Late {
		findings = slices.DeleteFunc(findings.Without(pagewalk.CheckValue), func(f pagewalk.Finding) bool {
			return f.Check == pagewalk.CheckMemory && f.Level == 0 && f.Expected != f.Got
		})
	}
	if err := findings.Judge(nil); err != nil {
		return fmt.Errorf("compared with L1's memory, read from outside%s: %w", m.when(), err)
	}
	if !m.run.Late && !m.run.Matrix.Confirmed() {
		return result.Errorf(result.Submission, "the number that was printed was not found in memory")
	}
	return nil
}

// when says when memory was looked at.
func (m *walkModule) when() string {
	if m.run.Late {
		return " after loading, as nothing was printed before the hypercall"
	}
	return " while L2 stood in its hypercall"
}
