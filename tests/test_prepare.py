"""Which examples are used, what their hashes cover, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import datasets
import evaluate
import huggingface_hub
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.prepare import Sizes, choose, prepare, rows_sha256
from tasks.sources.base import Row
from tasks.spec import Kind, TaskError
from tests.conftest import make_spec, sequence_rows, span_rows, token_rows
from tests.tiny_models import LABELS, NOWHERE, build, oracle_scores

ROWS: dict[Kind, list[Row]] = {
    "sequence": sequence_rows(12, 1),
    "pair": sequence_rows(12, 1, pair=True),
    "token": token_rows(12, 1),
    "span": span_rows(12, 1),
}
TEXTS = st.lists(st.text("abc", max_size=3), min_size=1, max_size=12)


def rows_of(texts: list[str]) -> list[Row]:
    return [{"text": text, "label": "bad"} for text in texts]


def limited(tokenizer: Any, train: int | None, test: int | None) -> Any:
    spec = make_spec("made_up", "sequence", NOWHERE, LABELS["sequence"])
    splits = {"train": sequence_rows(30, 1), "test": sequence_rows(20, 2)}
    return prepare(spec, splits, tokenizer, Sizes(train, test, 64))


@given(texts=TEXTS, sizes=st.tuples(st.integers(0, 12), st.integers(0, 12)))
def test_a_smaller_limit_keeps_a_part_of_what_a_larger_one_keeps(texts: list[str], sizes: tuple[int, int]) -> None:
    small, large = sorted(sizes)
    rows = rows_of(texts)
    few, many = choose(rows, small), choose(rows, large)
    assert len(few) == min(small, len(rows)) and len(many) == min(large, len(rows))
    kept = [id(row) for row in many]
    assert all(id(row) in kept for row in few)


@given(texts=TEXTS, limit=st.integers(0, 12), seed=st.randoms())
def test_what_a_limit_keeps_does_not_depend_on_the_order(texts: list[str], limit: int, seed: Any) -> None:
    rows = rows_of(texts)
    shuffled = list(rows)
    seed.shuffle(shuffled)
    key = str
    assert sorted(choose(rows, limit), key=key) == sorted(choose(shuffled, limit), key=key)


@given(texts=TEXTS, limit=st.integers(0, 12))
def test_what_is_kept_keeps_its_order(texts: list[str], limit: int) -> None:
    rows = rows_of(texts)
    places = [next(place for place, row in enumerate(rows) if row is chosen) for chosen in choose(rows, limit)]
    assert places == sorted(places)


def test_limits_hold_for_each_split_and_none_means_all(tokenizers: dict[str, Any]) -> None:
    task = limited(tokenizers["bert"], 7, None)
    assert (len(task.train.examples), len(task.test.examples)) == (7, 20)
    task = limited(tokenizers["bert"], 1000, 3)
    assert (len(task.train.examples), len(task.test.examples)) == (30, 3)


def test_hashes_name_the_examples_that_are_used(tokenizers: dict[str, Any]) -> None:
    whole, part = limited(tokenizers["bert"], None, None), limited(tokenizers["bert"], 7, None)
    assert whole.train.sha256 != part.train.sha256
    assert whole.test.sha256 == part.test.sha256 == rows_sha256(sequence_rows(20, 2))
    assert limited(tokenizers["bert"], 7, None).train.sha256 == part.train.sha256


@pytest.mark.parametrize(
    "changed",
    [
        [{"text": "b", "label": "bad"}],
        [{"text": "a", "label": "good"}],
        [{"text": "a", "label": "bad", "more": 1}],
        [{"text": "a", "label": "bad"}] * 2,
        [],
    ],
)
def test_the_hash_changes_with_the_content(changed: list[Row]) -> None:
    assert rows_sha256(changed) != rows_sha256([{"text": "a", "label": "bad"}])


def test_the_hash_changes_with_the_order_of_rows_but_not_of_columns() -> None:
    first, second = rows_of(["a", "b"])
    assert rows_sha256([first, second]) != rows_sha256([second, first])
    assert rows_sha256([dict(reversed(first.items())), second]) == rows_sha256([first, second])


@pytest.mark.parametrize("splits", [{}, {"train": [], "test": rows_of(["a"])}, {"test": rows_of(["a"])}])
def test_a_missing_or_empty_split_is_refused(tokenizers: dict[str, Any], splits: dict[str, list[Row]]) -> None:
    spec = make_spec("made_up", "sequence", NOWHERE, LABELS["sequence"])
    with pytest.raises(TaskError, match="^made_up: the train split is empty; check the task's source$"):
        prepare(spec, splits, tokenizers["bert"], Sizes(None, None, 64))


def test_an_unknown_label_is_refused_in_one_line(tokenizers: dict[str, Any]) -> None:
    with pytest.raises(TaskError) as caught:
        build("sequence", [{"text": "a", "label": "so\nso"}], tokenizers["bert"])
    assert str(caught.value) == r"made_up: label 'so\nso' is not among bad, good; check the task's labels"
    with pytest.raises(TaskError, match="label 'I-PER' is not among O, B-PER, B-LOC"):
        build("token", [{"words": ["a"], "tags": ["I-PER"]}], tokenizers["bert"])


def test_half_a_surrogate_pair_is_refused(tokenizers: dict[str, Any]) -> None:
    with pytest.raises(TaskError, match=r"half of a surrogate pair.*balo \\ud83d"):
        build("sequence", [{"text": "balo \ud83d", "label": "bad"}], tokenizers["bert"])


def test_a_text_longer_than_the_backbone_reads_is_refused(tokenizers: dict[str, Any]) -> None:
    rows: list[Row] = [{"text": "balo " * 100, "label": "bad"}]
    with pytest.raises(TaskError, match="reads at most 64 tokens, but a text has 80; lower max_length"):
        build("sequence", rows, tokenizers["roberta"], max_length=80)
    assert build("sequence", rows, tokenizers["roberta"], max_length=64).test.lengths.tolist() == [64]


@pytest.mark.parametrize("kind", ROWS)
def test_lengths_and_owners_describe_the_features(tokenizers: dict[str, Any], kind: Kind) -> None:
    split = build(kind, ROWS[kind], tokenizers["bert"], max_length=16).test
    assert split.lengths.tolist() == [len(ids) for ids in split.features["input_ids"]]
    assert sorted(set(split.features["example"])) == list(range(12))
    assert list(split.features["example"]) == sorted(split.features["example"])
    assert 0 <= split.truncated <= 1


@pytest.mark.parametrize("kind", ROWS)
def test_what_an_example_becomes_does_not_depend_on_the_others(tokenizers: dict[str, Any], kind: Kind) -> None:
    def first(rows: list[Row]) -> list[dict[str, Any]]:
        features = build(kind, rows, tokenizers["bert"], max_length=24).test.features
        return [feature for feature in features if feature["example"] == 0]

    assert first(ROWS[kind]) == first(ROWS[kind][:1])


@pytest.mark.parametrize("kind", ROWS)
def test_nothing_is_written_to_the_users_caches(tokenizers: dict[str, Any], kind: Kind) -> None:
    folders = [
        Path(str(folder))
        for folder in (
            datasets.config.HF_CACHE_HOME,
            datasets.config.HF_DATASETS_CACHE,
            datasets.config.HF_MODULES_CACHE,
            evaluate.config.HF_METRICS_CACHE,
            huggingface_hub.constants.HF_HOME,
        )
    ]

    def files() -> set[Path]:
        return {path for folder in folders for path in folder.rglob("*")}

    before = files()
    task = build(kind, ROWS[kind], tokenizers["bert"])
    assert oracle_scores(task)[task.spec.main] == 1
    assert files() == before
    assert task.test.features.cache_files == task.test.examples.cache_files == []


@settings(max_examples=3, deadline=None)
@given(shown=st.booleans())
def test_progress_bars_are_left_as_they_were(tokenizers: dict[str, Any], shown: bool) -> None:
    before = datasets.is_progress_bar_enabled()
    try:
        (datasets.enable_progress_bars if shown else datasets.disable_progress_bars)()
        build("sequence", ROWS["sequence"], tokenizers["bert"])
        assert datasets.is_progress_bar_enabled() == shown
    finally:
        (datasets.enable_progress_bars if before else datasets.disable_progress_bars)()
