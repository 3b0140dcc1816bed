#!/usr/bin/env bash
# Brings a fresh Debian or Ubuntu with a Rust toolchain and Python ≥ 3.11 to where `make test` and `make demo` run.
# It installs what it may (as root or with sudo); what it may not, it names, with the command, and fails.
#   setup.sh packages   Debian packages, Rust for the firmware target
#   setup.sh venv       .venv with maturin
#   setup.sh wheel      the extension, built into .venv, with what the tests need
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(gcc g++ make cmake pkg-config gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm mosquitto mosquitto-clients libcoap3-bin valgrind
    rabbitmq-server nats-server)
arm_rust=(rustc-web cargo-web rust-web-src)

fail() { printf 'setup: %s\n' "$@" >&2; exit 1; }

installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; elif sudo -n true 2>/dev/null; then sudo "$@"; else return 77; fi
}

# apt NAME...: installs what is missing of these, or says how.
apt() {
    local missing=()
    for name in "$@"; do installed "$name" || missing+=("$name"); done
    [ ${#missing[@]} = 0 ] || upgrade "${missing[@]}"
}

# upgrade NAME...: installs the latest of these, or says how.
upgrade() {
    echo "== setup: apt-get install $*"
    local log; log=$(mktemp)
    # The tests start servers of their own: none that comes with a package is to run on this machine.
    local name servers=()
    if [ -d /run/systemd/system ]; then
        for name in "$@"; do
            case "$name" in mosquitto | rabbitmq-server | nats-server) installed "$name" || servers+=("$name") ;; esac
        done
    fi
    if [ ${#servers[@]} != 0 ]; then as_root systemctl mask --runtime "${servers[@]}" >/dev/null 2>&1 || true; fi
    if ! { as_root apt-get -q update && as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y install --no-install-recommends "$@"; } >"$log" 2>&1; then
        tail -n 5 "$log" >&2
        if [ ${#servers[@]} != 0 ]; then as_root systemctl unmask --runtime "${servers[@]}" >/dev/null 2>&1 || true; fi
        fail "these Debian packages are missing: $*" "install them with:  sudo apt-get install $*"
    fi
    if [ ${#servers[@]} != 0 ]; then
        as_root systemctl disable "${servers[@]}" >/dev/null 2>&1 || true
        as_root systemctl unmask --runtime "${servers[@]}" >/dev/null 2>&1 || true
    fi
}

find_python() {
    local python
    for python in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
        if "$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            echo "$python"; return
        fi
    done
    return 1
}

setup_packages() {
    command -v dpkg-query >/dev/null || fail "this is neither Debian nor Ubuntu; provide what these packages bring: ${packages[*]}"
    command -v cargo >/dev/null || fail "no Rust toolchain: see https://rustup.rs (1.88 or later)"
    local have; have=$(rustc --version | sed 's/^rustc 1\.\([0-9]*\).*/\1/')
    [ "$have" -ge 88 ] || fail "Rust 1.88 or later is needed, this is $(rustc --version):  rustup update stable"
    for tool in rustfmt:fmt clippy:clippy; do
        cargo "${tool#*:}" --version >/dev/null 2>&1 || rustup component add "${tool%:*}" >/dev/null 2>&1 ||
            fail "no cargo ${tool#*:}:  rustup component add ${tool%:*}"
    done
    find_python >/dev/null || apt python3 python3-venv
    find_python >/dev/null || fail "Python 3.11 or later with venv is needed:  sudo apt-get install python3 python3-venv, or set PYTHON"
    apt "${packages[@]}"
    # The firmware's core library is built from source, so that a panic in it is a trap: see cargo-arm.sh.
    if ! can_trap; then
        { command -v rustup && timeout 120 rustup component add rust-src; } >/dev/null 2>&1 && can_trap || upgrade "${arm_rust[@]}"
        can_trap || fail "the source of core of Rust 1.88 or later is missing:  rustup component add rust-src, or sudo apt-get update && sudo apt-get install ${arm_rust[*]}"
    fi
}

can_trap() { case "$(WAFT_TRAP=1 scripts/cargo-arm.sh --which 2>/dev/null)" in source | debian) ;; *) return 1 ;; esac; }

setup_venv() {
    local python; python=$(find_python)
    if ! .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
        rm -rf .venv
        "$python" -m venv .venv
    fi
    .venv/bin/python -m pip install -q --disable-pip-version-check 'maturin>=1.9.4,<2' ||
        fail "pip could not install maturin:  .venv/bin/python -m pip install maturin"
}

setup_wheel() {
    local log; log=$(mktemp)
    VIRTUAL_ENV="$PWD/.venv" .venv/bin/maturin develop -q --release -m python/Cargo.toml --extras test >"$log" 2>&1 ||
        { tail -n 40 "$log" >&2; fail "the Python extension did not build:  .venv/bin/maturin develop -m python/Cargo.toml --extras test"; }
}

case "${1:-}" in
    packages | venv | wheel) "setup_$1" ;;
    *) fail "packages, venv or wheel?" ;;
esac
