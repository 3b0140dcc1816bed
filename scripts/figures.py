"""Measures what the README claims: prints a table and writes one JSON object, by name:
{"value": number, "unit": text, "peers": {name: number}, "how": the command that gives it}.

    figures.py --out FILE
    figures.py --explain CAPABILITY     # what the bytes of its code go to, function by function
"""

import argparse
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import broker_figures
import update_figures

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
BARE = TARGET / "bare"
BOARD = ROOT / "c-include/examples/cortex-m"
CC = [
    "arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=soft", "-std=c99", "-Os",
    "-ffunction-sections", "-fdata-sections", f"-I{ROOT}/c-include", f"-I{BOARD}",
]  # fmt: skip
LINK = ["-nostartfiles", "-Wl,--gc-sections", "-Wl,-z,noexecstack", "-T", f"{BOARD}/mps2-an386.ld", "--specs=nano.specs"]

# Verbs of the client that the size of MQTT clients is compared by: connect, subscribe at QoS 2, publish at QoS 1, receive,
# keep alive (poll_output says when it is due). The others are measured beside it.
CLIENT_VERBS = "init|connect|subscribe|publish|handle_input|poll_output"

# Verbs of the endpoint that the size of CoAP stacks is compared by: client and server, observing, blocks both ways, duplicates.
ENDPOINT_VERBS = "endpoint_(init|request|cancel|respond|notify|handle_input|poll_output|next_timeout)|options_next"

# Verbs of the update that a device cannot do without; the others tell, postpone, or ask.
UPDATE_VERBS = "init|start|announce|data|done|loaded|failed|confirm|reject|poll_output|next_timeout"

# What a capability is: every function of these names.
CAPABILITIES = {
    "mqtt_client": rf"waft_mqtt_client_({CLIENT_VERBS})",
    "mqtt_client_all": r"waft_mqtt_client_\w+",
    "coap_codec": r"waft_coap_(decode|encode|options_next)",
    "coap_endpoint": rf"waft_coap_({ENDPOINT_VERBS})",
    "coap_endpoint_all": r"waft_coap_\w+",
    "update": r"waft_update_\w+|waft_boot_decide",
    "update_verbs": rf"waft_update_({UPDATE_VERBS})",
    "crypto": r"waft_ed25519_verify|waft_sha256",
    "boot": r"waft_boot_decide",
    # Without the signing of reports, which only those link who ask for it.
    "agent": r"waft_agent_(?!sign_reports)\w+|waft_boot_decide",
    "agent_signing": r"waft_agent_\w+|waft_boot_decide|waft_signer_of_seed",
}
# The storage of each: its handle, and the memory it is given by default.
STORAGE = {
    "mqtt_client": "sizeof(waft_mqtt_client_t) + 512",
    # Its tables at their default lengths, 4, 4, 8 and 4. The arena, where messages are kept, is as long as the user's messages.
    "coap_endpoint": "sizeof(waft_coap_endpoint_t) + WAFT_COAP_MEMORY(4, 4, 8, 4, 0)",
    "coap_endpoint_with_arena": "sizeof(waft_coap_endpoint_t) + WAFT_COAP_ENDPOINT_MEMORY",
    "update": "sizeof(waft_update_t) + WAFT_KEY_SIZE + 1024",
    "agent": "sizeof(waft_agent_t) + WAFT_AGENT_MEMORY",
}
# Figures of others, as published or as measured with their own defaults on the same target; instructions are measured
# by tests/bench beside ours, but for those not on crates.io.
PEERS = {
    "size.mqtt_client.bytes": {
        "paho-embedded, no checks": 4014, "coreMQTT 2.3.1, no UTF-8 checks": 5269, "mqtt-protocol-core": 51676,
    },
    "mqtt.decode_publish_64.ir": {"coreMQTT, no UTF-8 checks": 176},
    "mqtt.decode_publish_1k.ir": {"coreMQTT, no UTF-8 checks": 195},
    "mqtt.decode_connect.ir": {"paho-embedded": 410},
    "mqtt.decode_subscribe_4.ir": {"paho-embedded": 353},
    "mqtt.encode_publish_64.ir": {"coreMQTT": 189},
    "mqtt.encode_publish_1k.ir": {"coreMQTT": 319},
    "mqtt.encode_connect.ir": {"coreMQTT": 275},
    "mqtt.encode_subscribe_4.ir": {"coreMQTT": 269},
    "mqtt.stream.ir": {"paho-embedded": 219},
    "mqtt.roundtrip_qos1.ir": {"coreMQTT, keeps no payload": 1003},
    "mqtt.roundtrip_qos2.ir": {"coreMQTT, keeps no payload": 1736},
    "coap.decode_get.ir": {"microcoap": 445, "libcoap": 2064},
    "coap.decode_content_1k.ir": {"microcoap": 309, "libcoap": 2293},
    "coap.encode_get.ir": {"microcoap": 339},
    "coap.encode_content_1k.ir": {"microcoap": 382},
    "size.coap_codec.bytes": {"microcoap": 852},
    "coap.fetch_128k_rtt50_loss0.s": {"libcoap Q-Block": 0.72, "libcoap Block2": 6.5},
    "coap.fetch_128k_rtt50_loss1.s": {"Californium CoCoA": 8.2, "libcoap Q-Block": 6},
    "coap.fetch_128k_rtt50_loss5.s": {"Californium CoCoA": 16},
    "coap.fetch_128k_rtt50_loss10.s": {"Californium CoCoA": 37},
    "size.coap_endpoint.bytes": {
        "nanocoap with sock, no deduplication, no observing": 7800, "Anjay Lite": 14500,
    },
    "ram.coap_endpoint.bytes": {"nanocoap with sock": 1100, "Anjay Lite": 7800},
    "size.update.bytes": {"ed25519-compact opt_size alone": 15972, "sha2 0.11 compact alone": 1508},
    "stack.update.bytes": {"ed25519-compact opt_size alone": 5972},
}


