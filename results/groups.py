"""Which runs may stand in one table: those of one protocol, gathered by strategy and hyperparameters."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from typing import Any

from results.record import FinishedRun, RecordError, Run, finished_runs

BACKBONE_FACTS = frozenset(("backbone", "run.backbone", "run.weights_sha256", "run.backbone_sha256"))
"""Names in a protocol that tell one backbone from another."""
DATA_FACTS = "run.data_sha256."
"""What names of facts on data begin with, before the task or probe and the split."""
_TITLE_FACTS = frozenset(("run.suite", "run.stream", "run.backbone"))
_MOST_DIFFERENCES = 4


@dataclass(frozen=True)
class Group:
    """Runs of one protocol."""

    title: str
    """Suite, stream and backbone, then the settings in which the groups of that suite and stream differ."""
    slug: str
    """The title as a file name, unique among the groups of one call."""
    runs: list[Run]


@dataclass(frozen=True)
class Variant:
    """One strategy with one choice of hyperparameters: its runs differ only in the seed and the order of the tasks."""

    label: str
    """The strategy's name, and in parentheses the hyperparameters that tell it from others of that name."""
    runs: list[Run]
    """Finished and failed, by order and seed."""

    @property
    def finished(self) -> list[FinishedRun]:
        """The runs that means are over."""
        return finished_runs(self.runs)

    @property
    def failed(self) -> list[Run]:
        """The runs that ended before their end."""
        return [run for run in self.runs if run.failed]

    @property
    def is_sequence(self) -> bool:
        """Whether the tasks came one after another; ``joint`` has a single stage, hence no sequence."""
        return len(self.runs[0].stages) > 1


def protocol(run: Run) -> dict[str, str]:
    """Everything on which two runs must agree to be compared, flattened to ``a.b`` -> JSON text.

    That is every setting but the strategy, the order and the seed, and what the record knows beyond its settings: the
    tasks with their metrics and sizes, the very rows that were used, the backbone, and what a search of the strategy's
    settings was given. What of training that search chose is the strategy's, as its hyperparameters are.
    """
    settings, facts = _protocol(run)
    return _flatten(settings) | _flatten(facts, "run.")


def _protocol(run: Run) -> tuple[dict[str, Any], dict[str, Any]]:
    """Settings and facts, nested."""
    settings = {name: value for name, value in run.settings.items() if name not in ("strategy", "order", "seed")}
    if found := _found_training(run):
        settings["training"] = {name: value for name, value in settings["training"].items() if name not in found}
    tasks = {
        task.name: {name: value for name, value in task if name not in ("truncated_share", "untrained_labels")}
        for task in run.tasks
    }
    return settings, {
        "suite": run.suite,
        "stream": run.stream,
        "scenario": run.scenario,
        "backbone": run.backbone,
        "order": [task.name for task in run.tasks],
        "tasks": tasks,
        "weights_sha256": run.provenance.weights_sha256,
        "backbone_sha256": run.provenance.backbone_sha256,
        "data_sha256": run.provenance.data_sha256,
        "tuning": _budget(run),
    }


def _protocol_key(run: Run) -> str:
    """Equal for two runs exactly if their protocols are: quicker than flattening."""
    return json.dumps(_protocol(run), sort_keys=True, ensure_ascii=False)


def protocol_groups(runs: Sequence[Run]) -> list[Group]:
    """Splits runs by protocol; the order of ``runs`` does not change the groups or their order."""
    alike: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        alike[_protocol_key(run)].append(run)
    by_protocol: dict[tuple[tuple[str, str], ...], list[Run]] = defaultdict(list)
    for same in alike.values():
        by_protocol[tuple(sorted(protocol(same[0]).items()))].extend(same)
    keys = sorted(by_protocol)
    titles: dict[tuple[tuple[str, str], ...], str] = {}
    for _, of_stream in groupby(sorted(keys, key=_stream), key=_stream):
        members = list(of_stream)
        found = _titles([by_protocol[key][0] for key in members], [dict(key) for key in members])
        titles |= zip(members, found, strict=True)
    return [
        Group(titles[key], slug(f"{number} {titles[key]}"), by_protocol[key])
        for number, key in enumerate(keys, start=1)
    ]


