"""A paper beside our runs as tables: for a terminal, Markdown, CSV and JSON."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd

from results import render
from results.papers.base import Figure, Paper, Protocol, Table
from results.record import write_atomically
from results.render import UNDEFINED, TextTable
from results.reproduction import Comparison, Mean, Reproduction, Verdict
from results.reproduction_facts import NOT_SAID, told
from results.reproduction_measures import show
from results.reproduction_order import ComparedOrder, OrderVerdict

STEM = "reproduction"
_PM = {
    "std": "standard deviation",
    "sem": "standard error of the mean",
    "interval": "half of a 95 % interval",
    "not said": "not said what it is",
}


def published_text(table: Table) -> TextTable:
    """What a paper has, and which strategy here answers it."""
    rows = []
    for row in table.rows:
        answer = UNDEFINED if row.ours is None else row.ours.strategy + _settings(row.ours.settings)
        rows.append([row.label, *(figure_text(figure) for figure in row.figures), answer])
    headers = ["row", *(f"{metric.name}, % {metric.better}" for metric in table.metrics), "strategy here"]
    return TextTable(table.name, headers, rows, failures=list(_about(table)))


def texts(found: Reproduction) -> Iterator[TextTable]:
    """Figures beside ours, then the order of rows, for each table of the paper that runs are of or stand in for."""
    for one in found.comparisons:
        yield _rows_text(one)
        if one.orders:
            yield _orders_text(one)


def summary(found: Reproduction) -> str:
    """How often each verdict was given, in a line or two, and which runs no table is about."""
    lines = [
        f"{what}: {', '.join(f'{verdict} {count}' for verdict, count in counts)}" for what, counts in _verdicts(found)
    ]
    return "\n".join([*lines, *_left_out(found)]) or "nothing to compare"


def console_text(found: Reproduction) -> str:
    """All of it for a terminal."""
    return "\n\n".join([found.paper.title, *map(render.console, texts(found)), summary(found)])


def write_reproduction(found: Reproduction, folder: Path) -> list[Path]:
    """Writes Markdown, CSV (figures, and the order of rows) and JSON; returns the files."""
    paper = found.paper
    parts = [f"# {paper.title}\n", *(render.markdown(published_text(table)) for table in paper.tables)]
    parts += [*map(render.markdown, texts(found)), render.markdown(_summary_text(found))]
    parts += ["\n".join(f"- {note}" for note in paper.notes) + "\n"] if paper.notes else []
    written = {
        f"{STEM}.md": "\n".join(parts),
        f"{STEM}.csv": render.csv(rows_table(found)),
        f"{STEM}-order.csv": render.csv(orders_table(found)),
        f"{STEM}.json": as_json(found),
    }
    for name, content in written.items():
        write_atomically(folder / name, content)
    return [folder / name for name in written]


def rows_table(found: Reproduction) -> pd.DataFrame:
    """One row a published figure and variant of ours, at full precision; published ones alone where nothing was run."""
    compared = {one.table.name for one in found.comparisons}
    rows = [_published(found.paper, table) for table in found.paper.tables if table.name not in compared]
    records = [record for table in rows for record in table]
    for one in found.comparisons:
        for row in one.rows:
            ours = row.ours or Mean(float("nan"), None, None, 0)
            records.append(
                _source(found.paper, one.table, row.row.label, row.metric.name, row.figure)
                | {"runs_of_ours": one.title, "nearest": one.nearest, "variant": row.variant}
                | {"ours": None if row.ours is None else ours.mean, "ours_low": ours.low, "ours_high": ours.high}
                | {"ours_runs": ours.runs, "difference": row.difference, "low": row.low, "high": row.high}
                | {"verdict": row.verdict, "reasons": "; ".join(row.reasons)}
            )
    return pd.DataFrame(records)


def orders_table(found: Reproduction) -> pd.DataFrame:
    """One row a pair of published rows that is told apart there and that runs of ours answer."""
    columns = ["table", "runs_of_ours", "nearest", "metric", "above", "below", "published", "ours", "low", "high"]
    columns += ["p_holm", "runs", "paired", "variant_above", "variant_below", "verdict"]
    records = []
    for one in found.comparisons:
        for order in one.orders:
            values = asdict(order) | {"table": one.table.name, "runs_of_ours": one.title, "nearest": one.nearest}
            values |= {"metric": order.metric.name, "verdict": order.verdict}
            values |= {"variant_above": order.variants[0], "variant_below": order.variants[1]}
            records.append({name: values[name] for name in columns})
    return pd.DataFrame(records, columns=columns)


def as_json(found: Reproduction) -> str:
    """The paper with all that is cited of it, every comparison, and what was left out."""
    text = json.dumps(asdict(found), indent=1, ensure_ascii=False)
    return f"{text}\n"


def figure_text(figure: Figure) -> str:
    """A figure with its ±, if the source has one."""
    if figure.spread is None:
        return show(figure.value)
    return f"{show(figure.value)} ± {show(figure.spread.value)}"


def facts_of(protocol: Protocol) -> Iterator[tuple[str, str]]:
    """Every fact of a protocol in words, those that a source does not say too."""
    yield "backbone", protocol.backbone.name if protocol.backbone else NOT_SAID
    yield "data", protocol.data
    yield "training examples a task", _counts(protocol.train_examples)
    yield "test examples a task", _counts(protocol.test_examples)
    yield "training examples a class", NOT_SAID if protocol.shots is None else f"{protocol.shots:,}"
    yield "orders", "; ".join(" -> ".join(order) for order in protocol.orders) or NOT_SAID
    yield "scenario", protocol.scenario or NOT_SAID
    yield "classes", {"heads": "outputs of heads", "text": "generated as text", None: NOT_SAID}[protocol.output]
    for name, value in (
        ("epochs", protocol.epochs),
        ("learning rate", protocol.learning_rate),
        ("learning rate of heads", protocol.head_learning_rate),
        ("batch", protocol.batch_size),
        ("length", protocol.max_length),
        ("warm-up", protocol.warmup),
    ):
        yield name, NOT_SAID if value is None else f"{value:g}"
    yield "tuned", NOT_SAID if protocol.tuned is None else protocol.tuned or "nothing"
    yield from ((name, NOT_SAID) for name in protocol.unsaid)


def _verdicts(found: Reproduction) -> list[tuple[str, list[tuple[str, int]]]]:
    rows = [row.verdict for one in found.comparisons for row in one.rows]
    orders = [order.verdict for one in found.comparisons for order in one.orders]
    counted = [
        ("figures", [(str(verdict), rows.count(verdict)) for verdict in Verdict if verdict in rows]),
        ("order of rows", [(str(verdict), orders.count(verdict)) for verdict in OrderVerdict if verdict in orders]),
    ]
    return [(what, counts) for what, counts in counted if counts]


def _left_out(found: Reproduction) -> list[str]:
    return [f"left out, no table is about it: {title}" for title in found.left_out]


def _summary_text(found: Reproduction) -> TextTable:
    rows = [[f"{what}: {verdict}", str(count)] for what, counts in _verdicts(found) for verdict, count in counts]
    return TextTable("Summary", ["verdict", "times"], rows, failures=_left_out(found))


def _rows_text(one: Comparison) -> TextTable:
    rows = []
    for row in one.rows:
        ours = row.ours
        rows.append(
            [
                f"{row.row.label}, {row.metric.name}",
                _verdict(row.verdict, row.reasons),
                figure_text(row.figure),
                UNDEFINED if ours is None else _mean(ours),
                UNDEFINED if row.difference is None else show(row.difference),
                _range(row.low, row.high),
            ]
        )
    headers = [
        "row",
        "verdict",
        "published, %",
        "ours, % [95 % interval]",
        "ours minus\npublished",
        "its 95 %\ninterval",
    ]
    return TextTable(_title("figures", one), headers, rows, list(_formula()), list(_reasons(one)))


def _orders_text(one: Comparison) -> TextTable:
    rows = [
        [
            f"{order.above} above {order.below}, {order.metric.name}",
            order.verdict,
            show(order.published),
            show(order.ours),
            _range(order.low, order.high),
            UNDEFINED if order.p_holm is None else f"{order.p_holm:.2g}",
            _counted(order),
        ]
        for order in one.orders
    ]
    headers = ["published order", "ours", "published\nby, %", "ours\nby, %", "its 95 %\ninterval", "p (Holm)", "over"]
    lines = ["Which row is above which, among our own runs: it reproduces no figure."]
    if any(figure.spread for row in one.table.rows for figure in row.figures):
        lines += ["Pairs that the paper's own spread does not tell apart are left out."]
    else:
        lines += ["The source gives no spread, so every difference of its figures is taken for a claim, however small."]
    return TextTable(_title("order of rows", one), headers, rows, failures=lines)


def _counted(order: ComparedOrder) -> str:
    what = "pair" if order.paired else "run"
    return f"{order.runs} {what}{'s' * (order.runs != 1)}"


def _title(what: str, one: Comparison) -> str:
    kind = "NOT THE SAME, but the nearest: " if one.nearest else ""
    return f"{one.table.name}, {what}, beside {kind}{one.title}"


def _reasons(one: Comparison) -> Iterator[str]:
    """Why figures are not comparable or not there, each reason once with the rows that it holds for."""
    if one.nearest:
        yield f"nearest: {one.nearest}"
    if one.command:
        yield f"ours come from: {one.command}"
    shared = [told(fact) for fact in one.facts if fact.agrees is False]
    if shared:
        yield f"not comparable because: {'; '.join(shared)}"
    rows: defaultdict[str, list[str]] = defaultdict(list)
    for row in one.rows:
        for reason in row.reasons:
            if reason not in shared and row.row.label not in rows[reason]:
                rows[reason].append(row.row.label)
    yield from (f"{'; '.join(labels)}: {reason}" for reason, labels in rows.items())
    yield from _spreads(one.table)
    unknown = [fact.name for fact in one.facts if fact.agrees is None]
    if unknown:
        yield f"not said by the source, so not compared: {', '.join(unknown)}"
    if one.table.note:
        yield one.table.note


def _formula() -> Iterator[str]:
    yield (
        "Reproduced: the 95 % interval of ours minus published holds zero; it is made of our interval and of the "
        "published spread, where there is one. Differs: it leaves out zero. Its width says what either is worth."
    )
    yield "Not comparable: strategy, metric, backbone, data or protocol differ; no interval is given then."


def _about(table: Table) -> Iterator[str]:
    """The lines below a published table."""
    yield f"source: {table.source.place}" + (f", {table.source.url}" if table.source.url else "")
    facts = list(facts_of(table.protocol)) + [("runs", NOT_SAID if table.runs is None else str(table.runs))]
    yield "; ".join(f"{name} {value}" for name, value in facts if value != NOT_SAID)
    yield f"not said: {', '.join(name for name, value in facts if value == NOT_SAID)}"
    yield from _spreads(table)
    without: defaultdict[str, list[str]] = defaultdict(list)
    for row in table.rows:
        if row.ours is None:
            without[row.why].append(row.label)
    yield from (f"{'; '.join(labels)}: {why}" for why, labels in without.items())
    if table.note:
        yield table.note


def _spreads(table: Table) -> Iterator[str]:
    """What ± is, and over how many runs."""
    kinds = {figure.spread.kind for row in table.rows for figure in row.figures if figure.spread is not None}
    if kinds:
        runs = NOT_SAID if table.runs is None else table.runs
        yield f"±: {', '.join(sorted(_PM[kind] for kind in kinds))}; runs: {runs}"


def _verdict(verdict: Verdict, reasons: Sequence[str]) -> str:
    """For what is not comparable with the kinds of what differs, so that the cell can't be misread alone."""
    if verdict is not Verdict.NOT_COMPARABLE:
        return verdict
    return f"{verdict}: {', '.join(dict.fromkeys(reason.partition(':')[0] for reason in reasons))}"


