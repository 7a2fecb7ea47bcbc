"""Data as HTML: templates with every value escaped, and a policy under which a page can load nothing from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from results.all_columns import forgetting_columns
from results.columns import Column, show_score
from results.leaderboard.board import MEMORY, Ranking, Row, Suite
from results.leaderboard.figures import tradeoff
from results.leaderboard.names import run_page as run_name
from results.leaderboard.run_page import run_page
from results.record import FinishedRun, Run
from results.statistics import Estimate

TEMPLATES = Path(__file__).parent.parent / "templates"
ASSETS = ("style.css", "board.js")
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; base-uri 'none'; form-action 'none'"
)
"""Nothing but the style sheet and the script beside the page, no inline code, no connection."""
LIMITS = (("nothing kept", 0), ("up to 1 MiB", 2**20), ("up to 100 MiB", 100 * 2**20), ("up to 1 GiB", 2**30))
"""Choices of the memory filter: name and bytes."""


@lru_cache(maxsize=1)
def environment() -> Environment:
    """The templates: every value is escaped, and a name that is not there is an error."""
    found = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {"breakable": _breakable, "sortable": _sortable}
    found.globals |= {
        "attributes": _attributes,
        "limits": LIMITS,
        "memory": _row_memory,
        "policy": POLICY,
        "score": show_score,
    }
    return found


def pages(suites: Sequence[Suite]) -> Iterator[tuple[str, str]]:
    """Path of every file of a leaderboard, relative to its folder, and its content; `index.html` comes last."""
    for name in ASSETS:
        yield f"assets/{name}", (TEMPLATES / name).read_text(encoding="utf-8")
    for suite in suites:
        names = RunNames({id(run): run_name(run) for run in _runs(suite)})
        yield from _run_files(suite, names)
        yield f"suites/{suite.page}.html", suite_html(suite, names)
    yield "index.html", index_html(suites)


@dataclass(frozen=True)
class RunNames:
    """Run -> name of its page. By identity, for a record is hashed whole, which takes long."""

    by_id: Mapping[int, str]

    def __getitem__(self, run: Run) -> str:
        """The name of a run's page, without a suffix."""
        return self.by_id[id(run)]


@dataclass(frozen=True)
class Scale:
    """Where means and intervals stand in a bar, from 0 to 100."""

    low: float
    high: float

    @staticmethod
    def of(estimates: Sequence[Estimate]) -> Scale:
        """Holds all of them with their intervals."""
        ends = [end for one in estimates for end in (one.mean, one.low, one.high) if end is not None]
        low, high = min(ends, default=0.0), max(ends, default=1.0)
        return Scale(low, high if high > low else low + 1)

    def place(self, estimate: Estimate | None) -> dict[str, float | None] | None:
        """Of the mean and both ends; None if there is none."""
        if estimate is None:
            return None
        return {name: self._at(getattr(estimate, name)) for name in ("mean", "low", "high")}

    def _at(self, value: float | None) -> float | None:
        return None if value is None else round(4 + 92 * (value - self.low) / (self.high - self.low), 1)


def index_html(suites: Sequence[Suite]) -> str:
    """The first page: every ranking in one table."""
    return (
        environment()
        .get_template("index.html.j2")
        .render(
            root="",
            suites=suites,
            runs=sum(suite.runs for suite in suites),
            rankings=sum(len(suite.rankings) for suite in suites),
            choices=_choices([ranking for suite in suites for ranking in suite.rankings]),
        )
    )


def suite_html(suite: Suite, names: RunNames) -> str:
    """A suite's page: its rankings with their trade-offs, and what differs between them."""
    columns: dict[str, Column] = {column.name: column for one in suite.rankings for column in one.columns}
    return (
        environment()
        .get_template("suite.html.j2")
        .render(
            root="../",
            suite=suite,
            settings=any(ranking.settings for ranking in suite.rankings),
            columns=list(columns.values()),
            pages=names,
            bars={
                one.anchor: Scale.of([row.estimates[0] for row in [*one.rows, *one.references] if row.estimates[0]])
                for one in suite.rankings
            },
            figures={one.anchor: tradeoff(one, f"f{number}") for number, one in enumerate(suite.rankings)},
            choices=_choices(suite.rankings),
        )
    )


def _run_files(suite: Suite, names: RunNames) -> Iterator[tuple[str, str]]:
    """Page and record of every run of a suite, each once."""
    template = environment().get_template("run.html.j2")
    columns = forgetting_columns(list(_runs(suite)))
    seen = set()
    for ranking in suite.rankings:
        for row in [*ranking.rows, *ranking.references]:
            for run in row.runs:
                name = names[run]
                if name in seen:
                    continue
                seen.add(name)
                yield f"runs/{name}.json", run.model_dump_json(indent=1) + "\n"
                yield (
                    f"runs/{name}.html",
                    template.render(
                        root="../",
                        page=run_page(run, row.label),
                        name=name,
                        suite_page=suite.page,
                        measures=[] if run.failed else [(one, one.value(FinishedRun(run))) for one in columns],
                    ),
                )


def _runs(suite: Suite) -> Iterator[Run]:
    for ranking in suite.rankings:
        yield from chain.from_iterable(row.runs for row in [*ranking.rows, *ranking.references])


def _choices(rankings: Sequence[Ranking]) -> dict[str, list[str]]:
    return {
        "backbone": sorted({ranking.first.backbone for ranking in rankings}),
        "scenario": sorted({ranking.first.scenario for ranking in rankings}),
        "replay": sorted({ranking.facts["replay"] for ranking in rankings}),
        "tuning": sorted({ranking.facts["tuning"] for ranking in rankings}),
    }


def _attributes(ranking: Ranking, rows: bool = True) -> Markup:
    """What the filters read: of the ranking, and with ``rows`` of all of its rows together."""
    found: dict[str, Any] = {
        "backbone": ranking.first.backbone,
        "scenario": ranking.first.scenario,
        "replay": ranking.facts["replay"],
        "tuning": ranking.facts["tuning"],
    }
    if rows:
        kept = [value for row in ranking.rows if (value := ranking.value(row, MEMORY)) is not None]
        found |= {"strategy": " ".join(row.label for row in ranking.rows), "memory": min(kept, default="")}
    return Markup(" ").join(Markup('data-{}="{}"').format(name, escape(value)) for name, value in found.items())


def _breakable(text: str) -> Markup:
    """Text that may break after an underscore too."""
    return Markup("_<wbr>").join(text.split("_"))


def _sortable(text: str) -> str:
    """What to sort a cell of a text table by: its first number with its unit; empty where it has none."""
    found = _AMOUNT.match(text.replace("−", "-").replace(",", ""))
    return "" if found is None else repr(float(found["number"]) * _UNITS.get(found["unit"], 1.0))


_AMOUNT = re.compile(r"(?P<number>-?\d+(?:\.\d+)?) ?(?P<unit>[KMGT]iB|[kMGTPE])?")
_UNITS = {unit: 1000.0**power for power, unit in enumerate("kMGTPE", start=1)}
_UNITS |= {unit: 1024.0**power for power, unit in enumerate(("KiB", "MiB", "GiB", "TiB"), start=1)}


def _row_memory(ranking: Ranking, row: Row) -> float | str:
    """Bytes; empty where no run finished."""
    found = ranking.value(row, MEMORY)
    return "" if found is None else found