def _stream(key: Sequence[tuple[str, str]]) -> tuple[str, str]:
    """Suite and stream: protocols of others differ in their tasks and rows, which no title has to say."""
    facts = dict(key)
    return facts["run.suite"], facts["run.stream"]


def _titles(firsts: Sequence[Run], protocols: Sequence[Mapping[str, str]]) -> list[str]:
    """Titles of the protocols of one suite and stream, each with a run of it."""
    named = {facts["run.backbone"]: set[tuple[str | None, ...]]() for facts in protocols}
    for facts in protocols:
        named[facts["run.backbone"]].add(tuple(facts.get(name) for name in sorted(BACKBONE_FACTS)))
    # Where a name stands for one backbone, the title says all that tells it from others.
    told = _TITLE_FACTS | (BACKBONE_FACTS if all(len(same) == 1 for same in named.values()) else frozenset())
    told |= _left_out_by_backbone(protocols)
    return [_title(run, found, told) for run, found in zip(firsts, _differences(protocols), strict=True)]


def variants(runs: Sequence[Run]) -> list[Variant]:
    """Gathers the runs of one protocol by strategy and hyperparameters, sorted by both, then by order and seed.

    Raises:
        RecordError: two records are of the same cell, so a mean would count it twice.
        ValueError: the runs are of several protocols.
    """
    if len({_protocol_key(run) for run in runs}) > 1:
        raise ValueError("runs of different protocols can't share a table; split them with protocol_groups")
    by_strategy: dict[str, dict[str, list[Run]]] = defaultdict(lambda: defaultdict(list))
    for run in sorted(runs, key=lambda run: (run.order.number, run.learned_in, run.seed)):
        by_strategy[run.strategy][json.dumps(_hyperparameters(run), sort_keys=True)].append(run)
    found = list(chain.from_iterable(_name_variants(same) for _, same in sorted(by_strategy.items())))
    for variant in found:
        _refuse_repeated_cells(variant)
    return found


def by_order(runs: Sequence[Run]) -> list[list[Run]]:
    """Splits runs by the order of their tasks, the stream's own first."""
    found: dict[tuple[int, tuple[str, ...]], list[Run]] = defaultdict(list)
    for run in runs:
        found[run.order.number, tuple(run.learned_in)].append(run)
    return [found[order] for order in sorted(found)]


def finished_variants(runs: Sequence[Run]) -> tuple[list[Variant], str]:
    """The variants of which a run finished, and in words what is left out, empty if nothing failed."""
    every = variants(runs)
    failed = [_failed_share(variant) for variant in every if variant.failed]
    left_out = f"not shown, failed: {', '.join(failed)}" if failed else ""
    return [variant for variant in every if variant.finished], left_out


def _failed_share(variant: Variant) -> str:
    if not variant.finished:
        return variant.label
    counted = "seeds" if len(by_order(variant.runs)) == 1 else "runs"
    return f"{len(variant.failed)} of {len(variant.runs)} {counted} of {variant.label}"


def _name_variants(by_settings: Mapping[str, list[Run]]) -> list[Variant]:
    """Labels the variants of one strategy by the hyperparameters in which they differ."""
    members = list(by_settings.values())
    chosen = [_flatten(_hyperparameters(runs[0])) for runs in members]
    differences = _differences(chosen)
    order = sorted(range(len(members)), key=lambda index: _natural_key(differences[index]))
    return [Variant(_label(members[index][0].strategy, differences[index]), members[index]) for index in order]


def _refuse_repeated_cells(variant: Variant) -> None:
    """A cell is a seed and an order: two numbers may stand for the same order where suites number theirs otherwise."""
    seen = set()
    for run in variant.runs:
        cell = run.seed, tuple(run.learned_in)
        if cell in seen:
            raise RecordError(f"{variant.label}: several records of {run.replicate} with the same settings")
        seen.add(cell)


