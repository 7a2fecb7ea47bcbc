"""A model hub on the loopback interface: as much of its protocol as its own client uses, and told to misbehave at will.

What it answers was taken from what the client asks for and checks: `/api/models|datasets/ID/revision/REV` (the
commit), `/api/.../tree/COMMIT` (files with sizes and hashes) and `/ID/resolve/COMMIT/PATH` (HEAD and GET, with ETag,
X-Repo-Commit and ranges). Files of more than 1,000 bytes are large files with a SHA-256, all others git blobs with a
SHA-1. There is no Xet storage: whoever wants that needs the real hub.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).parents[1]
LARGE = 1000
ERRORS = {401: "", 403: "GatedRepo", 404: "RepoNotFound"}


@dataclass
class Repository:
    """What a repository holds, and how it behaves.

    Attributes:
        commit: Its only one.
        files: Path -> content.
        branches: Names that mean the commit.
        statuses: Of the next answers about it, one each; 0 ends a transfer in the middle, -1 cuts its connection.
        always: The status of every answer about it; 0 for none.
        served: Path -> other bytes of the same length that are sent for it.
        where: Which requests `statuses` is for: those whose path has this in it.
    """

    commit: str
    files: dict[str, bytes]
    branches: tuple[str, ...] = ("main",)
    statuses: list[int] = field(default_factory=list)
    always: int = 0
    served: dict[str, bytes] = field(default_factory=dict)
    where: str = ""
    headers: dict[str, str] = field(default_factory=dict)


def etag_of(content: bytes) -> str:
    if len(content) > LARGE:
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Hub(ThreadingHTTPServer):
    """Repositories by ``models/ID`` or ``datasets/ID``, and every request that came."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.repositories: dict[str, Repository] = {}
        self.requests: list[tuple[str, str, str]] = []
        """Method, path and range of each."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def add(self, name: str, files: dict[str, bytes], commit: str = "") -> Repository:
        made = Repository(commit or hashlib.sha1(name.encode()).hexdigest(), files)
        self.repositories[name] = made
        return made

    def handle_error(self, request: object, client_address: object) -> None:
        """Says nothing: clients that hang up are part of the tests."""


class Handler(BaseHTTPRequestHandler):
    server: Hub
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.requests.append((self.command, path, self.headers.get("Range", "")))
        match = re.fullmatch(r"/api/(models|datasets)/([^/]+/[^/]+)/(revision|tree)/(.+)", path)
        if match is None:
            match = re.fullmatch(r"/(?:(datasets)/)?([^/]+/[^/]+)/(resolve)/([0-9a-f]{40}|[^/]+)/(.+)", path)
        if match is None:
            return self.refuse(404, "")
        repository = self.server.repositories.get(f"{match[1] or 'models'}/{match[2]}")
        if repository is None:
            return self.refuse(404, "RepoNotFound")
        status = repository.always
        if repository.statuses and repository.where in path:
            status = repository.statuses.pop(0)
            if status <= 0:
                return self.file(repository, match[5], broken="ended" if status == 0 else "cut")
        if status >= 400:
            return self.refuse(status, ERRORS.get(status, ""), repository.headers)
        if match[4] not in (repository.commit, *repository.branches):
            return self.refuse(404, "RevisionNotFound")
        if match[3] == "revision":
            return self.json({"id": match[2], "sha": repository.commit, "siblings": []})
        if match[3] == "tree":
            return self.json([self.entry(name, content) for name, content in repository.files.items()])
        return self.file(repository, match[5])

    def entry(self, name: str, content: bytes) -> dict[str, object]:
        found: dict[str, object] = {"type": "file", "path": name, "size": len(content), "oid": etag_of(content)}
        if len(content) > LARGE:
            found["lfs"] = {"oid": etag_of(content), "size": len(content), "pointerSize": 130}
        return found

    def json(self, value: object) -> None:
        self.answer(200, json.dumps(value).encode(), {"Content-Type": "application/json"})

    def refuse(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
        self.answer(status, b"", {**({"X-Error-Code": code} if code else {}), **(headers or {})})

    def file(self, repository: Repository, name: str, broken: str = "") -> None:
        content = repository.files.get(name)
        if content is None:
            return self.refuse(404, "EntryNotFound")
        headers = {"ETag": f'"{etag_of(content)}"', "X-Repo-Commit": repository.commit, "Accept-Ranges": "bytes"}
        content = repository.served.get(name, content)
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        status, part = 200, content
        if asked and self.command == "GET":
            status, part = 206, content[int(asked[1]) :]
            headers["Content-Range"] = f"bytes {asked[1]}-{len(content) - 1}/{len(content)}"
        self.answer(status, part, headers, broken)

    def answer(self, status: int, content: bytes, headers: dict[str, str], broken: str = "") -> None:
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        self.wfile.write(content[: len(content) // 2] if broken else content)
        if broken:
            self.wfile.flush()
            self.close_connection = True
        if broken == "cut":  # the other side gets an error instead of an end
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.server.close_request(self.request)

    def log_message(self, format: str, *args: object) -> None:
        """Keeps the test's output clean."""


@contextmanager
def running() -> Iterator[Hub]:
    with Hub() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def environment(url: str, cache: Path, **more: str) -> dict[str, str]:
    """Of a process whose hub is at this address, with an empty cache of its own and no way to anything but loopback.

    The client reads its settings when it is imported, so only a process of its own is as a user has it. No Xet: its
    client is no HTTP client, and the hub here has none. No token, so that nobody's is sent.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGING", "RETAIN_"))}
    return kept | {
        "HF_ENDPOINT": url,
        "HF_HOME": str(cache / "hf"),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "NO_PROXY": "127.0.0.1",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join([str(ROOT / "tests" / "only_loopback"), str(ROOT)]),
        "RETAIN_CACHE": str(cache / "retain"),
        **more,
    }


COMMAND = [sys.executable, "-m", "benchmark.cli"]
