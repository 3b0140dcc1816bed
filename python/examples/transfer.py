"""Gets a file from any CoAP server by a window of plain Block2 requests, or puts one there by Block1, over however many kills:
python transfer.py get|put HOST PORT PATH FILE"""
import contextlib, os, secrets, socket, sys, time
from waft import Timeout, Transmit, coap

verb, host, port, path, name = sys.argv[1:]
server = next(iter(socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)))
udp = socket.socket(server[0], socket.SOCK_DGRAM)
udp.connect(server[4])
endpoint, tries = coap.Endpoint(seed=secrets.randbits(64), transfers=2, flights=20), 8
UNIT, UNKNOWN, SAVED_AFTER = 16, 0xFFFF_FFFF, 64
# Of the file that is fetched, in name.note: what it is, its version and length, and a bit for each 16 bytes that name.part has.
of, etag, total, have, unsaved = f"{host} {port} {path}\n".encode(), b"", UNKNOWN, bytearray(), 0


def now() -> int:
    return time.monotonic_ns() // 1000


def has(unit: int) -> bool:
    return unit < 8 * len(have) and bool(have[unit // 8] >> unit % 8 & 1)


def save() -> None:
    """What of the file is safe: not noted before it is."""
    global unsaved
    unsaved = 0
    os.fdatasync(part)
    if etag:
        with open(f"{name}.note.new", "wb") as note:
            note.write(of + bytes([len(etag)]) + etag.ljust(8, b"\0") + total.to_bytes(4, "big") + have)
            note.flush()
            os.fsync(note.fileno())
        os.rename(f"{name}.note.new", f"{name}.note")


def begin_again(why: object) -> None:
    global etag, total, tries
    tries -= 1
    if tries == 0:
        sys.exit(f"given up: {why}")
    print(f"once more: {why}", flush=True)
    if verb == "get":
        etag, total = b"", UNKNOWN
        have.clear()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{name}.note")
        os.ftruncate(part, 0)
    ask()


def ask() -> None:
    """For the file to be put, or the first part that is missing; where none is, all is done."""
    if verb == "put":
        endpoint.request(now(), 0, coap.Code.PUT, path, payload_len=os.fstat(part).st_size)
        return
    start = next(unit for unit in range(8 * len(have) + 1) if not has(unit))
    if start * UNIT >= total:
        os.ftruncate(part, total)
        save()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{name}.note")
        os.rename(f"{name}.part", name)
        sys.exit(print(f"{total} bytes fetched"))
    end = next((unit * UNIT for unit in range(start, 8 * len(have)) if has(unit)), UNKNOWN)
    endpoint.request(now(), 0, coap.Code.GET, path, window=16, offset=start * UNIT, until=end, etag=etag or None)


def told(event: coap.Event | None) -> None:
    """What the endpoint tells."""
    global etag, total, unsaved
    match event:
        case coap.BodyWanted(exchange, offset, length):
            endpoint.body(now(), exchange, os.pread(part, length, offset))
        case coap.Response(code=code) if verb == "put" and code.is_success:
            sys.exit(print(f"{os.fstat(part).st_size} bytes put"))
        case coap.Response(code=coap.Code.CONTENT) as block:
            os.pwrite(part, block.payload, block.offset)  # blocks come in any order
            etag, total = block.etag or b"", total if block.total is None else block.total
            end = -(-(block.offset + len(block.payload)) // UNIT)
            have.extend(bytes(max(-(-end // 8) - len(have), 0)))
            for unit in range(block.offset // UNIT, end):
                have[unit // 8] |= 1 << unit % 8
            unsaved += 1
            if unsaved == SAVED_AFTER:
                save()
            if block.last:
                ask()
        case coap.Response(code=code):
            # Of a body that comes by blocks the server forgot the first; a file of which a part is here is shorter now.
            if code == coap.Code.REQUEST_ENTITY_INCOMPLETE or have:
                begin_again(code)
            else:
                sys.exit(str(code))
        case coap.Failed(reason="Changed" as why):
            begin_again(why)
        case coap.Failed(reason=why):
            save()
            sys.exit(f"{why}: what is here is kept")


if verb == "put":
    part = os.open(name, os.O_RDONLY)
else:
    with contextlib.suppress(FileNotFoundError), open(f"{name}.note", "rb") as note, open(f"{name}.part", "rb"):
        record = note.read()
        if record.startswith(of):
            etag_len, *kept = record[len(of) :]
            etag, total, have = bytes(kept[:etag_len]), int.from_bytes(kept[8:12]), bytearray(kept[12:])
            print(f"{UNIT * sum(bits.bit_count() for bits in have)} bytes are here", flush=True)
    part = os.open(f"{name}.part", os.O_RDWR | os.O_CREAT | (0 if have else os.O_TRUNC))
ask()
while True:
    while not isinstance(output := endpoint.poll_output(now()), Timeout):
        if isinstance(output, Transmit):
            with contextlib.suppress(OSError):  # what cannot be sent now is as good as lost
                udp.send(output.data)
        else:
            told(output)
    udp.settimeout(None if output.at is None else max(output.at - now(), 1) / 1e6)
    try:
        told(endpoint.handle_input(now(), 0, udp.recv(2048)).event)
    except TimeoutError:
        endpoint.handle_timeout(now())
    except ConnectionRefusedError:
        pass  # nobody listens there, at the moment
