"""Stores firmware before it acknowledges it, then sends it back, over however many connections and power cuts it takes:
python store.py PORT FOLDER"""
import os, socket, sys, time
from pathlib import Path
from waft import PeerError, Timeout, Transmit, mqtt

port, folder, page_len = int(sys.argv[1]), Path(sys.argv[2]), 4096
image, flash = (os.open(folder / name, os.O_RDWR | os.O_CREAT) for name in ("image", "session"))
client, record, message = mqtt.Client(manual_ack=True, max_payload=1 << 20, arena=8192), b"", None
pages = os.pread(flash, 2 * page_len, 0).ljust(2 * page_len, b"\xff")
journal = mqtt.Journal(pages[:page_len], pages[page_len:])
# What the session led to: subscribed; stored, and on its way back.
note = bytearray(2 if journal.newest is None else client.import_(journal.newest))
SUBSCRIBED, STORED = 0, 1


def now() -> int:
    return time.monotonic_ns() // 1000


def save() -> None:
    """Before anything is sent: what has changed of the session, where no power cut reaches the record before."""
    global record
    if not client.is_exported_in(record):
        place = journal.place(len(client.export(bytes(note))))
        record = client.export(bytes(note), sequence=place.sequence)
        if place.erase:
            os.pwrite(flash, b"\xff" * page_len, place.page * page_len)
        os.pwrite(flash, record, place.page * page_len + place.offset)
        os.fsync(flash)


def told(event: mqtt.Event) -> None:
    """What the client tells."""
    global message
    match event:
        case mqtt.Connected(session_present):
            if not (session_present and note[SUBSCRIBED]):
                client.subscribe(now(), [("fw/#", 1)])
        case mqtt.Subscribed():
            note[SUBSCRIBED] = True
        case mqtt.Publish(topic, length, id=message):
            if topic == "fw/image" and not note[STORED]:
                os.ftruncate(image, os.lseek(image, 0, os.SEEK_SET))
            elif length > 0:
                client.refuse(now())  # the rest of it is passed over, and it is acknowledged
                print(f"{topic} refused", flush=True)
        case mqtt.Skipped(payload_len=length):
            print(f"{length} bytes refused", flush=True)  # longer than max_payload
        case mqtt.Payload(data, last):
            os.write(image, data)
            if last:
                os.fsync(image)
                client.acknowledge(now(), message)  # not before it is safe
                client.publish_streamed(now(), "report", os.lseek(image, 0, os.SEEK_CUR), 1, True)
                note[STORED] = True
        case mqtt.PayloadWanted(offset=offset, len=length):
            client.payload(now(), os.pread(image, length, offset))
        case mqtt.Acknowledged():
            sys.exit(print("sent back"))
        case mqtt.Refused(name=why) | mqtt.Closed(reason=why):
            raise ConnectionError(why)


def run(stream: socket.socket) -> None:
    """One connection, to its end."""
    client.connect(now(), 0, "store", clean_session=False, keep_alive=30)
    rx = b""
    while True:
        while not isinstance(output := client.poll_output(now()), Timeout):
            if isinstance(output, Transmit):
                save()
                stream.sendall(output.data)
            else:
                told(output)
        handled = client.handle_input(now(), 0, rx)
        rx = rx[handled.consumed :]
        if handled.event is not None:
            told(handled.event)
        elif handled.consumed == 0:
            stream.settimeout(None if output.at is None else max(output.at - now(), 1) / 1e6)
            try:
                if not (data := stream.recv(4096)):
                    raise ConnectionError("closed by the broker")
                rx += data
            except TimeoutError:
                client.handle_timeout(now())


while True:
    try:
        run(socket.create_connection(("127.0.0.1", port)))
    except PeerError as broken:
        sys.exit(f"the broker broke MQTT: {broken.name} ({broken.code})")
    except OSError as lost:
        print(f"once more: {lost}", flush=True)
        client.connection_lost(now())
        time.sleep(0.2)
