#!/usr/bin/env bash
# Tries the properties of core with other inputs than `make test` does: scripts/properties.sh [rounds, default 100] [first seed]
#
# A round is one seed of PROPTEST_RNG_SEED, in an optimised build that checks arithmetic. The first failure ends it; what failed is
# printed smaller, with the seed that shows it again. What is found becomes a test of its own.
set -euo pipefail
cd "$(dirname "$0")/.."

rounds=${1:-100}
first=${2:-$((RANDOM << 15 | RANDOM))}
# The functions inside of these macros (and a few behind one that stands in a module: they do no harm).
mapfile -t names < <(find core/src core/tests -name '*.rs' -exec awk '
    FNR == 1 || /^}/ {inside = 0}
    /(proptest|prop_state_machine)! \{/ {inside = 1}
    inside && match($0, /fn [a-z0-9_]+/) {print substr($0, RSTART + 3, RLENGTH - 3)}' {} + | sort -u)
echo "${#names[@]} properties, $rounds rounds from seed $first"

export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}/properties" CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS=true \
    CARGO_PROFILE_RELEASE_OVERFLOW_CHECKS=true PROPTEST_MAX_SHRINK_TIME=60000
run() { cargo test -q --release -p waft --all-features --lib --tests "$@"; }
run --no-run
for ((seed = first; seed < first + rounds; seed++)); do
    PROPTEST_RNG_SEED=$seed run -- "${names[@]}" >"$CARGO_TARGET_DIR/out" 2>&1 || {
        cat "$CARGO_TARGET_DIR/out"
        echo "the inputs of PROPTEST_RNG_SEED=$seed break a property"
        exit 1
    }
done
echo "no input found that breaks a property"
