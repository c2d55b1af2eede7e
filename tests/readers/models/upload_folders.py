"""Uploads the folders of ``make_folders.py`` by huggingface_hub to a hub of this process.

Writes which files were sent, and whether with the bytes that they have. Run by the environment of
the project: python tests/readers/models/upload_folders.py READER FOLDERS OUT
"""

from __future__ import annotations

import base64
import importlib
import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as an upload asks for. It takes all files as parts of one commit."""

    sent: dict[str, bytes]
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:  # its name there
        body = self.read_body()
        here = f"http://127.0.0.1:{self.server.server_address[1]}/owner/name"
        if "/preupload/" in self.path:
            files = [
                {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                for file in json.loads(body)["files"]
            ]
            self.answer({"files": files})
        elif "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    self.sent[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            self.answer({"commitUrl": f"{here}/commit/{'0' * 40}", "commitOid": "0" * 40})
        else:
            self.answer({"url": here})

    def read_body(self) -> bytes:
        """The body of the request, whole or in chunks."""
        if "content-length" in self.headers:
            return self.rfile.read(int(self.headers["content-length"]))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def answer(self, value: Any) -> None:
        data = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 # its name there
        pass


def main(folders: Path, out: Path) -> None:
    """Upload each folder, write what the hub got."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    os.environ["HF_ENDPOINT"] = f"http://127.0.0.1:{server.server_port}"  # read when imported
    hub = importlib.import_module("huggingface_hub")
    hub_token = "none"  # noqa: S105 # opens nothing
    tables = {}
    for name in ("whole", "parts"):
        Hub.sent = {}
        hub.HfApi(token=hub_token).upload_folder(repo_id="owner/name", folder_path=folders / name)
        tables[f"{name}: files"] = {
            path: [f"i{len(data)}"] if data == (folders / name / path).read_bytes() else ["bother"]
            for path, data in Hub.sent.items()
        }
    server.shutdown()
    out.write_text(json.dumps({"version": hub.__version__, "tables": tables, "answers": {}}))


if __name__ == "__main__":
    main(Path(sys.argv[2]), Path(sys.argv[3]))