def _mean(ours: Mean) -> str:
    if ours.low is None or ours.high is None:
        return f"{show(ours.mean)}, one run"
    return f"{show(ours.mean)} {_range(ours.low, ours.high)}, n={ours.runs}"


def _range(low: float | None, high: float | None) -> str:
    return UNDEFINED if low is None or high is None else f"[{show(low)}, {show(high)}]"


def _settings(settings: Mapping[str, object]) -> str:
    listed = ", ".join(f"{name}={value}" for name, value in settings.items())
    return f" ({listed})" if listed else ""


def _counts(counts: int | tuple[int, ...] | None) -> str:
    if counts is None:
        return NOT_SAID
    return ", ".join(f"{count:,}" for count in ((counts,) if isinstance(counts, int) else counts))


def _published(paper: Paper, table: Table) -> list[dict[str, object]]:
    return [
        _source(paper, table, row.label, metric.name, figure) | {"verdict": Verdict.NOT_RUN}
        for row in table.rows
        for metric, figure in zip(table.metrics, row.figures, strict=True)
    ]


def _source(paper: Paper, table: Table, row: str, metric: str, figure: Figure) -> dict[str, object]:
    spread = figure.spread
    return {
        "paper": paper.name,
        "table": table.name,
        "place": table.source.place,
        "url": table.source.url,
        "row": row,
        "metric": metric,
        "unit": "%",
        "published": figure.value,
        "spread": None if spread is None else spread.value,
        "spread_kind": None if spread is None else spread.kind,
        "published_runs": table.runs,
    }
