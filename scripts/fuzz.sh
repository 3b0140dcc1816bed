#!/usr/bin/env bash
# Builds the fuzz targets and lets each run: scripts/fuzz.sh [seconds for all of them, default 50] [target …]
#
# It needs nothing but the stable toolchain and a C++ compiler: these are the flags that `cargo fuzz` gives, without its
# sanitizer (the core has no unsafe code). What is found is kept in fuzz/corpus, what fails in fuzz/artifacts.
set -euo pipefail
cd "$(dirname "$0")/../fuzz"

seconds=${1:-50}
shift || true
if [ $# -gt 0 ]; then
    targets=("$@")
else
    targets=()
    for source in fuzz_targets/*.rs; do
        targets+=("$(basename "$source" .rs)")
    done
fi

host=$(rustc -vV | sed -n 's/^host: //p')
target_dir=${CARGO_TARGET_DIR:-$PWD/../target}/fuzz
flags='--cfg fuzzing -C passes=sancov-module -C codegen-units=1'
for option in sanitizer-coverage-level=4 sanitizer-coverage-inline-8bit-counters sanitizer-coverage-pc-table \
    sanitizer-coverage-trace-compares simplifycfg-branch-fold-threshold=0; do
    flags+=" -C llvm-args=-$option"
done
bins=()
for target in "${targets[@]}"; do
    bins+=(--bin "$target")
done
RUSTFLAGS="${RUSTFLAGS:-} $flags" cargo build --quiet --release --target "$host" --target-dir "$target_dir" "${bins[@]}"

each=$((seconds / ${#targets[@]}))
[ "$each" -gt 0 ] || each=1
for target in "${targets[@]}"; do
    mkdir -p "corpus/$target" artifacts
    options=("-max_total_time=$each" "-artifact_prefix=artifacts/$target-" -print_final_stats=0 -verbosity=0)
    dictionary=dict/${target%%_*}.dict
    [ ! -f "$dictionary" ] || options+=("-dict=$dictionary")
    corpora=("corpus/$target")
    [ ! -d "seeds/$target" ] || corpora+=("seeds/$target")
    if ! "$target_dir/$host/release/$target" "${options[@]}" "${corpora[@]}" >"artifacts/$target.log" 2>&1; then
        tail -n 40 "artifacts/$target.log"
        echo "fuzz: $target failed; the input is in fuzz/artifacts, and so is the log" >&2
        exit 1
    fi
    echo "fuzz: $target ran for $each s"
done
