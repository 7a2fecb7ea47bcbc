"""The cache and what is unpacked into it, against a package index on the loopback interface."""

from __future__ import annotations

import errno
import gzip
import multiprocessing
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark import fetch as fetching
from benchmark import package_index
from benchmark.fetch import cache_folder, fetch, fetch_all
from tasks.sources.archive import Archive, Member
from tests.package_server import FILES, Index, archive, kept, listing, refusal, sdist, sha256, wheel
from tests.package_server import cache as cache  # fixtures
from tests.package_server import index as index
from tests.package_server import no_settings as no_settings

# --- what is fetched -----------------------------------------------------------------------------------


def test_a_wheel_is_fetched_once_and_only_its_members_are_kept(index: Index, cache: Path) -> None:
    content = wheel(FILES)
    wanted = archive(content, "data/a.txt", "data/x/1.txt")
    index.files[wanted.filename] = content
    said: list[str] = []
    folder = fetch(wanted, report=said.append)
    assert folder == cache / "archives" / f"{wanted.filename}-{wanted.sha256[:16]}"
    assert kept(cache) == {"data/a.txt": b"alpha", "data/x/1.txt": b"one"}
    assert index.requests == ["/simple/demo-data/", f"/files/{wanted.filename}"]
    assert len(said) == 1 and "downloading" in said[0] and index.url in said[0]
    assert fetch(wanted, report=said.append) == folder
    assert len(index.requests) == 2 and len(said) == 1


def test_an_sdist_is_read_no_further_than_needed(index: Index, cache: Path) -> None:
    content = sdist({f"demo-1/{name}": data for name, data in FILES.items()})
    # What follows the first member is damaged on purpose.
    damaged = gzip.compress(gzip.decompress(content)[:1024] + b"\xff" * 4096)
    wanted = replace(
        archive(damaged, filename="demo_data-1.0.tar.gz"),
        members=(Member("demo-1/data/a.txt", sha256(b"alpha")),),
    )
    index.files[wanted.filename] = damaged
    assert (fetch(wanted) / "demo-1/data/a.txt").read_bytes() == b"alpha"


def test_a_link_in_an_sdist_is_no_member(index: Index, cache: Path) -> None:
    content = sdist({}, links={"data/a.txt": "/etc/hostname"})
    wanted = archive(content, "data/a.txt", filename="demo_data-1.0.tar.gz")
    index.files[wanted.filename] = content
    assert "has no member data/a.txt" in refusal(wanted)


def test_a_glob_stays_in_its_folders(index: Index, cache: Path) -> None:
    content = wheel(FILES)
    pattern = Member("data/*/?.txt", listing("data/x/1.txt", "data/y/2.txt"))
    wanted = replace(archive(content), members=(pattern,))
    index.files[wanted.filename] = content
    fetch(wanted)
    fetch(wanted)
    assert set(kept(cache)) == {"data/x/1.txt", "data/y/2.txt"}
    assert len(index.requests) == 2


def test_a_file_that_only_matches_a_glob_is_removed(index: Index, cache: Path) -> None:
    content = wheel(FILES)
    pattern = Member("data/*/?.txt", listing("data/x/1.txt", "data/y/2.txt"))
    wanted = replace(archive(content), members=(pattern,))
    index.files[wanted.filename] = content
    folder = fetch(wanted)
    (folder / "data/y/9.txt").write_bytes(b"foreign")
    fetch(wanted)
    assert set(kept(cache)) == {"data/x/1.txt", "data/y/2.txt"}


def test_a_later_call_adds_members(index: Index, cache: Path) -> None:
    content = wheel(FILES)
    index.files["demo_data-1.0-py3-none-any.whl"] = content
    first = fetch(archive(content, "data/a.txt"))
    second = fetch(archive(content, "data/a.txt", "data/b.txt"))
    assert first == second
    assert set(kept(cache)) == {"data/a.txt", "data/b.txt"}


