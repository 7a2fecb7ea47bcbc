"""The stream of a suite and the orders in which its tasks are learned, as written and resolved."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count, islice, permutations
from math import factorial
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from benchmark.errors import UserError, unknown
from tasks.streams import STREAMS, Scenario, Stream

MOST_ORDERS = 120
"""So many orders are run at most when all are asked for: those of five tasks."""


class StreamFile(BaseModel):
    """A stream as a suite writes it: a name, a list of tasks, or a mapping."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    shipped: str = ""
    """Name of a shipped stream; empty where the suite names tasks."""
    tasks: list[str] = []
    """Task names in order."""
    scenario: Scenario = "task-incremental"
    """Task-, domain- or class-incremental."""
    orders: list[list[str]] = []
    """Further orders of the same tasks: order 2, order 3 and so on."""


class OrderDraw(BaseModel):
    """Orders drawn at random, each once."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    draw: Annotated[int, Field(ge=1)]
    """How many."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Decides which."""


class OrderFile(BaseModel):
    """The orders that a suite runs, as it writes them: ``all``, a list, or ``{draw: N}``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    every: bool = False
    """All orders that there are."""
    listed: list[int | list[str]] = [1]
    """Numbers of the stream's orders, 1 being that of its tasks, or task names in order."""
    drawn: OrderDraw | None = None


@dataclass(frozen=True)
class Order:
    """One order of a stream's tasks.

    Attributes:
        number: 1 is the stream's own; its further orders follow, then whatever else a suite runs.
        tasks: Names in the order in which they are learned.
    """

    number: int
    tasks: tuple[str, ...]


def _are_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) for name in value)


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _as_stream(value: object) -> object:
    """The mapping that a name or a list is short for."""
    if isinstance(value, str):
        return {"shipped": value}
    if _are_names(value):
        return {"tasks": value}
    if not isinstance(value, dict):
        raise ValueError("it should be the name of a stream, a list of task names, or {tasks, scenario, orders}")
    if "tasks" not in value or "shipped" in value:
        raise ValueError("it should have tasks, and may have scenario and orders")
    return value


def _as_orders(value: object) -> object:
    """The mapping that ``all``, a list or a draw is short for."""
    if value == "all":
        return {"every": True}
    if isinstance(value, list) and value and all(_is_number(one) or _are_names(one) for one in value):
        return {"listed": value}
    if isinstance(value, dict) and "draw" in value:
        return {"drawn": value}
    raise ValueError("it should be all, a list of numbers or of lists of task names, or {draw: N}")


StreamField = Annotated[StreamFile, BeforeValidator(_as_stream)]
OrderField = Annotated[OrderFile, BeforeValidator(_as_orders)]


def resolve_stream(given: StreamFile) -> Stream:
    """The stream that a suite names or spells out.

    Raises:
        UserError: there is none of that name, or its tasks or orders are no stream.
    """
    if given.shipped:
        for stream in STREAMS:
            if stream.name == given.shipped:
                return stream
        raise unknown("stream", given.shipped, [stream.name for stream in STREAMS])
    tasks = given.tasks
    if not tasks or len(set(tasks)) != len(tasks):
        raise UserError("the suite's stream needs at least one task, and each only once")
    orders = tuple(map(tuple, given.orders))
    for order in orders:
        _check_order(order, tasks)
    return Stream("-".join(tasks), "tasks named by the suite", tuple(tasks), given.scenario, orders)


def resolve_orders(stream: Stream, given: OrderFile) -> list[Order]:
    """The orders that a suite runs, each once.

    Raises:
        UserError: there are too many or too few of them, or one is no order of the stream's tasks.
    """
    known = [stream.tasks, *stream.orders]
    chosen = _chosen(stream, known, given)
    if len(set(chosen)) < len(chosen):
        twice = next(order for order in chosen if chosen.count(order) > 1)
        raise UserError(f"orders: {' -> '.join(twice)} is in it twice")
    numbers = {order: number for number, order in reversed(list(enumerate(known, start=1)))}
    # Others are numbered by their place among all others: an order has the same number whatever else is run.
    places = {order: _place(stream.tasks, order) for order in [*numbers, *chosen]}
    for order in chosen:
        before = sum(places[other] < places[order] for other in set(known))
        numbers.setdefault(order, len(known) + 1 + places[order] - before)
    return [Order(numbers[order], order) for order in chosen]


def _place(tasks: Sequence[str], order: Sequence[str]) -> int:
    """Which permutation of the tasks an order is, counted from 0 as `itertools.permutations` makes them."""
    left, place = list(tasks), 0
    for task in order:
        place = place * len(left) + left.index(task)
        left.remove(task)
    return place


def _chosen(stream: Stream, known: Sequence[tuple[str, ...]], given: OrderFile) -> list[tuple[str, ...]]:
    there = factorial(len(stream.tasks))
    if given.every:
        if there > MOST_ORDERS:
            raise UserError(
                f"orders is all, but {len(stream.tasks)} tasks have {there} orders; at most {MOST_ORDERS} are run: "
                "draw some, as in orders: {draw: 5}"
            )
        return list(permutations(stream.tasks))
    if given.drawn is not None:
        if given.drawn.draw > there:
            raise UserError(f"orders.draw is {given.drawn.draw}, but {len(stream.tasks)} tasks have {there} orders")
        return _draw(stream.tasks, given.drawn)
    chosen = []
    for one in given.listed:
        if isinstance(one, int):
            if not 1 <= one <= len(known):
                raise UserError(f"orders: there is no order {one}; stream {stream.name} has 1 to {len(known)}")
            chosen.append(known[one - 1])
        else:
            _check_order(one, stream.tasks)
            chosen.append(tuple(one))
    return chosen


def _draw(tasks: Sequence[str], drawn: OrderDraw) -> list[tuple[str, ...]]:
    """Distinct orders, decided by the seed and the names alone: by the hashes of names, drawn again if seen before."""

    def order(attempt: int) -> tuple[str, ...]:
        def key(name: str) -> bytes:
            return hashlib.sha256(f"order {drawn.seed} {attempt} {name}".encode()).digest()

        return tuple(sorted(tasks, key=key))

    found: dict[tuple[str, ...], None] = {}
    for attempt in count():
        found[order(attempt)] = None
        if len(found) == drawn.draw:
            break
    return list(islice(found, drawn.draw))


def _check_order(order: Sequence[str], tasks: Sequence[str]) -> None:
    """Refuses what is no order of these tasks.

    Raises:
        UserError: a task is missing, unknown or twice in it.
    """
    for name in order:
        if name not in tasks:
            raise UserError(f"orders: {' -> '.join(order)}: {unknown('task of the stream', name, tasks)}")
    missing = [name for name in tasks if name not in order]
    if missing or len(order) != len(tasks):
        what = f"{missing[0]} is missing" if missing else "a task is in it twice"
        raise UserError(f"orders: {' -> '.join(order)}: {what}; an order has every task of the stream once")
