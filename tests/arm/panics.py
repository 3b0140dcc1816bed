"""Fails when a linked image can panic: when a function of it calls into Rust's panic or unwinding machinery.

    panics.py [--known PATTERN]... ELF...

The handler of `waft-ffi` calls the function `waft_panic`, which is never inlined, so a panic that link-time
optimisation has otherwise dissolved shows there. Functions that match a PATTERN are listed and not counted.
Says which functions call what; the last line gives the number of symbols of panicking that remain.
"""

import argparse
import re
import subprocess
import sys

PANIC = re.compile(
    r"panic|unwind|rust_eh|core::fmt|index_fail|mismatch_fail|unwrap_failed|expect_failed"
    # What panics inside but was not inlined: then the caller has not proved that it does not.
    r"|copy_from_slice_impl|SliceIndex<|copy_within|split_at_mut\b|slice::index::range"
)
# Names that merely sound like it: the linker's own.
INNOCENT = re.compile(r"^(__aeabi_unwind_cpp_pr\d|__exidx_(start|end))$")


def is_panic(name: str) -> bool:
    return bool(PANIC.search(name)) and not INNOCENT.match(name)


def run(*command: str) -> list[str]:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def symbols(elf: str) -> set[str]:
    return {line.split(maxsplit=2)[-1] for line in run("arm-none-eabi-nm", "--demangle=rust", elf)}


def calls(elf: str) -> set[tuple[str, str]]:
    """Pairs of a function and a symbol of panicking that it branches to or takes the address of."""
    function, found = "?", set()
    for line in run("arm-none-eabi-objdump", "-d", "--demangle=rust", elf):
        if start := re.match(r"[0-9a-f]+ <(.+)>:$", line):
            function = start[1]
        elif target := re.search(r"\t[a-z.]+\t(?:.*,\s*)?[0-9a-f]+ <(.+?)(?:\+0x[0-9a-f]+)?>", line):
            if is_panic(target[1]) and target[1] != function:
                found.add((function, target[1]))
    return found


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--known", action="append", default=[], type=re.compile)
    parser.add_argument("elf", nargs="+")
    args = parser.parse_args()
    remaining = 0
    for elf in args.elf:
        names = symbols(elf)
        if not any(name.startswith("waft_") for name in names):
            print(f"{elf}: links nothing of waft, so it proves nothing", file=sys.stderr)
            return 2
        panics = {name for name in names if is_panic(name)}
        called = calls(elf)
        # The machinery's own functions call each other; who calls them from outside is to blame.
        blame = {(who, what) for who, what in called if not is_panic(who)}
        guilty = {(who, what) for who, what in blame if not any(known.search(who) for known in args.known)}
        for who, what in sorted(guilty):
            print(f"{elf}: {who} -> {what}", file=sys.stderr)
        if panics and not blame:
            print(f"{elf}: {', '.join(sorted(panics))}", file=sys.stderr)
            guilty = {("?", name) for name in panics}
        excused = {who for who, _ in blame} - {who for who, _ in guilty}
        if excused:
            print(f"{elf}: known: {', '.join(sorted(excused))}")
        if guilty:
            remaining += len(panics)
    print(f"{remaining} symbols of panicking in {len(args.elf)} linked images")
    return 1 if remaining else 0


if __name__ == "__main__":
    sys.exit(main())
