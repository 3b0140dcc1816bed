"""A broker with rights and a state file: python broker.py PORT ACL STATE"""
import asyncio, secrets, sys
from pathlib import Path
from waft import mqtt
from waft.aio import serve_broker


async def main(port: str, acl: str, state: str) -> None:
    broker = mqtt.Broker(seed=secrets.randbits(64), acl=Path(acl).read_text(), persistent=True)
    async with await serve_broker(port=int(port), broker=broker, state=Path(state), on_event=print) as server:
        print(f"MQTT broker on 127.0.0.1:{server.port}", flush=True)
        await server.failed()


asyncio.run(main(*sys.argv[1:]))
