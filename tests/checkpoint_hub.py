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
        What "main" is, and the only other revision of a repository that is not in `commits`.
    commits : dict
        Repository id to its commits; the last is "main".
    moved : dict
        Old repository id to the one that it redirects to.
    knows_digits : bool
        Whether the first digits of a commit are taken for it.
    cut_at : dict
        File name to the number of bytes after which its connection is cut, once for every entry.
    altered : set of str
        Names of files that come with another content.
    broken, gated : set of str
        Files ("tree": the listing) that give a server error; repositories that ask for their terms.
    ranges : bool
        Whether a download can be continued.
    says : (int, dict, bytes) or ()
        What it answers to everything: status, headers, body.
    sizes : dict
        File name to a size that is stated instead of the true one.
    asked : list of (str, str)
        Path, and range or "", of every request.
    """

    repositories: dict
    commit: str = COMMIT
    commits: dict = field(default_factory=dict)
    moved: dict = field(default_factory=dict)
    knows_digits: bool = True
    cut_at: dict = field(default_factory=dict)
    altered: set = field(default_factory=set)
    broken: set = field(default_factory=set)
    gated: set = field(default_factory=set)
    ranges: bool = True
    says: tuple = ()
    sizes: dict = field(default_factory=dict)
    asked: list = field(default_factory=list)
    address: str = ""

    def resolve(self, name: str, revision: str) -> str:
        """The commit that a revision is, "" for none."""
        commits = self.commits.get(name, [self.commit])
        if revision == "main":
            return commits[-1]
        fits = [one for one in commits if one.startswith(revision)]
        return fits[0] if fits and (self.knows_digits or revision == fits[0]) else ""

    def describe(self, name: str, commit: str) -> dict:
        """The answer about a repository."""
        files = self.repositories[name].items()
        return {"id": name, "sha": commit, "siblings": [self._file(*f) for f in files]}

    def _file(self, name: str, content: bytes) -> dict:
        size = self.sizes.get(name, len(content))
        git = hashlib.sha1(f"blob {len(content)}\0".encode() + content).hexdigest()
        told = {"rfilename": name, "size": size, "blobId": git}
        if name.endswith((".safetensors", ".model", ".bin", ".parquet", ".zip", ".mp4")):
            sha = hashlib.sha256(content).hexdigest()
            told["lfs"] = {"sha256": sha, "size": size, "pointerSize": 135}
        return told

    def tree(self, name: str) -> list[dict]:
        """The listing of a repository."""
        rows = self.describe(name, "")["siblings"]
        return [
            {"type": "file", "path": row["rfilename"], "oid": row["blobId"], "size": row["size"],
             **({"lfs": {**row["lfs"], "oid": row["lfs"]["sha256"]}} if "lfs" in row else {})}
            for row in rows
        ]  # fmt: skip

    def headers(self, name: str, revision: str, file: str) -> dict[str, str]:
        """What is said of a file before it comes."""
        told = self._file(file, self.repositories[name][file])
        etag = told["lfs"]["sha256"] if "lfs" in told else told["blobId"]
        commit = self.resolve(name, revision)
        return {"X-Repo-Commit": commit, "ETag": f'"{etag}"', "X-Linked-Etag": f'"{etag}"',
                "X-Linked-Size": str(told["size"])}  # fmt: skip


def _handler(hub: Hub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self):
            name, revision, file = self.named(self.parts())
            if name in hub.moved:
                to = self.path.replace(name, hub.moved[name])
                return self.reply(307, b"", {"Location": to})
            self.reply(200, b"", hub.headers(name, revision, file))

        def parts(self):
            return unquote(urlsplit(self.path).path).strip("/").split("/")

        def named(self, parts):
            parts = parts[1:] if parts[0] == "datasets" else parts
            at = 4 if parts[2] == "resolve" else 3  # else as GitHub has it
            return "/".join(parts[:2]), parts[at - 1], "/".join(parts[at:])

        def do_GET(self):
            parts = self.parts()
            hub.asked.append(("/" + "/".join(parts), self.headers.get("Range", "")))
            if hub.says:
                return self.reply(hub.says[0], hub.says[2], hub.says[1])
            name = "/".join(parts[2:4] if parts[0] == "api" else parts[1:3])
            if name in hub.moved:
                to = self.path.replace(name, hub.moved[name])
                self.reply(307, b"", {"Location": hub.address + to})
            elif parts[0] == "repos":
                self.github(name, parts)
            elif parts[:2] in (["api", "models"], ["api", "datasets"]):
                what, revision = (*parts[4:6], "main", "main")[:2] if parts[4:] else ("", "main")
                self.describe(name, unquote(revision), what)
            elif parts[0] == "api":
                self.refuse(404, "")
            else:
                name, _, file = self.named(parts)
                self.file(name, file)

        def do_POST(self):  # paths-info
            wanted = self.rfile.read(int(self.headers["Content-Length"])).decode()
            parts = self.parts()
            rows = [row for row in hub.tree("/".join(parts[2:4]))
                    if row["path"] in unquote(wanted)]  # fmt: skip
            self.reply(200, json.dumps(rows).encode())

        def github(self, name, parts):
            if name not in hub.repositories or name in hub.gated:
                return self.refuse(404, "")
            if parts[3] == "commits":
                commit = hub.resolve(name, parts[4])
                return self.reply(200, json.dumps({"sha": commit}).encode())
            rows = [{"path": row["path"], "type": "blob", "size": row["size"], "sha": row["oid"]}
                    for row in hub.tree(name)]  # fmt: skip
            return self.reply(200, json.dumps({"tree": rows}).encode())

        def describe(self, name, revision, what):
            commit = hub.resolve(name, revision)
            if name not in hub.repositories:
                self.refuse(404, "RepoNotFound")
            elif name in hub.gated:
                self.refuse(403, "GatedRepo")
            elif what == "commits":
                commits = hub.commits.get(name, [hub.commit])
                told = [{"id": one, "authors": [], "date": "2026-01-01T00:00:00.000Z", "title": "",
                         "message": ""} for one in commits]  # fmt: skip
                self.reply(200, json.dumps(told).encode())
            elif what == "tree" and "tree" in hub.broken:
                self.refuse(400, "")  # huggingface_hub would ask again for twenty seconds at 500
            elif not commit:
                self.refuse(404, "RevisionNotFound")
            else:
                told = hub.tree(name) if what == "tree" else hub.describe(name, commit)
                self.reply(200, json.dumps(told).encode())

        def refuse(self, status, code):
            self.reply(status, b"{}", {"X-Error-Code": code})

        def file(self, repository, name):
            if name in hub.broken:
                return self.refuse(500, "")
            content = hub.repositories[repository][name]
            if name in hub.altered:
                content = bytes(len(content))
            start, end = 0, len(content)
            if hub.ranges and (asked := self.headers.get("Range")):
                first, _, last = asked.removeprefix("bytes=").partition("-")
                start, end = int(first), int(last) + 1 if last else end
            cut = hub.cut_at[name].pop(0) if hub.cut_at.get(name) else None
            part = start or end < len(content)
            self.reply(206 if part else 200, content[start:end], cut=cut)

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
