"""Writes coap_ids.json beside this file from the texts of the RFCs: `python3 coap_ids.py FOLDER` with rfc7252.txt and so on.

Each sentence with MUST, MUST NOT, SHALL, SHALL NOT or REQUIRED has an id of its section and its number in it: RFC7252-4.2-3.
What was said of an id by hand (`roles`: whom it binds; `why`, where that is nobody here;
`open`, what of it is not kept yet) stays as long as its sentence does.
"""

import json
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
RFCS = ("7252", "7641", "7959")
WORDS = re.compile(r"\b(MUST|SHALL|REQUIRED)\b")
SECTION = re.compile(r"^(\d+(?:\.\d+)*)\.\s+\S")
PAGE = re.compile(r"^(RFC \d+ .*\d{4}|.*\[Page \d+\])$")
# What ends in a full stop without ending a sentence.
ABBREVIATIONS = re.compile(r"(e\.g|i\.e|cf|etc|vs|Sec|Fig)\.$")


def paragraphs(text):
    """(section, paragraph as one line) of each paragraph, table of contents and figures apart."""
    section, lines, began = None, [], False
    for line in [*text.splitlines(), ""]:
        line = line.rstrip()
        if PAGE.match(line) or line == "\f":
            continue
        line = line.replace("\f", "")
        heading = SECTION.match(line)
        # The table of contents has dots; a heading begins at the margin.
        if heading and ". . ." not in line and not re.search(r"\s\d+$", line):
            if lines:
                yield section, " ".join(lines)
            section, lines, began = heading[1], [], True
            continue
        if re.match(r"[A-Z]", line):
            # A heading without a number: appendices, and thanks, which are no requirements though they may speak of them.
            section, lines = None, []
            continue
        if not began:
            continue
        if line.strip():
            lines.append(line.strip())
            continue
        # A page ends in the middle of a paragraph: go on where no sentence has ended.
        if lines and re.search(r"[.:;)\"]$|^\d", lines[-1]):
            yield section, " ".join(lines)
            lines = []
    if lines:
        yield section, " ".join(lines)


def sentences(paragraph):
    """Its sentences."""
    out = ""
    for part in re.split(r"(?<=[.;!?])\s+(?=[A-Z\"(\[o])", paragraph):
        out = f"{out} {part}".strip()
        if not ABBREVIATIONS.search(out):
            yield out
            out = ""
    if out:
        yield out


def statements(rfc, text):
    counts = {}
    for section, paragraph in paragraphs(text):
        if section is None:
            continue
        for sentence in sentences(paragraph):
            if WORDS.search(sentence) and "key words" not in sentence:
                counts[section] = counts.get(section, 0) + 1
                yield f"RFC{rfc}-{section}-{counts[section]}", re.sub(r"\s+", " ", sentence)


def main():
    folder = pathlib.Path(sys.argv[1])
    path = HERE / "coap_ids.json"
    before = json.loads(path.read_text()) if path.exists() else {}
    ids = {one: about for one, about in before.items() if not one.startswith("RFC")}
    for rfc in RFCS:
        for one, text in statements(rfc, (folder / f"rfc{rfc}.txt").read_text()):
            old = before.get(one, {})
            kept = {key: old[key] for key in ("roles", "why", "open") if key in old and old.get("text") == text}
            ids[one] = {"text": text, **kept}
    lines = [f"{json.dumps(one)}: {json.dumps(about)}" for one, about in ids.items()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    unsaid = [one for one, about in ids.items() if "roles" not in about]
    print(f"{len(ids)} ids, {len(unsaid)} of which it is not said whom they bind: {' '.join(unsaid)}")


if __name__ == "__main__":
    main()
