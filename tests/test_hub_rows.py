"""Readers of the hub's data sets on small files of their shape, good and hostile, and the catalogue's entries."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks import hub_labels
from tasks.base import label_ids
from tasks.catalogue.hub import HUB_TASKS
from tasks.prepare import choose, ranked, rows_sha256
from tasks.sources.archive import HubFiles
from tasks.sources.base import SourceError
from tasks.sources.hub_rows import HubTags, HubTexts
from tests.hub_data import like, parquet_bytes, put

FILES = HubFiles("org/name", "a" * 40, ("train-*.parquet",))
SPLITS = {"train": "train-*.parquet"}
TEXTS = HubTexts(FILES, SPLITS, ("text",), "label", ("bad", "good"))
TAGS = HubTags(FILES, SPLITS, "tokens", "tags", ("O", "B-x", "I-x", "B-y"))
GOOD: dict[str, Any] = {"text": ["eins", "zwei", "三"], "label": [1, 0, 1]}
NAMED = {"label": ("bad", "good")}


def rows(source: HubTexts | HubTags, folder: Path, columns: dict[str, Any], names: Any = None) -> list[Any]:
    return list(source.read(put(folder, {"train-0.parquet": parquet_bytes(columns, names)}))["train"])


def complaint(source: HubTexts | HubTags, folder: Path, *arguments: Any) -> str:
    with pytest.raises(SourceError) as caught:
        rows(source, folder, *arguments)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("names", [None, NAMED])
def test_numbers_become_names_whether_or_not_the_file_has_them(tmp_path: Path, names: Any) -> None:
    assert rows(TEXTS, tmp_path, GOOD, names) == [
        {"text": "eins", "label": "good"},
        {"text": "zwei", "label": "bad"},
        {"text": "三", "label": "good"},
    ]


def test_names_bools_and_numbers_from_one_are_labels_too(tmp_path: Path) -> None:
    wanted = ["good", "bad", "good"]
    assert [row["label"] for row in rows(TEXTS, tmp_path, GOOD | {"label": wanted})] == wanted
    assert [row["label"] for row in rows(TEXTS, tmp_path, GOOD | {"label": [True, False, True]})] == wanted
    assert [row["label"] for row in rows(replace(TEXTS, first=1), tmp_path, GOOD | {"label": [2, 1, 2]})] == wanted
    assert [row["label"] for row in rows(replace(TEXTS, labels=("-", "+")), tmp_path, GOOD, NAMED)] == ["+", "-", "+"]


def test_columns_are_put_together_and_missing_ones_left_out(tmp_path: Path) -> None:
    source = replace(TEXTS, text=("title", "text"), pair=("other",), joiner=": ")
    columns = GOOD | {"title": ["A", None, ""], "other": ["x", "y", "z"]}
    assert [(row["text"], row["text_pair"]) for row in rows(source, tmp_path, columns)] == [
        ("A: eins", "x"),
        ("zwei", "y"),
        ("三", "z"),
    ]


def test_files_of_a_split_follow_each_other_and_csv_and_jsonl_are_read_too(tmp_path: Path) -> None:
    parts = {f"train-{number}.parquet": parquet_bytes({"text": [str(number)], "label": [0]}) for number in (1, 0)}
    assert [row["text"] for row in TEXTS.read(put(tmp_path, parts))["train"]] == ["0", "1"]
    put(tmp_path, {"a.csv": b'text,label\n"one, ""two""\nthree",1\n', "a.jsonl": b'{"label": 0, "text": "x"}\n'})
    for name, expected in (("a.csv", 'one, "two"\nthree'), ("a.jsonl", "x")):
        assert [row["text"] for row in replace(TEXTS, splits={"train": name}).read(tmp_path)["train"]] == [expected]


def test_rows_are_the_same_one_by_one_in_slices_and_in_a_row(tmp_path: Path) -> None:
    many = {"text": [f"text {number}" for number in range(5000)], "label": [0, 1] * 2500}
    lazy = TEXTS.read(put(tmp_path, {"train-0.parquet": parquet_bytes(many)}))["train"]
    whole = list(lazy)
    assert len(lazy) == len(whole) == 5000
    assert [lazy[0], lazy[-1], lazy[4096]] == [whole[0], whole[-1], whole[4096]]
    assert lazy[10:14] == whole[10:14]
    assert ranked(lazy) == ranked(whole)
    assert rows_sha256(choose(lazy, 7)) == rows_sha256(choose(whole, 7))
    with pytest.raises(IndexError):
        lazy[5000]


def test_some_labels_alone_may_be_taken(tmp_path: Path) -> None:
    source = replace(TEXTS, only=("good",), counts={"train": 2})
    assert [row["text"] for row in rows(source, tmp_path, GOOD)] == ["eins", "三"]


@pytest.mark.parametrize(
    "columns, names, problem",
    [
        ({"text": ["a"], "topic": [0]}, None, "train-0.parquet: has no column label; its columns are text, topic"),
        ({"text": [1], "label": [0]}, None, "'text' holds no text, but int64"),
        ({"text": ["a", None], "label": [0, 1]}, None, "row 2: has no text under 'text'"),
        ({"text": ["a", "b"], "label": [0, None]}, None, "row 2: has nothing under 'label'"),
        ({"text": ["a", "b"], "label": [0, -1]}, None, "row 2: its 'label' is not among 0 to 1"),
        ({"text": ["a", "b"], "label": [2, 0]}, None, "row 1: its 'label' is not among 0 to 1"),
        ({"text": ["a", "b"], "label": [0.0, 1.0]}, None, "'label' holds neither numbers nor names, but double"),
        ({"text": ["a", "b"], "label": ["bad", "worse"]}, None, "row 2: its 'label' is none of the task's 2 labels"),
        (GOOD, {"label": ("good", "bad")}, "'label' has other labels than the task's 2 (such as 'good')"),
        (GOOD, {"label": ("bad", "good", "ugly")}, "'label' has other labels than the task's 2 (3 of them)"),
    ],
)
def test_a_file_that_holds_something_else_is_refused(tmp_path: Path, columns: Any, names: Any, problem: str) -> None:
    assert problem in complaint(TEXTS, tmp_path, columns, names)


def test_other_counts_than_the_published_are_refused(tmp_path: Path) -> None:
    message = complaint(replace(TEXTS, counts={"train": 1200}), tmp_path, GOOD)
    assert message == "train-*.parquet: gives 3 rows for the train split, but 1,200 are published: other data"


def test_what_is_no_parquet_no_file_or_of_two_shapes_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"^train-\*\.parquet: there is no such file in "):
        TEXTS.read(tmp_path)
    for content in (b"", b"PAR1", b"<html>not found</html>", parquet_bytes(GOOD)[:-20]):
        with pytest.raises(SourceError, match=r"^train-0\.parquet: can't be read as parquet \(") as caught:
            TEXTS.read(put(tmp_path, {"train-0.parquet": content}))
        assert "\n" not in str(caught.value)
    two = {"train-0.parquet": parquet_bytes(GOOD, NAMED), "train-1.parquet": parquet_bytes(GOOD)}
    with pytest.raises(SourceError, match="train-1.parquet: describes its columns otherwise than train-0.parquet"):
        TEXTS.read(put(tmp_path, two))
    with pytest.raises(SourceError, match="is of no format that is read here: .parquet, .jsonl, .csv"):
        replace(TEXTS, splits={"train": "load.py"}).read(put(tmp_path, {"load.py": b"raise SystemExit"}))


TAGGED: dict[str, Any] = {"tokens": [["a", "b", "c"], ["d"]], "tags": [[1, 2, 0], [3]]}


@pytest.mark.parametrize("names", [None, {"tags": TAGS.published}])
def test_words_get_the_names_of_their_tags(tmp_path: Path, names: Any) -> None:
    assert rows(TAGS, tmp_path, TAGGED, names) == [
        {"words": ["a", "b", "c"], "tags": ["B-x", "I-x", "O"]},
        {"words": ["d"], "tags": ["B-y"]},
    ]
    assert [row["tags"] for row in rows(replace(TAGS, only=("y",)), tmp_path, TAGGED)] == [["O", "O", "O"], ["B-y"]]


def test_types_without_places_become_bio(tmp_path: Path) -> None:
    source = replace(TAGS, published=("O", "x", "y"), scheme="io")
    columns = {"tokens": [list("abcdef")], "tags": [[1, 1, 2, 0, 1, 2]]}
    assert rows(source, tmp_path, columns)[0]["tags"] == ["B-x", "I-x", "B-y", "O", "B-x", "B-y"]
    assert rows(replace(source, only=("y",)), tmp_path, columns)[0]["tags"] == ["O", "O", "B-y", "O", "O", "B-y"]


@pytest.mark.parametrize(
    "columns, problem",
    [
        ({"tokens": [["a"], ["b", "c"]], "tags": [[0], [0]]}, "row 2: has not as many tags as words"),
        ({"tokens": [["a"]], "tags": [[9]]}, "its 'tags' is not among 0 to 3"),
        ({"tokens": ["a b"], "tags": [[0]]}, "'tokens' is no column of lists, but of string"),
        ({"tokens": [[1]], "tags": [[0]]}, "'tokens' holds no text, but int64"),
        ({"tokens": [["a"], None], "tags": [[0], [0]]}, "row 2: has nothing under 'tokens'"),
    ],
)
def test_tags_that_do_not_fit_are_refused(tmp_path: Path, columns: Any, problem: str) -> None:
    assert problem in complaint(TAGS, tmp_path, columns)


READABLE = [spec for spec in HUB_TASKS if spec.counts.get("train", 10**9) < 16000]


@pytest.mark.parametrize("spec", READABLE, ids=lambda spec: spec.name)
def test_an_entry_of_the_catalogue_reads_files_of_its_shape_into_its_own_labels(spec: Any, tmp_path: Path) -> None:
    splits = spec.source.read(put(tmp_path, like(spec)))
    assert {split: len(found) for split, found in splits.items()} == spec.counts
    for found in splits.values():
        for row in found[:50]:
            label_ids(spec, [row["label"]] if "label" in row else row["tags"])


def test_every_entry_names_its_files_and_labels_consistently() -> None:
    for spec in HUB_TASKS:
        assert isinstance(spec.source, HubTexts | HubTags) and isinstance(spec.source.archive, HubFiles)
        assert spec.source.archive.files == tuple(spec.source.splits.values())
        assert {"train", "test"} <= set(spec.source.splits)
        assert len(set(spec.labels)) == len(spec.labels) >= 2
        assert (spec.validation in spec.source.splits) or spec.validation is None
        assert spec.source.archive.pinned == (spec.name != "amazon_full")
        if isinstance(spec.source, HubTexts) and spec.source.labels:
            assert len(spec.source.labels) == len(spec.source.published)


def test_parts_of_a_data_set_share_nothing_and_are_all_of_it() -> None:
    named = {spec.name: spec for spec in HUB_TASKS}
    for whole, start in (("clinc150", "clinc_"), ("banking77", "banking77_")):
        parts = [label for name, spec in named.items() if name.startswith(start) for label in spec.labels]
        assert sorted(parts) == sorted(named[whole].labels)
    for whole in ("wnut17", "few_nerd"):
        parts = [label for name, spec in named.items() if name.startswith(f"{whole}_") for label in spec.labels[1:]]
        assert sorted(parts) == sorted(named[whole].labels[1:])
    assert named["amazon_full"].labels == named["yelp_full"].labels == hub_labels.STARS
    merged = [named[name].labels for name in ("ag_news", "yelp_full", "yahoo_answers", "dbpedia14")]
    assert len({label for labels in merged for label in labels}) == sum(map(len, merged)) == 33
