"""Fails when a linked image can panic: when it holds a symbol of Rust's panic or unwinding machinery.

    panics.py ELF...

The handler of `waft-ffi` calls the function `waft_panic`, which is never inlined, so a panic that link-time
optimisation has otherwise dissolved shows there. Prints the number of such symbols, all images together.
"""

import re
import subprocess
import sys

PANIC = re.compile(r"panic|unwind|rust_eh|core::fmt|slice_index|_fail\b|unwrap_failed|expect_failed")
# Names that merely sound like it: newlib's, and the linker's own.
INNOCENT = re.compile(r"^(__aeabi_unwind_cpp_pr\d|__exidx_(start|end))$")


def symbols(elf: str) -> list[str]:
    listing = subprocess.run(["arm-none-eabi-nm", "--demangle=rust", elf], check=True, capture_output=True, text=True)
    return [line.split(maxsplit=2)[-1] for line in listing.stdout.splitlines()]


def main(elves: list[str]) -> int:
    found = 0
    for elf in elves:
        names = symbols(elf)
        if not any(name.startswith("waft_") for name in names):
            print(f"{elf}: links nothing of waft, so it proves nothing", file=sys.stderr)
            return 2
        for name in names:
            if PANIC.search(name) and not INNOCENT.match(name):
                found += 1
                print(f"{elf}: {name}", file=sys.stderr)
    print(f"{found} symbols of panicking in {len(elves)} linked images")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
