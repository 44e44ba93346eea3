# Every target runs from a clean checkout; `make help` lists them. Names are public API.
#
#   MIRROR=URL     Debian mirror (default: the host's own)      SNAPSHOT=URL   dated snapshot archive
#   CVM_CACHE=DIR  the cache (default: ~/.cache/cvm-image)      SIGNING_KEY=F  signs SHA256SUMS
#   OUTPUT=DIR     where files go (default: build)          FUZZ_SECONDS=N for each fuzz target (default: 30)
#
# make run:
#   NODES=N        so many nodes, 1 to 8 (default: 1)       STATE=DIR      keep disks, TPMs and the hub's database
#   CONSOLE=1      show the nodes' consoles                 ONCE=1         end after the checks; the exit status tells
#
# make power-cut-test:
#   CUTS=N         so many cuts (default: 4)                SEED=N         at these moments (default: others each time)

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
export MIRROR SECURITY_MIRROR SNAPSHOT CVM_CACHE SIGNING_KEY

OUTPUT ?= build
VERSION := $(shell sed -n 's/^ImageVersion=//p' meta-base/mkosi.conf)
HERMETIC := python3 scripts/hermetic
# Inside the tools tree, without network.
INSIDE := $(HERMETIC) enter --

# Images share a stage, and outputs a checksum file.
.NOTPARALLEL:
.PHONY: help setup lock tools image-base image-buildernet image-sim measurements measurements-base \
	measurements-buildernet publish-measurements run test fault-test power-cut-test check fuzz lock-fuzz bench reproduce \
	pool-export pool-import clean clean-cache

help: ## This list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-24s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@printf '\nVariables:\n'; sed -n '/^#   /p' $(firstword $(MAKEFILE_LIST)) | sed 's/^#  //'

setup: ## Install the few host packages that are missing (asks for root only then)
	@scripts/setup

lock: setup ## Move packages.lock to today's Debian (new measurements, to publish in the same commit)
	@$(HERMETIC) lock

tools: setup ## Unpack the locked tools
	@$(HERMETIC) enter -- true

image-base: setup ## Build the base image
	@scripts/image base "$(OUTPUT)"

image-buildernet: setup ## Build the BuilderNet image: raw disk, Azure .vhd, .efi, manifest, SBOM, SHA256SUMS
	@scripts/image buildernet "$(OUTPUT)"

image-sim: setup ## Build the image that `make run` boots: the BuilderNet image and one drop-in; never to be released
	@python3 scripts/hermetic image buildernet-sim --output "$(OUTPUT)"

measurements: measurements-base measurements-buildernet ## Predict the registers of both images and compare with the published

measurements-base: image-base ## Predict PCR 4, 9, 11 of the base image and compare
	@scripts/measurements base "$(OUTPUT)"

measurements-buildernet: image-buildernet ## Predict PCR 4, 9, 11 of the BuilderNet image and compare
	@scripts/measurements buildernet "$(OUTPUT)"

publish-measurements: image-base image-buildernet ## Write measurements/published from the built images (review, then commit)
	@scripts/measurements --publish base "$(OUTPUT)"
	@scripts/measurements --publish buildernet "$(OUTPUT)"

run: image-sim ## Run a hub and a node, on a simulated Azure host; Ctrl-C stops them. NODES=2, and more below
	@scripts/run "$(OUTPUT)/buildernet-sim-$(VERSION)-azure-tdx.vhd" $(if $(NODES),--nodes $(NODES)) \
		$(if $(CONSOLE),--console) $(if $(STATE),--state "$(STATE)") $(if $(ONCE),--once)

test: image-buildernet image-sim ## All tests: unit and integration, the image booted and attacked, a network of two
	@scripts/check test
	@scripts/boot-test "$(OUTPUT)/buildernet-$(VERSION)-azure-tdx.vhd"
	@scripts/chain-test "$(OUTPUT)/buildernet-$(VERSION)-azure-tdx.vhd"
	@scripts/azure-sim-test "$(OUTPUT)/buildernet-$(VERSION)-azure-tdx.vhd"
	@scripts/sim-image-test "$(OUTPUT)"
	@scripts/run-test "$(OUTPUT)/buildernet-sim-$(VERSION)-azure-tdx.vhd"
	@scripts/fault-test "$(OUTPUT)/buildernet-sim-$(VERSION)-azure-tdx.vhd" $(if $(CI),--only disk --only change)
	@scripts/power-cut-test "$(OUTPUT)/buildernet-sim-$(VERSION)-azure-tdx.vhd" $(if $(CI),--cuts 2)

fault-test: image-sim ## Make everything around a node fail, and mend it again
	@scripts/fault-test "$(OUTPUT)/buildernet-sim-$(VERSION)-azure-tdx.vhd"

power-cut-test: image-sim ## Cut a node's power at random moments; CUTS=40 before a release
	@scripts/power-cut-test "$(OUTPUT)/buildernet-sim-$(VERSION)-azure-tdx.vhd" $(if $(CUTS),--cuts $(CUTS)) \
		$(if $(SEED),--seed $(SEED))

check: setup ## What CI holds every commit to, without booting: format, lints, tests, docs, licences, units
	@scripts/check all

fuzz: setup ## Fuzz all parsers, or TARGET; INPUT=FILE runs it on one input, MINIMISE=1 makes that smaller
	@python3 scripts/fuzz --seconds "$(or $(FUZZ_SECONDS),30)" $(if $(MINIMISE),--minimise) $(TARGET) $(INPUT)

lock-fuzz: setup ## Bring fuzz/Cargo.lock to the versions that Cargo.lock has
	@cp Cargo.lock fuzz/Cargo.lock
	@$(HERMETIC) cargo --net host -- update --workspace --manifest-path fuzz/Cargo.toml

bench: image-buildernet image-sim ## Measure times, sizes and memory into build/bench
	@scripts/bench "$(OUTPUT)"

reproduce: setup ## Build twice under differing conditions and compare every byte
	@scripts/reproduce "$(OUTPUT)"

pool-export: setup ## Write all locked packages and crates to POOL (default build/pool.tar)
	@$(HERMETIC) pool-export "$(or $(POOL),$(OUTPUT)/pool-$(VERSION).tar)"

pool-import: setup ## Put the files of POOL into the cache
	@$(HERMETIC) pool-import "$(POOL)"

clean: ## Remove outputs
	rm -rf build target

clean-cache: ## Remove everything cached: tools, packages, crates, compiled code
	@scripts/clean-cache
