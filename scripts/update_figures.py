"""Figures of the update: code without the cryptography, stack, instructions, threats, the bounded power-cut proof, what a kill costs."""

import os
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Constants have no names: those are cryptography's that an image of it alone holds too.
CRYPTO = re.compile(r"ed25519|Ed25519|sha2|sha512|compress256|^\.rodata")


def test(*arguments: str) -> str:
    command = ["cargo", "test", "-q", "--release", "-p", "waft", "--all-features", *arguments, "--nocapture"]
    return subprocess.run(command, cwd=ROOT, env=os.environ, check=True, capture_output=True, text=True).stdout


def image(target: Path) -> dict[str, int]:
    """What the image of tests/arm/update.c says of itself."""
    command = ["make", "-s", "-C", str(ROOT / "tests/arm"), f"TARGET={target}", "check-update"]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return {name: int(value) for name, value in re.findall(r"^(\w+) (\d+)$", told, re.MULTILINE)}


def measure(add: Callable[..., None], linked: Callable[[str], list[tuple[int, str]]], target: Path) -> None:
    """Adds them; `linked` gives the sections that a capability links, with their sizes."""
    alone = {section for _, section in linked("crypto") if CRYPTO.search(section)}
    for name, capability in (("", "update"), ("_verbs", "update_verbs")):
        parts = linked(capability)
        total = sum(size for size, _ in parts)
        crypto = sum(size for size, section in parts if section in alone)
        how = f"scripts/figures.py --explain {capability}"
        add(f"size.update{name}_with_crypto.bytes", total, "bytes", how)
        add(f"size.update{name}.bytes", total - crypto, "bytes without Ed25519 and SHA-256", how)

    told = image(target)
    how = "make -C tests/arm check-update"
    add("stack.update.bytes", told["stack"], "bytes", how)
    add("stack.update_without_crypto.bytes", told["stack_without_crypto"], "bytes, signatures not looked at", how)
    add("update.pipeline.ratio_to_hash", round(told["update"] / told["hash"], 3), "of the instructions of hashing the image twice", how)
    add("update.verify.instructions", told["verify"], "Cortex-M4 instructions of one Ed25519 signature", how)

    page = (ROOT / "core/src/ota/THREATS.md").read_text()
    rows = [line for line in page.splitlines() if re.match(r"\| (?!---|threat |attack )", line)]
    open_rows = [line for line in rows if re.match(r"\| [^|]+ \| —", line)]
    how = "cargo test -p waft --test threats"
    add("threats.covered", len(rows) - len(open_rows), "threats", how)
    add("threats.total", len(rows), "threats", how)

    told = test("--test", "powercut", "--", "power_may_fail")
    add("powercut.smoke_runs", int(re.search(r"powercut smoke (\d+)", told)[1]), "power cuts that were run to their end", "make test-rust")
    told = test("--test", "update_chunks", "--", "a_kill_costs")
    twice, chunk = map(int, re.search(r"refetched (\d+) of chunks of (\d+)", told).groups())
    how = "cargo test -p waft --features author,std --test update_chunks a_kill_costs"
    add("update.refetched_after_kill.chunks", round(twice / chunk, 2), "chunks at most, killed anywhere", how)
