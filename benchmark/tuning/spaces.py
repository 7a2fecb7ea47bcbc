"""Which settings of a strategy are searched, and where: as its fields declare it, or as the user says."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from benchmark.errors import UserError, unknown
from benchmark.registry import build_strategy, hyperparameters, plain, shown, strategy_class, strategy_names
from benchmark.suite_files import parse_value
from benchmark.suite_schema import TRAINING, SuiteFile
from strategies.base import Training
from strategies.search import Search, numbers_of, ranges_of

OFF = "off"
"""In the place of a range: the setting is not searched."""
ON = "on"
"""In the place of a range: the setting is searched where its field says."""


@dataclass(frozen=True)
class Dimension:
    """One setting that is searched.

    Attributes:
        name: Of the strategy's field, or ``training.`` and that of `Training`.
        search: Where.
        whole: Whether it takes whole numbers only.
        given: Its value in the suite, or its default.
    """

    name: str
    search: Search
    whole: bool
    given: float


Space = tuple[Dimension, ...]
"""What is searched of one strategy, settings of training first; empty if there is nothing."""


def spaces(file: SuiteFile, asked: Sequence[str]) -> dict[str, Space]:
    """What is searched of each strategy of a suite.

    Args:
        file: The suite; none of the settings that are searched may be a list.
        asked: Each ``WHERE=LOW..HIGH``, ``WHERE=LOW..HIGH:log``, ``WHERE=on`` or ``WHERE=off``, with ``WHERE`` a
            setting of a strategy, such as ``ewc.lam``, or of ``training``, which is searched for every strategy.

    Raises:
        UserError: there is no such setting, it is no number, or the range is none or beyond what the setting allows.
    """
    ranges = {name: _declared(name) for name in file.strategies}
    training: dict[str, Search] = {}
    for one in asked:
        where, field, text = _taken_apart(one, file)
        kinds = numbers_of(Training if where == "training" else strategy_class(where))
        if field not in kinds:
            known = list(kinds)
            raise UserError(f"--search {one}: {unknown(f'number among the settings of {where}', field, known)}")
        chosen = training if where == "training" else ranges[where]
        declared = (ranges_of(Training) if where == "training" else _declared(where)).get(field)
        if text == OFF:
            chosen.pop(field, None)
        elif text == ON and declared is not None:
            chosen[field] = declared
        elif text == ON:
            raise UserError(f"--search {one}: {where}.{field} declares no range: give one, such as 0.1..10:log")
        else:
            chosen[field] = _range(one, text, kinds[field] is int)
            _check_bounds(one, where, field, chosen[field])
    # Training first: a sampler that draws one setting after another then draws the same of it for every strategy.
    return {name: (*_of_training(file, training), *_own(name, file, own)) for name, own in ranges.items()}


def _declared(name: str) -> dict[str, Search]:
    return {one.name: one.search for one in hyperparameters(name) if one.search is not None}


def _taken_apart(one: str, file: SuiteFile) -> tuple[str, str, str]:
    path, equals, text = one.partition("=")
    where, dot, field = path.strip().partition(".")
    if not (equals and dot and where and field):
        raise UserError(f"--search {one}: should be WHERE=LOW..HIGH, such as ewc.lam=1..1e6:log")
    if where != "training" and where not in strategy_names():
        raise UserError(f"--search {one}: {unknown('strategy', where, [*strategy_names(), 'training'])}")
    if where != "training" and where not in file.strategies:
        raise UserError(f"--search {one}: strategy {where} does not run; add it with --strategies")
    return where, field, text.strip()


def _range(one: str, text: str, whole: bool) -> Search:
    """A range as the command line gives it."""
    limits, colon, scale = text.partition(":")
    low, dots, high = limits.partition("..")
    values = [parse_value(low), parse_value(high)] if dots else []
    if not values or (colon and scale != "log") or not all(_is_number(value) for value in values):
        raise UserError(f"--search {one}: '{text}' is no range: write LOW..HIGH or LOW..HIGH:log, {ON} or {OFF}")
    first, last = (float(value) for value in values if isinstance(value, (int, float)))
    if first >= last:
        raise UserError(f"--search {one}: {first:g} is not below {last:g}: write the smaller one first")
    if colon and first <= 0:
        raise UserError(f"--search {one}: a range with :log begins above 0")
    if whole and not (first.is_integer() and last.is_integer()):
        raise UserError(f"--search {one}: the setting takes whole numbers only")
    return Search(first, last, log=bool(colon))


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _check_bounds(one: str, where: str, field: str, search: Search) -> None:
    """Refuses a range that reaches beyond what the setting allows."""
    for end in (search.low, search.high):
        value = int(end) if end.is_integer() else end
        try:
            if where == "training":
                TypeAdapter(Training).validate_json(json.dumps({field: value}), strict=True)
            else:
                build_strategy(where, {field: value})
        except ValidationError as error:
            first = error.errors()[0]
            reason = f"{where}.{field} is {shown(first['input'])}: {plain(first['msg'])}"
            raise UserError(f"--search {one}: {reason}") from error
        except UserError as error:
            raise UserError(f"--search {one}: {error}") from error


def _own(name: str, file: SuiteFile, ranges: Mapping[str, Search]) -> Space:
    given = file.strategies[name] or {}
    for field, value in given.items():
        if isinstance(value, list):
            raise UserError(
                f"strategies.{name}.{field} is {shown(value)}: a search starts from one value; give it one, or sweep "
                "with retain run"
            )
    settings: dict[str, Any] = asdict(build_strategy(name, given))  # type: ignore[call-overload]  # it is a dataclass
    kinds = numbers_of(strategy_class(name))
    return tuple(Dimension(field, search, kinds[field] is int, settings[field]) for field, search in ranges.items())


def _of_training(file: SuiteFile, ranges: Mapping[str, Search]) -> Space:
    kinds, settings = numbers_of(Training), asdict(file.training)
    return tuple(
        Dimension(f"{TRAINING}{field}", search, kinds[field] is int, settings[field])
        for field, search in ranges.items()
    )
