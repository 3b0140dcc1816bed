"""SUIT envelopes in CBOR diagnostic notation (RFC 8949 §8), with the names of what the numbers stand for."""

from __future__ import annotations

from typing import Any

#: What stands in a place: nothing known, or how to read what is there.
Schema = Any

SECTIONS = {
    4: "shared-sequence",
    7: "validate",
    8: "load",
    9: "invoke",
    16: "payload-fetch",
    20: "install",
}
COMMANDS = {
    1: "condition-vendor-identifier",
    2: "condition-class-identifier",
    3: "condition-image-match",
    4: "condition-use-before",
    5: "condition-component-slot",
    6: "condition-check-content",
    12: "directive-set-component-index",
    14: "condition-abort",
    15: "directive-try-each",
    18: "directive-write",
    20: "directive-override-parameters",
    21: "directive-fetch",
    22: "directive-copy",
    23: "directive-invoke",
    24: "condition-device-identifier",
    26: "condition-minimum-battery",
    27: "condition-update-authorized",
    28: "condition-version",
    29: "directive-wait",
    31: "directive-swap",
    32: "directive-run-sequence",
}
PARAMETERS = {
    1: "vendor-id",
    2: "class-id",
    3: "image-digest",
    4: "use-before",
    5: "component-slot",
    14: "image-size",
    18: "content",
    21: "uri",
    22: "source-component",
    24: "device-id",
    26: "minimum-battery",
    27: "update-priority",
    28: "version",
    29: "wait-info",
    -257: "waft",
}
TEXTS = {1: "manifest-description", 2: "update-description", 3: "manifest-json-source", 4: "manifest-yaml-source"}
COMPONENT_TEXTS = {
    1: "vendor-name",
    2: "model-name",
    3: "vendor-domain",
    4: "model-info",
    5: "component-description",
    6: "component-version",
}


def _wrapped(schema: Schema) -> Schema:
    return ("wrapped", schema)


_DIGEST: Schema = ("digest",)
_PARAMETERS: Schema = (
    "map",
    {key: (name, _wrapped(_DIGEST) if key == 3 else _wrapped(None) if key in (28, 29, -257) else None) for key, name in PARAMETERS.items()},
)
_SEQUENCE: Schema = ("sequence",)
_MEMBERS = {
    7: ("validate", _wrapped(_SEQUENCE)),
    8: ("load", _wrapped(_SEQUENCE)),
    9: ("invoke", _wrapped(_SEQUENCE)),
    16: ("payload-fetch", _wrapped(_SEQUENCE)),
    20: ("install", _wrapped(_SEQUENCE)),
    23: ("text", _wrapped(None)),
}
_COMMON: Schema = ("map", {2: ("components", None), 4: ("shared-sequence", _wrapped(_SEQUENCE))})
_MANIFEST: Schema = (
    "map",
    {
        1: ("manifest-version", None),
        2: ("manifest-sequence-number", None),
        3: ("common", _wrapped(_COMMON)),
        4: ("reference-uri", None),
        6: ("set-version", _wrapped(None)),
        **_MEMBERS,
    },
)
_SIGN1: Schema = ("array", [_wrapped(("map", {1: ("alg", None), 4: ("kid", None)})), None, None, None])
_AUTHENTICATION: Schema = ("array", [_wrapped(_DIGEST), _wrapped(_SIGN1)])
_ENVELOPE: Schema = (
    "map",
    {2: ("authentication-wrapper", _wrapped(_AUTHENTICATION)), 3: ("manifest", _wrapped(_MANIFEST)), **_MEMBERS},
)


class _Printer:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def head(self) -> tuple[int, int]:
        first = self.data[self.at]
        self.at += 1
        info = first & 31
        if info < 24:
            return first >> 5, info
        width = {24: 1, 25: 2, 26: 4, 27: 8}[info]
        value = int.from_bytes(self.data[self.at : self.at + width])
        self.at += width
        return first >> 5, value

    def item(self, schema: Schema, indent: str) -> str:
        major, value = self.head()
        deeper = indent + "  "
        match major:
            case 0:
                return str(value)
            case 1:
                return str(-1 - value)
            case 2:
                content = self.data[self.at : self.at + value]
                self.at += value
                if schema is not None and schema[0] == "wrapped" and content:
                    return f"<< {_Printer(content).item(schema[1], indent)} >>"
                return f"h'{content.hex()}'"
            case 3:
                text = self.data[self.at : self.at + value].decode()
                self.at += value
                return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'
            case 4 if schema == _SEQUENCE:
                return self.sequence(value, indent)
            case 4:
                inner = schema[1] if schema is not None and schema[0] == "array" else [None] * value
                items = [self.item(inner[n] if n < len(inner) else inner[-1], deeper) for n in range(value)]
                return self.join("[", items, "]", indent)
            case 5:
                names = schema[1] if schema is not None and schema[0] == "map" else {}
                return self.join("{", [self.pair(names, deeper) for _ in range(value)], "}", indent)
            case 6:
                inner = {107: _ENVELOPE, 18: _SIGN1}.get(value)
                return f"{value}({self.item(inner, indent)})"
        return {20: "false", 21: "true", 22: "null"}.get(value, f"simple({value})")

    def pair(self, names: dict[int, tuple[str, Schema]], indent: str) -> str:
        start = self.at
        key = self.item(None, indent)
        name, inner = names.get(int(key), ("", None)) if self.data[start] >> 5 < 2 else ("", None)
        comment = f"/ {name} / " if name else ""
        return f"{comment}{key}: {self.item(inner, indent)}"

    def sequence(self, items: int, indent: str) -> str:
        commands = []
        deeper = indent + "  "
        for _ in range(items // 2):
            code = self.item(None, deeper)
            name = COMMANDS.get(int(code), "command")
            inner: Schema = None
            if code == "20":
                inner = _PARAMETERS
            elif code == "32":
                inner = _wrapped(_SEQUENCE)
            elif code == "15":
                inner = ("array", [_wrapped(_SEQUENCE)])
            commands.append(f"/ {name} / {code}, {self.item(inner, deeper)}")
        return self.join("[", commands, "]", indent)

    @staticmethod
    def join(start: str, items: list[str], end: str, indent: str) -> str:
        line = f"{start}{', '.join(items)}{end}"
        if len(line) + len(indent) <= 100 and "\n" not in line:
            return line
        return start + "".join(f"\n{indent}  {item}," for item in items)[:-1] + f"\n{indent}{end}"


def diagnose(envelope: bytes) -> str:
    """The envelope in diagnostic notation. It has to be well-formed: see ``waft.ota.walk``."""
    return _Printer(envelope).item(None, "")


def argument(value: bytes) -> str:
    """One encoded item in diagnostic notation; nothing for no item."""
    return _Printer(value).item(None, "") if value else ""
