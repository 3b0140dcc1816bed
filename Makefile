# waft: what one does with this repository. `make` lists it.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:

TARGET := $(abspath $(or $(CARGO_TARGET_DIR),target))
export CARGO_TARGET_DIR := $(TARGET)
STAMPS := $(TARGET)/stamps
VENV   := $(abspath .venv)
PY     := $(VENV)/bin/python
export PATH := $(VENV)/bin:$(PATH)

RUST_SOURCES := Cargo.toml Cargo.lock $(shell find core ffi python sim -name '*.rs' -o -name Cargo.toml 2>/dev/null)
PY_SOURCES   := $(shell find python \( -name '*.py' -o -name '*.pyi' -o -name '*.toml' \) 2>/dev/null)
# What properties are tried with is drawn from this: the same each time. `make properties` draws anew.
SEED ?= 1
# Seconds for all fuzz targets together.
FUZZ_SECONDS ?= 50
# How many files of Python tests run side by side: most of them wait for sockets. `make test-python WORKERS=0` runs one after another.
WORKERS ?= 4

##@ What newcomers run
.PHONY: help
help: ## this list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' Makefile

.PHONY: demo
demo: setup firmware c-examples ## a signed update by models A, B and C to devices in Rust, C and Python (FIRMWARE=path for your own image)
	@cargo build -q --release -p waft --examples --all-features
	@waft demo --rust-device $(TARGET)/release/examples/device --c-device $(TARGET)/c/device \
		--firmware '$(or $(FIRMWARE),$(TARGET)/bare/libwaft.a)' $(DEMO_FLAGS)

.PHONY: test
test: setup lint test-rust test-features conformance-check header-check test-c test-arm test-python stubtest fuzz-smoke ## every check, real peers included; what .ci/run runs
	@echo '== make test: every step passed'

.PHONY: figures
figures: setup firmware ## measure; prints a table and writes target/figures.json
	@$(MAKE) --no-print-directory -s -C tests/arm TARGET=$(TARGET) $(TARGET)/bare/all.elf $(TARGET)/bare/replay.elf $(TARGET)/bare/update.elf
	@$(PY) scripts/figures.py --out $(TARGET)/figures.json

.PHONY: readme
readme: setup firmware ## measure, and write the README's figures
	@$(MAKE) --no-print-directory -s -C tests/arm TARGET=$(TARGET) $(TARGET)/bare/all.elf $(TARGET)/bare/replay.elf $(TARGET)/bare/update.elf
	@$(PY) scripts/figures.py --out $(TARGET)/figures.json --readme

.PHONY: size
size: firmware ## what the bytes of the MQTT client's code go to, function by function (CAPABILITY=agent for others)
	@python3 scripts/figures.py --explain $(or $(CAPABILITY),mqtt_client)

.PHONY: conformance
conformance: ## the statements of the standards, where each is kept, what tests it
	@python3 scripts/conformance.py

##@ Set-up
.PHONY: setup
setup: $(STAMPS)/packages $(STAMPS)/python ## Debian packages, .venv, the Python wheel; quick the second time

$(STAMPS)/packages: scripts/setup.sh
	@mkdir -p $(STAMPS)
	@scripts/setup.sh packages
	@touch $@

$(STAMPS)/venv: scripts/setup.sh $(STAMPS)/packages
	@scripts/setup.sh venv
	@touch $@

$(STAMPS)/python: $(STAMPS)/venv $(RUST_SOURCES) $(PY_SOURCES)
	@echo '== python: building the extension into .venv'
	@scripts/setup.sh wheel
	@touch $@

##@ The steps of `make test`
.PHONY: lint
lint: ## rustfmt, clippy with all features and with none that allocate, rustdoc
	@echo '== lint'
	@cargo fmt --all --check
	@cargo clippy -q --workspace --all-features --all-targets -- -D warnings
	@cargo clippy -q -p waft -- -D warnings
	@RUSTDOCFLAGS=-Dwarnings cargo doc -q --no-deps --workspace --all-features

.PHONY: test-rust
test-rust: ## unit, property and simulator tests
	@echo '== cargo test'
	@PROPTEST_RNG_SEED=$(SEED) cargo test -q --workspace --all-features
	@cargo test -q --release -p waft --all-features --test mqtt_large

.PHONY: properties
properties: ## the properties that tests of the core draw inputs for, with other inputs (ROUNDS=100, some minutes)
	@scripts/properties.sh $(or $(ROUNDS),100)

.PHONY: explore
explore: ## every run of an MQTT session with some messages and faults, to its end (ten minutes; make test does the short ones)
	@cargo test -q --release -p waft --all-features --test mqtt_session -- --ignored --nocapture

