package grade

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"virtlab/harness"
	"virtlab/harness/pagewalk"
	"virtlab/harness/result"
	"virtlab/harness/submission"
)

// Experiment 2. What the student's kernels printed is checked by arithmetic; what
// his module prints here is compared with memory.
var memChecks = []result.Check{
	{ID: "mem.guest-log", Lab: result.Memory, Title: "the guest's walk, GVA to GPA, is right level by level", Page: "docs/memory.md#what-is-checked"},
	{ID: "mem.host-log", Lab: result.Memory, Title: "the host's walk, GPA to HPA, is right level by level", Page: "docs/memory.md#what-is-checked"},
	{ID: "mem.link", Lab: result.Memory, Title: "the host's walk begins where the guest's ends", Page: "docs/memory.md#what-is-checked"},
	{ID: "mem.module", Lab: result.Memory, Title: "a module of one's own builds, loads and unloads", Page: "docs/memory.md#a-module-of-your-own"},
	{ID: "mem.witness", Lab: result.Memory, Title: "what the module prints is what lies in memory", Page: "docs/memory.md#a-module-of-your-own"},
}

func (g *grading) mem() {
	g.memLogs()
	g.memModule()
}

// maxLog is how long a log may be, in bytes: the kernel's ring holds far less.
const maxLog = 8 << 20

// walkLogs are the walks that a submission's logs show.
type walkLogs struct {
	guests, hosts []pagewalk.Walk // Source is the file
	notes         map[string][]pagewalk.Note
	pair          pagewalk.Pair // the best
	linked        bool
	environment   []pagewalk.Diagnosis
}

func (g *grading) memLogs() {
	logs, err := g.readLogs()
	if err != nil {
		g.settleAll(err, "mem.guest-log", "mem.host-log", "mem.link")
		return
	}
	g.checkLog("mem.guest-log", logs, submission.GuestLog, logs.pair.Guest, logs.guests)
	g.checkLog("mem.host-log", logs, submission.HostLog, logs.pair.Host, logs.hosts)
	g.check("mem.link", func(_ *harness.Lab, v *result.Verdict) error { return g.checkLink(logs, v) })
}

// readLogs reads every log of the answer: a dmesg text may hold either part.
func (g *grading) readLogs() (*walkLogs, error) {
	l := &walkLogs{notes: map[string][]pagewalk.Note{}}
	for _, role := range []submission.Role{submission.GuestLog, submission.HostLog} {
		for _, f := range g.answer.Files[role] {
			if _, done := l.notes[f.Path]; done {
				continue
			}
			text, err := submission.ReadText(filepath.Join(g.sub.Dir, filepath.FromSlash(f.Path)), maxLog)
			if err != nil {
				return nil, err
			}
			log, _ := pagewalk.Parse(text) // that there is none is told where it is missed
			l.notes[f.Path] = log.Notes
			for i := range log.Walks {
				log.Walks[i].Source = f.Path
			}
			l.guests, l.hosts = append(l.guests, log.Guests()...), append(l.hosts, log.Hosts()...)
		}
	}
	l.pair, l.linked = pagewalk.Best(l.guests, l.hosts)
	l.environment = pagewalk.Diagnose(l.pair)
	return l, nil
}

// logNames are what the course calls the logs, who prints them, and lines by which each
// is known.
var logNames = map[submission.Role]struct{ file, printer, lines string }{
	submission.GuestLog: {"gpt-dump.txt", "the module in the guest", `" GPT PGD index: 304"`},
	submission.HostLog:  {"ept-dump.txt", "KVM in the host", `" EPT PGD index: 0" and "This is EPT"`},
}

// missing says why there is no walk of a role: no file, or none in it.
func (g *grading) missing(role submission.Role) error {
	name := logNames[role]
	files := g.answer.Files[role]
	if len(files) == 0 {
		return notGraded(fmt.Sprintf("no %s was handed in: %s, what %s prints", role, name.file, name.printer))
	}
	return result.Errorf(result.Submission, "%s: there is no walk in it: expected what %s prints, lines such as %s", files[0].Path, name.printer, name.lines)
}

// checkLog checks one walk by arithmetic.
func (g *grading) checkLog(id string, logs *walkLogs, role submission.Role, w pagewalk.Walk, all []pagewalk.Walk) {
	g.check(id, func(_ *harness.Lab, v *result.Verdict) error {
		if len(all) == 0 {
			return g.missing(role)
		}
		findings := pagewalk.CheckWalk(w)
		v.Warnings = append(v.Warnings, advice(w, findings)...)
		if err := logs.excuse(w.Kind); err != nil {
			return err
		}
		if u := w.Unmapped; u != nil {
			return result.Errorf(result.Submission, "%s: the walk does not arrive: nothing is mapped at its %s (%s)", place(w, all), w.Name(u.Level), orNone(u.Reason))
		}
		if err := findings.Without(pagewalk.CheckValue).Judge(logs.notes[w.Source]); err != nil {
			return logs.suspect(w.Kind, fmt.Errorf("%s: %w", place(w, all), err))
		}
		v.Message = fmt.Sprintf("consistent, not witnessed: %s: %s", place(w, all), describe(w))
		return nil
	})
}

func orNone(reason string) string {
	if reason == "" {
		return "no reason is given"
	}
	return reason
}

