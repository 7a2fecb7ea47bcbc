"""Validation rows for a search: which they are, and that the test rows stay unread."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tasks.holdout import VALIDATION_SHARE, for_search, hold_out, train_and_scored
from tasks.prepare import Sizes, prepare
from tasks.sources.base import Row
from tasks.sources.splitting import normalise, split_groups
from tasks.spec import Kind, TaskError, TaskSpec
from tests.conftest import make_spec, sequence_rows, span_rows, token_rows
from tests.tiny_models import LABELS, NOWHERE

ROWS = st.lists(
    st.fixed_dictionaries({"text": st.text("ab \n", max_size=5), "label": st.sampled_from("xyz")}), max_size=60
).map(lambda rows: [dict[str, object](row) for row in rows])

PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""A busy machine is no failure."""


class Guarded(Mapping[str, list[Row]]):
    """Splits, of which one may not be asked for."""

    def __init__(self, splits: dict[str, list[Row]], forbidden: str = "test") -> None:
        self.splits, self.forbidden = splits, forbidden

    def __getitem__(self, name: str) -> list[Row]:
        assert name != self.forbidden, f"the {name} rows were asked for"
        return self.splits[name]

    def __iter__(self) -> Iterator[str]:
        raise AssertionError("all splits were asked for")

    def __len__(self) -> int:
        return len(self.splits)


def spec(kind: Kind = "sequence", validation: str | None = None) -> TaskSpec:
    made = make_spec("made_up", "sequence", NOWHERE, LABELS["sequence"])
    return for_search(replace(made, kind=kind, validation=validation))


def as_set(rows: Any) -> set[str]:
    return {repr(sorted(row.items())) for row in rows}


@PATIENT
@given(rows=ROWS)
def test_no_text_stands_on_both_sides_and_no_row_is_lost(rows: list[Row]) -> None:
    train, held = hold_out(spec(), rows)
    assert not {normalise(str(row["text"])) for row in train} & {normalise(str(row["text"])) for row in held}
    assert Counter(map(repr, [*train, *held])) == Counter(map(repr, rows))


@PATIENT
@given(rows=ROWS, seed=st.integers(0, 9))
def test_what_is_held_out_does_not_depend_on_the_order_of_the_rows(rows: list[Row], seed: int) -> None:
    shuffled = random.Random(seed).sample(rows, len(rows))
    assert as_set(hold_out(spec(), rows)[1]) == as_set(hold_out(spec(), shuffled)[1])


def test_each_label_gives_its_share() -> None:
    rows: list[Row] = [
        {"text": f"text {number}", "label": "rare" if number < 20 else "common"} for number in range(200)
    ]
    _, held = hold_out(spec(), rows)
    assert Counter(row["label"] for row in held) == {"rare": 4, "common": 36}
    # Without strata the label's share would be a matter of luck.
    loose = split_groups(rows, [str(row["text"]) for row in rows], "validation", VALIDATION_SHARE)["test"]
    assert len(loose) == 40


def test_questions_about_one_passage_stay_together() -> None:
    rows = [dict(row) | {"id": f"{row['id']}-{copy}"} for row in span_rows(20, 1) for copy in range(3)]
    train, held = hold_out(spec("span"), rows)
    assert not {row["context"] for row in train} & {row["context"] for row in held}
    assert len(held) == 12


@pytest.mark.parametrize(
    ("kind", "rows"),
    [
        ("sequence", sequence_rows(40, 1)),
        ("pair", sequence_rows(40, 1, pair=True)),
        ("token", token_rows(40, 1)),
        ("span", span_rows(40, 1)),
        ("causal", [{"text": f"text {number}"} for number in range(40)]),
    ],
)
def test_every_kind_gives_about_a_fifth(kind: Kind, rows: list[Row]) -> None:
    train, held = hold_out(spec(kind), rows)
    assert len(held) == pytest.approx(8, abs=2)
    assert len(train) + len(held) == 40


def test_the_test_rows_are_not_asked_for() -> None:
    rows = {"train": sequence_rows(40, 1), "test": sequence_rows(10, 2), "validation": sequence_rows(10, 3)}
    train, scored = train_and_scored(spec(), Guarded(rows))
    assert len(train) + len(scored) == 40
    train, scored = train_and_scored(spec(validation="validation"), Guarded(rows))
    assert (list(train), list(scored)) == (rows["train"], rows["validation"])
    with pytest.raises(AssertionError, match="the test rows were asked for"):
        train_and_scored(make_spec("made_up", "sequence", NOWHERE, LABELS["sequence"]), Guarded(rows))


def test_limits_come_after_the_cut(family_folders: Any, tokenizers: Any) -> None:
    tokenizer = next(iter(tokenizers.values()))
    rows = {"train": sequence_rows(40, 1), "test": sequence_rows(10, 2)}
    every, few = (prepare(spec(), Guarded(rows), tokenizer, Sizes(limit, limit, 32)) for limit in (None, 5))
    assert (len(few.train.examples), len(few.test.examples)) == (5, 5)
    texts = [set(part.examples["text"]) for part in (every.train, every.test, few.train, few.test)]
    assert not texts[0] & texts[1]
    assert texts[2] < texts[0] and texts[3] < texts[1]


def test_too_few_rows_to_hold_any_out_are_refused(tokenizers: Any) -> None:
    tokenizer = next(iter(tokenizers.values()))
    with pytest.raises(TaskError, match="made_up: the validation split is empty"):
        prepare(spec(), Guarded({"train": sequence_rows(2, 1)}), tokenizer, Sizes(None, None, 32))


def test_the_record_says_which_rows_it_was_scored_on() -> None:
    assert spec().split == "validation: 20% of the training rows, cut by us by hash; training: the others"
    assert spec(validation="validation").split.startswith("validation split of: ")
    assert spec().scored == "validation"