def _hyperparameters(run: Run) -> dict[str, Any]:
    settings: dict[str, Any] = run.settings.get("strategy", {}).get("settings", {})
    return settings | _found_training(run)


def _search(run: Run) -> dict[str, Any]:
    """How the strategy's settings were searched; empty if they were not, or nobody said how."""
    search: dict[str, Any] = run.settings.get("strategy", {}).get("tuning") or {}
    return search


def _found_training(run: Run) -> dict[str, Any]:
    """What of the settings of training the search chose for the strategy."""
    training = run.settings.get("training") or {}
    searched = {name.removeprefix("training.") for name in _search(run).get("searched", {})}
    return {name: value for name, value in training.items() if name in searched}


def _budget(run: Run) -> str:
    """What the search was given, equal for all strategies of one search; seconds are what it used of it."""
    if run.tuning is None:
        return "none"
    search = {name: value for name, value in _search(run).items() if name in ("sampler", "seed", "seeds")}
    told = "".join(f", {name} {_plain(json.dumps(value))}" for name, value in sorted(search.items()))
    return f"{run.tuning.trials} trials on {', '.join(run.tuning.tasks)}{told}"


def _flatten(nested: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    flat: dict[str, str] = {}
    for name, value in nested.items():
        if isinstance(value, Mapping) and value:
            flat |= _flatten(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = json.dumps(value, sort_keys=True, ensure_ascii=False)
    return flat


def _differences(choices: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """For each choice the settings in which it differs from any other; one that it lacks is ``unset``."""
    names = dict.fromkeys(chain.from_iterable(choices))
    differing = [name for name in names if len({choice.get(name) for choice in choices}) > 1]
    return [{name: choice.get(name, "unset") for name in differing} for choice in choices]


def _left_out_by_backbone(protocols: Sequence[Mapping[str, str]]) -> set[str]:
    """Facts on rows that some backbones lack, as those of a probe that does not apply, and that all others share."""
    found = set()
    for name in {name for facts in protocols for name in facts if name.startswith(DATA_FACTS)}:
        cases = {(facts["run.backbone"], facts.get(name)) for facts in protocols}
        backbones, texts = {backbone for backbone, _ in cases}, {text for _, text in cases}
        if None in texts and len(texts) == 2 and len(cases) == len(backbones):
            found.add(name)
    return found


def _natural_key(settings: Mapping[str, str]) -> list[tuple[bool, float, str]]:
    """Sorts ``lam=20`` before ``lam=100``, and numbers before words."""
    return [(not _is_number(text), float(text) if _is_number(text) else 0.0, text) for text in settings.values()]


def _is_number(text: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?([eE][-+]?\d+)?", text) is not None


def _label(name: str, settings: Mapping[str, str]) -> str:
    return f"{name} ({_listing(settings)})" if settings else name


def _listing(settings: Mapping[str, str]) -> str:
    return ", ".join(f"{name}={_plain(text)}" for name, text in settings.items())


def _plain(text: str) -> str:
    """JSON as a person writes it: no quotes around words, no ``.0`` after whole numbers."""
    return text.removesuffix(".0").strip('"')


def _title(run: Run, differing: Mapping[str, str], known: frozenset[str]) -> str:
    """Suite, stream and backbone, and what differs beyond what these make known."""
    title = f"{run.suite}: {run.stream} on {run.backbone}"
    told = {name: text for name, text in differing.items() if name not in known}
    first = dict(list(told.items())[:_MOST_DIFFERENCES])
    if not first:
        return title
    more = f", and {len(told) - len(first)} more" if len(told) > len(first) else ""
    return f"{title} ({_listing(first)}{more})"


def slug(text: str) -> str:
    """Text as a file name: lower-case letters, digits and hyphens, at most 60."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")[:60].rstrip("-")
