"""A package index on the loopback interface, archives for it, and an empty cache to fetch them into."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from benchmark import package_index
from benchmark.errors import UserError
from benchmark.fetch import fetch
from tasks.sources.archive import Archive, Member

FILES = {
    "data/a.txt": b"alpha",
    "data/b.txt": b"beta\n",
    "data/x/1.txt": b"one",
    "data/y/2.txt": b"two",
    "data/y/deep/3.txt": b"three",
    "code.py": b"raise SystemExit('never imported')",
}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def listing(*names: str) -> str:
    return sha256("".join(f"{sha256(FILES[name])}  {name}\n" for name in names).encode())


def wheel(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in files.items():
            file.writestr(name, content)
    return buffer.getvalue()


def sdist(files: dict[str, bytes], links: dict[str, str] | None = None) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as file:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            file.addfile(entry, io.BytesIO(content))
        for name, target in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = tarfile.SYMTYPE, target
            file.addfile(entry)
    return buffer.getvalue()


def archive(content: bytes, *names: str, filename: str = "demo_data-1.0-py3-none-any.whl") -> Archive:
    """The right pin of an archive with these contents."""
    return Archive(
        project="Demo.Data",
        filename=filename,
        sha256=sha256(content),
        size=len(content),
        members=tuple(Member(name, sha256(FILES[name])) for name in names),
    )


class Index(ThreadingHTTPServer):
    """A package index with one project. Requests are counted; the first ones can be made to fail."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.stated: dict[str, str] = {}  # hashes the index states, where it states any
        self.requests: list[str] = []
        self.failures: list[int] = []  # statuses of the first answers; 0 breaks off in the middle
        self.content_type = "text/html"

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/simple"

    def handle_error(self, request: object, client_address: object) -> None:
        """Says nothing: clients that hang up are part of the tests."""

    def page(self) -> bytes:
        links = []
        for name in self.files:
            fragment = f"#sha256={self.stated[name]}" if name in self.stated else ""
            links.append(f'<a href="/files/{name}{fragment}">{name}</a>')
        return f"<!DOCTYPE html><html><body>{''.join(links)}</body></html>".encode()


class Handler(BaseHTTPRequestHandler):
    server: Index

    def do_GET(self) -> None:
        index = self.server
        index.requests.append(self.path)
        if index.failures:
            status = index.failures.pop(0)
            self.send_response(status or 200)
            self.send_header("Content-Length", "1000" if status == 0 else "0")
            self.end_headers()
            return
        name = self.path.removeprefix("/files/")
        if self.path == "/simple/demo-data/":
            self.answer(200, index.page(), index.content_type)
        elif name in index.files:
            self.answer(200, index.files[name], "application/octet-stream")
        else:
            self.answer(404, b"", "text/html")

    def answer(self, status: int, content: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Keeps the test's output clean."""


@pytest.fixture
def index() -> Iterator[Index]:
    with Index() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the machine that runs the tests has a say in them."""
    for name in [*package_index.INDEX_VARIABLES, "PIP_CERT", "RETAIN_OFFLINE", "RETAIN_CACHE"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def cache(index: Index, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_settings: None) -> Iterator[Path]:
    """An empty cache; whatever a test does, no temporary file may be left in it."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("RETAIN_CACHE", str(folder))
    monkeypatch.setenv("RETAIN_INDEX_URL", index.url)
    monkeypatch.setattr(package_index, "PAUSES", (0.0, 0.0, 0.0))
    yield folder
    if (folder / "partial").is_dir():
        assert list((folder / "partial").iterdir()) == []


def refusal(wanted: Archive) -> str:
    """The message of the error, which is always one line."""
    with pytest.raises(UserError) as caught:
        fetch(wanted)
    message = str(caught.value)
    assert "\n" not in message
    return message


def kept(cache: Path) -> dict[str, bytes]:
    """Every file in the cache, by its path inside its archive's folder."""
    roots = list((cache / "archives").glob("*"))
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for root in roots
        for path in root.rglob("*")
        if path.is_file()
    }