def test_fetch_all_downloads_a_shared_file_once(index: Index, cache: Path) -> None:
    content, other = wheel(FILES), wheel({"data/a.txt": b"alpha"})
    one, two = archive(content, "data/a.txt"), archive(content, "data/b.txt", "data/a.txt")
    three = archive(other, "data/a.txt", filename="demo_data-2.0-py3-none-any.whl")
    index.files |= {one.filename: content, three.filename: other}
    folders = fetch_all([one, three, two])
    assert folders == [fetch(one), fetch(three), fetch(two)]
    assert len(index.requests) == 4
    with pytest.raises(ValueError, match="pinned to two hashes"):
        fetch_all([one, replace(one, sha256="0" * 64)])


def test_a_damaged_member_is_reported_and_mended(index: Index, cache: Path) -> None:
    content = wheel(FILES)
    wanted = archive(content, "data/a.txt", "data/b.txt")
    index.files[wanted.filename] = content
    path = fetch(wanted) / "data/a.txt"
    path.write_bytes(b"alphA")
    said: list[str] = []
    fetch(wanted, report=said.append)
    assert said[0] == f"{path} is damaged: fetching it again"
    assert path.read_bytes() == b"alpha"


def fetch_in_process(wanted: Archive) -> None:
    fetch(wanted)


def test_many_at_once_do_not_disturb_each_other(index: Index, cache: Path) -> None:
    content = wheel(FILES)
    wanted = archive(content, "data/a.txt", "data/b.txt")
    index.files[wanted.filename] = content
    processes = [
        multiprocessing.get_context("spawn").Process(target=fetch_in_process, args=(wanted,)) for _ in range(2)
    ]
    for process in processes:
        process.start()
    with ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(lambda _: fetch(wanted), range(8)))
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert len(folders) == 1
    assert kept(cache) == {"data/a.txt": b"alpha", "data/b.txt": b"beta\n"}


def test_nothing_of_a_killed_process_stays_for_ever(index: Index, cache: Path) -> None:
    content = wheel(FILES)
    wanted = archive(content, "data/a.txt")
    index.files[wanted.filename] = content
    left = cache / "partial" / "left"
    left.mkdir(parents=True)
    (left / "archive").write_bytes(b"half")
    yesterday = time.time() - 2 * fetching.STALE
    os.utime(left, (yesterday, yesterday))
    fetch(wanted)
    assert not left.exists()


def test_importing_fetch_is_light() -> None:
    heavy = "{'requests', 'pypi_simple', 'tqdm', 'torch', 'numpy'} & set(sys.modules)"
    code = f"import sys, benchmark.fetch; sys.exit(str({heavy}) if {heavy} else 0)"
    subprocess.run([sys.executable, "-c", code], check=True)


# --- what is refused -----------------------------------------------------------------------------------


def test_offline_uses_the_cache_and_nothing_else(index: Index, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = wheel(FILES)
    wanted = archive(content, "data/a.txt")
    index.files[wanted.filename] = content
    monkeypatch.setenv("RETAIN_OFFLINE", "1")
    message = refusal(wanted)
    assert "data/a.txt of demo_data" in message and "run 'retain fetch'" in message and str(cache) in message
    assert "data/b.txt and 1 more of demo_data" in refusal(archive(content, "data/b.txt", "data/x/1.txt"))
    monkeypatch.setenv("RETAIN_OFFLINE", "false")
    folder = fetch(wanted)
    monkeypatch.setenv("RETAIN_OFFLINE", "yes")
    assert fetch(wanted) == folder
    assert len(index.requests) == 2
    monkeypatch.setenv("RETAIN_OFFLINE", "perhaps")
    assert "RETAIN_OFFLINE is 'perhaps'" in refusal(archive(content, "data/b.txt"))


@pytest.mark.parametrize("path", ["data/c.txt", "data/*/*/c*.txt"])
def test_a_member_that_is_not_there(index: Index, cache: Path, path: str) -> None:
    content = wheel(FILES)
    wanted = archive(content, "data/a.txt")
    index.files[wanted.filename] = content
    wanted = replace(wanted, members=(*wanted.members, Member(path, "0" * 64)))
    assert f"has no member {path}" in refusal(wanted)
    assert kept(cache) == {}


def test_a_member_with_another_hash(index: Index, cache: Path) -> None:
    content = wheel(FILES)
    wanted = replace(archive(content, "data/a.txt"), members=(Member("data/a.txt", "0" * 64),))
    index.files[wanted.filename] = content
    message = refusal(wanted)
    assert sha256(b"alpha") in message and "0" * 64 in message and "data/a.txt" in message
    assert kept(cache) == {}


@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "data/../../evil.txt", "data\\..\\evil.txt", "C:evil"])
@pytest.mark.parametrize("glob", [False, True])
def test_a_member_outside_its_folder(index: Index, cache: Path, name: str, glob: bool) -> None:
    content = sdist({name: b"evil"})
    path = "/".join("*" for _ in name.split("/")) if glob else name
    wanted = archive(content, filename="demo_data-1.0.tar.gz")
    wanted = replace(wanted, members=(Member(path, sha256(b"evil")),))
    index.files[wanted.filename] = content
    assert "points out of its folder" in refusal(wanted)
    assert kept(cache) == {} and not list(cache.parent.rglob("*evil*"))


