"""MQTT 3.1.1 packets as hex, put together by hand so that they may be wrong, and the values worth trying."""

import json


def hexed(text):
    return text.encode().hex()


def u16(n):
    return f"{n:04x}"


def length(n):
    """Remaining length (2.2.3)."""
    out = ""
    while True:
        n, byte = n >> 7, n & 0x7F
        out += f"{byte | (0x80 if n else 0):02x}"
        if not n:
            return out


def field(body):
    """A string or binary: its length and itself, which is hex."""
    return u16(len(body) // 2) + body


def string(text):
    return field(hexed(text))


def packet(first, body=""):
    """`<x>` in `body` stands for a packet identifier that the other side has chosen: two bytes."""
    return f"{first:02x}{length(size(body))}{body}"


def size(body):
    names = body.count("<")
    for name in [part.split(">")[0] for part in body.split("<")[1:]]:
        body = body.replace(f"<{name}>", "", 1)
    return len(body) // 2 + 2 * names


def connect(
    client="c", clean=True, keep_alive=0, will=None, user=None, password=None, flags=None, name="MQTT", level=4
):
    """`will` is (topic, payload in hex, qos, retain)."""
    bits, payload = 2 if clean else 0, string(client)
    if will:
        bits |= 4 | will[2] << 3 | (0x20 if will[3] else 0)
        payload += string(will[0]) + field(will[1])
    if user is not None:
        bits |= 0x80
        payload += string(user)
    if password is not None:
        bits |= 0x40
        payload += field(password)
    bits = bits if flags is None else flags
    return packet(0x10, f"{string(name)}{level:02x}{bits:02x}{u16(keep_alive)}{payload}")


def connack(present=0, code=0):
    return packet(0x20, f"{present:02x}{code:02x}")


def publish(topic, payload="", qos=0, retain=False, dup=False, pid=None):
    """`payload` is text; `pid` a number or `<x>`."""
    first = 0x30 | (8 if dup else 0) | qos << 1 | (1 if retain else 0)
    pid = "" if qos == 0 else u16(pid) if isinstance(pid, int) else pid
    return packet(first, string(topic) + pid + hexed(payload))


def ack(first, pid):
    return packet(first, u16(pid) if isinstance(pid, int) else pid)


def puback(pid):
    return ack(0x40, pid)


def pubrec(pid):
    return ack(0x50, pid)


def pubrel(pid):
    return ack(0x62, pid)


def pubcomp(pid):
    return ack(0x70, pid)


def subscribe(pid, *filters):
    return packet(0x82, u16(pid) + "".join(string(topic) + f"{qos:02x}" for topic, qos in filters))


def suback(pid, *codes):
    return packet(0x90, u16(pid) + "".join(f"{code:02x}" for code in codes))


def unsubscribe(pid, *filters):
    return packet(0xA2, u16(pid) + "".join(string(topic) for topic in filters))


def unsuback(pid):
    return ack(0xB0, pid)


PINGREQ, PINGRESP, DISCONNECT = packet(0xC0), packet(0xD0), packet(0xE0)

# What is not UTF-8 (1.5.3), and that it is.
BAD_UTF8 = {
    "a stray continuation byte": "80",
    "a stray last continuation byte": "bf",
    "two bytes cut off": "c3",
    "three bytes cut off after one": "e2",
    "three bytes cut off after two": "e282",
    "four bytes cut off after one": "f0",
    "four bytes cut off after three": "f09f98",
    "two bytes with a wrong second": "c341",
    "three bytes with a wrong third": "e28241",
    "four bytes with a wrong fourth": "f09f9841",
    "an overlong slash in two bytes": "c0af",
    "an overlong U+007F in two bytes": "c1bf",
    "an overlong slash in three bytes": "e080af",
    "an overlong U+07FF in three bytes": "e09fbf",
    "an overlong slash in four bytes": "f08080af",
    "an overlong U+FFFF in four bytes": "f08fbfbf",
    "an overlong U+0000": "c080",
    "the surrogate U+D800": "eda080",
    "the surrogate U+DBFF": "edafbf",
    "the surrogate U+DC00": "edb080",
    "the surrogate U+DFFF": "edbfbf",
    "a pair of surrogates": "eda0bdedb880",
    "U+110000": "f4908080",
    "a lead byte of five": "f888808080",
    "a lead byte of six": "fc8480808080",
    "the byte FE": "fe",
    "the byte FF": "ff",
}

# What is, though not everybody thinks so.
GOOD_UTF8 = {
    "U+FEFF in front": "\ufeffa",
    "U+FEFF alone": "\ufeff",
    "U+FEFF in the middle": "a\ufeffb",
    "U+0080": "\u0080",
    "U+07FF": "\u07ff",
    "U+0800": "\u0800",
    "U+D7FF": "\ud7ff",
    "U+E000": "\ue000",
    "U+FFFD": "\ufffd",
    "U+10FFFF": "\U0010ffff",
    "U+1F600": "\U0001f600",
    "a space": " ",
    "a combining character": "e\u0301",
}

BAD_NAMES = ["+", "#", "a/+", "a/#", "+/a", "a/+/b", "a+", "a#", "#a", "/#"]
BAD_FILTERS = ["a#", "#a", "a/#/b", "#/", "##", "+#", "a+", "+a", "++", "a/b+/c", "a/+b", "sport/tennis#", "#/#"]
GOOD_FILTERS = ["#", "+", "/", "//", "/#", "/+", "+/+", "+/#", "a/+/#", "a//#", "+/", "$SYS/#", "a b", "$", "a/+/b/+"]


class Cases:
    """The cases of a role."""

    def __init__(self):
        self.cases = []

    def add(self, name, ids, steps, **more):
        assert not any(case["name"] == name for case in self.cases), name
        ids = [f"MQTT-{one}" for one in ids.split()]
        self.cases.append({"name": name, "ids": ids, "steps": [list(step) for step in steps], **more})

    def write(self, path):
        """One case a line."""
        lines = [json.dumps(case, ensure_ascii=True) for case in self.cases]
        path.write_text("[\n" + ",\n".join(lines) + "\n]\n")
        print(f"{path.name}: {len(lines)} cases")