// excuse ends a check where the environment is certainly to blame for what a walk shows.
func (l *walkLogs) excuse(kinds ...pagewalk.Kind) error {
	for _, d := range l.environment {
		for _, k := range kinds {
			if d.Certain && d.Walk == k {
				return notGraded(fmt.Sprintf("the environment: %s, not the code: line %d: %s. Run it again: %s", d.Cause, d.Line, d.Reason, d.Cure))
			}
		}
	}
	return nil
}

// suspect adds to an error of a walk that the environment may be to blame.
func (l *walkLogs) suspect(kind pagewalk.Kind, err error) error {
	for _, d := range l.environment {
		if d.Walk == kind {
			return fmt.Errorf("%w\nIt may be the environment, %s: %s. If so: %s", err, d.Cause, d.Reason, d.Cure)
		}
	}
	return err
}

// place names a walk: file and lines, and which it is of several.
func place(w pagewalk.Walk, all []pagewalk.Walk) string {
	at := fmt.Sprintf("%s, lines %d to %d", w.Source, w.First, w.Last)
	if len(all) > 1 {
		at += fmt.Sprintf(" (the best of %d walks)", len(all))
	}
	return at
}

// describe is what a walk shows.
func describe(w pagewalk.Walk) string {
	var path []string
	for _, s := range w.Steps {
		path = append(path, fmt.Sprintf("%s %d", s.Name, s.Index))
	}
	ends := [2]string{"GPA", "HPA"}
	if w.Kind.Guest() {
		ends = [2]string{"GVA", "GPA"}
	}
	text := fmt.Sprintf("%s %v to %s %v by %d levels of %s, %s, to a page of %d KiB", ends[0], w.Address, ends[1], w.Output, w.Levels, w.Kind, strings.Join(path, ", "), w.PageSize()>>10)
	if w.Value.Seen {
		text += fmt.Sprintf(", which holds %d", w.Value.Value)
	}
	return text
}

// advice is what costs no points.
func advice(w pagewalk.Walk, findings pagewalk.Findings) (warnings []string) {
	for _, f := range findings.With(pagewalk.Advice) {
		warnings = append(warnings, f.String())
	}
	if w.Published() {
		warnings = append(warnings, "these are the numbers printed in the course's text: the log of an own run has others")
	}
	if w.Kind == pagewalk.Shadow {
		warnings = append(warnings, "this is shadow paging, without EPT or NPT: load kvm_intel with ept=1, or kvm_amd with npt=1, to see what the lab is about")
	}
	return warnings
}

// checkLink checks that the two walks are of one access.
func (g *grading) checkLink(logs *walkLogs, v *result.Verdict) error {
	if len(logs.guests) == 0 || len(logs.hosts) == 0 {
		return errors.Join(g.missingOf(logs.guests, submission.GuestLog), g.missingOf(logs.hosts, submission.HostLog))
	}
	guest, host := logs.pair.Guest, logs.pair.Host
	if err := logs.excuse(guest.Kind, host.Kind); err != nil {
		return err
	}
	findings := slices.Concat(pagewalk.CheckJoint(logs.pair), lacks(guest, guest.Output), lacks(host, host.GPA()))
	err := findings.Judge(append(logs.notes[guest.Source], logs.notes[host.Source]...))
	if err != nil {
		return fmt.Errorf("%s, and %s: %w%s", place(guest, logs.guests), place(host, logs.hosts), err, logs.others())
	}
	v.Message = fmt.Sprintf("consistent, not witnessed: both show GPA %v and the number %d", guest.Output, host.Value.Value)
	if host.CR3.Seen {
		v.Message += fmt.Sprintf("; the guest's walk begins at the table in CR3 (%v)", host.CR3)
	}
	return nil
}

func (g *grading) missingOf(walks []pagewalk.Walk, role submission.Role) error {
	if len(walks) > 0 {
		return nil
	}
	return g.missing(role)
}

// lacks are gaps where a walk shows no number, or not the GPA at which the two meet.
func lacks(w pagewalk.Walk, gpa pagewalk.Field) pagewalk.Findings {
	gaps := pagewalk.CheckWalk(w).About(pagewalk.CheckValue)
	gap := func(text string) {
		gaps = append(gaps, pagewalk.Finding{Check: pagewalk.CheckMissing, Severity: pagewalk.Gap, Walk: w.Kind, Text: text})
	}
	if !gpa.Seen {
		gap("no GPA line")
	}
	if w.Unmapped != nil {
		gap("no number, as nothing is mapped")
	}
	return gaps
}

// others lists where the walks end and begin, where there are several and none fit.
func (l *walkLogs) others() string {
	if l.linked || len(l.guests)+len(l.hosts) == 2 {
		return ""
	}
	var end, begin []string
	for _, w := range l.guests[:min(len(l.guests), maxListed)] {
		end = append(end, w.Output.String())
	}
	for _, w := range l.hosts[:min(len(l.hosts), maxListed)] {
		begin = append(begin, w.GPA().String())
	}
	return fmt.Sprintf("\nThe guest's walks end at GPA %s; the host's begin at %s.", strings.Join(end, ", "), strings.Join(begin, ", "))
}

// maxListed is how many addresses a message lists.
const maxListed = 8
