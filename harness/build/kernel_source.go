package build

import (
	"archive/tar"
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"virtlab/harness/result"
)

// KernelSourceDir is where Debian's linux-source packages put their tarballs.
const KernelSourceDir = "/usr/src"

// KernelSource is the tarball of a linux-source package.
type KernelSource struct {
	Path    string // .../linux-source-6.1.tar.xz
	Version string // the package's version, which tells rebuilds of one 6.1 apart
}

var kernelTarball = regexp.MustCompile(`^linux-source-(\d+)\.(\d+)\.tar\.xz$`)

// FindKernelSource gives the newest kernel source in dir.
func FindKernelSource(dir string) (KernelSource, error) {
	files, err := filepath.Glob(filepath.Join(dir, "linux-source-*.tar.xz"))
	if err != nil {
		return KernelSource{}, err
	}
	newest, found := "", [2]int{}
	for _, f := range files {
		if v, ok := seriesOf(f); ok && (v[0] > found[0] || v[0] == found[0] && v[1] > found[1]) {
			newest, found = f, v
		}
	}
	if newest == "" {
		return KernelSource{}, result.Errorf(result.Host, "no linux-source-*.tar.xz in %s", dir).
			WithHint("run make setup, or: apt-get install linux-source")
	}
	version, err := sourceVersion(newest)
	return KernelSource{Path: newest, Version: version}, err
}

// seriesOf is the {6, 1} of linux-source-6.1.tar.xz.
func seriesOf(file string) (v [2]int, ok bool) {
	m := kernelTarball.FindStringSubmatch(filepath.Base(file))
	if m == nil {
		return v, false
	}
	major, err1 := strconv.Atoi(m[1])
	minor, err2 := strconv.Atoi(m[2])
	return [2]int{major, minor}, err1 == nil && err2 == nil
}

// sourceVersion is the version of the package that owns the tarball; for a
// tarball that no package owns, its size and time of change.
func sourceVersion(tarball string) (string, error) {
	st, err := os.Stat(tarball)
	if err != nil {
		return "", err
	}
	pkg := strings.TrimSuffix(filepath.Base(tarball), ".tar.xz")
	if filepath.Dir(tarball) == KernelSourceDir {
		out, err := exec.Command("dpkg-query", "-W", "-f", "${Version}", pkg).Output()
		if err == nil && len(out) > 0 {
			return pkg + " " + string(out), nil
		}
	}
	return fmt.Sprintf("%s %d bytes of %s", pkg, st.Size(), st.ModTime().UTC().Format("2006-01-02 15:04:05.000")), nil
}

// The tarball has 1.3 GB in 79,000 files. The lab kernel needs a fifth of it:
// from the directories named here only the Kconfig files and Makefiles are
// unpacked, which Kconfig and Kbuild read whatever is configured. Who turns on
// something new in lab.config may have to take its directory off this list: the
// build then stops with "No rule to make target".
var unneededKernelDirs = wordSet(`
	Documentation LICENSES rust samples sound tools certs/extra
	drivers/accel drivers/accessibility drivers/android drivers/ata drivers/atm drivers/auxdisplay drivers/bcma
	drivers/bluetooth drivers/bus drivers/clk drivers/comedi drivers/counter drivers/crypto drivers/cxl
	drivers/devfreq drivers/edac drivers/extcon drivers/firewire drivers/fpga drivers/fsi drivers/gpu
	drivers/greybus drivers/hid drivers/hsi drivers/hwtracing drivers/i3c drivers/iio drivers/infiniband
	drivers/interconnect drivers/isdn drivers/leds drivers/macintosh drivers/mailbox drivers/md drivers/media
	drivers/memstick drivers/message drivers/mfd drivers/misc drivers/mmc drivers/most drivers/mtd
	drivers/net/can drivers/net/dsa drivers/net/ethernet drivers/net/phy drivers/net/usb drivers/net/wan
	drivers/net/wireless drivers/net/wwan drivers/nfc drivers/ntb drivers/nvdimm drivers/nvme drivers/parport
	drivers/pcmcia drivers/peci drivers/perf drivers/phy drivers/pinctrl drivers/platform drivers/power/supply
	drivers/rapidio drivers/regulator drivers/remoteproc drivers/s390 drivers/scsi drivers/sh drivers/siox
	drivers/slimbus drivers/soc drivers/soundwire drivers/spi drivers/spmi drivers/ssb drivers/staging
	drivers/target drivers/tee drivers/thunderbolt drivers/ufs drivers/usb drivers/vfio drivers/vhost
	drivers/video drivers/w1 drivers/watchdog drivers/xen
	fs/9p fs/adfs fs/affs fs/afs fs/bcachefs fs/befs fs/bfs fs/btrfs fs/ceph fs/cifs fs/coda fs/cramfs fs/dlm
	fs/ecryptfs fs/efs fs/erofs fs/exfat fs/ext2 fs/f2fs fs/freevxfs fs/fuse fs/gfs2 fs/hfs fs/hfsplus
	fs/hpfs fs/jffs2 fs/jfs fs/ksmbd fs/minix fs/netfs fs/nfs fs/nfsd fs/nilfs2 fs/ntfs fs/ntfs3
	fs/ocfs2 fs/omfs fs/orangefs fs/overlayfs fs/qnx4 fs/qnx6 fs/reiserfs fs/romfs fs/smb fs/squashfs fs/sysv
	fs/ubifs fs/udf fs/ufs fs/xfs fs/zonefs
	net/6lowpan net/9p net/appletalk net/atm net/ax25 net/batman-adv net/bluetooth net/bridge net/caif net/can
	net/ceph net/dccp net/decnet net/dsa net/ieee802154 net/kcm net/l2tp net/lapb net/llc net/mac80211
	net/mac802154 net/mpls net/mptcp net/ncsi net/netfilter net/netrom net/nfc net/openvswitch net/phonet
	net/psample net/qrtr net/rds net/rose net/rxrpc net/sctp net/smc net/sunrpc net/tipc net/wireless net/x25
`)

