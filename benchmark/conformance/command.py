"""What ``retain check`` does: finds strategies, examines them, and says what it found."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tabulate import tabulate

from benchmark.conformance.core import PROBLEMS, Check, Verdict
from benchmark.errors import UserError, unknown
from benchmark.registry import strategy_class, strategy_names

if TYPE_CHECKING:
    from strategies.base import Strategy

MARKS = {"passed": "✓", "failed": "failed", "not applicable": "–"}
PLAIN = {"passed": "ok", "failed": "failed", "not applicable": "-"}
"""For terminals that can't print the others."""


def find(name: str) -> Strategy:
    """A strategy with its defaults, by its name or as ``package.module:Class``; the current folder is looked in too.

    Raises:
        UserError: there is none, it can't be imported, or it can't be made without settings.
    """
    if ":" not in name:
        return _made(strategy_class(name), name)
    module, _, attribute = name.partition(":")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found = importlib.import_module(module)
    except (Exception, SystemExit) as error:  # a module may raise anything when it is run
        raise UserError(f"{name}: {module} can't be imported: {type(error).__name__}: {error}") from error
    if attribute not in vars(found):
        raise unknown(f"name in {module}", attribute, [known for known in vars(found) if not known.startswith("_")])
    return _made(vars(found)[attribute], name)


def _made(found: object, name: str) -> Strategy:
    from strategies.base import Strategy

    try:
        made = found() if isinstance(found, type) else found
    except Exception as error:  # whatever a class of others does when it is made
        reason = " ".join(str(error).split())
        raise UserError(f"{name}: can't be made without settings: {type(error).__name__}: {reason}") from error
    if not isinstance(made, Strategy):
        raise UserError(f"{name}: is no strategy: derive it from strategies.base.Strategy")
    return made


def check_strategies(names: Sequence[str], fast: bool, say: Callable[[str], None]) -> tuple[str, bool]:
    """What the checks say of some strategies, as text, and whether all passed.

    Args:
        names: Of strategies, or ``package.module:Class``; every one that there is if none is named.
        fast: Whether to leave out the texts.
        say: Is told what goes on.

    Raises:
        UserError: a name is unknown or can't be imported.
    """
    strategies = [(name, find(name)) for name in names or strategy_names()]

    from benchmark.conformance.suite import CHECKS, examine

    problems = PROBLEMS[:1] if fast else PROBLEMS
    verdicts: dict[str, list[Verdict]] = {}
    for place, (name, strategy) in enumerate(strategies, start=1):
        if len(strategies) > 1:
            say(f"{place}/{len(strategies)} {name}")
        verdicts[name] = examine(strategy, problems)
    passed = all(verdict.outcome != "failed" for told in verdicts.values() for verdict in told)
    if len(verdicts) == 1:
        ((name, told),) = verdicts.items()
        return one_table(name, told, CHECKS, problems), passed
    return many_table(verdicts, problems), passed


def one_table(name: str, verdicts: Sequence[Verdict], checks: Sequence[Check], problems: Sequence[str]) -> str:
    """Every check of one strategy on every problem, then what failed and why rules say nothing."""
    marks = _marks()
    told = {(verdict.check, verdict.problem): marks[verdict.outcome] for verdict in verdicts}
    rows = [
        [check.name, *(told.get((check.name, problem), "") for problem in problems), check.meaning] for check in checks
    ]
    parts = [tabulate(rows, ["check", *problems, "what must hold"], disable_numparse=True)]
    skipped: dict[str, list[str]] = {}
    for verdict in verdicts:
        if verdict.outcome == "not applicable":
            skipped.setdefault(verdict.message, []).append(verdict.check)
    if skipped:
        lines = [f"  {why}: {', '.join(dict.fromkeys(names))}" for why, names in skipped.items()]
        parts.append("\n".join(["not applicable:", *lines]))
    return "\n\n".join([*parts, *_failures({name: verdicts}), _sum_up(name, verdicts)])


def many_table(verdicts: dict[str, list[Verdict]], problems: Sequence[str]) -> str:
    """One line a strategy, then what failed."""
    rows = []
    for name, told in verdicts.items():
        row: list[object] = [name]
        for problem in problems:
            own = [verdict for verdict in told if verdict.problem == problem]
            failed = sum(verdict.outcome == "failed" for verdict in own)
            passed = sum(verdict.outcome == "passed" for verdict in own)
            row.append(f"{failed} failed" if failed else f"{_marks()['passed']} {passed}" if passed else "refused")
        refused = [verdict.message for verdict in told if verdict.message.startswith("refuses ")]
        broken = dict.fromkeys(verdict.check for verdict in told if verdict.outcome == "failed")
        rows.append([*row, "; ".join([*broken, *dict.fromkeys(refused)])])
    table = tabulate(rows, ["strategy", *problems, ""], disable_numparse=True)
    return "\n\n".join([table, *_failures(verdicts)])


def _failures(verdicts: dict[str, Sequence[Verdict]] | dict[str, list[Verdict]]) -> list[str]:
    lines = [
        f"{name}: {verdict.check} ({verdict.problem}): {verdict.message}"
        for name, told in verdicts.items()
        for verdict in told
        if verdict.outcome == "failed"
    ]
    return ["\n".join(lines)] if lines else []


def _sum_up(name: str, verdicts: Sequence[Verdict]) -> str:
    counts = {kind: sum(verdict.outcome == kind for verdict in verdicts) for kind in MARKS}
    return f"{name}: " + ", ".join(f"{count} {kind}" for kind, count in counts.items())


def _marks() -> dict[str, str]:
    try:
        "".join(MARKS.values()).encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return PLAIN
    return MARKS
