"""Serves a file at /fw, block by block and to those who observe it, and takes a new one by PUT: python serve.py HOST PORT FILE"""
import contextlib, hashlib, os, secrets, socket, sys, time
from waft import Error, Timeout, Transmit, coap
from waft.coap import Code

host, port, name = sys.argv[1:]
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind((host, int(port)))
endpoint = coap.Endpoint(seed=secrets.randbits(64), arena=65536, seen=64, observers=16)
ETAG, CONTENT_FORMAT, FIRMWARE, SLOT = 4, 12, 0, 1 << 21
# Addresses by number, of the last 1024 that were new. A number is given once: what is for one who is forgotten goes to nobody.
peers: list[tuple[int, tuple[str, int]]] = []
etag, sender, stored = b"", -1, 0


def now() -> int:
    return time.monotonic_ns() // 1000


def number(address: tuple[str, int]) -> int:
    for peer, known in peers:
        if known == address:
            return peer
    peer = peers[-1][0] + 1 if peers else 0
    peers.append((peer, address))
    del peers[:-1024]
    return peer


def read() -> None:
    """The file is another one now: what tells its version from all others."""
    global etag
    with contextlib.suppress(FileNotFoundError), open(name, "rb") as file:
        etag = hashlib.file_digest(file, "sha256").digest()[:8]


def part(offset: int, length: int) -> tuple[bytes, int]:
    """These bytes of the file, and how many it has."""
    with open(name, "rb") as file:
        return os.pread(file.fileno(), length, offset), os.fstat(file.fileno()).st_size


def put(block: coap.Request) -> Code:
    """A block of a new file. It goes to where it belongs, and takes the old one's place when it is whole."""
    global sender, stored
    if block.offset == 0:
        sender, stored = block.id.peer, 0
    if block.id.peer != sender or block.offset > stored:
        return Code.REQUEST_ENTITY_INCOMPLETE
    if block.offset + len(block.payload) > SLOT:
        return Code.REQUEST_ENTITY_TOO_LARGE
    new = os.open(f"{name}.new", os.O_WRONLY | os.O_CREAT | (0 if block.offset else os.O_TRUNC))
    stored = block.offset + os.pwrite(new, block.payload, block.offset)
    if not block.more:
        os.ftruncate(new, stored)
        os.fsync(new)
    os.close(new)
    if block.more:
        return Code.CONTINUE
    existed, sender = bool(etag), -1
    os.rename(f"{name}.new", name)
    read()
    print(f"{stored} bytes stored", flush=True)
    return Code.CHANGED if existed else Code.CREATED


def told(event: coap.Event | None) -> None:
    """What the endpoint tells."""
    if not isinstance(event, coap.Request):
        return
    code, body, options, how = Code.METHOD_NOT_ALLOWED, b"", [], {}
    described = [(ETAG, etag), (CONTENT_FORMAT, b"\x2a")]
    refused = event.path == "/fw" and coap.condition(event.code, event.options, bool(etag), etag or None)
    match event.path, event.code:
        case "/.well-known/core", Code.GET:
            body = coap.write_links([("/fw", [("rt", "firmware"), ("ct", "42"), ("obs", "")])], event.queries).encode()
            code, options = Code.CONTENT, [(CONTENT_FORMAT, b"\x28")]
        case "/fw", Code.GET | Code.PUT if refused:
            code, options = refused, described[: refused == Code.VALID]
        case "/fw", Code.GET if etag:
            offset, length = event.id.wanted
            body, total = part(offset, length)
            code, options, how = Code.CONTENT, described, {"offset": offset, "total": total, "observe": FIRMWARE}
        case "/fw", Code.PUT:
            code = put(event)
        case path, method if method == Code.GET or path not in ("/fw", "/.well-known/core"):
            code = Code.NOT_FOUND
    with contextlib.suppress(Error):  # no room now: as if it had been lost
        endpoint.respond(now(), event.id, code, body, options=options, **how)
    if code in (Code.CREATED, Code.CHANGED):
        first, total = part(0, 1024)
        described = [(ETAG, etag), (CONTENT_FORMAT, b"\x2a")]
        with contextlib.suppress(Error):
            endpoint.notify(now(), FIRMWARE, Code.CONTENT, first, options=described, total=total)


read()
print(f"CoAP server on {host}:{udp.getsockname()[1]}", flush=True)
while True:
    while not isinstance(output := endpoint.poll_output(now()), Timeout):
        if isinstance(output, Transmit):
            for peer, address in peers:
                if peer == output.peer:
                    with contextlib.suppress(OSError):
                        udp.sendto(output.data, address)
        else:
            told(output)
    udp.settimeout(None if output.at is None else max(output.at - now(), 1) / 1e6)
    try:
        data, address = udp.recvfrom(2048)
        told(endpoint.handle_input(now(), number(address), data).event)
    except TimeoutError:
        endpoint.handle_timeout(now())
    except ConnectionRefusedError:
        pass  # somebody is no longer there
