"""What arranging makes of specs, and which orders a suite runs."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.errors import UserError
from benchmark.orders import OrderDraw, OrderFile, resolve_orders
from benchmark.show import describe, listing
from benchmark.suite import Overrides, load_suite
from tasks.catalogue import TASKS
from tasks.scenarios import arrange
from tasks.spec import Kind, TaskError, TaskSpec
from tasks.streams import STREAMS, Scenario, Stream
from tests.conftest import make_spec
from tests.tiny_models import NOWHERE

NAMES = ("a", "b", "c")
ORDERS = Stream("abc", "made up", NAMES, "task-incremental", (("c", "b", "a"), ("b", "a", "c")))


def specs_of(labels: list[tuple[str, ...]], kind: Kind = "sequence") -> list[TaskSpec]:
    return [make_spec(f"task{number}", kind, NOWHERE, own) for number, own in enumerate(labels)]


def stream_of(specs: list[TaskSpec], scenario: Scenario) -> Stream:
    return Stream("stream", "made up", tuple(spec.name for spec in specs), scenario)


@st.composite
def partitions(draw: st.DrawFn) -> list[tuple[str, ...]]:
    """Distinct labels dealt to some tasks, at least one each."""
    labels = draw(st.lists(st.text("abXYZ-", min_size=1), min_size=1, max_size=12, unique=True))
    count = draw(st.integers(1, len(labels)))
    return [tuple(labels[number::count]) for number in range(count)]


@given(partitions())
def test_classes_are_shared_out_and_the_order_of_tasks_changes_nothing(labels: list[tuple[str, ...]]) -> None:
    specs = specs_of(labels)
    arranged = arrange(stream_of(specs, "class-incremental"), specs)
    (head,) = {spec.head_name for spec in arranged}
    (union,) = {spec.labels for spec in arranged}
    assert head == "stream" and len(set(union)) == len(union)
    assert [spec.own for spec in arranged] == labels
    assert sorted(label for own in labels for label in own) == list(union)
    other = specs[::-1]
    assert arrange(stream_of(other, "class-incremental"), other) == arranged[::-1]
    assert not any(spec.told_apart for spec in arranged)


@given(partitions())
def test_one_label_in_two_tasks_is_refused_unless_it_is_outside(labels: list[tuple[str, ...]]) -> None:
    with_o = [("O", *own) for own in labels]
    tags = specs_of(with_o, "token")
    union = arrange(stream_of(tags, "class-incremental"), tags)[0].labels
    assert union[0] == "O" and union.count("O") == 1
    texts = specs_of([*with_o, ("O", "new")])
    with pytest.raises(TaskError, match="task0 and task1 both have the label O"):
        arrange(stream_of(texts, "class-incremental"), texts)


@given(st.lists(st.text("abc", min_size=1), min_size=2, unique=True), st.integers(1, 4))
def test_domains_share_labels_in_one_order(labels: list[str], count: int) -> None:
    same = specs_of([tuple(labels)] * count)
    assert {spec.labels for spec in arrange(stream_of(same, "domain-incremental"), same)} == {tuple(labels)}
    mixed = specs_of([tuple(labels), tuple(labels[::-1])])
    assert {spec.labels for spec in arrange(stream_of(mixed, "domain-incremental"), mixed)} == {tuple(sorted(labels))}
    other = specs_of([tuple(labels), (*labels, "new")])
    with pytest.raises(TaskError, match="task0 and task1 have different labels, such as new"):
        arrange(stream_of(other, "domain-incremental"), other)


def test_a_head_of_ones_own_may_not_be_shared_where_tasks_are_told_apart() -> None:
    specs = [make_spec(name, "sequence", NOWHERE, ("x", "y"), head="same") for name in ("one", "two")]
    with pytest.raises(TaskError, match="is task-incremental, but one and two share the head same"):
        arrange(stream_of(specs, "task-incremental"), specs)
    assert arrange(stream_of(specs[:1], "task-incremental"), specs[:1]) == specs[:1]


def test_tasks_share_all_their_classes_or_none() -> None:
    same = specs_of([("x", "y"), ("y", "x"), ("z",)])
    arranged = arrange(stream_of(same, "class-incremental"), same)
    assert {spec.labels for spec in arranged} == {("x", "y", "z")}
    assert [spec.own for spec in arranged] == [("x", "y"), ("y", "x"), ("z",)]
    some = specs_of([("x", "y"), ("y", "z")])
    with pytest.raises(TaskError, match="task0 and task1 both have the label y; they must share all or none"):
        arrange(stream_of(some, "class-incremental"), some)


def test_tags_without_an_outside_can_not_be_classes() -> None:
    specs = specs_of([("NOUN",), ("VERB",)], "token")
    with pytest.raises(TaskError, match="task0 has no tag O for the words of other tasks' types"):
        arrange(stream_of(specs, "class-incremental"), specs)


def test_the_first_order_is_the_streams_and_names_find_theirs() -> None:
    found = resolve_orders(ORDERS, OrderFile(listed=[3, ["a", "b", "c"], ["b", "c", "a"]]))
    assert [(order.number, "".join(order.tasks)) for order in found] == [(3, "bac"), (1, "abc"), (5, "bca")]  # acb is 4
    assert [order.number for order in resolve_orders(ORDERS, OrderFile())] == [1]


def test_all_orders_are_all_permutations_the_known_ones_under_their_numbers() -> None:
    found = resolve_orders(ORDERS, OrderFile(every=True))
    assert {order.tasks for order in found} == set(permutations(NAMES))
    assert sorted(order.number for order in found) == [1, 2, 3, 4, 5, 6]
    assert {order.tasks: order.number for order in found}["c", "b", "a"] == 2
    six = Stream("six", "made up", tuple("abcdef"))
    with pytest.raises(UserError, match="6 tasks have 720 orders; at most 120 are run"):
        resolve_orders(six, OrderFile(every=True))
    assert len(resolve_orders(Stream("five", "made up", tuple("abcde")), OrderFile(every=True))) == 120


@given(st.integers(1, 6), st.integers(0, 1000))
def test_drawn_orders_are_distinct_and_decided_by_the_seed(count: int, seed: int) -> None:
    drawn = OrderFile(drawn=OrderDraw(draw=count, seed=seed))
    found = resolve_orders(ORDERS, drawn)
    assert found == resolve_orders(ORDERS, drawn)
    assert len({order.tasks for order in found}) == len({order.number for order in found}) == count
    assert all(sorted(order.tasks) == sorted(NAMES) for order in found)
    assert set(found) <= set(resolve_orders(ORDERS, OrderFile(every=True)))  # numbers don't depend on what else is run
    more = resolve_orders(ORDERS, OrderFile(drawn=OrderDraw(draw=min(6, count + 1), seed=seed)))
    assert [order.tasks for order in more][:count] == [order.tasks for order in found]


def test_other_seeds_draw_other_orders() -> None:
    long = Stream("long", "made up", tuple("abcdefgh"))
    assert len({resolve_orders(long, OrderFile(drawn=OrderDraw(draw=1, seed=s)))[0].tasks for s in range(20)}) == 20


BASE = """
description: made up
backbone: all-MiniLM-L6-v2
stream: {stream}
orders: {orders}
strategies: {{naive: }}
"""
MAPPING = "{tasks: [bbc_news, boolq, rotten_tomatoes], orders: [[boolq, bbc_news, rotten_tomatoes]]}"


def suite_with(folder: Path, orders: str, stream: str = MAPPING, overrides: Overrides | None = None) -> list[str]:
    (folder / "mine.yaml").write_text(BASE.format(stream=stream, orders=orders), encoding="utf-8")
    return [cell.name for cell in load_suite(str(folder / "mine.yaml"), overrides).cells]


def test_cells_are_orders_times_seeds_and_the_command_line_has_the_last_word(tmp_path: Path) -> None:
    assert suite_with(tmp_path, "[1, 2]", overrides=Overrides(seeds=[0, 7])) == [
        "naive-seed0",
        "naive-seed7",
        "naive-order2-seed0",
        "naive-order2-seed7",
    ]
    assert suite_with(tmp_path, "[1, 2]", overrides=Overrides(orders=[2])) == ["naive-order2-seed0"]
    assert len(suite_with(tmp_path, "[1]", overrides=Overrides(orders="all"))) == 6
    assert len(suite_with(tmp_path, "{draw: 2, seed: 3}", overrides=Overrides(settings=["orders.draw=4"]))) == 4


def test_adding_an_order_changes_neither_name_nor_settings_of_the_first(tmp_path: Path) -> None:
    files = []
    for orders in ("[1]", "[1, 2]", "all"):
        (tmp_path / "mine.yaml").write_text(BASE.format(stream=MAPPING, orders=orders), encoding="utf-8")
        files.append(load_suite(str(tmp_path / "mine.yaml")).cells[0].filename)
    assert len(set(files)) == 1


@pytest.mark.parametrize(
    ("orders", "message"),
    [
        ("[3]", "there is no order 3; stream bbc_news-boolq-rotten_tomatoes has 1 to 2"),
        ("[0]", "there is no order 0"),
        ("[1, 1]", "bbc_news -> boolq -> rotten_tomatoes is in it twice"),
        ("[[bbc_news, boolq]]", "rotten_tomatoes is missing"),
        ("[[bbc_news, boolq, boolq, rotten_tomatoes]]", "a task is in it twice"),
        ("[[bbc_news, bolq, rotten_tomatoes]]", "unknown task of the stream 'bolq': did you mean boolq?"),
        ("[true]", "orders is [true]: it should be all, a list of numbers"),
        ("[]", "orders is []: it should be all"),
        ("some", 'orders is "some": it should be all'),
        ("{draw: 7}", "orders.draw is 7, but 3 tasks have 6 orders"),
        ("{draw: 0}", "drawn.draw is 0: it should be greater than or equal to 1"),
        ("{draw: 2, sed: 1}", "did you mean seed?"),
    ],
)
def test_orders_that_can_not_be_are_refused(tmp_path: Path, orders: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        suite_with(tmp_path, orders)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("stream", "message"),
    [
        ("{scenario: class-incremental}", "it should have tasks"),
        ("{tasks: [boolq], scenaro: x}", "unknown key in stream 'scenaro': did you mean scenario?"),
        ("{tasks: [boolq], scenario: x}", 'stream.scenario is "x": it should be'),
        ("{tasks: [boolq, bbc_news], orders: [[boolq]]}", "bbc_news is missing"),
        ("{tasks: boolq}", 'stream.tasks is "boolq"'),
    ],
)
def test_a_stream_that_is_badly_written_is_refused(tmp_path: Path, stream: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        suite_with(tmp_path, "[1]", stream)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_streams_say_their_scenario_orders_and_heads(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Stream("made", "made up", ("x", "y"), "class-incremental", (("y", "x"),))
    monkeypatch.setattr("benchmark.show.STREAMS", (*STREAMS, made))
    shown = " ".join(describe("made").split())
    for words in ("order 1 x -> y", "order 2 y -> x", "chooses among the labels of all tasks so far", "head made"):
        assert words in shown
    assert "x -> y (class-incremental, 2 orders)" in listing("streams")


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
def test_shipped_streams_are_of_their_scenario(stream: Stream) -> None:
    specs = {spec.name: spec for spec in TASKS}
    arrange(stream, [specs[name] for name in stream.tasks])
    resolve_orders(stream, OrderFile(listed=list(range(1, len(stream.orders) + 2))))
    assert all(sorted(order) == sorted(stream.tasks) for order in stream.orders)
