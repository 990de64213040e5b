// Package submission is what students hand in: a zip file, a folder, or a class
// of them, taken in safely, and its files recognized by what the course calls
// them.
//
//	handins, err := submission.Find(paths...)            // who handed in what
//	sub, err := submission.Open(ctx, handins[0], dir, submission.Limits{})
//	for _, answer := range sub.Answers(result.CPU) { ... }
//
// What comes in is hostile until shown otherwise. Open refuses a container that
// tries to leave its folder, to be more than it seems, or that nobody can read
// for certain; a refusal is an error of owner result.Submission with a hint for
// the student, and leaves nothing behind.
package submission

// Role is what a file is for.
type Role string

const (
	VMM          Role = "mini VMM"      // modified-qemu.c
	Edu          Role = "edu device"    // edu_modified.c: QEMU's hw/misc/edu.c, whole
	EduOp        Role = "edu operation" // edu-op.json: what the added function computes
	Driver       Role = "driver"        // pci_modified.c
	Test         Role = "test program"  // test_modified.c
	WalkModule   Role = "walk module"   // *_modified.c with module_init, of the memory lab
	GuestLog     Role = "guest log"     // gpt-dump.txt
	HostLog      Role = "host log"      // ept-dump.txt, or any dmesg text with that part
	Measurements Role = "measurements"  // Go benchmark format or CSV
	Report       Role = "report"        // kept for a person to read
	Header       Role = "header"        // *.h, found by #include
)

// File is a file of a submission.
type File struct {
	Path string // in the submission, slash-separated, as the student named it (UTF-8)
	Role Role   // "" where it is not used
	Note string // why it is not used, or which other file could be meant
	Size int64  // bytes
}

// Submission is one student's work. Its files lie below Dir and nothing else
// does: regular files and folders, names as in File.Path. A path may hold
// spaces, quotes and any script; only a file without a role may have control
// characters in it.
type Submission struct {
	Name    string // fit for a directory's name, and unique within a class
	Student string // in his own writing, UTF-8
	ID      string // from NAME-ID.zip; may be empty
	Source  string // base name of what was handed in
	Digest  string // "sha256:..." of paths and contents, whatever the container
	Dir     string
	Files   []File   // by path; a text with both logs stands there once for each
	Notes   []string // about the whole: folders that were ignored, a nested zip
}
