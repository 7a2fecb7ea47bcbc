"""Which package index is asked, and downloads that fail, against an index on the loopback interface."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark import package_index
from benchmark.errors import UserError
from benchmark.fetch import fetch
from tests.package_server import FILES, Handler, Index, archive, kept, refusal, sha256, wheel
from tests.package_server import cache as cache  # fixtures
from tests.package_server import index as index
from tests.package_server import no_settings as no_settings

# --- which index ---------------------------------------------------------------------------------------


@pytest.fixture
def home(no_settings: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder and a virtual environment without any pip configuration."""
    monkeypatch.delenv("PIP_CONFIG_FILE")
    monkeypatch.setattr(package_index, "PIP_MACHINE_CONFIG", tmp_path / "etc/pip.conf")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CONFIG_DIRS", str(tmp_path / "xdg"))
    monkeypatch.setenv("VIRTUAL_ENV", str(tmp_path / "env"))
    return tmp_path


def configure(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_index_is_pypi_unless_something_says_otherwise(no_settings: None) -> None:
    assert package_index.index_url() == "https://pypi.org/simple"


def test_variables_name_the_index_in_this_order(no_settings: None, monkeypatch: pytest.MonkeyPatch) -> None:
    for number, name in enumerate(reversed(package_index.INDEX_VARIABLES)):
        monkeypatch.setenv(name, f"https://{number}.example/simple")
        assert package_index.index_url() == f"https://{number}.example/simple"
        monkeypatch.setenv(name, f"mirror=https://{number}.example/simple")
        assert package_index.index_url() == f"https://{number}.example/simple"


@pytest.mark.skipif(sys.platform == "win32", reason="pip's files lie elsewhere there")
def test_pip_configuration_files_override_each_other_as_in_pip(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = ["xdg/pip/pip.conf", "etc/pip.conf", ".pip/pip.conf", "config/pip/pip.conf", "env/pip.conf"]
    for number, name in enumerate(files):
        configure(home / name, f"[global]\nindex-url = https://{number}.example/simple\n")
        assert package_index.index_url() == f"https://{number}.example/simple"
    configure(home / "own.conf", "[global]\nINDEX_URL = https://own.example/%70simple\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(home / "own.conf"))
    assert package_index.index_url() == "https://own.example/%70simple"
    configure(home / "own.conf", "[install]\nindex-url = https://install.example/\n[global]\nindex-url = x\n")
    assert package_index.index_url() == "https://install.example/"
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    assert package_index.index_url() == "https://pypi.org/simple"


@pytest.mark.skipif(sys.platform == "win32", reason="pip's files lie elsewhere there")
def test_a_broken_pip_configuration(home: Path) -> None:
    configure(home / "env/pip.conf", "index-url = https://no.section/\n")
    with pytest.raises(UserError, match="env/pip.conf is not a valid pip configuration"):
        package_index.index_url()


@pytest.mark.parametrize("url", ["/srv/simple", "file:///srv/simple", "pypi.org/simple", "https://"])
def test_an_index_that_is_no_address(no_settings: None, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_INDEX_URL", url)
    with pytest.raises(UserError, match="of PIP_INDEX_URL is no http"):
        package_index.index_url()


def test_certificates(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)
    assert package_index._certificate() is None
    bundle = home / "bundle.pem"
    configure(home / "env/pip.conf", f"[global]\ncert = {bundle}\n")
    with pytest.raises(UserError, match=r"bundle\.pem of PIP_CERT"):
        package_index._certificate()
    bundle.touch()
    assert package_index._certificate() == str(bundle)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "other.pem")
    assert package_index._certificate() is None


# --- downloads that fail ---


def test_no_network(index: Index, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Port 9 is the discard service, which nobody runs.
    monkeypatch.setenv("RETAIN_INDEX_URL", "http://user:secret@127.0.0.1:9/simple")
    message = refusal(archive(wheel(FILES), "data/a.txt"))
    assert "demo_data-1.0" in message and "no connection" in message and "'retain fetch'" in message
    assert "http://127.0.0.1:9/simple" in message and "secret" not in message
    assert kept(cache) == {}


def test_passing_failures_are_tried_again(index: Index, cache: Path) -> None:
    content = wheel(FILES)
    wanted = archive(content, "data/a.txt")
    index.files[wanted.filename] = content
    index.failures = [503, 429, 0]
    said: list[str] = []
    fetch(wanted, report=said.append)
    assert len(index.requests) == 5
    assert [line.split("; ")[0] for line in said[:2]] == [
        f"{wanted.filename}: HTTP status 503",
        f"{wanted.filename}: HTTP status 429",
    ]


@pytest.mark.parametrize(("status", "requests"), [(500, 4), (403, 1)])
def test_lasting_failures_are_not(index: Index, cache: Path, status: int, requests: int) -> None:
    index.failures = [status] * 9
    assert f"HTTP status {status}" in refusal(archive(wheel(FILES), "data/a.txt"))
    assert len(index.requests) == requests


def test_a_silent_server(index: Index, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_index, "TIMEOUT", (1.0, 0.05))
    monkeypatch.setattr(package_index, "PAUSES", ())
    monkeypatch.setattr(Handler, "do_GET", lambda self: time.sleep(0.2))
    assert "no answer in time" in refusal(archive(wheel(FILES), "data/a.txt"))


def test_an_index_without_the_project_or_the_file(index: Index, cache: Path) -> None:
    wanted = archive(wheel(FILES), "data/a.txt")
    assert f"has no file {wanted.filename}" in refusal(wanted)
    assert "has no project 'absent'" in refusal(replace(wanted, project="absent"))


def test_something_that_is_no_index(index: Index, cache: Path) -> None:
    index.content_type = "image/png"
    assert "does not answer like a package index" in refusal(archive(wheel(FILES), "data/a.txt"))


@pytest.mark.parametrize("stated", [True, False])
def test_another_archive_under_the_same_name(index: Index, cache: Path, stated: bool) -> None:
    content, other = wheel(FILES), wheel({**FILES, "code.py": b""})
    wanted = replace(archive(content, "data/a.txt"), size=10**6)
    index.files[wanted.filename] = other
    if stated:
        index.stated[wanted.filename] = sha256(other)
    message = refusal(wanted)
    assert sha256(other) in message and wanted.sha256 in message
    assert len(index.requests) == (1 if stated else 2)
    assert kept(cache) == {}


def test_a_larger_archive_is_not_downloaded_to_its_end(index: Index, cache: Path) -> None:
    wanted = archive(wheel(FILES), "data/a.txt")
    index.files[wanted.filename] = b"x" * 10**6
    assert f"larger than the {wanted.size} bytes" in refusal(wanted)
