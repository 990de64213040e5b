# virtlab: the labs of a virtualization course on any machine.
# Results of the last run lie in $(OUT); what takes long to build in the cache
# ($XDG_CACHE_HOME/virtlab or ~/.cache/virtlab), which survives make clean.

SHELL       := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

OUT      := out
VIRTLAB  := $(OUT)/virtlab
TIMEOUT  := 40m
FUZZTIME := 20s
BENCH    := .
GO_MIN   := $(shell sed -n 's/^go //p' go.mod)

# What the labs' tests understand; see help below.
# value: a dollar in a regular expression or a path is no variable of make's.
LABFLAGS = $(if $(UNSANDBOXED),-unsandboxed) $(if $(SUBMISSION),-submission '$(abspath $(value SUBMISSION))') $(if $(SEED),-seed $(SEED)) $(if $(ACCEL),-accel $(ACCEL))
# What the comparison understands besides.
BENCHFLAGS = $(if $(MODE),-$(MODE)) $(if $(VMMS),-vmms '$(VMMS)') $(if $(STRATOVIRT),-stratovirt '$(abspath $(value STRATOVIRT))') $(if $(IMAGE),-image '$(abspath $(value IMAGE))') \
	$(if $(DISK),-disk '$(value DISK)') $(if $(RESUME),-resume) $(FLAGS)
RUNFLAG  = $(if $(RUN),-run '$(value RUN)')
# Wrong solutions and comparisons of VMMs take minutes, and tell about the house: make labs leaves them to make test.
QUICK    = $(if $(RUN),,-skip 'Mutants$$|^TestComparison')
EVIDENCE = -artifacts -outputdir '$(CURDIR)/$(OUT)/artifacts'

# $(call tests,NAME,PACKAGES AND FLAGS,FORMAT): go test through gotestsum. A failure is
# kept for later, so that what comes after still runs and the table has it all.
tests = go tool gotestsum --format $(or $(3),testname) --jsonfile $(OUT)/$(1).json $(2) || touch $(OUT)/failed
# The closing table over all streams, and the status of the tests.
table = $(VIRTLAB) table $(addprefix $(OUT)/,$(addsuffix .json,$(1))); test ! -e $(OUT)/failed

.PHONY: help setup labs test test-slurm bench fuzz clean program fresh

## help: this list
help:
	@echo "usage: make TARGET [VARIABLE=VALUE...]"; echo
	@sed -n 's/^## \([a-z-]*\): /  \1\t/p' $(MAKEFILE_LIST) | expand -t 14
	@echo
	@echo "  labs, test: RUN=REGEX  SUBMISSION=DIR-or-ZIP  SEED=N  ACCEL=auto|tcg|kvm  TIMEOUT=$(TIMEOUT)"
	@echo "  bench:      MODE=quick|course  VMMS=qemu-pc,gokvm,...  STRATOVIRT=PROGRAM  IMAGE=FILE  DISK=DEVICE  RESUME=1  BENCH=REGEX  SEED  ACCEL  FLAGS=..."
	@echo "  fuzz:       FUZZTIME=$(FUZZTIME)"

## setup: install missing Debian packages and build what the labs boot
setup: program
	@$(VIRTLAB) setup

## labs: set up, run the experiments, and show a table of their results
labs: setup fresh
	@$(call tests,labs,-- $(EVIDENCE) -count 1 -timeout $(TIMEOUT) $(RUNFLAG) $(QUICK) ./labs/... $(LABFLAGS))
	@$(call table,labs)

## test: all of it: vet, unit tests, the labs, and the labs with -tags kvm inside L1
test: setup fresh
	go vet ./...
	go vet -tags kvm ./labs/...
	go vet -tags slurm ./cmd/virtlab
	@$(call tests,unit,-- -timeout $(TIMEOUT) ./harness/... ./cmd/...,pkgname)
	@$(call tests,labs,-- $(EVIDENCE) -count 1 -timeout $(TIMEOUT) $(RUNFLAG) ./labs/... $(LABFLAGS))
	CGO_ENABLED=0 go test -c -o $(OUT)/trap.test ./harness/trap
	@$(call tests,trap,--raw-command -- go tool test2json -t -p virtlab/harness/trap $(VIRTLAB) l1 $(OUT)/trap.test -test.v=test2json -test.timeout $(TIMEOUT) -test.run Cell)
	CGO_ENABLED=0 go test -c -tags kvm -o $(OUT)/labs-kvm.test ./labs
	@$(call tests,kvm,--raw-command -- go tool test2json -t -p virtlab/labs $(VIRTLAB) l1 $(OUT)/labs-kvm.test -test.v=test2json -test.timeout $(TIMEOUT) -test.run '^TestKVM')
	@$(call table,unit labs trap kvm)

## test-slurm: a class as a job array on a Slurm that the test sets up on this machine
test-slurm: setup
	go test -tags slurm -count 1 -timeout $(TIMEOUT) -run '^TestSlurm$$' ./cmd/virtlab

## bench: compare the VMMs; report in out/bench/DATE, benchstat's summary at the end
bench: program fresh
	@$(VIRTLAB) setup -debian
	@go test -timeout 0 -run '^$$' -bench '$(value BENCH)' ./labs $(LABFLAGS) $(BENCHFLAGS) | tee -i $(OUT)/bench.txt
	@go tool benchstat -col /vmm $(OUT)/bench.txt

## fuzz: each fuzz target for FUZZTIME
fuzz: program
	@for pkg in $$(go list ./harness/... ./cmd/...); do \
		for target in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "$$pkg $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$pkg; \
		done; \
	done

## clean: remove the results; with CACHE=1 also what takes minutes to build
clean:
	rm -rf $(OUT)
	$(if $(CACHE),cache="$${XDG_CACHE_HOME:-$$HOME/.cache}/virtlab"; test ! -d "$$cache" || chmod -R u+w "$$cache"; rm -rf "$$cache")

# The command line, built anew each time: go knows whether there is anything to do.
program:
	@command -v go >/dev/null || { echo "virtlab needs Go $(GO_MIN) or later, and there is no go in PATH: see https://go.dev/doc/install" >&2; exit 1; }
	@have=$$(go env GOVERSION) && printf '%s\n' go$(GO_MIN) "$$have" | sort -V -C || \
		{ echo "virtlab needs Go $(GO_MIN) or later, this is $${have:-another}: see https://go.dev/doc/install" >&2; exit 1; }
	@mkdir -p $(OUT)
	@CGO_ENABLED=0 go build -o $(VIRTLAB) ./cmd/virtlab

# Away with the results of the last run: a stale stream would look like today's.
fresh: program
	@rm -rf $(OUT)/artifacts $(OUT)/failed $(OUT)/*.json $(OUT)/*.test
	@mkdir -p $(OUT)/artifacts