def run(*command: str | Path, **options) -> str:
    return subprocess.run([str(part) for part in command], check=True, capture_output=True, text=True, **options).stdout


def functions() -> list[str]:
    header = (ROOT / "c-include/waft.h").read_text()
    return re.findall(r"^[a-z].*?[ *](waft_\w+)\(", header, re.MULTILINE)


def linked(name: str, pattern: str) -> list[tuple[int, str]]:
    """The sections that the library adds to an image, with their bytes of text, rodata and data; libc's mem* left out."""
    wanted = [f"-Wl,-u,{function}" for function in functions() if re.fullmatch(pattern, function)]
    map_file = BARE / f"size_{name}.map"
    run(*CC, ROOT / "tests/arm/all.c", BOARD / "board.c", *wanted, BARE / "libwaft.a", *LINK,
        f"-Wl,-Map={map_file}", "-o", BARE / f"size_{name}.elf")  # fmt: skip
    text = map_file.read_text().split("Linker script and memory map", 1)[1].split("/DISCARD/")[0]
    # A long section name has its numbers on the next line; but lines of numbers and a symbol stand for themselves.
    text = re.sub(r"^( \.\S+)\n +(0x)", r"\1 \2", text, flags=re.MULTILINE)
    parts = []
    for section, size, file in re.findall(r"^ (\.\S+) +0x[0-9a-f]+ +0x([0-9a-f]+) (\S+)$", text, re.MULTILINE):
        ours = "libwaft.a(" in file and section.startswith((".text", ".rodata", ".data"))
        if ours and not re.search(r"\b(mem(cpy|move|set|cmp)|__aeabi_mem)|3mem|3arm\d+___aeabi_mem", section):
            parts.append((int(size, 16), section))
    return sorted(parts, reverse=True)


def explain(name: str) -> None:
    """Prints what the bytes of a capability go to, function by function."""
    parts = linked(name, CAPABILITIES[name])
    names = subprocess.run(["c++filt", "-s", "rust"], input="\n".join(section.split(".", 2)[-1] for _, section in parts),
                           check=True, capture_output=True, text=True).stdout.splitlines()  # fmt: skip
    for (size, _), function in zip(parts, names, strict=True):
        print(f"{size:6,} {function}")
    print(f"{sum(size for size, _ in parts):6,} bytes: {name}")


