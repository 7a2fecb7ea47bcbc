"""Encoded texts as files: written once, found again, checked, shared by path or sent as they are."""

from __future__ import annotations

import io
import os
import pickle
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.errors import UserError
from benchmark.executors import _Packer
from benchmark.serving import _unpacked
from tasks.base import Split, Task
from tasks.columns import column_of
from tasks.kept import DAY, MOST_DAYS, Kept
from tasks.prepare import Sizes, prepare
from tasks.sequence import SequenceTask
from tasks.sources.base import Row
from tests.conftest import make_spec, sequence_rows
from tests.tiny_models import LABELS, NOWHERE


class Shop:
    """Prepares a task with a folder of encoded texts, and counts how often texts are encoded."""

    def __init__(self, folder: Path, tokenizer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder, self.tokenizer = folder, tokenizer
        self.said: list[str] = []
        self.encoded = 0
        self.writes = True
        encode = SequenceTask.encode.__func__  # type: ignore[attr-defined]  # a classmethod's

        def counted(kind: type[Task], *arguments: Any) -> Any:
            self.encoded += 1
            return encode(kind, *arguments)

        monkeypatch.setattr(SequenceTask, "encode", classmethod(counted))

    def task(self, rows: list[Row] | None = None, length: int = 64, tokenizer: str = "one") -> Task:
        spec = make_spec("made_up", "sequence", NOWHERE, LABELS["sequence"])
        splits = {"train": rows or sequence_rows(30, 1), "test": sequence_rows(20, 2)}
        kept = Kept(self.folder, tokenizer, self.said.append, self.writes)
        return prepare(spec, splits, self.tokenizer, Sizes(None, None, length), kept=kept)

    @property
    def files(self) -> list[Path]:
        return sorted(self.folder.iterdir())


@pytest.fixture
def shop(tokenizers: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    return Shop(tmp_path / "encoded", tokenizers["bert"], monkeypatch)


def content(split: Split) -> tuple[Any, ...]:
    return split.features[:], split.lengths.tolist(), split.truncated, split.sha256, split.examples[:]


def test_texts_are_encoded_once_and_then_read_from_their_file(shop: Shop) -> None:
    first, again = shop.task(), shop.task()
    assert shop.encoded == 2  # the two splits
    assert len(shop.files) == 2
    for one, other in ((first.train, again.train), (first.test, again.test)):
        assert content(one) == content(other)
        assert other.features.cache_files
    assert not shop.said


def test_a_process_that_does_not_write_reads_what_is_there_and_repairs_nothing(shop: Shop) -> None:
    shop.writes = False
    expected = content(shop.task().train)
    assert not shop.folder.exists()
    shop.writes = True
    shop.task()
    shop.writes, before = False, shop.encoded
    assert content(shop.task().train) == expected and shop.encoded == before
    for path in shop.files:
        path.write_bytes(path.read_bytes()[:-1])
    damaged = [path.read_bytes() for path in shop.files]
    assert content(shop.task().train) == expected and shop.encoded == before + 2
    assert [path.read_bytes() for path in shop.files] == damaged and not shop.said


def test_what_a_file_holds_is_read_in_place(shop: Shop) -> None:
    features = shop.task().train.features
    one, other = (column_of(features, "input_ids").values for _ in range(2))
    assert np.shares_memory(one, other)
    assert not one.flags.writeable and not one.flags.owndata


def test_whatever_changes_what_a_text_becomes_has_a_file_of_its_own(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.task()
    shop.task(tokenizer="another")
    assert len(shop.files) == 4
    shop.task(length=4)
    assert len(shop.files) == 6
    shop.task(sequence_rows(29, 1))
    assert len(shop.files) == 7
    monkeypatch.setattr("tasks.kept._code", lambda: "other code")
    shop.task()
    assert len(shop.files) == 9


@pytest.mark.parametrize("damage", [b"", b"nothing of Arrow's", None])
def test_a_damaged_file_is_said_and_made_again(shop: Shop, damage: bytes | None) -> None:
    whole = content(shop.task().train)
    for file in shop.files:
        held = bytearray(file.read_bytes())
        held[len(held) // 2] ^= 1  # a single bit
        file.write_bytes(held if damage is None else damage)
    assert content(shop.task().train) == whole
    assert shop.encoded == 4 and len(shop.files) == 2
    assert [line.endswith("is damaged: its texts are encoded again") for line in shop.said] == [True, True]
    shop.task()
    assert shop.encoded == 4


def test_where_nothing_can_be_written_texts_are_encoded_into_memory(shop: Shop) -> None:
    shop.folder.write_text("no folder", encoding="utf-8")
    task = shop.task()
    assert not task.train.features.cache_files
    assert len(task.train.lengths) == 30


def test_a_full_disk_leaves_no_half_of_a_file(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("tasks.kept.os.fsync", full)
    assert not shop.task().train.features.cache_files
    assert shop.files == []


def test_what_was_not_used_for_long_goes_when_something_new_is_written(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.task()
    old, young = shop.files
    left = shop.folder / ".draft-1"
    left.write_bytes(b"half a file")
    for file, days in ((old, MOST_DAYS + 1), (young, 2), (left, 2)):
        os.utime(file, (0, time.time() - days * DAY))
    shop.task(length=4)
    assert old not in shop.files and left not in shop.files and young in shop.files
    monkeypatch.setattr("tasks.kept.MOST_BYTES", 1)
    shop.task(length=5)
    assert young not in shop.files
    assert len(shop.files) == 4  # those of today stay whatever they take


def test_a_file_that_is_used_counts_as_young(shop: Shop) -> None:
    shop.task()
    for file in shop.files:
        os.utime(file, (0, 0))
    shop.task()
    assert all(time.time() - file.stat().st_mtime < DAY for file in shop.files)


def test_processes_of_this_machine_get_the_path_and_others_what_the_file_holds(shop: Shop, tmp_path: Path) -> None:
    task = shop.task()
    by_path, by_value = io.BytesIO(), pickle.dumps(task)
    _Packer(by_path).dump(task)
    name = shop.files[0].name.encode()
    assert name in by_path.getvalue() and name not in by_value
    for packed in (by_path.getvalue(), by_value):
        assert content(pickle.loads(packed).train) == content(task.train)
    for file in shop.files:
        file.unlink()
    assert content(pickle.loads(by_value).train) == content(task.train)
    luggage = tmp_path / "study"
    luggage.write_bytes(by_path.getvalue())
    with pytest.raises(UserError, match="encoded texts are gone .*: the same command makes them again"):
        _unpacked(luggage)
