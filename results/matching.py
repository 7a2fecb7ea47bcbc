"""Which runs of two versions of the code belong together, and why others do not."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from results.groups import BACKBONE_FACTS, Group, Variant, protocol, protocol_groups, variants
from results.ranking import Cell, cell
from results.record import FinishedRun, Run

Identity = tuple[str, tuple[tuple[str, str], ...]]
"""A strategy's name and its hyperparameters as JSON texts."""
_MOST_TOLD = 3


@dataclass(frozen=True)
class Match:
    """One strategy variant as BASE and NEW ran it.

    Attributes:
        title: Suite, stream and backbone.
        label: The strategy with the hyperparameters that tell it from others of its name.
        base: Its runs in BASE; None if there are none.
        new: Its runs in NEW.
        reason: Why the two can't be compared; empty if they can.
        notes: What else differs.
    """

    title: str
    label: str
    base: Variant | None
    new: Variant | None
    reason: str = ""
    notes: list[str] = field(default_factory=list)

    def shared(self) -> list[tuple[FinishedRun, FinishedRun]]:
        """Finished runs of the same seed and order, BASE's first."""
        if self.base is None or self.new is None:
            return []
        theirs = {cell(run): run for run in self.base.finished}
        return [(theirs[cell(run)], run) for run in self.new.finished if cell(run) in theirs]

    @property
    def bit_equal(self) -> bool:
        """Whether runs are shared, and all of them have the same scores, metrics and probes to the last bit."""
        shared = self.shared()
        return bool(shared) and all(
            (one.scores, one.metrics, one.probes) == (other.scores, other.metrics, other.probes)
            for one, other in shared
        )


def identity(run: Run) -> Identity:
    """What tells a strategy variant from others, whatever the records beside it."""
    settings: Mapping[str, object] = run.settings.get("strategy", {}).get("settings", {})
    return run.strategy, tuple(sorted((name, json.dumps(value, sort_keys=True)) for name, value in settings.items()))


def by_identity(runs: Sequence[Run]) -> dict[Identity, Variant]:
    """The variants of runs of one protocol, in the order of tables. The same cell may be there several times."""
    representatives = list({identity(run): run for run in reversed(runs)}.values())
    found = {identity(variant.runs[0]): variant.label for variant in variants(representatives)}
    return {
        key: Variant(label, sorted((run for run in runs if identity(run) == key), key=_cell))
        for key, label in found.items()
    }


def match(base: Sequence[Run], new: Sequence[Run]) -> list[Match]:
    """Every variant of BASE and NEW, those of equal protocol side by side.

    The version, the commit and the hash of the code may differ, and what they ran on: that is no part of the protocol.

    Raises:
        RecordError: one side has two records of the same cell.
    """
    for runs in (base, new):
        for group in protocol_groups(runs):
            variants(group.runs)
    new = [run.model_copy() for run in new]  # sides are told apart by what is in them, and a caller may give one twice
    ours = {id(run) for run in new}
    groups = protocol_groups([*base, *new])
    base_only = [group for group in groups if not any(id(run) in ours for run in group.runs)]
    new_only = [group for group in groups if all(id(run) in ours for run in group.runs)]
    found = [each for group in groups if group not in base_only + new_only for each in _match_group(group, ours)]
    explained: set[tuple[int, Identity]] = set()
    for group in base_only:
        found += _apart(group, [one for one in groups if one not in base_only], "BASE", "NEW", explained)
    for group in new_only:
        found += _apart(group, [one for one in groups if one not in new_only], "NEW", "BASE", explained)
    return found


def _match_group(group: Group, ours: set[int]) -> list[Match]:
    every = by_identity(group.runs)
    base = by_identity([run for run in group.runs if id(run) not in ours])
    new = by_identity([run for run in group.runs if id(run) in ours])
    found, lonely = [], []
    for key, variant in every.items():
        if key in base and key in new:
            found.append(Match(group.title, variant.label, base[key], new[key], notes=_notes(base[key], new[key])))
        else:
            lonely.append(key)
    left, right = ([key for key in lonely if key in side] for side in (base, new))
    paired: set[Identity] = set()
    for key in left:
        others = [other for other in right if other[0] == key[0]]
        alone = len(others) == 1 and sum(one[0] == key[0] for one in left) == 1
        if alone and not _conflicts(key, others[0]):
            paired |= {key, others[0]}
            notes = [_extended(key, others[0]), *_notes(base[key], new[others[0]])]
            found.append(Match(group.title, key[0], base[key], new[others[0]], notes=notes))
        elif alone:
            paired |= {key, others[0]}
            reason = f"settings differ: {'; '.join(_conflicts(key, others[0]))}"
            found.append(Match(group.title, key[0], base[key], new[others[0]], reason))
    for key in lonely:
        if key not in paired:
            where = "BASE" if key in base else "NEW"
            found.append(Match(group.title, every[key].label, base.get(key), new.get(key), f"strategy only in {where}"))
    return found


