package image

import (
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"text/template"

	"github.com/kdomanski/iso9660"

	"virtlab/harness/result"
)

// SeedConfig is what a cloud image is told at its first boot.
type SeedConfig struct {
	User          string // "lab": may become root without a password
	PlainPassword string // for the console and SSH; empty: none
	AuthorizedKey string // a line of authorized_keys; empty: none
	Hostname      string
	// InstanceID tells instances apart: cloud-init does its first-boot work anew
	// where it differs from that of the last boot.
	InstanceID string
}

// seedLabel is the volume by which cloud-init knows a seed of its NoCloud data
// source (cloud-init's documentation, "NoCloud").
const seedLabel = "cidata"

// seedFiles are the files of a seed. All values are checked to be plain or stand
// in quotes, as YAML gives many characters a meaning. The user-data is the
// course's, but for its mirrors and package_update: the guest has no route out.
// The network-config serves whatever card the VMM has, on PCI or not.
var seedFiles = map[string]*template.Template{
	"user-data": seedFile(`#cloud-config
users:
- name: {{.User}}
  sudo: ALL=(ALL) NOPASSWD:ALL
  shell: /bin/bash
  groups: [adm, audio, cdrom, dialout, dip, floppy, plugdev, sudo, video, kvm]
  gecos: lab user
{{- if .PlainPassword}}
  plain_text_passwd: '{{quote .PlainPassword}}'
  lock_passwd: false
{{- end}}
{{- if .AuthorizedKey}}
  ssh_authorized_keys:
  - '{{quote .AuthorizedKey}}'
{{- end}}
ssh_pwauth: {{ne .PlainPassword ""}}
`),
	"meta-data": seedFile(`instance-id: '{{.InstanceID}}'
local-hostname: {{.Hostname}}
`),
	"network-config": seedFile(`version: 2
ethernets:
  any:
    match:
      name: e*
    dhcp4: true
`),
}

func seedFile(text string) *template.Template {
	// In single quotes YAML has one special character, which is doubled.
	quote := func(s string) string { return strings.ReplaceAll(s, "'", "''") }
	return template.Must(template.New("seed").Funcs(template.FuncMap{"quote": quote}).Parse(text))
}

// Files gives the files of the seed by name.
func (c SeedConfig) Files() (map[string]string, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	files := map[string]string{}
	for name, t := range seedFiles {
		var b strings.Builder
		if err := t.Execute(&b, c); err != nil {
			return nil, err
		}
		files[name] = b.String()
	}
	return files, nil
}

var (
	userName   = regexp.MustCompile(`^[a-z_][a-z0-9_-]{0,31}$`) // useradd(8)
	hostName   = regexp.MustCompile(`^[a-z]([a-z0-9-]{0,61}[a-z0-9])?$`)
	instanceID = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)
	printable  = regexp.MustCompile(`^[ -~]*$`)
)

// check refuses what would make a seed that says something else.
func (c SeedConfig) check() error {
	var faults []string
	for _, v := range []struct {
		what, value string
		allowed     *regexp.Regexp
	}{
		{"user", c.User, userName},
		{"hostname", c.Hostname, hostName},
		{"instance ID", c.InstanceID, instanceID},
		{"password", c.PlainPassword, printable},
		{"authorized key", strings.TrimSpace(c.AuthorizedKey), printable},
	} {
		if !v.allowed.MatchString(v.value) {
			faults = append(faults, fmt.Sprintf("%s %q does not match %s", v.what, v.value, v.allowed))
		}
	}
	if c.PlainPassword == "" && c.AuthorizedKey == "" {
		faults = append(faults, "neither a password nor a key: nobody could log in")
	}
	if len(faults) == 0 {
		return nil
	}
	return result.Errorf(result.Host, "cloud-init seed: %s", strings.Join(faults, "; "))
}

// WriteSeed writes a seed for cloud-init's NoCloud data source as an ISO 9660
// image at path: a disk for the guest, besides its root disk.
func WriteSeed(path string, c SeedConfig) (err error) {
	c.AuthorizedKey = strings.TrimSpace(c.AuthorizedKey)
	files, err := c.Files()
	if err != nil {
		return err
	}
	iso, err := iso9660.NewWriter()
	if err != nil {
		return fmt.Errorf("seed image: %w", err)
	}
	defer func() { err = errors.Join(err, iso.Cleanup()) }()
	for name, text := range files {
		if err := iso.AddFile(strings.NewReader(text), name); err != nil {
			return fmt.Errorf("seed image: %s: %w", name, err)
		}
	}
	f, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("seed image: %w", err)
	}
	if err := errors.Join(iso.WriteTo(f, seedLabel), wholeBlocks(f), f.Close()); err != nil {
		return fmt.Errorf("seed image: %w", err)
	}
	return nil
}

// wholeBlocks lengthens f to a multiple of 2048 bytes, ISO 9660's block: a disk
// that is shorter than its file system says is read with errors at its end.
func wholeBlocks(f *os.File) error {
	const block = 2048
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	return f.Truncate((end + block - 1) / block * block)
}
