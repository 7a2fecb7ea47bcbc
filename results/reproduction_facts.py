"""Whether runs were made as a paper's figures were: every fact of its protocol beside ours."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from results.papers.base import Backbone, Protocol
from results.record import Run

FactKind = Literal["backbone", "data", "protocol"]
"""What differs, in the word that a verdict has for it."""
NOT_SAID = "not said"


@dataclass(frozen=True)
class Fact:
    """One thing that decides what a score is."""

    name: str
    kind: FactKind
    published: str | None
    """None where the source does not say it."""
    ours: str
    agrees: bool | None
    """None where the source does not say it, so that nobody can know."""


def facts(protocol: Protocol, runs: Sequence[Run]) -> list[Fact]:
    """Every fact of a published protocol beside that of runs that share theirs.

    Args:
        protocol: The published one.
        runs: Of one protocol group, at least one.
    """
    return [
        _backbone(protocol.backbone, runs[0]),
        *_data(protocol, runs),
        *_words(protocol, runs[0]),
        *_numbers(protocol, runs[0]),
        _length(protocol, runs[0]),
        *(Fact(name, "protocol", None, "see the record", None) for name in protocol.unsaid),
    ]


def told(fact: Fact) -> str:
    """A fact that differs, as a reason: the word for its kind, a colon, and both."""
    name = "" if fact.name == fact.kind else f"{fact.name} "
    return f"{fact.kind}: {name}{fact.published} there, {fact.ours} here"


def same_tasks(protocol: Protocol, run: Run) -> bool:
    """Whether a run learned a table's tasks in its scenario, if that is said."""
    names = {task.name for task in run.tasks}
    return names == set(protocol.tasks) and protocol.scenario in (None, run.scenario)


def _backbone(published: Backbone | None, run: Run) -> Fact:
    """Equal only where the record says that the weights are those of one of the model's ids on the hub."""
    fetched = {name.removeprefix("models/").partition("@")[0] for name in run.provenance.hub if name[:7] == "models/"}
    if published is None:
        return Fact("backbone", "backbone", None, run.backbone, None)
    return Fact("backbone", "backbone", published.name, run.backbone, not fetched.isdisjoint(published.hub))


def _data(protocol: Protocol, runs: Sequence[Run]) -> Iterator[Fact]:
    run = runs[0]
    same = same_tasks(protocol, run)
    yield Fact("data", "data", protocol.data, f"{run.stream}: {len(run.tasks)} tasks, {run.scenario}", same)
    for name, field in (("training examples a task", "train_examples"), ("test examples a task", "test_examples")):
        yield _examples(name, field, protocol, run)
    if same and protocol.orders:
        learned = {tuple(one.learned_in) for one in runs}
        told = [_arrows(order) for order in protocol.orders]
        ours = [_arrows(order) for order in sorted(learned)]
        yield Fact("order", "data", "; ".join(told), "; ".join(ours), learned == set(protocol.orders))


def _examples(name: str, field: str, protocol: Protocol, run: Run) -> Fact:
    """Where a paper names no number, all that there are are taken to be meant: a limit of ours differs."""
    published: int | tuple[int, ...] | None = getattr(protocol, field)
    counts = {task.name: getattr(task, field) for task in run.tasks}
    limits = [task.get(field) for task in run.settings.get("tasks", {}).values()]
    if published is None:
        limited = [limit for limit in limits if limit is not None]
        if not limited:
            return Fact(name, "data", None, "all", None)
        return Fact(name, "data", "all, as no number is told", f"at most {max(limited)}", False)
    each = (published,) * len(counts) if isinstance(published, int) else published
    wanted = dict(zip(protocol.tasks, each, strict=False))
    told = ", ".join(f"{count:,}" for count in dict.fromkeys(each))
    if field == "train_examples" and protocol.shots is not None:
        told = f"{protocol.shots:,} a class: {told}"
    return Fact(
        name, "data", told, ", ".join(f"{count:,}" for count in dict.fromkeys(counts.values())), wanted == counts
    )


def _words(protocol: Protocol, run: Run) -> Iterator[Fact]:
    yield _fact("scenario", protocol.scenario, run.scenario)
    told = {"heads": "outputs of heads", "text": "generated as text", None: None}[protocol.output]
    ours = "generated as text" if any(task.kind == "causal" for task in run.tasks) else "outputs of heads"
    yield _fact("classes", told, ours)
    ours = _tuned(run)
    agrees = None if protocol.tuned is None else bool(protocol.tuned) == bool(ours)
    yield Fact("tuned", "protocol", None if agrees is None else protocol.tuned or "nothing", ours or "nothing", agrees)


def _numbers(protocol: Protocol, run: Run) -> Iterator[Fact]:
    training = run.settings.get("training", {})
    for name, setting, published in (
        ("epochs", "epochs", protocol.epochs),
        ("learning rate", "learning_rate", protocol.learning_rate),
        ("learning rate of heads", "head_learning_rate", protocol.head_learning_rate),
        ("batch", "batch_size", protocol.batch_size),
        ("warm-up", "warmup", protocol.warmup),
    ):
        ours = training.get(setting)
        same = None if published is None else ours is not None and math.isclose(published, ours)
        yield Fact(name, "protocol", _number(published), _number(ours) or "not recorded", same)


def _length(protocol: Protocol, run: Run) -> Fact:
    lengths = sorted({task["max_length"] for task in run.settings.get("tasks", {}).values() if "max_length" in task})
    ours = ", ".join(map(str, lengths)) or "not recorded"
    same = None if protocol.max_length is None else lengths == [protocol.max_length]
    return Fact("length", "protocol", _number(protocol.max_length), ours, same)


def _tuned(run: Run) -> str:
    """What a search chose of a run's settings, as its record says; empty if nothing was searched."""
    return "by a search" if run.settings.get("strategy", {}).get("tuning") else ""


def _fact(name: str, published: str | None, ours: str) -> Fact:
    return Fact(name, "protocol", published, ours, None if published is None else published == ours)


def _arrows(order: Sequence[str]) -> str:
    return " -> ".join(order)


def _number(value: float | None) -> str | None:
    return None if value is None else f"{value:g}"
