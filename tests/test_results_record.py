from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from results.record import RecordError, load, load_all, write_atomically
from tests.results_fixtures import make_run


def test_a_saved_record_loads_equal(tmp_path: Path) -> None:
    run = make_run("ewc", hyperparameters={"lam": 0.1, "name": "Zürich 中文"})
    run.save(tmp_path / "new" / "run.json")
    assert load(tmp_path / "new" / "run.json") == run
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["run.json"]


def test_load_all_reads_folders_and_files_in_order(tmp_path: Path) -> None:
    for seed in (1, 0):
        make_run(seed=seed).save(tmp_path / f"{seed}.json")
    assert [run.seed for run in load_all([tmp_path, tmp_path / "1.json"])] == [0, 1, 1]


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b"{}", b"\xff\xfe", b"null", b'{"schema_version": 1}'],
    ids=["empty", "cut", "list", "no fields", "not UTF-8", "null", "one field"],
)
def test_what_is_no_record_gives_one_line_that_names_the_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(content)
    with pytest.raises(RecordError) as caught:
        load(path)
    assert str(path) in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_record_cut_short_or_with_an_unknown_field_is_refused(tmp_path: Path) -> None:
    make_run().save(tmp_path / "run.json")
    text = (tmp_path / "run.json").read_text(encoding="utf-8")
    (tmp_path / "cut.json").write_text(text[: len(text) // 2], encoding="utf-8")
    (tmp_path / "extra.json").write_text(json.dumps(json.loads(text) | {"surprise": 1}), encoding="utf-8")
    for name in ("cut.json", "extra.json"):
        with pytest.raises(RecordError, match=name):
            load(tmp_path / name)


def test_missing_paths_and_empty_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no such file"):
        load_all([tmp_path / "nowhere"])
    with pytest.raises(RecordError, match="no run records"):
        load_all([tmp_path])


def test_shapes_that_disagree_are_refused() -> None:
    with pytest.raises(ValidationError, match="scores has 1 rows, 4 expected"):
        make_run(scores=[[0.1, 0.2, 0.3]])


def test_learned_at_is_the_row_after_the_stage() -> None:
    assert make_run().learned_at == [1, 2, 3]
    assert make_run(together=True).learned_at == [1, 1, 1]


@pytest.mark.parametrize("content", ["new ü\n", b"\x89PNG\x00"])
def test_writing_replaces_the_whole_file(tmp_path: Path, content: str | bytes) -> None:
    path = tmp_path / "file"
    path.write_text("old and much longer", encoding="utf-8")
    write_atomically(path, content)
    assert path.read_bytes() == (content.encode() if isinstance(content, str) else content)


def test_a_failed_write_leaves_the_old_file_and_no_debris(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full_disk(descriptor: int) -> None:
        raise OSError("disk full")

    path = tmp_path / "file"
    path.write_text("old", encoding="utf-8")
    monkeypatch.setattr("os.fsync", full_disk)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, "new")
    assert path.read_text(encoding="utf-8") == "old"
    assert list(tmp_path.iterdir()) == [path]
