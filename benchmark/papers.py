"""Papers by name: the shipped ones and those of other packages; what of them can be run, and what that needs."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

from benchmark.backbones import resolve_backbone
from benchmark.catalogue import find_task
from benchmark.errors import UserError, unknown
from benchmark.plugins import Broken, Unusable, declared, load
from benchmark.suite_files import parse_suite, suite_text
from results.papers import PAPERS
from results.papers.base import Ours, Paper, Protocol, Table
from tasks.catalogue import PROBES
from tasks.sources.archive import DataFiles, HubFiles
from tasks.streams import STREAMS

PAPER_GROUP = "retain.papers"
"""Group of entry points ``NAME = package.module:PAPER`` to a `results.papers.base.Paper`."""

NO_HUB = "needs no hub"


@dataclass(frozen=True)
class Plan:
    """A suite that answers tables of a paper, and what of it is run.

    Attributes:
        suite: Its name or file.
        tables: Names of the tables that it is for.
        strategies: Those that answer a row.
        settings: Changes of the suite, each ``WHERE=VALUE``.
        orders: ``all`` where a table is a mean over several; None leaves the suite's.
        backbone: Instead of the suite's; None leaves it.
        nearest: What it shares with the tables and what not, where it is a stand-in; else empty.
    """

    suite: str
    tables: tuple[str, ...]
    strategies: tuple[str, ...]
    settings: tuple[str, ...] = ()
    orders: str | None = None
    backbone: str | None = None
    nearest: str = ""

    @property
    def command(self) -> str:
        """The same as a plain run of the suite."""
        words = ["retain", "run", self.suite, "--strategies", ",".join(self.strategies)]
        words += ["--backbone", self.backbone] if self.backbone else []
        words += ["--orders", self.orders] if self.orders else []
        return shlex.join([*words, *(word for setting in self.settings for word in ("--set", setting))])


def all_papers() -> list[Paper]:
    """The shipped papers in the order of their list, then those of other packages. Imports these."""
    return [*PAPERS, *_plugins(tuple(sys.path))[0]]


def broken_papers() -> tuple[Broken, ...]:
    """Entry points of other packages that can't be used. Imports them."""
    return _plugins(tuple(sys.path))[1]


def find_paper(name: str) -> Paper:
    """The paper of this name. Plugins are imported only if it is no shipped one.

    Raises:
        UserError: there is none, or the plugin of that name is broken.
    """
    for paper in PAPERS:
        if paper.name == name:
            return paper
    for paper in all_papers():
        if paper.name == name:
            return paper
    for one in broken_papers():
        if one.plugin.name == name:
            raise Unusable(one)
    raise unknown("paper", name, [paper.name for paper in all_papers()])


def exact_plans(paper: Paper, as_published: bool = False) -> list[Plan]:
    """What has to be run to answer the tables whose stream a suite has.

    Args:
        paper: Whose tables they are.
        as_published: Whether backbone, sizes and training are what the paper says instead of what the suite says; what
            it does not say stays the suite's.
    """
    asked: dict[tuple[str, tuple[str, ...], str | None], list[Table]] = {}
    for table in paper.tables:
        if table.suite:
            hub = table.protocol.backbone.hub if table.protocol.backbone else ()
            key = (
                (table.suite, published_settings(table.protocol), hub[0] if hub else None)
                if as_published
                else (table.suite, (), None)
            )
            asked.setdefault(key, []).append(table)
    return [
        _plan(suite, tables, settings, backbone, several_orders=True)
        for (suite, settings, backbone), tables in asked.items()
    ]


def nearest_plans(paper: Paper, tables: Sequence[str]) -> list[Plan]:
    """The stand-ins for some tables of a paper, by their names."""
    found: dict[tuple[str, str, tuple[str, ...]], list[Table]] = {}
    for table in paper.tables:
        for one in table.nearest if table.name in tables else ():
            found.setdefault((one.suite, one.why, one.settings), []).append(table)
    return [
        replace(_plan(suite, of, settings, None, several_orders=False), nearest=why)
        for (suite, why, settings), of in found.items()
    ]


