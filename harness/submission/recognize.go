package submission

import (
	"path"
	"regexp"
	"slices"
	"strings"
)

// rank is how sure it is that a file is meant for a role.
type rank int

const (
	byName     rank = iota // it has the name that the course asks for
	byContent              // its content says so
	unrenamed              // it has the name that the course gave it before the change
	lastResort             // a log pasted into a report, or in name only
)

// use is what a file can be taken for.
type use struct {
	role Role
	rank rank
}

// FileName is what the course calls a file of this role.
func (r Role) FileName() string {
	switch r {
	case VMM:
		return "modified-qemu.c"
	case Edu:
		return "edu_modified.c"
	case EduOp:
		return "edu-op.json"
	case Driver:
		return "pci_modified.c"
	case Test:
		return "test_modified.c"
	case WalkModule:
		return "gpt-dump_modified.c"
	case GuestLog:
		return "gpt-dump.txt"
	case HostLog:
		return "ept-dump.txt"
	case Measurements:
		return "bench.txt"
	case Report:
		return "report.pdf"
	}
	return "*.h"
}

// courseNames are the keys of the names that the course asks for, and the rank
// of each.
var courseNames = map[string]map[string]use{
	".c": {
		"modifiedqemu": {VMM, byName}, "qemumodified": {VMM, byName}, "sampleqemumodified": {VMM, byName}, "modifiedsampleqemu": {VMM, byName},
		"edumodified": {Edu, byName}, "modifiededu": {Edu, byName},
		"pcimodified": {Driver, byName}, "modifiedpci": {Driver, byName},
		"testmodified": {Test, byName}, "modifiedtest": {Test, byName},
		"sampleqemu": {VMM, unrenamed}, "edu": {Edu, unrenamed}, "pci": {Driver, unrenamed}, "test": {Test, unrenamed},
	},
	".json": {"eduop": {EduOp, byName}},
}

// roleOfName is the role that a name alone tells, "" for none. What is in the
// file may tell otherwise.
func roleOfName(name string) Role {
	if hasControl(name) {
		return ""
	}
	stem, ext := key(name)
	if u, ok := courseNames[ext][stem]; ok {
		return u.role
	}
	switch {
	case ext == ".h":
		return Header
	case isDocument(stem, ext):
		return Report
	case ext == ".csv":
		return Measurements
	case ext == ".c" && (strings.Contains(stem, "gptdump") || strings.HasSuffix(stem, "modified")):
		return WalkModule
	case isPlain(ext) && (strings.Contains(stem, "bench") || strings.Contains(stem, "measure")):
		return Measurements
	case isPlain(ext):
		return logOfName(stem)
	}
	return ""
}

// logOfName is the log that a text's name announces.
func logOfName(stem string) Role {
	switch {
	case strings.Contains(stem, "gptdump"):
		return GuestLog
	case strings.Contains(stem, "eptdump"), strings.Contains(stem, "nptdump"), strings.Contains(stem, "dmesg"):
		return HostLog
	}
	return ""
}

// isPlain says whether an extension is one of texts that programs print.
func isPlain(ext string) bool {
	switch ext {
	case "", ".txt", ".log", ".out", ".text", ".dat", ".dmesg", ".bench", ".console":
		return true
	}
	return false
}

// isDocument says whether a name is a report's.
func isDocument(stem, ext string) bool {
	switch ext {
	case ".pdf", ".md", ".markdown", ".docx", ".doc", ".html", ".htm", ".odt", ".rtf", ".tex", ".pages":
		return true
	case "", ".txt":
		return strings.HasPrefix(stem, "readme") || strings.HasPrefix(stem, "report") || strings.Contains(stem, "报告")
	}
	return false
}

// isProse says whether a document is a text that people paste logs into.
func isProse(ext string) bool {
	return ext == "" || ext == ".txt" || ext == ".md" || ext == ".markdown"
}

// The marks of the two halves of a walk: the names in lines that the course's
// code and ours print. Our guest's module prints "hypercall 22: GPA" itself, so
// that the number alone tells nothing.
var (
	guestMarks = []string{"Value at GVA", "GPT PGD index", "NEXT_LVL_GPA"}
	hostMarks  = []string{"This is EPT", "This is NPT", "This is a shadow page table", "hypercall 22: vCPU", "NEXT_LVL_HPA", "EPT PGD index", "NPT PGD index", "Value at HPA"}
	benchLine  = regexp.MustCompile(`(?m)^\s*Benchmark\S*\s+\d+\s+[-+0-9.eE]+ \S+`)
)

// hasAny says whether a text has one of the marks. Regular expressions would
// take seconds for what a hostile submission can hold.
func hasAny(text string, marks ...string) bool {
	return slices.ContainsFunc(marks, func(mark string) bool { return strings.Contains(text, mark) })
}

func hasBenchmark(text string) bool {
	i := strings.Index(text, "Benchmark")
	return i >= 0 && benchLine.MatchString(text[strings.LastIndexByte(text[:i], '\n')+1:])
}

// maxSource is how much of a C source is looked at. QEMU's edu.c has 12 KiB.
const maxSource = 1 << 20

