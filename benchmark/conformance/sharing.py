"""Fingerprints tell the truth: stages that share a key are the same computation."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import TypeAdapter

from benchmark.conformance.bench import Bench, flat, require_same, where
from benchmark.conformance.core import NotApplicable, Violation, rule
from benchmark.conformance.problem import Problem
from benchmark.conformance.runs import Trace, groups_of, settings_of, stages_of
from strategies.base import Strategy
from strategies.naive import Naive


@rule("a stage shared with naive that gathers something, or trains otherwise")
def plain_stages_are_naive(bench: Bench) -> None:
    """A first stage whose fingerprint is empty trains as naive does and leaves no state."""
    stage, _ = stages_of(bench.problem, bench.strategy)[0]
    if bench.strategy.fingerprint(stage) != {}:
        raise NotApplicable("its first stage is its own")
    found = bench.base.points[0]
    together = groups_of(bench.problem, bench.strategy)[0]
    expected = bench.known(_Together(len(together))).points[0] if len(together) > 1 else bench.naive.points[0]
    require_same(found.weights, expected.weights, "the first stage, said to be that of naive: weights")
    if found.state:
        raise Violation(f"the first stage, said to be that of naive, leaves {len(found.state)} entries in the state")


class _Together(Naive):
    """Plain fine-tuning on the first tasks at once."""

    def __init__(self, count: int) -> None:
        object.__setattr__(self, "count", count)

    def __repr__(self) -> str:
        return f"together({vars(self)})"

    def stages(self, tasks: Any) -> list[list[Any]]:
        first = vars(self)["count"]
        return [list(tasks[:first]), *([task] for task in tasks[first:])]


@rule("a setting that acts and is missing from the key: two different runs share a stage")
def equal_fingerprints_equal_bits(bench: Bench) -> None:
    """Settings whose fingerprints agree up to a step agree up to there in every bit."""
    base = _keys(bench.problem, bench.strategy)
    for what, other in _variations(bench):
        problem = bench.problem
        _compare(bench, base, what, problem, other)
    shorter = bench.problem.keeping(lambda task: task.name != bench.problem.tasks[-1].name)
    if len(shorter.tasks) > 1 and bench.stages_alone:
        _compare(bench, base, "one task fewer in the stream", shorter, bench.strategy)


def _compare(bench: Bench, base: list[str], what: str, problem: Problem, other: Strategy) -> None:
    common = 0
    for one, two in zip(base, _keys(problem, other), strict=False):
        if one != two:
            break
        common += 1
    if common == 0:
        return
    last = json.loads(base[common - 1])[1]
    try:
        found: Trace = bench.run(other, problem, stages=last + 1)
    except ArithmeticError:
        return
    for one_point, other_point in zip(found.points[:common], bench.base.points[:common], strict=False):
        place = f"{what}: same keys, but {where(one_point)}"
        require_same(one_point.weights, other_point.weights, f"{place}: weights")
        require_same(flat(one_point.state), flat(other_point.state), f"{place}: state")


def _keys(problem: Problem, strategy: Strategy) -> list[str]:
    """One for every step of the run; a run's history is the list up to there."""
    told: list[str] = []
    for stage, tasks in stages_of(problem, strategy):
        names = [task.name for task in tasks]
        told.append(json.dumps(["train", stage.index, names, strategy.fingerprint(stage)], sort_keys=True))
        if then := strategy.fingerprint_after(stage):
            told.append(json.dumps(["after", stage.index, then], sort_keys=True))
    return told


def _variations(bench: Bench) -> Iterator[tuple[str, Strategy]]:
    """The strategy with one setting changed, for every setting and every choice."""
    cls = type(bench.strategy)
    chosen = {name: getattr(bench.strategy, name) for name in settings_of(bench.strategy)}
    body, layers = bench.problem.body()
    for name, schema in TypeAdapter(cls).json_schema().get("properties", {}).items():
        for value in _others(schema, chosen[name]):
            try:
                changed = TypeAdapter(cls).validate_json(json.dumps({**chosen, name: value}), strict=True)
                changed.check(body, layers, bench.problem.tasks)
            except ValueError:
                continue
            yield f"{name}={value}", changed


def _others(schema: Mapping[str, Any], now: Any) -> Iterator[Any]:
    """Values of a setting that differ from what it is."""
    if "anyOf" in schema:
        for found in schema["anyOf"]:
            if found.get("type") == "null":
                yield from [None] if now is not None else []
            elif now is None or not isinstance(now, bool):
                yield from _others(found, 1 if now is None else now)
    elif "enum" in schema:
        yield from (value for value in schema["enum"] if value != now)
    elif schema.get("type") == "boolean":
        yield not now
    elif schema.get("type") == "integer" and isinstance(now, int):
        yield from {value for value in (now + 1, now // 2) if value != now}
    elif schema.get("type") == "number" and isinstance(now, (int, float)):
        yield from {value for value in (now * 2 + 0.25, now / 2) if value != now}
