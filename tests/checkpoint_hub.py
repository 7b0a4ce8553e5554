"""A server that speaks the few parts of the hub's interface that fetching needs."""

from __future__ import annotations

import hashlib
import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """What it serves, what goes wrong with it, and what it was asked.

    Attributes
    ----------
    repositories : dict
        Repository id to file name to content.
    commit : str
        The only revision beside "main".
    cut_at : dict
        File name to the number of bytes after which its connection is cut, once for every entry.
    altered : set of str
        Names of files that come with another content.
    broken, gated : set of str
        Files ("tree": the listing) that give a server error; repositories that ask for their terms.
    ranges : bool
        Whether a download can be continued.
    sizes : dict
        File name to a size that is stated instead of the true one.
    asked : list of (str, str)
        Path, and range or "", of every request.
    """

    repositories: dict
    commit: str = COMMIT
    cut_at: dict = field(default_factory=dict)
    altered: set = field(default_factory=set)
    broken: set = field(default_factory=set)
    gated: set = field(default_factory=set)
    ranges: bool = True
    sizes: dict = field(default_factory=dict)
    asked: list = field(default_factory=list)
    address: str = ""

    def describe(self, name: str) -> dict:
        """The answer about a repository."""
        files = self.repositories[name].items()
        return {"id": name, "sha": self.commit, "siblings": [self._file(*f) for f in files]}

    def _file(self, name: str, content: bytes) -> dict:
        size = self.sizes.get(name, len(content))
        git = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
        told = {"rfilename": name, "size": size, "blobId": git}
        if name.endswith((".safetensors", ".model", ".bin")):
            sha = hashlib.sha256(content).hexdigest()
            told["lfs"] = {"sha256": sha, "size": size, "pointerSize": 135}
        return told

    def tree(self, name: str) -> list[dict]:
        """The listing of a repository."""
        rows = self.describe(name)["siblings"]
        return [
            {"type": "file", "path": row["rfilename"], "oid": row["blobId"], "size": row["size"],
             **({"lfs": {**row["lfs"], "oid": row["lfs"]["sha256"]}} if "lfs" in row else {})}
            for row in rows
        ]  # fmt: skip

    def headers(self, name: str, file: str) -> dict[str, str]:
        """What is said of a file before it comes."""
        told = self._file(file, self.repositories[name][file])
        etag = told["lfs"]["sha256"] if "lfs" in told else told["blobId"]
        return {"X-Repo-Commit": self.commit, "ETag": f'"{etag}"', "X-Linked-Etag": f'"{etag}"',
                "X-Linked-Size": str(told["size"])}  # fmt: skip


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            parts = unquote(urlsplit(self.path).path).strip("/").split("/")
            self.reply(200, b"", hub.headers("/".join(parts[:2]), "/".join(parts[4:])))

        def do_GET(self):
            path = unquote(urlsplit(self.path).path)
            hub.asked.append((path, self.headers.get("Range", "")))
            parts = path.strip("/").split("/")
            if parts[:2] == ["api", "models"]:
                revision = parts[5] if len(parts) > 5 else "main"
                self.describe("/".join(parts[2:4]), revision, "tree" in parts[4:5])
            elif parts[0] == "api":
                self.refuse(404, "")
            else:
                self.file("/".join(parts[:2]), "/".join(parts[4:]))

        def describe(self, name, revision, tree):
            if name not in hub.repositories:
                self.refuse(404, "RepoNotFound")
            elif name in hub.gated:
                self.refuse(403, "GatedRepo")
            elif tree and "tree" in hub.broken:
                self.refuse(400, "")  # huggingface_hub would ask again for twenty seconds at 500
            elif revision not in ("main", hub.commit):
                self.refuse(404, "RevisionNotFound")
            else:
                self.reply(200, json.dumps(hub.tree(name) if tree else hub.describe(name)).encode())

        def refuse(self, status, code):
            self.reply(status, b"{}", {"X-Error-Code": code})

        def file(self, repository, name):
            if name in hub.broken:
                return self.refuse(500, "")
            content = hub.repositories[repository][name]
            if name in hub.altered:
                content = bytes(len(content))
            start = 0
            if hub.ranges and (asked := self.headers.get("Range")):
                start = int(asked.removeprefix("bytes=").rstrip("-"))
            cut = hub.cut_at[name].pop(0) if hub.cut_at.get(name) else None
            self.reply(206 if start else 200, content[start:], cut=cut)

        def reply(self, status, body, headers=None, cut=None):
            self.send_response(status)
            for key, value in {"Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(body[:cut])
            if cut is not None:
                self.close_connection = True

        def log_message(self, *_):
            pass

    return Handler


@contextmanager
def serving(hub: Hub):
    """Run the hub on a free port of this machine; its address is `hub.address`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(hub))
    hub.address = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