def published_settings(protocol: Protocol) -> tuple[str, ...]:
    """What a paper says of sizes and training, as changes of a suite; sizes that it does not say are all there is."""
    training = {
        "epochs": protocol.epochs,
        "learning_rate": protocol.learning_rate,
        "head_learning_rate": protocol.head_learning_rate,
        "batch_size": protocol.batch_size,
        "warmup": protocol.warmup,
    }
    settings = [f"training.{name}={value:g}" for name, value in training.items() if value is not None]
    settings += [] if protocol.max_length is None else [f"max_length={protocol.max_length}"]
    for name in ("train_examples", "test_examples"):
        counts: int | tuple[int, ...] | None = getattr(protocol, name)
        if isinstance(counts, tuple):
            settings += [f"tasks.{task}.{name}={count}" for task, count in zip(protocol.tasks, counts, strict=True)]
        else:
            settings.append(f"{name}={'null' if counts is None else counts}")
    return tuple(settings)


def hub_needs(suite: str) -> list[str]:
    """What a suite reads from the model hub, each ``datasets/ID`` or ``models/ID``; fetches nothing.

    Raises:
        UserError: there is no such suite, or it names what is unknown.
    """
    raw = parse_suite(suite_text(suite), suite)
    files: list[DataFiles] = [find_task(task).spec.source.archive for task in _tasks_of(raw.get("stream"))]
    files += [probe.source.archive for probe in PROBES if probe.name in (raw.get("probes") or ())]
    needed = [f"{one.repo_type}s/{one.repository}" for one in files if isinstance(one, HubFiles)]
    named = raw.get("backbone")
    hubs = [resolve_backbone(str(name)).hub for name in (named if isinstance(named, list) else [named])]
    return list(dict.fromkeys([*needed, *(f"models/{hub}" for hub in hubs if hub)]))


def needs_text(suite: str) -> str:
    """What a suite needs of the hub, in words."""
    try:
        needed = hub_needs(suite)
    except UserError as error:
        return f"can't be run: {error}"
    return f"needs the model hub ({', '.join(needed)})" if needed else NO_HUB


def checked(name: str, paper: object) -> Paper:
    """What an entry point names, if it is a paper that can be used.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(paper, Paper):
        raise ValueError("it is no results.papers.base.Paper")
    if paper.name != name or not re.fullmatch(r"[\w-]+", name, re.ASCII):
        raise ValueError(f"its paper is named '{paper.name}': paper and entry point must have the same name")
    if any(known.name == name for known in PAPERS):
        raise ValueError(f"a shipped paper is named '{name}'")
    for table in paper.tables:
        if any(len(row.figures) != len(table.metrics) for row in table.rows):
            raise ValueError(f"table '{table.name}': every row needs a figure for each of {len(table.metrics)} metrics")
    return paper


def _tasks_of(stream: object) -> list[str]:
    match stream:
        case str():
            return [task for known in STREAMS if known.name == stream for task in known.tasks]
        case {"tasks": [*tasks]} | [*tasks]:
            return [str(task) for task in tasks]
    return []


def _plan(
    suite: str, tables: Sequence[Table], settings: tuple[str, ...], backbone: str | None, several_orders: bool
) -> Plan:
    answers = [ours for table in tables for _, ours in table.answered()]
    strategies = tuple(dict.fromkeys(ours.strategy for ours in answers))
    several = several_orders and any(len(table.protocol.orders) > 1 for table in tables)
    return Plan(
        suite,
        tuple(table.name for table in tables),
        strategies,
        (*settings, *_asked(answers)),
        "all" if several else None,
        backbone,
    )


def _asked(answers: Sequence[Ours]) -> Iterator[str]:
    """Settings that rows ask for; where they ask for several values of one, each is run."""
    values: dict[str, list[object]] = {}
    for ours in answers:
        for name, value in ours.settings.items():
            known = values.setdefault(f"{ours.strategy}.{name}", [])
            known += [value] if value not in known else []
    for name, wanted in values.items():
        value = json.dumps(wanted) if len(wanted) > 1 else wanted[0]
        yield f"{name}={value}"


@cache
def _plugins(path: tuple[str, ...]) -> tuple[tuple[Paper, ...], tuple[Broken, ...]]:
    plugins, broken = declared(PAPER_GROUP)
    flaws, found = list(broken), []
    for plugin in plugins:
        try:
            paper = load(plugin)
            found.append(checked(plugin.name, paper))
        except Unusable as error:
            flaws.append(error.broken)
        except ValueError as error:
            flaws.append(Broken(plugin, str(error)))
    return tuple(found), tuple(flaws)