def test_a_member_that_unpacks_to_too_much(index: Index, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fetching, "MEMBER_LIMIT", 4)
    content = wheel(FILES)
    wanted = archive(content, "data/a.txt")
    index.files[wanted.filename] = content
    assert "data/a.txt in demo_data-1.0-py3-none-any.whl unpacks to more than 4" in refusal(wanted)


@pytest.mark.parametrize(
    ("filename", "problem"),
    [
        ("demo_data-1.0-py3-none-any.whl", "cannot be unpacked"),
        ("demo_data-1.0.tar.gz", "cannot be unpacked"),
        ("demo_data-1.0.exe", "neither a wheel nor"),
    ],
)
def test_an_archive_that_is_none(index: Index, cache: Path, filename: str, problem: str) -> None:
    wanted = archive(b"not packed", "data/a.txt", filename=filename)
    index.files[filename] = b"not packed"
    assert problem in refusal(wanted)


def test_an_interrupted_download_leaves_nothing(index: Index, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = wheel(FILES)
    wanted = archive(content, "data/a.txt")
    index.files[wanted.filename] = content

    def interrupt(self: object, increment: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(package_index._Progress, "update", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fetch(wanted)
    assert kept(cache) == {}


# --- the cache folder ----------------------------------------------------------------------------------


def test_a_full_disk(index: Index, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = wheel(FILES)
    wanted = archive(content, "data/a.txt")
    index.files[wanted.filename] = content

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        assert "no space left for the cache" in refusal(wanted)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10, 9, 1))
        before = len(index.requests)
        assert "no space left for the cache" in refusal(wanted)
        assert len(index.requests) == before
    assert kept(cache) == {}


def test_a_cache_folder_that_cannot_be_written(index: Index, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def forbidden(self: Path, *args: object, **kwargs: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(self))

    monkeypatch.setattr(Path, "mkdir", forbidden)
    message = refusal(archive(wheel(FILES), "data/a.txt"))
    assert str(cache) in message and "Permission denied" in message and "set RETAIN_CACHE" in message


def test_a_file_where_the_cache_folder_should_be(index: Index, cache: Path) -> None:
    cache.write_text("a file")
    assert f"{cache}" in refusal(archive(wheel(FILES), "data/a.txt"))
    cache.unlink()
    cache.mkdir()
    (cache / "partial").write_text("a file")
    assert f"{cache / 'partial'} is a file where the cache needs a folder" in refusal(
        archive(wheel(FILES), "data/a.txt")
    )
    (cache / "partial").unlink()


def test_where_the_cache_is(no_settings: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache_folder().parts[-1] == "retain"
    monkeypatch.setenv("RETAIN_CACHE", "~/somewhere")
    assert cache_folder() == Path.home() / "somewhere"
    for nonsense in ("here", "~nobody-of-that-name/x"):
        monkeypatch.setenv("RETAIN_CACHE", nonsense)
        assert f"RETAIN_CACHE is '{nonsense}'" in refusal(archive(b"", "data/a.txt"))
    monkeypatch.setenv("RETAIN_CACHE", "/" + "x" * 5000)
    assert "cannot be used" in refusal(archive(b"", "data/a.txt"))
