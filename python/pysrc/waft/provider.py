"""The provider: a folder of releases on any HTTP server, which a gateway fetches from once.

=====================  =========================================================
``index.json``         ``{"releases": {class: {"manifest": …, "image": …, "sequence": …}}}``, paths relative to it
``CLASS/manifest``     the signed envelope
``CLASS/image/ID``     the image
=====================  =========================================================

The paths are those at the gateway. A class without a release has an empty manifest, so that its devices have something
to observe. Any web server will do; :class:`ProviderServer` is one for the bench.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections import Counter
from collections.abc import Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any

from . import ota

INDEX = "index.json"


def _replace(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_bytes(data)
    os.replace(temporary, path)


def read_index(folder: Path) -> dict[str, Any]:
    """The releases of a provider's folder; none where it has no index yet."""
    try:
        index = json.loads((folder / INDEX).read_text())
    except FileNotFoundError:
        return {}
    except ValueError as e:
        raise OSError(f"{folder / INDEX} is no JSON ({e}): mend or remove it") from None
    releases = index.get("releases") if isinstance(index, dict) else None
    if not isinstance(releases, dict):
        raise OSError(f'{folder / INDEX} holds no object "releases": mend or remove it')
    return releases


def add_release(
    folder: Path, class_name: str, envelope: bytes, image: bytes | None, parts: Iterable[tuple[str, bytes]] = ()
) -> dict[str, Any]:
    """Puts a release into a provider's folder: image first, manifest, then the index, each whole or not at all.

    ``image`` is the firmware, None where it brings none. ``parts`` is what else it has devices fetch, by its URI; what has an
    absolute one is elsewhere.
    """
    manifest = ota.inspect(envelope)
    parts = [(uri, data) for uri, data in parts if "://" not in uri]
    for uri, _ in parts:
        # What is signed may say anything, and a release is to stay in its class's folder.
        if not (folder / class_name / uri).resolve().is_relative_to((folder / class_name).resolve()):
            raise OSError(f"{uri!r} would be outside of {folder / class_name}: sign it with a URI below the manifest's")
    releases = read_index(folder)
    entry = {
        "manifest": f"{class_name}/manifest",
        "sequence": manifest.sequence,
        # So that the index alone tells a gateway that something changed.
        "envelope": hashlib.sha256(envelope).hexdigest(),
    }
    if image is not None:
        entry["image"] = f"{class_name}/image/{manifest.image_id}"
        _replace(folder / str(entry["image"]), image)
    for uri, data in parts:
        _replace(folder / class_name / uri, data)
    _replace(folder / str(entry["manifest"]), envelope)
    releases[class_name] = entry
    _replace(folder / INDEX, json.dumps({"releases": releases}, indent=1).encode())
    return entry


def add_class(folder: Path, class_name: str) -> None:
    """Lists a class that has no release yet: its manifest is empty, and there to be observed."""
    releases = read_index(folder)
    if class_name not in releases:
        releases[class_name] = {"manifest": f"{class_name}/manifest"}
        _replace(folder / class_name / "manifest", b"")
        _replace(folder / INDEX, json.dumps({"releases": releases}, indent=1).encode())


class ProviderServer:
    """Serves a folder over HTTP and counts what is fetched: ``with ProviderServer(folder) as provider: provider.url``."""

    def __init__(self, folder: Path, host: str = "127.0.0.1", port: int = 0) -> None:
        counts: Counter[str] = Counter()
        root = folder.resolve()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                name = self.path.split("?", 1)[0].lstrip("/")
                path = (root / name).resolve()
                if not path.is_relative_to(root) or not path.is_file():
                    self._answer(404, b"", None)
                    return
                data = path.read_bytes()
                tag = f'"{hashlib.sha256(data).hexdigest()[:16]}"'
                if self.headers.get("If-None-Match") == tag:
                    self._answer(304, b"", tag)
                    return
                counts[name] += 1
                self._answer(200, data, tag)

            def _answer(self, status: int, data: bytes, tag: str | None) -> None:
                self.send_response(status)
                if tag is not None:
                    self.send_header("ETag", tag)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        #: How often each path was given in full.
        self.counts = counts
        self._server = ThreadingHTTPServer((host, port), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Its base URL, with a slash at the end."""
        return f"http://{self._server.server_address[0]!s}:{self.port}/"

    def start(self) -> ProviderServer:
        """Serves from a thread."""
        self._thread.start()
        return self

    def close(self) -> None:
        """Stops."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> ProviderServer:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
