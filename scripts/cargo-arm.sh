#!/usr/bin/env bash
# `cargo <args> --target thumbv7em-none-eabi`, by whichever toolchain has that target's core library: the one on PATH
# (rustup target add thumbv7em-none-eabi), or Debian's rustc-web with rust-web-src, which builds core itself.
# `--which` only says which it would be.
set -euo pipefail
target=thumbv7em-none-eabi
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/arm"
# SHA-256 as a loop: 1.5 KB of code instead of 7.
export CARGO_TARGET_THUMBV7EM_NONE_EABI_RUSTFLAGS='--cfg sha2_backend="soft" --cfg sha2_backend_soft="compact"'

libdir=$(rustc --print target-libdir --target $target 2>/dev/null || true)
if compgen -G "$libdir/libcore-*.rlib" >/dev/null; then
    how=target
elif [ -x /usr/bin/cargo ] && [ -f "$(/usr/bin/rustc --print sysroot 2>/dev/null)/lib/rustlib/src/rust/library/core/Cargo.toml" ]; then
    how=build-std
else
    echo "no Rust for $target: 'rustup target add $target', or 'apt-get install rustc-web cargo-web rust-web-src'" >&2
    exit 1
fi
if [ "${1:-}" = --which ]; then echo $how; exit; fi
case $how in
    target) exec cargo "$@" --target $target ;;
    build-std) RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 exec /usr/bin/cargo "$@" --target $target -Zbuild-std=core ;;
esac
