#!/usr/bin/env python3
"""The table of MQTT 3.1.1's normative statements: whom each binds, where it is kept, what tests it.

Made from the sources: citations of the form [MQTT-x.y.z-n] in core/src/mqtt and, for WebSocket, python/pysrc/waft/aio;
tests that cite it; cases of tests/conformance that name it. `--check` fails where something is missing; `--json` is for other programs.
"""

import argparse
import json
import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
CASES = ROOT / "tests" / "conformance"
SOURCES = [ROOT / "core" / "src" / "mqtt", ROOT / "python" / "pysrc" / "waft" / "aio"]
TESTS = [ROOT / "core" / "tests" / "mqtt_conformance", ROOT / "sim" / "tests", ROOT / "python" / "tests"]
CITATION = re.compile(r"\[(MQTT-[0-9.-]+-?[0-9]+)\]")
# As the standard prints them in one place each.
MISPRINTS = {"MQTT-3-8.3-4": "MQTT-3.8.3-4", "MQTT-3.1.2.7": "MQTT-3.1.2-7"}
FUNCTION = re.compile(r"^\s*(?:(?:pub(?:\([a-z]+\))? )?fn|(?:async )?def) (\w+)")


def citations(path):
    """(id, line, test it stands in or None) of each citation in a file."""
    is_test = "tests" in path.parts or path.name == "tests.rs"
    function = None
    for number, line in enumerate(path.read_text().splitlines(), 1):
        is_test = is_test or line.startswith("mod tests {")
        if match := FUNCTION.match(line):
            function = match[1] if is_test else None
        for cited in CITATION.findall(line):
            yield MISPRINTS.get(cited, cited), number, (function or "") if is_test else None


def roles_of(path, test):
    """Whom a test is about: its file says it, or the name of the test where the files are not one a role."""
    parts = test if path.suffix == ".py" and ("client" in test) != ("broker" in test) else str(path.relative_to(ROOT))
    if "client" in parts:
        return ["client"]
    return ["server"] if "broker" in parts else ["client", "server"]


def table():
    rows = {
        one: {**about, "kept": [], "tests": {"client": [], "server": []}, "cases": {"client": 0, "server": 0}}
        for one, about in json.loads((CASES / "mqtt_ids.json").read_text()).items()
    }
    unknown = []

    def row(one, where):
        if one not in rows:
            unknown.append(f"{where} cites {one}, which there is not")
        return rows.get(one)

    for folder in [*SOURCES, *TESTS]:
        for path in sorted([*folder.rglob("*.rs"), *folder.rglob("*.py")]):
            for one, line, test in citations(path):
                where = f"{path.relative_to(ROOT)}:{line}"
                if (found := row(one, where)) is None:
                    continue
                if test is None:
                    found["kept"].append(where)
                    continue
                for role in roles_of(path, test):
                    found["tests"][role].append(f"{where} {test}".strip())
    for role in ("client", "server"):
        for case in json.loads((CASES / f"mqtt_{role}.json").read_text()):
            for one in case["ids"]:
                if found := row(one, f"mqtt_{role}.json: {case['name']}"):
                    found["cases"][role] += 1
                    if found["cases"][role] == 1:
                        found["tests"][role].append(f"mqtt_{role}.json: {case['name']}")
    for one, found in rows.items():
        missing = [f"{role} test" for role in found["roles"] if not found["tests"][role]]
        if found["roles"] and not found["kept"]:
            missing.insert(0, "citation")
        found["missing"] = missing
    return rows, unknown


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--check", action="store_true", help="fail where a citation or a test is missing")
    options.add_argument("--json", action="store_true", help="print the table as JSON")
    options = options.parse_args()
    rows, unknown = table()
    bind = {one: row for one, row in rows.items() if row["roles"]}
    covered = [one for one, row in bind.items() if not row["missing"]]
    if options.json:
        print(json.dumps({"covered": len(covered), "total": len(rows), "ids": rows}, indent=1))
    else:
        for one, row in rows.items():
            whom = "+".join(row["roles"]) or "nobody here"
            cases = ", ".join(f"{n} {role}" for role, n in row["cases"].items() if n)
            what = row.get("why") or (row["kept"] or ["-"])[0]
            tests = [test for role in row["roles"] for test in row["tests"][role][:1]]
            print(f"{one:13} {whom:14} {what}")
            if row["roles"]:
                print(f"{'':13} {'':14} tests: {'; '.join(tests) or '-'}" + (f" (cases: {cases})" if cases else ""))
            if row["missing"]:
                print(f"{'':13} {'':14} MISSING: {', '.join(row['missing'])}")
        cases = {role: len(json.loads((CASES / f"mqtt_{role}.json").read_text())) for role in ("client", "server")}
        print(f"\n{len(covered)} of {len(bind)} statements that bind waft are cited and tested; ", end="")
        print(
            f"{len(rows) - len(bind)} of {len(rows)} bind others. Cases: {cases['client']} client, {cases['server']} server."
        )
    problems = unknown + [f"{one}: no {', no '.join(row['missing'])}" for one, row in rows.items() if row["missing"]]
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if options.check and problems else 0


if __name__ == "__main__":
    sys.exit(main())
