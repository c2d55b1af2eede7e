"""A hub on this machine, with as much of the real one's interface as its client asks for.

A model's list of files, and the files themselves, whole or from some byte on.
"""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"
OTHER_COMMIT = "f" * 40
TOKEN = "hf_small"  # noqa: S105 # opens nothing
API = re.compile(r"/api/models/([^/]+/[^/]+)/revision/([^/]+)")
RESOLVE = re.compile(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)")


@dataclass
class SmallHub:
    """What the hub has, how it behaves, and what it was asked for."""

    port: int = 0
    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    lies: dict[str, bytes] = field(default_factory=dict)
    """Contents to send in place of a file's own."""
    breaks: list[int] = field(default_factory=list)
    """Bytes after which each of the next files breaks off."""
    asked: list[str] = field(default_factory=list)
    ranges: list[str] = field(default_factory=list)

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"


class Handler(BaseHTTPRequestHandler):
    hub: SmallHub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:  # its name there
        self.answer(with_body=False)

    def do_GET(self) -> None:  # the same
        self.answer(with_body=True)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 # the same
        pass

    def answer(self, *, with_body: bool) -> None:
        path = urlsplit(self.path).path
        self.hub.asked.append(f"{self.command} {path}")
        listing, file = API.fullmatch(path), RESOLVE.fullmatch(path)
        found = listing or file
        if found is None:
            self.refuse(404, "")
        elif found[1] not in self.hub.repositories:
            self.refuse(401, "RepoNotFound")
        elif found[1] in self.hub.gated and self.headers["Authorization"] != f"Bearer {TOKEN}":
            self.refuse(401, "GatedRepo")
        elif found[2] not in (COMMIT, "main"):
            self.refuse(404, "RevisionNotFound")
        elif listing:
            self.send_listing(found[1])
        elif found[3] not in self.hub.repositories[found[1]]:
            self.refuse(404, "EntryNotFound")
        else:
            self.send_file(found[3], self.hub.repositories[found[1]][found[3]], with_body)

    def refuse(self, status: int, code: str) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def send_listing(self, repository: str) -> None:
        siblings = []
        for name, content in self.hub.repositories[repository].items():
            digest = hashlib.sha256(content).hexdigest()
            lfs = {"sha256": digest, "size": len(content), "pointerSize": 134}
            # As on the real one, small files of text lie in git itself.
            is_text = name.endswith((".json", ".yml", ".md", ".py"))
            size = {"rfilename": name, "size": len(content), "blobId": digest[:40]}
            siblings.append(size if is_text else {**size, "lfs": lfs})
        body = json.dumps({"id": repository, "sha": COMMIT, "siblings": siblings}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def send_file(self, name: str, content: bytes, with_body: bool) -> None:
        first = 0
        if asked_range := self.headers["Range"]:
            self.hub.ranges.append(asked_range)
            first = int(asked_range.removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if first else 200)
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("Content-Length", str(len(content) - first))
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        self.end_headers()
        if with_body:
            content = self.hub.lies.get(name, content)
            if self.hub.breaks:
                self.wfile.write(content[first : self.hub.breaks.pop(0)])
                self.close_connection = True
            else:
                self.wfile.write(content[first:])


@contextmanager
def small_hub() -> Iterator[SmallHub]:
    """A hub that runs until the context ends."""
    hub = SmallHub()
    handler = type("OneHandler", (Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        hub.port = server.server_port
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
