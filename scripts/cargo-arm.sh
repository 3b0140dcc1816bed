#!/usr/bin/env bash
# `cargo <args> --target thumbv7em-none-eabi`, by whichever toolchain has that target's core library: the one on PATH
# (rustup target add thumbv7em-none-eabi), or one that has core's source and builds it (rustup component add rust-src;
# Debian's rustc-web and rust-web-src).
#
# WAFT_TRAP=1 builds core too, where that can be had, so that a panic is one trapping instruction without a message, and no
# function keeps a frame pointer: what a device ships. Without it panics keep their symbols, which tests/arm/panics.py
# looks for.
# `--which` only says which it would be: target, source, debian, and with WAFT_TRAP=1 rather one of the last two.
set -euo pipefail
target=thumbv7em-none-eabi
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/arm"
# SHA-256 as a loop: 1.5 KB of code instead of 7.
flags='--cfg sha2_backend="soft" --cfg sha2_backend_soft="compact"'
# What is looked through for panics keeps calls in the functions that make them: a piece that several share has no name to tell.
[ -n "${WAFT_TRAP:-}" ] || flags+=' -Cllvm-args=-enable-machine-outliner=never'

has_target() { compgen -G "$(rustc --print target-libdir --target $target 2>/dev/null)/libcore-*.rlib" >/dev/null; }
has_source() {
    [ -f "$("$1" --print sysroot 2>/dev/null)/lib/rustlib/src/rust/library/core/Cargo.toml" ] &&
        [ "$("$1" --version | sed 's/^rustc 1\.\([0-9]*\).*/\1/')" -ge 88 ]
}

how=
if has_target; then how=target; fi
if [ -z "$how" ] || [ -n "${WAFT_TRAP:-}" ]; then
    if has_source rustc; then
        how=source
    elif [ -x /usr/bin/cargo ] && [ -x /usr/bin/rustc ] && has_source /usr/bin/rustc; then
        how=debian
    fi
fi
if [ -z "$how" ]; then
    echo "no Rust for $target: 'rustup target add $target', or 'apt-get install rustc-web cargo-web rust-web-src'" >&2
    exit 1
fi
if [ "${1:-}" = --which ]; then echo $how; exit; fi
if [ -n "${WAFT_TRAP:-}" ]; then
    CARGO_TARGET_DIR+=-trap
    if [ $how = target ]; then
        echo "core's source is missing, so panics keep their symbols: 'rustup component add rust-src'" >&2
    else
        rustc=$([ $how = debian ] && echo /usr/bin/rustc || echo rustc)
        if RUSTC_BOOTSTRAP=1 $rustc -Zunstable-options -Cpanic=immediate-abort --print cfg >/dev/null 2>&1; then
            flags+=' -Zunstable-options -Cpanic=immediate-abort'
        else # before Rust 1.91
            set -- "$@" -Zbuild-std-features=panic_immediate_abort
        fi
        # The target of Rust has frame pointers for debuggers without unwind tables, as GCC's has not. They take two
        # instructions in each function and one of the eight registers that short instructions reach: a sixteenth of the code.
        spec=$CARGO_TARGET_DIR/$target.json
        mkdir -p "$CARGO_TARGET_DIR"
        RUSTC_BOOTSTRAP=1 $rustc -Zunstable-options --print target-spec-json --target $target |
            sed 's/"frame-pointer": "always"/"frame-pointer": "may-omit"/' >"$spec.new"
        if cmp -s "$spec.new" "$spec"; then rm "$spec.new"; else mv "$spec.new" "$spec"; fi
        target=$spec
        cargo=${rustc%rustc}cargo
        if RUSTC_BOOTSTRAP=1 $cargo -Zhelp 2>/dev/null | grep json-target-spec >/dev/null; then # newer ones ask for it
            set -- "$@" -Zjson-target-spec
        fi
    fi
fi
export CARGO_TARGET_THUMBV7EM_NONE_EABI_RUSTFLAGS=$flags
case $how in
    target) exec cargo "$@" --target "$target" ;;
    source) RUSTC_BOOTSTRAP=1 exec cargo "$@" --target "$target" -Zbuild-std=core ;;
    debian) RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 exec /usr/bin/cargo "$@" --target "$target" -Zbuild-std=core ;;
esac
