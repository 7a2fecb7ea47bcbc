"""The laws of our own splits."""

from __future__ import annotations

import random
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tasks.sources.base import Row
from tasks.sources.splitting import deduplicate, normalise, split, split_groups

ROWS = st.lists(
    st.fixed_dictionaries({"text": st.text("ab \n", max_size=6), "label": st.sampled_from("xyz")}),
    max_size=60,
).map(lambda rows: [dict[str, object](row) for row in rows])


def texts(rows: list[Row]) -> list[str]:
    return [str(row["text"]) for row in rows]


@given(rows=ROWS, seed=st.integers(0, 9))
def test_a_split_does_not_depend_on_the_order_of_the_rows(rows: list[Row], seed: int) -> None:
    assert split(rows, "s") == split(random.Random(seed).sample(rows, len(rows)), "s")


@given(rows=ROWS)
def test_a_split_shares_no_text_and_loses_only_duplicates(rows: list[Row]) -> None:
    parts = split(rows, "s")
    train, test = ({normalise(str(row["text"])) for row in parts[name]} for name in ("train", "test"))
    assert not train & test
    labels: dict[str, set[object]] = {}
    for row in rows:
        labels.setdefault(normalise(str(row["text"])), set()).add(row["label"])
    assert train | test == {text for text, of_text in labels.items() if len(of_text) == 1}
    assert len(train) + len(test) == len(parts["train"]) + len(parts["test"])


@given(rows=ROWS, share=st.floats(0, 1))
def test_a_split_takes_the_share_of_each_label(rows: list[Row], share: float) -> None:
    kept = Counter(row["label"] for row in deduplicate(rows))
    test = Counter(row["label"] for row in split(rows, "s", share)["test"])
    assert all(abs(test[label] - share * count) <= 0.5 + 1e-9 for label, count in kept.items())


def test_another_salt_gives_another_split_in_another_order() -> None:
    rows: list[Row] = [{"text": str(number), "label": "x"} for number in range(50)]
    one, other = split(rows, "1"), split(rows, "2")
    assert len(one["test"]) == len(other["test"]) == 10
    assert one["test"] != other["test"]
    assert texts(one["train"]) != sorted(texts(one["train"]))


def test_the_split_is_pinned() -> None:
    # A change here changes every number that was ever measured on an own split.
    rows: list[Row] = [{"text": str(number), "label": "x"} for number in range(10)]
    assert texts(split(rows, "retain-1")["test"]) == ["8", "0"]


def test_duplicates_that_disagree_are_all_dropped() -> None:
    rows: list[Row] = [
        {"text": "so so", "label": "x"},
        {"text": "so \n so", "label": "y"},
        {"text": "good  one", "label": "x"},
        {"text": "good one", "label": "x"},
    ]
    assert deduplicate(rows) == [{"text": "good  one", "label": "x"}]


GROUPS = st.lists(st.sampled_from(["a", "b", "c d", "c  d", "e", "f\n", "f"]), max_size=40)


@given(groups=GROUPS, share=st.floats(0, 1))
def test_a_group_is_never_divided_and_no_row_is_lost(groups: list[str], share: float) -> None:
    rows: list[Row] = [{"id": number} for number in range(len(groups))]
    parts = split_groups(rows, groups, "s", share)
    places = {name: [row["id"] for row in part] for name, part in parts.items()}
    assert sorted([*places["train"], *places["test"]], key=str) == sorted(range(len(groups)), key=str)
    train, test = ({normalise(groups[int(str(place))]) for place in places[name]} for name in ("train", "test"))
    assert not train & test
    assert abs(len(test) - share * len(train | test)) <= 0.5 + 1e-9


@given(groups=GROUPS, seed=st.integers(0, 9))
def test_where_a_group_goes_does_not_depend_on_the_order_of_the_rows(groups: list[str], seed: int) -> None:
    shuffled = random.Random(seed).sample(groups, len(groups))
    one, other = (
        {str(row["of"]) for row in split_groups([{"of": normalise(name)} for name in names], names, "s")["test"]}
        for names in (groups, shuffled)
    )
    assert one == other


def test_the_split_of_groups_is_pinned() -> None:
    names = [str(number) for number in range(20)]
    parts = split_groups([{"id": name} for name in names], names, "retain-1")
    assert [row["id"] for row in parts["test"]] == ["0", "8", "14", "16"]
    assert split_groups([{"id": name} for name in names], names, "other")["test"] != parts["test"]
