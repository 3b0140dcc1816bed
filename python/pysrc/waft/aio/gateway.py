"""A CoAP gateway on asyncio: looks at an HTTP provider's index, gets what is new once, serves it to many."""

from __future__ import annotations

import asyncio
import json
import secrets
import urllib.error
import urllib.request
from collections.abc import Callable
from types import TracebackType
from typing import Any
from urllib.parse import urljoin

from .. import gateway
from .._errors import Error
from ..coap import Code
from ._driver import DatagramDriver

#: The largest thing that is got from a provider.
MAX_BODY = 64 << 20

#: Content formats (RFC 7252 §12.3; SUIT envelopes: application/suit-envelope+cose is not registered yet).
OCTET_STREAM, CBOR = 42, 60

Told = dict[str, Any]


def http_get(url: str, etag: str | None = None, timeout: float = 30) -> tuple[bytes | None, str | None]:
    """The body and its entity tag; no body where it is still the one of ``etag``. Raises ``OSError``."""
    request = urllib.request.Request(url, headers={"If-None-Match": etag} if etag else {})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as response:
            body: bytes = response.read(MAX_BODY + 1)
            if len(body) > MAX_BODY:
                raise OSError(f"{url} is longer than {MAX_BODY} bytes")
            return body, response.headers.get("ETag")
    except urllib.error.HTTPError as e:
        if e.code == 304:
            return None, etag
        raise OSError(f"{url}: HTTP {e.code}") from None
    except urllib.error.URLError as e:
        raise OSError(f"{url}: {e.reason}") from None


class GatewayServer(DatagramDriver):
    """A gateway on a UDP port: ``async with await serve_gateway("http://…/") as server: …``."""

    def __init__(self, provider: str | None = None, on_event: Callable[[Told], None] | None = None) -> None:
        self.gateway = gateway.Gateway(seed=secrets.randbits(63))
        super().__init__(self.gateway)
        self.provider = provider if provider is None or provider.endswith("/") else provider + "/"
        self._tell = on_event if on_event is not None else lambda event: None
        self._tasks: set[asyncio.Task[None]] = set()
        self._mounted: set[str] = set()
        self._index_tag: str | None = None
        self._versions: dict[str, str] = {}

    def put(self, path: str, body: bytes, content_format: int = OCTET_STREAM) -> None:
        """Serves ``body`` at ``path`` from now on; observers are told."""
        self.gateway.put(self.now(), path, content_format, body)
        self.drain()

    async def poll(self) -> int:
        """Looks at the provider's index; gives how many manifests are new. Raises ``OSError``."""
        if self.provider is None:
            return 0
        body, tag = await asyncio.to_thread(http_get, urljoin(self.provider, "index.json"), self._index_tag)
        if body is None:
            return 0
        releases = _releases(body)
        news = 0
        for name, entry in releases.items():
            version = json.dumps(entry, sort_keys=True)
            if self._versions.get(name) == version:
                continue
            manifest = str(entry["manifest"])
            if name not in self._mounted:
                # Images are got when the first device asks, once for all of them.
                self.gateway.mount(f"/{name}/image/", urljoin(self.provider, f"{name}/image/"))
                self._mounted.add(name)
            envelope, _ = await asyncio.to_thread(http_get, urljoin(self.provider, manifest))
            if envelope is not None:
                self.put(f"/{name}/manifest", envelope, CBOR)
                self._versions[name] = version
                self._tell({"event": "release", "class": name, "sequence": entry.get("sequence")})
                news += 1
        self._index_tag = tag
        return news

    async def poll_forever(self, seconds: float) -> None:
        """Looks at the index again and again."""
        while not self._stopped:
            try:
                await self.poll()
            except (OSError, ValueError, Error) as e:
                self._tell({"event": "provider", "error": str(e)})
            await asyncio.sleep(seconds)

    def start_polling(self, seconds: float) -> None:
        """Polls in the background until it is closed."""
        self._spawn(self.poll_forever(seconds))

    async def close(self) -> None:
        """Closes the socket and ends what is under way."""
        self._stop()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def __aenter__(self) -> GatewayServer:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # ---- inside ----

    def _spawn(self, work: Any) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _input(self, peer: int, data: bytes) -> None:
        handled = self.gateway.handle_input(self.now(), peer, data)
        if handled.event is not None:
            self._event(handled.event)

    def _event(self, event: gateway.Event) -> None:
        match event:
            case gateway.Fetch(path, url):
                self._spawn(self._fetch(path, url))
            case gateway.Report(_, path, payload):
                self._tell({"event": "report", "path": path, "report": payload.hex()})

    async def _fetch(self, path: str, url: str) -> None:
        try:
            body, _ = await asyncio.to_thread(http_get, url)
        except OSError as e:
            self._tell({"event": "fetch", "url": url, "error": str(e)})
            self.gateway.failed(self.now(), path, Code.NOT_FOUND if "HTTP 404" in str(e) else 0xA2)
            self.drain()
            return
        if self._stopped or body is None:
            return
        self._tell({"event": "fetch", "url": url, "bytes": len(body)})
        try:
            self.put(path, body)
        except Error as e:
            self._tell({"event": "fetch", "url": url, "error": str(e)})
            self.gateway.failed(self.now(), path, 0xA3)
            self.drain()


def _releases(body: bytes) -> dict[str, dict[str, Any]]:
    """The releases of an index. Raises ``ValueError``."""
    index = json.loads(body)
    releases = index.get("releases") if isinstance(index, dict) else None
    if not isinstance(releases, dict):
        raise ValueError('the provider\'s index.json holds no object "releases"')
    for name, entry in releases.items():
        if not isinstance(entry, dict) or not isinstance(entry.get("manifest"), str) or "/" in name:
            raise ValueError(f"the provider's index.json is wrong about {name!r}")
    return releases


async def serve_gateway(
    provider: str | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    poll: float | None = 10.0,
    on_event: Callable[[Told], None] | None = None,
) -> GatewayServer:
    """A gateway that listens; ``server.port`` tells where. ``poll=None``: the caller calls ``server.poll()``."""
    server = GatewayServer(provider, on_event)
    await server.bind(host, port)
    if provider is not None and poll is not None:
        server.start_polling(poll)
    return server
