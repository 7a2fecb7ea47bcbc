"""The hub's real client against a hub on loopback: pinning, errors, broken transfers, and no network afterwards."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmark import hub as ours
from benchmark.errors import UserError
from tests.hub_client import Client, client
from tests.hub_server import Hub, running

SMALL, LARGE = b"small\n", bytes(range(256)) * 4000
FILES = {"data/train-0.parquet": LARGE, "data/test-0.parquet": SMALL, "README.md": b"read me", "evil.py": b"1/0"}
PATTERNS = ("data/train-*.parquet", "data/test-*.parquet")


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with running() as server:
        yield server


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("hub")


@pytest.fixture(scope="module")
def get(hub: Hub, cache: Path) -> Iterator[Client]:
    with client(hub.url, cache) as process:
        yield process


def asked(hub: Hub, name: str) -> list[tuple[str, str, str]]:
    return [request for request in hub.requests if name in request[1]]


def asked_of(hub: Hub, file: str, repository: str) -> list[tuple[str, str, str]]:
    return [request for request in asked(hub, f"org/{repository}") if file in request[1]]


def kept(folder: str) -> dict[str, bytes]:
    root = Path(folder)
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_exactly_the_named_files_of_the_pinned_commit_are_fetched_and_once(hub: Hub, get: Client) -> None:
    made = hub.add("datasets/org/pinned", FILES)
    done = get("datasets/org/pinned", *PATTERNS, revision=made.commit)
    assert kept(done["folder"]) == {"data/train-0.parquet": LARGE, "data/test-0.parquet": SMALL}
    assert (done["commit"], done["said"]) == (made.commit, [])
    requests = asked(hub, "org/pinned")
    assert not any("/revision/" in path for _, path, _ in requests)  # a commit needs no asking what it is
    assert get("datasets/org/pinned", *PATTERNS, revision=made.commit)["folder"] == done["folder"]
    assert asked(hub, "org/pinned") == requests


def test_a_branch_is_asked_for_its_commit_each_time_and_the_commit_is_told(hub: Hub, get: Client) -> None:
    made = hub.add("datasets/org/branch", FILES)
    made.branches = ("refs/convert/parquet",)
    first = get("datasets/org/branch", *PATTERNS, revision="refs/convert/parquet")
    assert first["commit"] == made.commit
    made.commit, made.files = "b" * 40, FILES | {"data/test-0.parquet": b"moved on\n"}
    second = get("datasets/org/branch", *PATTERNS, revision="refs/convert/parquet")
    assert second["commit"] == "b" * 40
    assert kept(second["folder"])["data/test-0.parquet"] == b"moved on\n"
    offline = get("datasets/org/branch", *PATTERNS, revision="refs/convert/parquet", RETAIN_OFFLINE="1")
    assert offline == second


def test_only_what_a_model_needs_is_fetched_and_nothing_that_runs(hub: Hub, get: Client) -> None:
    wanted = {"config.json": b"{}", "model.safetensors": LARGE, "1_Pooling/config.json": b"{ }", "vocab.txt": b"a"}
    hub.add("models/org/model", wanted | {"pytorch_model.bin": LARGE, "modeling.py": b"1/0", "README.md": b"-"})
    assert kept(get("models/org/model")["folder"]) == wanted


def test_a_file_that_is_not_there_is_said_with_the_nearest(hub: Hub, get: Client) -> None:
    made = hub.add("datasets/org/lacking", FILES)
    done = get("datasets/org/lacking", "data/train-*.parquet", "data/tset-0.parquet", revision=made.commit)
    assert done["error"] == (
        f"data set org/lacking at revision {made.commit}: unknown file 'data/tset-0.parquet': "
        "did you mean data/test-0.parquet or data/train-0.parquet?"
    )


@pytest.mark.parametrize(
    "status, message",
    [
        (401, "the hub wants a log-in for it, or there is no such thing: check the spelling org/name, and log in"),
        (403, "it is gated: accept its terms on its page on the hub, then log in (hf auth login, or HF_TOKEN)"),
        (404, "the hub has no such data set; check the spelling org/name, or log in if it is private"),
        (429, "the hub allows no more requests for now (429): wait some minutes, then run 'retain fetch'"),
        (503, "the hub is out of order (HTTP status 503): run 'retain fetch' later, or set HF_ENDPOINT"),
    ],
)
def test_a_refusal_is_one_line_with_what_to_do(hub: Hub, get: Client, status: int, message: str) -> None:
    made = hub.add(f"datasets/org/refused{status}", FILES)
    made.always = status
    done = get(f"datasets/org/refused{status}", *PATTERNS, revision=made.commit)
    assert done["error"].startswith(f"data set org/refused{status} at revision {made.commit}: {message}")
    assert any("trying again" in line or "Retrying" in line for line in done["said"]) == (status in (429, 503))
    by_branch = get(f"datasets/org/refused{status}", *PATTERNS, revision="main")
    assert message in by_branch["error"]


def test_an_unknown_repository_and_an_unknown_revision_are_told_apart(hub: Hub, get: Client) -> None:
    hub.add("models/org/known", {"config.json": b"{}"})
    assert "the hub has no such model; check the spelling" in get("models/org/unknown")["error"]
    for revision in ("no-such-branch", "c" * 40):
        error = get("models/org/known", revision=revision)["error"]
        message = "the hub has no such revision; look at the commits on its page"
        assert error == f"backbone org/known at revision {revision}: {message}"


def test_a_busy_hub_is_asked_again(hub: Hub, get: Client) -> None:
    made = hub.add("datasets/org/busy", FILES)
    made.statuses, made.headers = [429, 503], {"Retry-After": "0"}
    done = get("datasets/org/busy", *PATTERNS, revision="main")
    assert kept(done["folder"]) == {"data/train-0.parquet": LARGE, "data/test-0.parquet": SMALL}
    assert any("429" in line for line in done["said"])


def test_a_broken_transfer_goes_on_where_it_broke_off(hub: Hub, get: Client) -> None:
    longer = LARGE * 24  # the client keeps what came in pieces of 10 MiB
    made = hub.add("datasets/org/broken", FILES | {"data/train-0.parquet": longer})
    made.where, made.statuses = "train-0", [200, 0]  # the question for its size, then the file
    done = get("datasets/org/broken", *PATTERNS, revision=made.commit)
    assert (Path(done["folder"]) / "data/train-0.parquet").read_bytes() == longer
    ranges = [sent for method, _, sent in asked_of(hub, "train-0", "broken") if method == "GET"]
    assert ranges == ["", f"bytes={10 * 2**20}-"]
    assert any("Trying to resume download" in line for line in done["said"])


def test_a_connection_that_is_cut_is_tried_again(hub: Hub, get: Client) -> None:
    made = hub.add("datasets/org/cut", FILES)
    made.where, made.statuses = "train-0", [200, -1]
    done = get("datasets/org/cut", *PATTERNS, revision=made.commit)
    assert kept(done["folder"])["data/train-0.parquet"] == LARGE
    assert any("the transfer broke off; trying again in 1 s" in line for line in done["said"])


def test_a_transfer_that_never_ends_well_is_given_up_and_leaves_nothing(hub: Hub, get: Client, cache: Path) -> None:
    made = hub.add("datasets/org/hopeless", FILES)
    made.where, made.statuses = "train-0", [0] * 200
    done = get("datasets/org/hopeless", *PATTERNS, revision=made.commit)
    assert "error" in done and "the transfer broke off again and again" in done["error"]
    assert not [path for path in (cache / "hf").rglob("*.incomplete")]
    made.statuses = []
    assert (
        kept(get("datasets/org/hopeless", *PATTERNS, revision=made.commit)["folder"])["data/train-0.parquet"] == LARGE
    )


@pytest.mark.parametrize("name", ["data/train-0.parquet", "data/test-0.parquet"])
def test_other_bytes_than_the_hubs_hash_says_are_refused(hub: Hub, get: Client, cache: Path, name: str) -> None:
    repository = f"wrong-{name[5:9]}"
    made = hub.add(f"datasets/org/{repository}", {path: content + name.encode() for path, content in FILES.items()})
    right = made.files[name]
    made.served[name] = bytes(reversed(right))
    done = get(f"datasets/org/{repository}", *PATTERNS, revision=made.commit)
    assert f"{name} is not what the hub's hash says" in done["error"]
    assert any("damaged: fetching it again" in line for line in done["said"])
    assert not [path for path in (cache / "hf").rglob("*") if path.is_file() and path.read_bytes() == made.served[name]]
    made.served.clear()
    assert kept(get(f"datasets/org/{repository}", *PATTERNS, revision=made.commit)["folder"])[name] == right


def test_a_file_that_was_damaged_in_the_cache_is_fetched_again(hub: Hub, get: Client) -> None:
    made = hub.add("datasets/org/damaged", {path: content + b"damaged" for path, content in FILES.items()})
    folder = Path(get("datasets/org/damaged", *PATTERNS, revision=made.commit)["folder"])
    blob = (folder / "data/train-0.parquet").resolve()
    blob.write_bytes(LARGE)
    offline = get("datasets/org/damaged", *PATTERNS, revision=made.commit, RETAIN_OFFLINE="1")
    assert "data/train-0.parquet is not what the hub's hash says" in offline["error"]
    assert not blob.exists()
    again = get("datasets/org/damaged", *PATTERNS, revision=made.commit)
    assert kept(again["folder"])["data/train-0.parquet"] == LARGE + b"damaged"


def test_offline_what_was_fetched_is_found_and_all_else_is_said(hub: Hub, get: Client) -> None:
    made = hub.add("datasets/org/cached", FILES)
    done = get("datasets/org/cached", PATTERNS[0], revision=made.commit)
    before = list(hub.requests)
    assert get("datasets/org/cached", PATTERNS[0], revision=made.commit, RETAIN_OFFLINE="1") == done
    missing = get("datasets/org/cached", *PATTERNS, revision=made.commit, RETAIN_OFFLINE="1")
    assert "RETAIN_OFFLINE is set and the data set is not cached" in missing["error"]
    unknown = get("models/org/never", RETAIN_OFFLINE="1")
    assert unknown["error"] == (
        "backbone org/never: RETAIN_OFFLINE is set and the model is not cached; connect, or give a local folder"
    )
    assert hub.requests == before


def test_the_clients_own_offline_switch_and_a_hub_that_is_gone(tmp_path: Path) -> None:
    with running() as server:
        made = server.add("datasets/org/there", FILES)
        with client(server.url, tmp_path) as get:
            done = get("datasets/org/there", *PATTERNS, revision=made.commit)
    with client(server.url, tmp_path) as get:  # nothing listens there any more
        assert get("datasets/org/there", *PATTERNS, revision=made.commit)["folder"] == done["folder"]
        assert "can't be reached and the model is not cached; connect, or set HF_ENDPOINT" in get("models/o/n")["error"]
    with client(server.url, tmp_path, HF_HUB_OFFLINE="1") as get:
        assert get("datasets/org/there", *PATTERNS, revision=made.commit)["folder"] == done["folder"]
        assert "HF_HUB_OFFLINE is set and the model is not cached; unset it" in get("models/o/n")["error"]


def test_a_full_disk_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **settings: object) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("huggingface_hub.snapshot_download", full)
    with pytest.raises(UserError, match="^backbone o/n: no space left for the hub's cache: free some, or set HF_HOME"):
        ours.fetch_from_hub("o/n", "")