def instructions() -> dict[str, dict[str, int]]:
    """x86 instructions of each case of tests/bench, by library."""
    target = TARGET / "bench"
    run("cargo", "build", "-q", "--release", "--manifest-path", ROOT / "tests/bench/Cargo.toml", "--target-dir", target)
    profile = target / "callgrind.out"
    told = run("valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={profile}", target / "release/waft-bench",
               env={**os.environ, "LD_BIND_NOW": "1"})  # fmt: skip
    runs = {name: int(n) for name, n in re.findall(r"^(\w+) (\d+)$", told, re.MULTILINE)}
    listing = run("callgrind_annotate", "--inclusive=yes", "--threshold=100", profile)
    counts: dict[str, dict[str, int]] = {}
    for total, library, case in re.findall(r"^ *([\d,]+) .*?:case::(\w+)::(\w+)::run\b", listing, re.MULTILINE):
        divisor = runs["packets" if case == "stream" else "runs"]
        counts.setdefault(case, {}).setdefault(library, round(int(total.replace(",", "")) / divisor))
    return counts


def storage() -> dict[str, int]:
    """Bytes of RAM on the target, from the header itself."""
    source = '#include "waft.h"\n' + "".join(f"char {name}[{size}];\n" for name, size in STORAGE.items())
    object_file = BARE / "storage.o"
    run(*CC, "-fno-common", "-x", "c", "-c", "-", "-o", object_file, input=source)
    listing = run("arm-none-eabi-nm", "-S", object_file)
    return {name: int(size, 16) for size, name in re.findall(r"^\S+ (\S+) . (\S+)$", listing, re.MULTILINE)}


def measure() -> dict[str, dict]:
    figures: dict[str, dict] = {}

    def add(name: str, value: float, unit: str, how: str, measured: dict[str, float] | None = None) -> None:
        peers = {**PEERS.get(name, {}), **(measured or {})}
        figures[name] = {"value": value, "unit": unit, "peers": peers, "how": how}

    for case, counts in sorted(instructions().items()):
        protocol, name = ("coap", case[5:]) if case.startswith("coap_") else ("mqtt", case)
        add(f"{protocol}.{name}.ir", counts.pop("waft"), "instructions", "make figures", counts)
    for name, pattern in CAPABILITIES.items():
        size = sum(size for size, _ in linked(name, pattern))
        add(f"size.{name}.bytes", size, "bytes", f"scripts/figures.py --explain {name}")
    update_figures.measure(add, lambda name: linked(name, CAPABILITIES[name]), TARGET)
    for name, size in storage().items():
        add(f"ram.{name}.bytes", size, "bytes", "make figures")

    make = ["make", "-s", "-C", ROOT / "tests/arm", f"TARGET={TARGET}"]
    replay = run(*make, "check-replay")
    add("stack.agent.bytes", int(re.search(r"^stack (\d+)$", replay, re.MULTILINE)[1]), "bytes, in a whole update", "make test-arm")
    panics = subprocess.run([sys.executable, ROOT / "tests/arm/panics.py", BARE / "replay.elf"],
                            capture_output=True, text=True).stdout  # fmt: skip
    add("panics.firmware.symbols", int(re.search(r"^(\d+) symbols", panics, re.MULTILINE)[1]), "symbols",
        "tests/arm/panics.py target/bare/replay.elf")  # fmt: skip

    table = json.loads(run(sys.executable, ROOT / "scripts/conformance.py", "--json"))
    for standard, total in (("mqtt", "total"), ("coap", "bound")):
        for name, value in (("covered", "covered"), ("total", total)):
            add(f"conformance.{standard}.{name}", table[standard][value], "statements", "make conformance")

    coap = json.loads(run(sys.executable, ROOT / "scripts/coap_figures.py"))
    decode, rates = coap["decode"], coap["rates"]
    add("coap.python_decode.us", decode.pop("waft"), "µs a response of 1024 bytes", "scripts/coap_figures.py", decode)
    for name, ours, peer in (("server", "waft", "libcoap"), ("python_server", "waft, Python", "aiocoap")):
        add(f"coap.{name}.ratio_to_{peer}", round(rates[ours] / rates[peer], 2),
            f"of {peer}'s answers per second of CPU time", "scripts/coap_figures.py", {peer: 1})  # fmt: skip

    python = json.loads(run(sys.executable, ROOT / "scripts/bench_python.py"))
    add("mqtt.python_qos1.us", python.pop("waft"), "µs a message received and acknowledged", "scripts/bench_python.py", python)

    add("mqtt.match_1m_subscriptions.ratio_to_10", broker_figures.match_ratio(), "of the instructions", "make figures")
    rates = broker_figures.fanout()
    for name, ours in (("broker_fanout", "waft broker"), ("broker_fanout_rust", "waft in Rust")):
        add(f"mqtt.{name}.ratio_to_mosquitto", round(rates[ours] / rates["mosquitto"], 2),
            "of mosquitto's messages per second", "make figures",
            {"amqtt": round(rates["amqtt"] / rates["mosquitto"], 2)})  # fmt: skip

    fetch = run("cargo", "run", "-q", "--release", "-p", "waft-sim", "--example", "fetch", cwd=ROOT)
    for name, value in json.loads(fetch).items():
        unit = {"s": "s, median of 100 seeds", "exact": "of 400 byte-exact"}.get(name.rsplit(".", 1)[1], "of the link's bound")
        add(name, value, unit, "cargo run --release -p waft-sim --example fetch")
    wire = run("cargo", "run", "-q", "--release", "-p", "waft-sim", "--example", "wire", cwd=ROOT)
    for name, ratio in json.loads(wire).items():
        add(name, ratio, "bytes on the wire per byte of image", "cargo run --release -p waft-sim --example wire")
    return figures


