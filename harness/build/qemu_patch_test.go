package build

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What the insertions look at, as QEMU 7.2 has it, around lines of no interest.
var qemuLines = map[string]string{
	"target/i386/tcg/sysemu/svm_helper.c": "        case SVM_EVTINJ_TYPE_INTR:\n            cs->exception_index = vector;\n" +
		"            do_interrupt_x86_hardirq(env, vector, 1);\n            break;\n",
	"accel/tcg/tcg-accel-ops-mttcg.c": "{\n    tcg_cpu_init_cflags(cpu, current_machine->smp.max_cpus > 1);\n\n    cpu->thread = g_new0(QemuThread, 1);\n",
	"accel/tcg/tcg-accel-ops-rr.c":    "{\n    tcg_cpu_init_cflags(cpu, false);\n\n    if (!single_tcg_cpu_thread) {\n",
}

func TestQEMUInsertions(t *testing.T) {
	tree := t.TempDir()
	writeFiles(t, tree, qemuLines)
	require.NoError(t, insertAll(tree, qemuInsertions, "it", "hint"))

	assert.Contains(t, read(t, tree, "target/i386/tcg/sysemu/svm_helper.c"),
		"hardirq(env, vector, 1);\n            cs->exception_index = -1; /* it is delivered */\n            break;\n")
	assert.Contains(t, read(t, tree, "accel/tcg/tcg-accel-ops-mttcg.c"),
		"max_cpus > 1);\n    cpu->tcg_cflags |= CF_PARALLEL; /* devices run as well */\n\n")
	assert.Contains(t, read(t, tree, "accel/tcg/tcg-accel-ops-rr.c"),
		"(cpu, false);\n    cpu->tcg_cflags |= CF_PARALLEL; /* devices run as well */\n\n")

	assert.ErrorContains(t, insertAll(tree, qemuInsertions, "it", "hint"), "there already")
}

func TestInsertAllNamesWhatDoesNotFit(t *testing.T) {
	err := insertAll(t.TempDir(), qemuInsertions, "what mends it", "look")
	assert.ErrorContains(t, err, "adding what mends it to ")
	assert.ErrorContains(t, err, "svm_helper.c: there are 0 such files, expected one")
}
