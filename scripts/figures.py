"""Measures what the README claims: prints a table and writes one JSON object, by name:
{"value": number, "unit": text, "peers": {name: number}, "how": the command that gives it}.

    figures.py --out FILE
"""

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
BARE = TARGET / "bare"
BOARD = ROOT / "c-include/examples/cortex-m"
CC = [
    "arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=soft", "-std=c99", "-Os",
    "-ffunction-sections", "-fdata-sections", f"-I{ROOT}/c-include", f"-I{BOARD}",
]  # fmt: skip
LINK = ["-nostartfiles", "-Wl,--gc-sections", "-Wl,-z,noexecstack", "-T", f"{BOARD}/mps2-an386.ld", "--specs=nano.specs"]

# What a capability is: every function of these names.
CAPABILITIES = {
    "mqtt_client": r"waft_mqtt_client_\w+",
    "coap_endpoint": r"waft_coap_\w+",
    "update": r"waft_update_\w+|waft_boot_decide",
    "agent": r"waft_agent_\w+|waft_boot_decide",
}
# The storage of each: its handle, and the memory it is given by default.
STORAGE = {
    "mqtt_client": "sizeof(waft_mqtt_client_t) + 512",
    "coap_endpoint": "sizeof(waft_coap_endpoint_t) + WAFT_COAP_ENDPOINT_MEMORY",
    "update": "sizeof(waft_update_t) + WAFT_KEY_SIZE + 1024",
    "agent": "sizeof(waft_agent_t) + WAFT_AGENT_MEMORY",
}
# Bytes of others, as published or as measured with their own defaults on the same target.
PEERS = {
    "size.mqtt_client.bytes": {"coreMQTT 2.3.1, without UTF-8 checks": 5269},
    "size.coap_endpoint.bytes": {"microcoap, codec alone": 852},
    "size.update.bytes": {"ed25519-compact opt_size alone": 15972, "sha2 0.11 compact alone": 1508},
    "stack.update.bytes": {"ed25519-compact opt_size alone": 5972},
}


def run(*command: str | Path, **options) -> str:
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True, **options).stdout


def functions() -> list[str]:
    header = (ROOT / "c-include/waft.h").read_text()
    return re.findall(r"^[a-z].*?[ *](waft_\w+)\(", header, re.MULTILINE)


def linked_size(name: str, pattern: str) -> int:
    """Bytes of text, rodata and data that the library adds to an image, libc's mem* left out."""
    wanted = [f"-Wl,-u,{function}" for function in functions() if re.fullmatch(pattern, function)]
    map_file = BARE / f"size_{name}.map"
    run(*CC, ROOT / "tests/arm/all.c", BOARD / "board.c", *wanted, BARE / "libwaft.a", *LINK,
        f"-Wl,-Map={map_file}", "-o", BARE / f"size_{name}.elf")  # fmt: skip
    text = map_file.read_text().split("Linker script and memory map", 1)[1].split("/DISCARD/")[0]
    text = re.sub(r"\n {16,}(0x)", r" \1", text)  # a long section name has its numbers on the next line
    total = 0
    for section, size, file in re.findall(r"^ (\.\S+) +0x[0-9a-f]+ +0x([0-9a-f]+) (\S+)$", text, re.MULTILINE):
        ours = "libwaft.a(" in file and section.startswith((".text", ".rodata", ".data"))
        if ours and not re.search(r"\b(mem(cpy|move|set|cmp)|__aeabi_mem)|3mem", section):
            total += int(size, 16)
    return total


def storage() -> dict[str, int]:
    """Bytes of RAM on the target, from the header itself."""
    source = '#include "waft.h"\n' + "".join(f"char {name}[{size}];\n" for name, size in STORAGE.items())
    object_file = BARE / "storage.o"
    run(*CC, "-fno-common", "-x", "c", "-c", "-", "-o", object_file, input=source)
    listing = run("arm-none-eabi-nm", "-S", object_file)
    return {name: int(size, 16) for size, name in re.findall(r"^\S+ (\S+) . (\S+)$", listing, re.MULTILINE)}


def measure() -> dict[str, dict]:
    figures: dict[str, dict] = {}

    def add(name: str, value: float, unit: str, how: str) -> None:
        figures[name] = {"value": value, "unit": unit, "peers": PEERS.get(name, {}), "how": how}

    for name, pattern in CAPABILITIES.items():
        add(f"size.{name}.bytes", linked_size(name, pattern), "bytes", "make figures")
    for name, size in storage().items():
        add(f"ram.{name}.bytes", size, "bytes", "make figures")

    make = ["make", "-s", "-C", ROOT / "tests/arm", f"TARGET={TARGET}"]
    replay = run(*make, "check-replay")
    add("stack.update.bytes", int(re.search(r"^stack (\d+)$", replay, re.MULTILINE)[1]), "bytes", "make test-arm")
    panics = subprocess.run([sys.executable, ROOT / "tests/arm/panics.py", BARE / "replay.elf"],
                            capture_output=True, text=True).stdout  # fmt: skip
    add("panics.firmware.symbols", int(re.search(r"^(\d+) symbols", panics, re.MULTILINE)[1]), "symbols",
        "tests/arm/panics.py target/bare/replay.elf")  # fmt: skip

    wire = run("cargo", "run", "-q", "--release", "-p", "waft-sim", "--example", "wire", cwd=ROOT)
    for name, ratio in json.loads(wire).items():
        add(name, ratio, "bytes on the wire per byte of image", "cargo run --release -p waft-sim --example wire")
    return figures


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    out = parser.parse_args().out
    try:
        figures = measure()
    except subprocess.CalledProcessError as error:
        print(f"figures: {' '.join(map(str, error.cmd))}\n{error.stdout}{error.stderr}", file=sys.stderr)
        return 1
    for name, figure in figures.items():
        peers = ", ".join(f"{peer}: {value:,}" for peer, value in figure["peers"].items())
        print(f"{name:28} {figure['value']:>10,} {figure['unit']:36} {peers}".rstrip())
    out.write_text(json.dumps(figures, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
