#!/usr/bin/env python3
"""The tables of what the standards demand: MQTT 3.1.1's normative statements; every MUST of RFC 7252, 7641 and 7959, and the test
descriptions of ETSI's CoAP#4 plugtest. Whom each binds, where it is kept, what tests it.

Made from the sources: citations such as [MQTT-3.3.1-2] or [RFC7252-4.2-1] in the code; tests that cite them; cases of
tests/conformance that name them. `--check` fails where something is missing; `--json` is for other programs.
"""

import argparse
import dataclasses
import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
CASES = ROOT / "tests" / "conformance"
ROLES = ("client", "server")
# As the MQTT standard prints them in one place each.
MISPRINTS = {"MQTT-3-8.3-4": "MQTT-3.8.3-4", "MQTT-3.1.2.7": "MQTT-3.1.2-7"}
FUNCTION = re.compile(r"^\s*(?:(?:pub(?:\([a-z]+\))? )?fn|(?:async )?def) (\w+)")


@dataclasses.dataclass
class Standard:
    """A standard, and where to look for it."""

    title: str
    citation: re.Pattern
    sources: list
    tests: list
    server: tuple

    def roles_of(self, path, test):
        """Whom a test is about: its file says it, or the name of the test where the files are not one a role."""
        one = ("client" in test) != any(word in test for word in self.server)
        parts = test if path.suffix == ".py" and one else str(path.relative_to(ROOT))
        if "client" in parts:
            return ["client"]
        return ["server"] if any(word in parts for word in self.server) else list(ROLES)


STANDARDS = {
    "mqtt": Standard(
        "MQTT 3.1.1",
        re.compile(r"\[(MQTT-[0-9.-]+-?[0-9]+)\]"),
        ["core/src/mqtt", "python/pysrc/waft/aio"],
        ["core/tests/mqtt_conformance", "sim/tests", "python/tests"],
        ("broker",),
    ),
    "coap": Standard(
        "CoAP: RFC 7252, RFC 7641, RFC 7959 and ETSI's CoAP#4",
        re.compile(r"\[(RFC(?:7252|7641|7959)-[0-9.]+-[0-9]+|TD_COAP_[A-Z]+_[0-9]+)\]"),
        ["core/src/coap", "python/pysrc/waft"],
        ["sim/tests", "python/tests"],
        ("server", "plugtest.py"),
    ),
}


def citations(path, pattern):
    """(id, line, test it stands in or None) of each citation in a file. What documents a function belongs to it."""
    is_test = "tests" in path.parts or path.name == "tests.rs"
    function, held = None, []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        is_test = is_test or line.startswith("mod tests {") or line.startswith("    mod tests {")
        if match := FUNCTION.match(line):
            function = match[1] if is_test else None
            yield from ((one, at, (function or "") if is_test else None) for one, at in held)
            held = []
        for cited in pattern.findall(line):
            cited = MISPRINTS.get(cited, cited)
            if line.lstrip().startswith("///") and is_test:
                held.append((cited, number))
            else:
                yield cited, number, (function or "") if is_test else None
    yield from ((one, at, (function or "") if is_test else None) for one, at in held)


def table(name, standard):
    rows = {
        one: {**about, "kept": [], "tests": {role: [] for role in ROLES}, "cases": dict.fromkeys(ROLES, 0)}
        for one, about in json.loads((CASES / f"{name}_ids.json").read_text()).items()
    }
    unknown = []

    def row(one, where):
        if one not in rows:
            unknown.append(f"{where} cites {one}, which there is not")
        return rows.get(one)

    for folder in [*standard.sources, *standard.tests]:
        for path in sorted([*(ROOT / folder).rglob("*.rs"), *(ROOT / folder).rglob("*.py")]):
            for one, line, test in citations(path, standard.citation):
                where = f"{path.relative_to(ROOT)}:{line}"
                if (found := row(one, where)) is None:
                    continue
                if test is None:
                    found["kept"].append(where)
                    continue
                for role in standard.roles_of(path, test):
                    found["tests"][role].append(f"{where} {test}".strip())
    for role in ROLES:
        for case in cases(name, role):
            for one in case["ids"]:
                if found := row(one, f"{name}_{role}.json: {case['name']}"):
                    found["cases"][role] += 1
                    if found["cases"][role] == 1:
                        found["tests"][role].append(f"{name}_{role}.json: {case['name']}")
    for found in rows.values():
        missing = [f"{role} test" for role in found["roles"] if not found["tests"][role]]
        if found["roles"] and not found["kept"]:
            missing.insert(0, "citation")
        found["missing"] = missing
    return rows, unknown


def cases(name, role):
    return json.loads((CASES / f"{name}_{role}.json").read_text())


def show(name, standard, rows):
    print(f"# {standard.title}\n")
    width = max(map(len, rows))
    for one, row in rows.items():
        whom = "+".join(row["roles"]) or "nobody here"
        count = ", ".join(f"{n} {role}" for role, n in row["cases"].items() if n)
        what = row.get("why") or (row["kept"] or ["-"])[0]
        tests = [test for role in row["roles"] for test in row["tests"][role][:1]]
        print(f"{one:{width}} {whom:14} {what}")
        if row["roles"]:
            print(f"{'':{width}} {'':14} tests: {'; '.join(tests) or '-'}" + (f" (cases: {count})" if count else ""))
        if row["missing"]:
            print(f"{'':{width}} {'':14} MISSING: {', '.join(row['missing'])}: {row.get('open', '?')}")
    bound, covered = tally(rows)
    print(
        f"\n{len(covered)} of {len(bound)} statements of {standard.title} that bind waft are cited and tested; "
        f"{len(rows) - len(bound)} of {len(rows)} bind others. "
        f"Cases: {', '.join(f'{len(cases(name, role))} {role}' for role in ROLES)}.\n"
    )


def tally(rows):
    """Those that bind waft, and of them those that are cited and tested."""
    bound = [one for one, row in rows.items() if row["roles"]]
    return bound, [one for one in bound if not rows[one]["missing"]]


def problems_of(rows):
    for one, row in rows.items():
        # `open` says of a statement why it is not kept yet: it is not counted as covered, and has to go when it is.
        if row["missing"] and "open" not in row:
            yield f"{one}: no {', no '.join(row['missing'])}"
        if "open" in row and not row["missing"]:
            yield f"{one}: is said to be open, and is not"
        if not row["roles"] and "why" not in row:
            yield f"{one}: binds nobody here, and it is not said why"


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--check", action="store_true", help="fail where a citation or a test is missing")
    options.add_argument("--json", action="store_true", help="print the tables as JSON")
    options.add_argument("standard", nargs="*", help="mqtt, coap; both by default")
    options = options.parse_args()
    problems, found = [], {}
    for name in options.standard or STANDARDS:
        standard = STANDARDS[name]
        rows, unknown = table(name, standard)
        problems += [*unknown, *problems_of(rows)]
        bound, covered = tally(rows)
        found[name] = {"covered": len(covered), "bound": len(bound), "total": len(rows), "ids": rows}
        if not options.json:
            show(name, standard, rows)
    if options.json:
        print(json.dumps(found, indent=1))
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if options.check and problems else 0


if __name__ == "__main__":
    sys.exit(main())
