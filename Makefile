# Every target runs from a clean checkout; `make help` lists them. Names are public API.
#
#   MIRROR=URL     Debian mirror (default: the host's own)      SNAPSHOT=URL   dated snapshot archive
#   CVM_CACHE=DIR  the cache (default: ~/.cache/cvm-image)      SIGNING_KEY=F  signs SHA256SUMS
#   OUTPUT=DIR     where files go (default: build)          FUZZ_SECONDS=N for each fuzz target (default: 30)

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
.PHONY: help setup lock tools image-base image-buildernet measurements measurements-base \
	measurements-buildernet publish-measurements run test check fuzz lock-fuzz bench reproduce \
	pool-export pool-import clean clean-cache

help: ## This list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-24s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

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

measurements: measurements-base measurements-buildernet ## Predict the registers of both images and compare with the published

measurements-base: image-base ## Predict PCR 4, 9, 11 of the base image and compare
	@scripts/measurements base "$(OUTPUT)"

measurements-buildernet: image-buildernet ## Predict PCR 4, 9, 11 of the BuilderNet image and compare
	@scripts/measurements buildernet "$(OUTPUT)"

publish-measurements: image-base image-buildernet ## Write measurements/published from the built images (review, then commit)
	@scripts/measurements --publish base "$(OUTPUT)"
	@scripts/measurements --publish buildernet "$(OUTPUT)"

run: image-buildernet ## Boot the .vhd in QEMU with a TPM, prove its registers; CONSOLE=1 shows the console
	@scripts/run "$(OUTPUT)/buildernet-$(VERSION)-azure-tdx.vhd" $(if $(CONSOLE),--console)

test: image-buildernet ## All tests: unit and integration, the image booted and attacked, other boot chains booted
	@scripts/check test
	@scripts/boot-test "$(OUTPUT)/buildernet-$(VERSION)-azure-tdx.vhd"
	@scripts/chain-test "$(OUTPUT)/buildernet-$(VERSION)-azure-tdx.vhd"
	@scripts/azure-sim-test "$(OUTPUT)/buildernet-$(VERSION)-azure-tdx.vhd"

check: setup ## What CI holds every commit to, without booting: format, lints, tests, docs, licences, units
	@scripts/check all

fuzz: setup ## Fuzz all parsers, or TARGET; INPUT=FILE runs it on one input, MINIMISE=1 makes that smaller
	@python3 scripts/fuzz --seconds "$(or $(FUZZ_SECONDS),30)" $(if $(MINIMISE),--minimise) $(TARGET) $(INPUT)

lock-fuzz: setup ## Bring fuzz/Cargo.lock to the versions that Cargo.lock has
	@cp Cargo.lock fuzz/Cargo.lock
	@$(HERMETIC) cargo --net host -- update --workspace --manifest-path fuzz/Cargo.toml

bench: image-buildernet ## Measure times, sizes and memory into build/bench
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
