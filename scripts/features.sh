#!/usr/bin/env bash
# Checks `core` with the sets of features that users combine: each alone, none, and those without an allocator.
set -euo pipefail
cd "$(dirname "$0")/.."
sets=("" mqtt coap ota alloc std author "mqtt coap" "mqtt ota" "coap ota" "mqtt alloc" "coap alloc" "ota alloc"
      "mqtt coap ota opt-size" "mqtt coap ota alloc")
for set in "${sets[@]}"; do
    RUSTFLAGS="${RUSTFLAGS:-} -Dwarnings" CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/features" \
        cargo check -q -p waft --no-default-features --features "$set" || { echo "with features '$set'"; exit 1; }
done
echo "${#sets[@]} sets of features build"

# What hosts have and firmware (opt-size) has not: the short ways of the MQTT client.
cargo test -q -p waft --features mqtt --lib mqtt:: >/dev/null