.PHONY: powercut
powercut: ## power fails at every byte of an update's life, and again at every byte of what mends it (a quarter of an hour on two cores)
	@$(PY) scripts/powercut.py --out $(TARGET)/figures.json

.PHONY: test-features
test-features: ## core builds and is warning-free with each feature alone
	@echo '== features of core, one by one'
	@scripts/features.sh

.PHONY: conformance-check
conformance-check: ## every normative statement of MQTT and CoAP has its place and its test; the cases are what generates them
	@echo '== conformance'
	@mkdir -p $(TARGET)/conformance
	@python3 tests/conformance/generate.py $(TARGET)/conformance >/dev/null
	@for cases in mqtt_server mqtt_client coap_server coap_client; do cmp $(TARGET)/conformance/$$cases.json tests/conformance/$$cases.json; done
	@python3 scripts/conformance.py --check | grep "bind waft"

.PHONY: header
header: ## generate c-include/waft.h
	@WAFT_HEADER=write cargo test -q -p waft-ffi --test header >/dev/null
	@git --no-pager diff --stat -- c-include/waft.h

.PHONY: header-check
header-check: ## c-include/waft.h is what the sources say
	@echo '== header'
	@cargo test -q -p waft-ffi --test header

.PHONY: test-c
test-c: $(STAMPS)/packages ## the C tests against the hosted library, under valgrind too; what `make install` leaves
	@echo '== C'
	@$(MAKE) --no-print-directory -s -C tests/c check TARGET=$(TARGET)
	@$(MAKE) --no-print-directory -s install PREFIX=$(TARGET)/installed
	@$(MAKE) --no-print-directory -s -C tests/c check-installed TARGET=$(TARGET) VERSION=$(VERSION)

.PHONY: firmware
firmware: $(STAMPS)/packages ## libwaft.a for thumbv7em and the bare-metal images
	@$(MAKE) --no-print-directory -s -C c-include/examples/cortex-m TARGET=$(TARGET)

.PHONY: c-examples
c-examples: ## libwaft for this host and the C examples
	@$(MAKE) --no-print-directory -s -C c-include/examples/posix TARGET=$(TARGET)

.PHONY: test-arm
test-arm: firmware ## no panic in the firmware, and its sessions in QEMU
	@echo '== firmware (qemu-system-arm)'
	@$(MAKE) --no-print-directory -s -C tests/arm check TARGET=$(TARGET)

.PHONY: test-python
test-python: setup c-examples ## pytest: the Python package, and everything against real peers
	@echo '== pytest'
	@cargo build -q --release -p waft --examples --all-features
	@cargo build -q -p waft-interop
	@$(PY) -m pytest -q -n $(WORKERS) --dist loadfile python tests

.PHONY: stubtest
stubtest: setup ## the stubs say what the extension does
	@echo '== stubtest'
	@$(PY) -m mypy.stubtest waft._native && cd python && $(PY) -m mypy

.PHONY: fuzz-smoke
fuzz-smoke: ## each fuzz target for a moment, a minute in all
	@echo '== fuzz'
	@scripts/fuzz.sh $(FUZZ_SECONDS)

##@ The C library
PREFIX ?= /usr/local
VERSION := $(shell sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -1)
.PHONY: install
install: ## libwaft.a, waft.h, pkg-config and CMake files for this host, under PREFIX (/usr/local)
	@cargo build -q --release -p waft-ffi
	@install -d $(DESTDIR)$(PREFIX)/lib/pkgconfig $(DESTDIR)$(PREFIX)/lib/cmake/waft $(DESTDIR)$(PREFIX)/include
	@install -m 644 $(TARGET)/release/libwaft_ffi.a $(DESTDIR)$(PREFIX)/lib/libwaft.a
	@install -m 644 c-include/waft.h $(DESTDIR)$(PREFIX)/include/
	@install -m 644 c-include/cmake/waft-config.cmake $(DESTDIR)$(PREFIX)/lib/cmake/waft/
	@sed 's#@PREFIX@#$(PREFIX)#; s#@VERSION@#$(VERSION)#' c-include/pkgconfig/waft.pc.in > $(DESTDIR)$(PREFIX)/lib/pkgconfig/waft.pc
	@sed 's#@VERSION@#$(VERSION)#' c-include/cmake/waft-config-version.cmake.in > $(DESTDIR)$(PREFIX)/lib/cmake/waft/waft-config-version.cmake

##@ Tidying
.PHONY: clean
clean: ## forget everything that was built
	@rm -rf $(TARGET) $(VENV)
