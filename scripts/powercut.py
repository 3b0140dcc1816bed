"""Runs the power-cut proof of core/tests/powercut in full, writes `powercut.*` into the figures, and fails where the proof does.

    powercut.py --out FILE [--most CUTS] [--mutations-only | --no-mutations]

Of the 400 million cuts, pairs and triples that its cases have, `--most` are tried at most (40,000,000), the same ones each time: all single cuts, and a
sample of the others.

Then it takes out of the code what keeps a device whole, one thing at a time, and sees to it that the proof notices: a copy of `core` is made in which each
place of MUTATIONS does the wrong thing when told to by the environment, and each is run until a run fails. What is shipped holds none of it.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

from powercut_mutations import MUTATIONS

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
TEST = ["cargo", "test", "-q", "--release", "-p", "waft", "--all-features", "--test", "powercut", "--"]
MUTANTS = "mutants"


def prove(most: int | None) -> tuple[int, int, int]:
    """The runs, the failures and the states of the whole proof."""
    environment = {**os.environ, **({"WAFT_POWERCUT_MOST": str(most)} if most else {})}
    command = [*TEST, "--ignored", "--nocapture", "every_cut_every_pair_and_many_triples"]
    told = ""
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout or ():
            told += line
            print(line, end="", flush=True)
    found = re.search(r"^powercut runs (\d+) failures (\d+) states (\d+)", told, re.MULTILINE)
    if not found:
        sys.exit("the proof did not run to its end")
    return int(found[1]), int(found[2]), int(found[3])


def mutate(copy: Path) -> None:
    """Makes a copy of the workspace whose code goes wrong where `WAFT_MUTATION` says so."""
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir(parents=True)
    for name in ("core", "ffi", "python", "sim", "tests/arm/update", "tests/interop"):
        shutil.copytree(ROOT / name, copy / name, ignore=shutil.ignore_patterns("target", ".venv", "*.so", "__pycache__"))
    for name in ("Cargo.toml", "Cargo.lock"):
        shutil.copy(ROOT / name, copy / name)
    for number, (_, file, right, wrong) in enumerate(MUTATIONS, 1):
        path = copy / "core" / file
        text = path.read_text()
        if text.count(right) != 1:
            sys.exit(f"{file} has {right!r} {text.count(right)} times; scripts/powercut_mutations.py has to follow the code")
        # A statement or a pattern says itself where the question is asked.
        asked = wrong.replace("MUTATED", f"crate::mutated({number})")
        both = asked if asked != wrong else f"(if crate::mutated({number}) {{ {wrong} }} else {{ {right} }})"
        # The question cannot be asked in a constant.
        path.write_text(re.sub(r"pub const fn (number|floor|updated)\(", r"pub fn \1(", text.replace(right, both)))
    lib = copy / "core/src/lib.rs"
    lib.write_text(lib.read_text() + """
pub fn mutated(n: u32) -> bool {
    static CHOSEN: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    *CHOSEN.get_or_init(|| std::env::var("WAFT_MUTATION").ok().and_then(|n| n.parse().ok()).unwrap_or(0)) == n
}
""")
    # Nobody reads it.
    manifest = copy / "Cargo.toml"
    manifest.write_text(re.sub(r'^missing_docs = "deny"$', 'missing_docs = "allow"', manifest.read_text(), flags=re.MULTILINE))


def missed() -> list[str]:
    """The mutations that the proof does not notice."""
    copy = TARGET / MUTANTS
    mutate(copy)
    command = [*TEST, "power_may_fail"]
    environment = {**os.environ, "CARGO_TARGET_DIR": str(copy / "target"), "RUST_BACKTRACE": "0", "RUSTFLAGS": "-Awarnings"}
    environment.pop("WAFT_MUTATION", None)
    base = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
    if base.returncode:
        sys.exit(f"the copy fails without a mutation:\n{base.stdout}{base.stderr}")
    found = []
    for number, (name, file, _, _) in enumerate(MUTATIONS, 1):
        told = subprocess.run(command, cwd=copy, env={**environment, "WAFT_MUTATION": str(number)}, capture_output=True, text=True)
        if told.returncode == 0:
            found.append(name)
        print(f"  {'MISSED' if told.returncode == 0 else 'found '}  {name} ({file})", flush=True)
    shutil.rmtree(copy, ignore_errors=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--most", type=int)
    parser.add_argument("--mutations-only", action="store_true")
    parser.add_argument("--no-mutations", action="store_true")
    options = parser.parse_args()
    began = time.monotonic()
    figures = json.loads(options.out.read_text()) if options.out.exists() else {}

    def add(name: str, value: int, unit: str) -> None:
        figures[name] = {"value": value, "unit": unit, "peers": {}, "how": "make powercut"}

    failures = 0
    if not options.mutations_only:
        runs, failures, states = prove(options.most)
        add("powercut.runs", runs, "power cuts that were run to their end")
        add("powercut.failures", failures, "runs")
        add("powercut.states", states, "different states at a power-on")
    wrong = []
    if not options.no_mutations:
        print(f"What keeps a device whole, taken out, one of {len(MUTATIONS)} at a time:", flush=True)
        wrong = missed()
        add("powercut.mutations_missed", len(wrong), "mutations")
        figures["powercut.mutations_missed"]["tried"] = len(MUTATIONS)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(figures, indent=1))
    print(f"{round(time.monotonic() - began)} s")
    if failures or wrong:
        sys.exit(f"{failures} failures, {len(wrong)} mutations missed: {wrong}")


if __name__ == "__main__":
    main()