// recognize says what a file can be taken for, in its name's and its content's
// terms, and why it is not used where that is nothing. content is asked for
// where the name does not settle it.
func recognize(p string, content func(max int64) string) (uses []use, note string) {
	if hasControl(p) {
		return nil, "not used: there are control characters in its name; give it the course's name"
	}
	stem, ext := key(p)
	switch {
	case isBuildFile(path.Base(p), ext):
		return nil, "not used: virtlab builds by itself"
	case ext == ".c":
		return recognizeC(stem, content(maxSource))
	case isDocument(stem, ext):
		return recognizeDocument(ext, content)
	case isPlain(ext):
		return recognizeText(stem, content(MaxText))
	}
	if u, ok := courseNames[ext][stem]; ok {
		return []use{u}, ""
	}
	if role := roleOfName(p); role != "" {
		return []use{{role, byName}}, ""
	}
	return nil, whyUnused(ext)
}

// recognizeC looks at a C source. A *_modified.c is what its content says,
// unless it has one of the course's names.
func recognizeC(stem, content string) (uses []use, note string) {
	if u, ok := courseNames[".c"][stem]; ok {
		return []use{u}, ""
	}
	kind := kindOfC(content)
	switch {
	case strings.Contains(stem, "gptdump") && kind == WalkModule:
		return []use{{WalkModule, byName}}, ""
	case strings.Contains(stem, "modified") && !strings.Contains(stem, "unmodified") && kind != "":
		return []use{{kind, byContent}}, ""
	case kind != "":
		return nil, "not used: it looks like the " + string(kind) + ", which the course calls " + kind.FileName()
	}
	return nil, "not used: none of the course's files"
}

var (
	kernelModule = regexp.MustCompile(`\b(?:module_init|init_module|module_pci_driver)\s*\(`)
	hypercall    = regexp.MustCompile(`\b(?:kvm_)?hypercall\w*\s*\(|\bvmm?call\b`)
	pciDriver    = regexp.MustCompile(`\bpci_driver\b|\bpci_register_driver\b`)
	qemuDevice   = regexp.MustCompile(`qemu/osdep\.h|\btype_init\s*\(`)
	kvmUser      = regexp.MustCompile(`\bKVM_RUN\b|linux/kvm\.h`)
	mainFunction = regexp.MustCompile(`\bmain\s*\(`)
)

// kindOfC is what a C source is by its content, "" for anything else.
func kindOfC(content string) Role {
	module := kernelModule.MatchString(content)
	switch {
	case qemuDevice.MatchString(content):
		return Edu
	case module && pciDriver.MatchString(content):
		return Driver
	case module && hypercall.MatchString(content):
		return WalkModule
	case module:
		return ""
	case kvmUser.MatchString(content) && mainFunction.MatchString(content):
		return VMM
	case mainFunction.MatchString(content):
		return Test
	}
	return ""
}

// recognizeDocument takes a report for a report, and for a log where one was
// pasted into it.
func recognizeDocument(ext string, content func(max int64) string) (uses []use, note string) {
	uses = []use{{Report, byName}}
	if !isProse(ext) {
		return uses, ""
	}
	text := content(MaxText)
	if hasAny(text, guestMarks...) {
		uses = append(uses, use{GuestLog, lastResort})
	}
	if hasAny(text, hostMarks...) {
		uses = append(uses, use{HostLog, lastResort})
	}
	return uses, ""
}

// recognizeText looks at what a program printed. A name that announces a log
// counts also where nothing of a walk is in it: the check shall say so.
func recognizeText(stem, content string) (uses []use, note string) {
	if !isText(content) {
		return nil, "not used: no text"
	}
	named := logOfName(stem)
	add := func(role Role, found bool) {
		switch {
		case found && mainLog(stem) == role:
			uses = append(uses, use{role, byName})
		case found:
			uses = append(uses, use{role, byContent})
		}
	}
	add(GuestLog, hasAny(content, guestMarks...))
	add(HostLog, hasAny(content, hostMarks...))
	add(Measurements, hasBenchmark(content) || hasAny(content, "sysbench 1.", "General statistics:"))
	switch {
	case len(uses) > 0:
		return uses, ""
	case named != "":
		return []use{{named, lastResort}}, "nothing of a walk is in it"
	}
	return nil, "not used: none of the course's files"
}

// mainLog is the log whose own name a text has, "" for a text that may be any.
func mainLog(stem string) Role {
	if strings.Contains(stem, "dmesg") {
		return ""
	}
	return logOfName(stem)
}

func isBuildFile(base, ext string) bool {
	switch strings.ToLower(base) {
	case "makefile", "gnumakefile", "kbuild", "kconfig", "cmakelists.txt", "meson.build", "configure", "dockerfile", "vagrantfile":
		return true
	}
	switch ext {
	case ".sh", ".bash", ".mk", ".bat", ".ps1", ".py", ".cmake", ".pl":
		return true
	}
	return false
}

// whyUnused says what to do instead, where there is something.
func whyUnused(ext string) string {
	switch ext {
	case ".patch", ".diff":
		return "not used: hand in the whole file instead of the difference"
	case ".xlsx", ".xls", ".ods":
		return "not used: save the table as CSV"
	case ".png", ".jpg", ".jpeg", ".gif", ".bmp", ".webp":
		return "a picture, for the one who reads the report"
	case ".zip":
		return "not used: a zip file inside of a zip file inside of a zip file"
	}
	if archiveSuffix("x"+ext) != "" {
		return "not opened: only zip files are"
	}
	return "not used: none of the course's files"
}