def _apart(
    group: Group, others: Sequence[Group], here: str, there: str, explained: set[tuple[int, Identity]]
) -> list[Match]:
    """The variants of a protocol that the other side lacks, each with what differs from its nearest one there."""
    found, mine = [], protocol(group.runs[0])
    distances = [(_differences(mine, protocol(other.runs[0])), number) for number, other in enumerate(others)]
    ranked = sorted(distances, key=lambda one: (len(one[0]), one[1]))
    for key, variant in by_identity(group.runs).items():
        if (id(group), key) in explained:
            continue
        near = next(((names, others[n]) for names, n in ranked if key in by_identity(others[n].runs)), None)
        reason = f"strategy only in {here}"
        counterpart = None
        if near is not None:
            names, other = near
            reason = _protocols_differ(mine, protocol(other.runs[0]), names, here, there)
            counterpart = by_identity(other.runs)[key]
            explained.add((id(other), key))
        base, new = (variant, counterpart) if here == "BASE" else (counterpart, variant)
        found.append(Match(group.title, variant.label, base, new, reason))
    return found


def _differences(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def _protocols_differ(
    one: Mapping[str, str], other: Mapping[str, str], names: Sequence[str], here: str, there: str
) -> str:
    if one["run.suite"] != other["run.suite"]:
        return f"the suite differs: {_said('run.suite', one, other, here, there)}"
    if BACKBONE_FACTS & set(names):
        name = next(name for name in ("run.backbone", *sorted(BACKBONE_FACTS)) if name in names)
        return f"the backbone differs: {_said(name, one, other, here, there)}"
    told = [_said(name, one, other, here, there) for name in names[:_MOST_TOLD]]
    more = f"; and {len(names) - _MOST_TOLD} more" if len(names) > _MOST_TOLD else ""
    return f"protocols differ: {'; '.join(told)}{more}"


def _said(name: str, one: Mapping[str, str], other: Mapping[str, str], here: str, there: str) -> str:
    values = {here: _plain(one.get(name)), there: _plain(other.get(name))}
    return f"{name.removeprefix('run.')} is {values['BASE']} in BASE, {values['NEW']} in NEW"


def _plain(text: str | None) -> str:
    if text is None:
        return "unset"
    plain = text.strip('"')
    return plain if len(plain) <= 40 else f"{plain[:12]}…"


def _conflicts(one: Identity, other: Identity) -> list[str]:
    ours, theirs = dict(one[1]), dict(other[1])
    return [
        f"{name} is {_plain(ours[name])} in BASE, {_plain(theirs[name])} in NEW"
        for name in ours
        if name in theirs and ours[name] != theirs[name]
    ]


def _cell(run: Run) -> Cell:
    return tuple(run.learned_in), run.seed


def _extended(one: Identity, other: Identity) -> str:
    """A version of the code may know a hyperparameter that the other one lacks."""
    base, new = dict(one[1]), dict(other[1])
    told = [f"{name}={_plain(base[name])} only in BASE" for name in base if name not in new]
    told += [f"{name}={_plain(new[name])} only in NEW" for name in new if name not in base]
    return f"settings that one version lacks: {', '.join(told)}"


def machine_differences(base: Variant, new: Variant) -> list[str]:
    """In what the machines of two variants differ; empty if all of their runs agree."""
    found = []
    for name in ("platform", "device", "threads", "processes", "accumulation"):
        values = [sorted({str(getattr(run.provenance, name)) for run in variant.finished}) for variant in (base, new)]
        if len({*values[0], *values[1]}) > 1:
            found.append(f"{name} {' and '.join(values[0])} in BASE, {' and '.join(values[1])} in NEW")
    return found


def _notes(base: Variant, new: Variant) -> list[str]:
    found = []
    before, after = (
        {name: version for run in variant.runs for name, version in run.provenance.packages.items()}
        for variant in (base, new)
    )
    changed = [
        f"{name} {before.get(name, 'none')} → {after.get(name, 'none')}"
        for name in sorted(before.keys() & after.keys())
        if before[name] != after[name]
    ]
    if changed:
        found.append(f"packages differ: {', '.join(changed)}")
    for side, variant in (("BASE", base), ("NEW", new)):
        if any(run.provenance.dirty for run in variant.runs):
            found.append(f"{side} has runs of a dirty tree: their commit does not tell their code")
    return found
