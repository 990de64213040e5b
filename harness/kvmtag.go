package harness

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"virtlab/harness/build"
	"virtlab/harness/guest"
	"virtlab/harness/guest/wire"
	"virtlab/harness/kvm"
	"virtlab/harness/machine"
	"virtlab/harness/vmm"
)

// NewKVM begins a lab test that needs this machine's own KVM; without a usable
// one the test fails and says what was probed, measured, and what to do.
func NewKVM(t testing.TB) *Lab {
	t.Helper()
	if accel, why := Accel(); accel != vmm.KVM {
		t.Attr("outcome", "error")
		t.Fatalf("the tag kvm asks for a usable %s: %s\n"+
			"what to do: run on a machine with VT-x or AMD-V and access to %s, or run the test binary inside L1: "+
			"virtlab l1 labs.test -test.run TestKVM", KVMDevice, why, KVMDevice)
	}
	return New(t)
}

// RequireNested ends a test as not graded where KVM gives its guests no VMX or
// SVM (the parameter "nested" of kvm_intel and kvm_amd).
func (l *Lab) RequireNested() {
	l.t.Helper()
	for _, module := range []string{"kvm_intel", "kvm_amd"} {
		b, err := os.ReadFile(filepath.Join("/sys/module", module, "parameters/nested"))
		if err != nil {
			continue
		}
		if v := strings.TrimSpace(string(b)); v != "1" && v != "Y" {
			l.t.Skipf("not graded: %s was loaded with nested=%s; load it with nested=1", module, v)
		}
		return
	}
	l.t.Skipf("not graded: neither kvm_intel nor kvm_amd is loaded, so nothing says whether guests may nest")
}

// LoadKVM brings KVM's modules into a guest without the tools disk and loads
// them.
func (l *Lab) LoadKVM(g *guest.Guest) {
	l.t.Helper()
	for _, ko := range build.KVMModules(Assets().Modules) {
		l.must(machine.Upload(l.Ctx, g, ko, wire.ModuleDir+"/"+filepath.Base(ko)))
	}
	l.must(loadKVM(l.Ctx, g))
}

// MiniVMMOf is MiniVMM for a guest without the tools disk.
func (l *Lab) MiniVMMOf(g *guest.Guest, text, transform string) kvm.Result {
	l.t.Helper()
	const virtlab = "/tmp/virtlab"
	l.must(machine.Upload(l.Ctx, g, filepath.Join(Assets().Programs, "virtlab"), virtlab))
	return l.miniVMM(g, virtlab, text, transform)
}