def in_words(figures: dict[str, dict]) -> str:
    """What the README quotes."""

    def value(name: str) -> str:
        figure = figures.get(name)
        return f"{figure['value']:,}" if figure else "-"

    lines = ["| | bytes of code | bytes of RAM |", "| --- | ---: | ---: |"]
    for name, what in (
        ("mqtt_client", "MQTT client, 512 bytes of packets included"),
        ("coap_endpoint", "CoAP endpoint, client and server, without its packets"),
        ("update_with_crypto", "manifest and update, Ed25519 and SHA-256 included"),
        ("boot", "what a bootloader needs, alone"),
        ("agent", "the agent: all of these and models A, B and C"),
    ):
        ram = value(f"ram.{name.removesuffix('_with_crypto')}.bytes")
        lines.append(f"| {what} | {value(f'size.{name}.bytes')} | {ram} |")
    lines += ["", f"The stack of a whole update is {value('stack.update.bytes')} bytes deep, {value('stack.update_without_crypto.bytes')} where "
              f"signatures are checked elsewhere, {value('stack.agent.bytes')} in the agent. For each byte of an image an update takes "
              f"{value('update.pipeline.ratio_to_hash')} times the instructions of hashing it twice. Symbols of panicking in the image: "
              f"{value('panics.firmware.symbols')}.", "",
              "| x86 instructions | waft | others |", "| --- | ---: | --- |"]  # fmt: skip
    for name, figure in figures.items():
        if name.endswith(".ir"):
            others = ", ".join(f"{peer} {n:,}" for peer, n in sorted(figure["peers"].items(), key=lambda item: item[1]))
            lines.append(f"| `{name}` | {figure['value']:,} | {others} |")
    wire = ", ".join(f"{model.upper()} {value(f'wire.model_{model}.ratio')}" for model in "abc")
    lines += ["", f"Bytes on the wire, both directions, for each byte of a 200 KiB image without loss: {wire}."]
    return "\n".join(lines)


def main() -> int:
    parser = argparse.ArgumentParser()
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", type=Path)
    parser.add_argument("--readme", action="store_true", help="write the README's figures too")
    what.add_argument("--explain", choices=CAPABILITIES)
    args = parser.parse_args()
    try:
        if args.explain:
            explain(args.explain)
            return 0
        figures = measure()
    except subprocess.CalledProcessError as error:
        print(f"figures: {' '.join(map(str, error.cmd))}\n{error.stdout}{error.stderr}", file=sys.stderr)
        return 1
    for name, figure in figures.items():
        peers = ", ".join(f"{peer}: {value:,}" for peer, value in figure["peers"].items())
        print(f"{name:28} {figure['value']:>10,} {figure['unit']:36} {peers}".rstrip())
    # What takes a command of its own is there from when that ran last.
    others = json.loads(args.out.read_text()) if args.out.exists() else {}
    figures |= {name: figure for name, figure in others.items() if figure["how"] == "make powercut"}
    args.out.write_text(json.dumps(figures, indent=1) + "\n")
    if args.readme:
        readme = ROOT / "README.md"
        before, rest = readme.read_text().split("stands between these marks -->\n", 1)
        after = rest.split("<!-- end -->", 1)[1]
        readme.write_text(f"{before}stands between these marks -->\n{in_words(figures)}\n<!-- end -->{after}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