// Exceptions to the list above: what a kernel build uses of tools.
var neededKernelDirs = wordSet(`
	tools/arch/x86 tools/build tools/include tools/lib tools/objtool tools/scripts
`)

func wordSet(words string) map[string]bool {
	set := map[string]bool{}
	for _, n := range strings.Fields(words) {
		set[n] = true
	}
	return set
}

// neededKernelFile says whether the file of this name, relative to the top of
// the source, is unpacked.
func neededKernelFile(name string) bool {
	base := path.Base(name)
	switch {
	case strings.HasPrefix(base, "Kconfig"):
		return true
	case foreignArch(name):
		return false
	case strings.HasPrefix(base, "Makefile"), base == "Kbuild":
		return true
	}
	return below(name, neededKernelDirs) || !below(name, unneededKernelDirs)
}

// foreignArch says whether name belongs to an architecture other than x86;
// files of arch itself belong to all.
func foreignArch(name string) bool {
	rest, ok := strings.CutPrefix(name, "arch/")
	arch, _, isDir := strings.Cut(rest, "/")
	return ok && isDir && arch != "x86"
}

// below says whether name lies in one of dirs.
func below(name string, dirs map[string]bool) bool {
	for d := path.Dir(name); d != "."; d = path.Dir(d) {
		if dirs[d] {
			return true
		}
	}
	return false
}

// unpackKernel unpacks the needed part of the tarball into dir, without the
// directory that tops all names in it. xz runs on all cores.
func unpackKernel(ctx context.Context, tarball, dir string) error {
	xz := exec.CommandContext(ctx, "xz", "--threads=0", "--decompress", "--stdout", tarball)
	out, err := xz.StdoutPipe()
	if err != nil {
		return err
	}
	var stderr strings.Builder
	xz.Stderr = &stderr
	if err := xz.Start(); err != nil {
		return err
	}
	err = untar(bufio.NewReaderSize(out, 1<<20), dir, neededKernelFile)
	if err != nil {
		_ = xz.Process.Kill()
	}
	if werr := xz.Wait(); err == nil && werr != nil {
		err = fmt.Errorf("%w: %s", werr, strings.TrimSpace(stderr.String()))
	}
	if err != nil {
		return fmt.Errorf("unpacking %s: %w", tarball, err)
	}
	return nil
}

// untar unpacks into dir what keep wants, with the first element of each name
// taken off. File times are kept: make looks at them.
func untar(r io.Reader, dir string, keep func(name string) bool) error {
	for t := tar.NewReader(r); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		_, name, ok := strings.Cut(strings.TrimPrefix(h.Name, "./"), "/")
		if !ok || name == "" || !filepath.IsLocal(name) || h.Typeflag == tar.TypeDir || !keep(name) {
			continue
		}
		if err := untarFile(t, h, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
}

func untarFile(r io.Reader, h *tar.Header, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if h.Typeflag == tar.TypeSymlink {
		return os.Symlink(h.Linkname, to)
	}
	if h.Typeflag != tar.TypeReg {
		return nil
	}
	f, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, h.FileInfo().Mode().Perm()|0o200)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Chtimes(to, h.ModTime, h.ModTime)
}
