package vmm

// Console is where the guest's first serial port ends.
type Console string

// The consoles of the VMMs. A VMM on PTY wants its standard input and output to
// be a terminal; one on Socket listens on Config.ConsoleSocket.
const (
	Stdout Console = "stdout"
	PTY    Console = "pty"
	Socket Console = "socket"
)

// End is what a guest must do for its VMM's process to end.
type End string

// The ends. After Halt nothing that the guest does ends the process: it is ended
// from outside.
const (
	Reboot   End = "reboot"
	PowerOff End = "poweroff"
	Halt     End = "halt"
)

// Traits are what a VMM can do and how it behaves.
type Traits struct {
	KVMOnly bool    // it has no emulation
	Console Console // where the first serial port ends
	End     End

	BzImage        bool // boots a compressed kernel
	Vmlinux        bool // boots an uncompressed ELF kernel by its PVH entry
	MinMiB, MaxMiB int  // bounds of guest RAM; MaxMiB 0: none that matters
	MaxVCPUs       int  // 0: as many as KVM has

	MaxDisks int  // 0: any number
	Serials  bool // Disk.ID is the disk's serial number in the guest
	ReadOnly bool // disks can be read-only
	Direct   bool // disks can be opened with O_DIRECT
	Buffered bool // and without
	FileOnly bool // a disk is a regular file: of a block device it sees no size

	Ports        bool // virtio-serial ports; without them no SSH and no guest.Boot
	Monitor      bool // QMP
	NeedsMonitor bool // it does not start without Config.Monitor
	ConfigFile   bool // it reads Config.ConfigFile, which Filer writes
	QEMUDevices  bool // what Config has from QEMU's command line: CPU, HugePages, Devices, TraceFile
}

// Filer is a driver whose VMM reads files besides kernel and disks.
type Filer interface {
	// Files are the files to write before the VMM of c starts, path to content.
	Files(c Config) (map[string]string, error)
}

// refuse finds all that c asks for beyond t, and all that is missing.
func (t Traits) refuse(name string, c Config) error {
	var f faults
	f.add(t.KVMOnly && c.Accel != KVM, "accelerator %q: it runs on KVM only", c.Accel)
	f.add(t.MaxVCPUs > 0 && c.VCPUs > t.MaxVCPUs, "%d vCPUs: it takes %d at most", c.VCPUs, t.MaxVCPUs)
	f.add(c.MemoryMiB < t.MinMiB, "%d MiB of memory: it needs %d at least", c.MemoryMiB, t.MinMiB)
	f.add(t.MaxMiB > 0 && c.MemoryMiB > t.MaxMiB, "%d MiB of memory: it takes %d at most", c.MemoryMiB, t.MaxMiB)
	f.add(len(c.Ports) > 0 && !t.Ports, "virtio-serial ports: it has none that a guest without a console on them can use")
	f.add(c.Monitor != "" && !t.Monitor, "a monitor: it has no QMP")
	f.add(c.Monitor == "" && t.NeedsMonitor, "no socket for its monitor, without which it does not start")
	f.add(c.ConsoleSocket != "" && t.Console != Socket, "a socket for the console, which it has on its %s", t.Console)
	f.add(c.ConsoleSocket == "" && t.Console == Socket, "no socket for the console")
	f.add(c.ConfigFile != "" && !t.ConfigFile, "a configuration file: it has none")
	f.add(c.ConfigFile == "" && t.ConfigFile, "no path for its configuration file")
	t.refuseDisks(&f, c.Disks)
	t.refuseDevices(&f, c)
	return f.err(name)
}

func (t Traits) refuseDisks(f *faults, disks []Disk) {
	f.add(t.MaxDisks > 0 && len(disks) > t.MaxDisks, "%d disks: it has room for %d", len(disks), t.MaxDisks)
	for _, d := range disks {
		f.add(d.ReadOnly && !t.ReadOnly, "disk %s read-only: it opens disks for writing", d.ID)
		f.add(d.NoFlush && !t.QEMUDevices, "disk %s without flushes: it has no such cache mode", d.ID)
		f.add(d.Direct && !t.Direct, "disk %s with O_DIRECT: it goes through the page cache", d.ID)
		f.add(!d.Direct && !t.Buffered, "disk %s without O_DIRECT: it opens disks with it", d.ID)
	}
}

func (t Traits) refuseDevices(f *faults, c Config) {
	if t.QEMUDevices {
		return
	}
	f.add(c.CPU != "", "CPU %q: it has the host's only", c.CPU)
	f.add(c.HugePages, "huge pages for guest RAM: QEMU only")
	f.add(len(c.Devices) > 0, "devices %q: QEMU only", c.Devices)
	f.add(c.TraceFile != "", "a trace of device accesses: QEMU only")
}
