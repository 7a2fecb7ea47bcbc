"""A comparison of two sets of runs for a terminal, for a pull request, and for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from results.compare import Comparison, FailOn, Row, Verdict
from results.render import UNDEFINED, TextTable, bullets, console, markdown
from results.statistics import LEVEL

MARKER = "<!-- retain compare -->"
"""The first line of the Markdown: by it a workflow finds the comment that it wrote before."""
MOST_CHARACTERS = 60_000
"""Of Markdown: a comment on GitHub has at most 65,536."""
SCHEMA = 1
_SHOWN = (Verdict.WORSE, Verdict.BETTER, Verdict.CHANGED)
_MOST_LINES = 20


def verdict_line(found: Comparison, on: FailOn) -> str:
    """The whole comparison in one line."""
    worse, changed = found.regressions, sum(row.moved_worse for row in found.of(Verdict.CHANGED))
    if worse:
        said = f"{_count(worse, 'regression')}"
    elif found.of(Verdict.CHANGED):
        said = f"no regression shown; {_count(len(found.of(Verdict.CHANGED)), 'measure')} changed in single runs"
    elif found.rows and all(row.verdict is Verdict.EQUAL for row in found.rows if row.measure.noise == "seed"):
        said = "no regression: all scores are equal to the bit"
    else:
        said = "no regression shown, nor could any be by so few runs" if found.blind else "no regression shown"
    if found.of(Verdict.BETTER):
        said += f", {_count(len(found.of(Verdict.BETTER)), 'measure')} better"
    lost = sum(one.base is not None for one in found.apart)
    if lost:
        said += f"; {_count(lost, 'strategy', 'strategies')} of BASE not compared"
    if found.lacking:
        said += f"; {_count(len(found.lacking), 'strategy has', 'strategies have')} fewer runs in NEW"
    if found.fails(on) and not worse:
        said += f" (fails on {on}: {changed} for the worse)" if changed else f" (fails on {on})"
    return said


def as_console(found: Comparison, base: str, new: str, on: FailOn) -> str:
    """For a terminal: the verdict, what changed, what could not be compared."""
    blocks = [f"{new} against {base}: {verdict_line(found, on)}."]
    blocks += [console(table) for table in _tables(found.of(*_SHOWN), "Changed")]
    lines = _lines(found)
    if lines:
        blocks.append("\n".join(lines))
    blocks.append(_summary(found))
    return "\n\n".join(blocks)


def as_markdown(found: Comparison, base: str, new: str, on: FailOn) -> str:
    """For a pull request: the verdict and what changed, all else folded; never longer than a comment may be."""
    mark = "❌" if found.fails(on) else "✅"
    head = [MARKER, f"## {mark} retain: {verdict_line(found, on)}", "", f"`{_code(new)}` against `{_code(base)}`.", ""]
    head += [_deeper(markdown(table)) for table in _tables(found.of(*_SHOWN), "Changed")]
    lines = _lines(found)
    if lines:
        head += [bullets(lines), ""]
    head += [_summary(found), ""]
    rest = found.of(Verdict.NO_EVIDENCE, Verdict.EQUAL)
    folded = "".join(_deeper(markdown(table)) + "\n" for table in _tables(rest, "Not changed"))
    text = "\n".join(head)
    if len(text) > MOST_CHARACTERS:
        text = text[:MOST_CHARACTERS].rsplit("\n", 1)[0] + "\n\nCut here: all is in the JSON.\n"
    if not rest:
        return text
    details = f"<details><summary>{_count(len(rest), 'measure')} without change</summary>\n\n{folded}\n</details>\n"
    if len(text) + len(details) > MOST_CHARACTERS:
        return f"{text}\n{_count(len(rest), 'measure')} without change: too many for a comment, all are in the JSON.\n"
    return f"{text}\n{details}"


def as_json(found: Comparison, base: str, new: str, on: FailOn) -> str:
    """For programs: every row at full precision; what is unknown is null."""
    document = {
        "schema_version": SCHEMA,
        "base": base,
        "new": new,
        "fail_on": str(on),
        "failed": found.fails(on),
        "verdict": verdict_line(found, on),
        "regressions": found.regressions,
        "tests": found.tests,
        "level": LEVEL,
        "rows": [_as_dict(row) for row in found.rows],
        "newly_failed_runs": found.broken,
        "fewer_runs": found.lacking,
        "not_compared": [
            {
                "suite": one.title,
                "strategy": one.label,
                "in_base": one.base is not None,
                "in_new": one.new is not None,
                "reason": one.reason,
            }
            for one in found.apart
        ],
        "strategies": [
            {"suite": one.title, "strategy": one.label, "bit_equal": one.bit_equal, "notes": one.notes}
            for one in found.matches
            if not one.reason
        ],
    }
    return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _as_dict(row: Row) -> dict[str, Any]:
    found = row.difference
    return {
        "suite": row.title,
        "strategy": row.label,
        "measure": row.measure.name,
        "better": "larger" if row.measure.worse < 0 else "smaller",
        "verdict": str(row.verdict),
        "base": row.base,
        "new": row.new,
        "difference": None if found is None else found.mean,
        "low": None if found is None else found.low,
        "high": None if found is None else found.high,
        "p_holm": row.p_holm,
        "smallest_shown": row.smallest,
        "tolerance": str(row.tolerance),
        "paired": None if found is None else found.paired,
        "runs": None if found is None else found.runs,
        "reason": row.reason,
    }


def _tables(rows: Sequence[Row], title: str) -> list[TextTable]:
    """One table for each protocol; what is worse comes first."""
    order = list(Verdict)
    titles = dict.fromkeys(row.title for row in rows)
    return [
        TextTable(
            f"{title}, {name}",
            ["strategy", "measure", "BASE", "NEW", "change", "95 % interval", "p (Holm)", "would show", "verdict"],
            [
                _cells(row)
                for row in sorted(rows, key=lambda row: order.index(row.verdict))
                if row.title == name and row.verdict is not Verdict.NOT_COMPARABLE
            ],
        )
        for name in titles
        if any(row.title == name and row.verdict is not Verdict.NOT_COMPARABLE for row in rows)
    ]


def _cells(row: Row) -> list[str]:
    measure, found = row.measure, row.difference
    assert found is not None and row.base is not None and row.new is not None  # it was compared
    interval = UNDEFINED
    if found.low is not None and found.high is not None:
        interval = f"{measure.show_change(found.low)} to {measure.show_change(found.high)}"
    verdict = f"{row.verdict}, {row.reason}" if row.reason else str(row.verdict)
    return [
        row.label,
        f"{measure.header} {measure.column.better}",
        measure.column.show(row.base),
        measure.column.show(row.new),
        measure.show_change(found.mean),
        interval,
        UNDEFINED if row.p_holm is None else "< 0.001" if row.p_holm < 0.001 else f"{row.p_holm:.3f}",
        UNDEFINED if row.smallest is None else measure.show_change(measure.worse * row.smallest),
        verdict,
    ]


def _lines(found: Comparison) -> list[str]:
    """What no table holds: new failures, what was not compared and why, and what else differs."""
    told = [f"regression: {line}" for line in found.broken]
    told += [f"fewer runs: {line}" for line in found.lacking]
    several = len({one.title for one in found.matches}) > 1
    apart: dict[tuple[str, str], list[str]] = {}
    for one in found.apart:
        apart.setdefault((f" in {one.title}" if several else "", one.reason), []).append(one.label)
    told += [f"not comparable: {_list(labels)}{where}: {reason}" for (where, reason), labels in apart.items()]
    apart = {}
    for row in found.of(Verdict.NOT_COMPARABLE):
        apart.setdefault((row.measure.header, row.reason), []).append(row.label)
    told += [f"not comparable: {header} of {_list(labels)}: {reason}" for (header, reason), labels in apart.items()]
    equal = [one.label for one in found.matches if not one.reason and one.bit_equal]
    if equal:
        told.append(f"equal to the bit in all scores and probes of runs that both have: {_list(equal)}")
    notes: dict[str, list[str]] = {}
    for one in found.matches:
        for note in one.notes:
            notes.setdefault(note, []).append(one.label)
    told += [f"{note} ({_list(labels)})" for note, labels in notes.items()]
    left = len(told) - _MOST_LINES
    return told if left <= 0 else [*told[:_MOST_LINES], f"and {left} more lines, all in the JSON"]


def _summary(found: Comparison) -> str:
    """What was tested and how, in a few sentences."""
    compared = [row for row in found.rows if row.difference is not None]
    if not compared:
        return "Nothing was tested."
    paired = [row for row in compared if row.difference is not None and row.difference.paired]
    how = (
        "paired by seed and order"
        if len(paired) == len(compared)
        else "not paired: fewer than two runs of each share seed and order"
        if not paired
        else f"{len(paired)} of {len(compared)} measures paired by seed and order, the others not"
    )
    runs = sorted({row.difference.runs for row in compared if row.difference is not None})
    one, several = ("pair", "pairs") if len(paired) == len(compared) else ("run", "pairs or runs")
    counted = _count(runs[0], one, several) if len(runs) == 1 else f"{runs[0]} to {runs[-1]} {several}"
    tolerances = {row.measure.header: str(row.tolerance) for row in compared if row.tolerance.amount}
    allowed = ", ".join(f"{name} {text}" for name, text in tolerances.items())
    tests = f"{_count(found.tests, 'test')}, Holm-corrected as one family" if found.tests else "no test was possible"
    would = "'Would show' is the smallest change for the worse that as many runs show in 80 % of cases."
    return (
        f"{_count(len(compared), 'measure')} compared, {how}, {counted} each; {tests}. "
        f"Tolerated: {allowed + '; ' if allowed else ''}no other change for the worse."
        f"{' ' + would if found.tests else ''}"
    )


def _list(labels: Sequence[str]) -> str:
    unique = list(dict.fromkeys(labels))
    return ", ".join(unique) if len(unique) <= 6 else f"{', '.join(unique[:5])} and {len(unique) - 5} more"


def _count(number: int, one: str, several: str = "") -> str:
    return f"{number} {one if number == 1 else several or one + 's'}"


def _deeper(text: str) -> str:
    return f"#{text}"


def _code(text: str) -> str:
    return " ".join(text.replace("`", "'").split())
