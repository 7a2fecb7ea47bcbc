"""``report.html``: the tables and figures of a report in one file that needs no other, in the leaderboard's style."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from results.fingerprint import fingerprint
from results.leaderboard.pages import TEMPLATES, environment
from results.leaderboard.svg import adapted
from results.record import Run, write_atomically
from results.render import TextTable

NAME = "report.html"


@dataclass(frozen=True)
class Section:
    """A part of a report with its tables and figures.

    Attributes:
        title: Its heading.
        tables: As the other files of the report have them.
        figures: Its SVG files, in order.
        runs: Runs of one protocol, whose fingerprint is told; none where the part compares several.
    """

    title: str
    tables: Sequence[TextTable]
    figures: Sequence[Path]
    runs: Sequence[Run] = ()


def write_html(sections: Iterable[Section], folder: Path) -> Path:
    """Writes `NAME` into a folder.

    Args:
        sections: In the order of the page.
        folder: That of the report.
    """
    path = folder / NAME
    write_atomically(path, html_report(sections).encode(errors="backslashreplace"))
    return path


def html_report(sections: Iterable[Section]) -> str:
    """The page: style, script and figures are in it, and its policy lets nothing else run or load."""
    style, script = (f"\n{(TEMPLATES / name).read_text(encoding='utf-8')}" for name in ("style.css", "board.js"))
    parts = [
        {
            "title": section.title,
            "tables": section.tables,
            "facts": _facts(section.runs),
            "figures": [
                (_caption(path), adapted(path.read_bytes(), f"s{number}f{place}", _caption(path)))
                for place, path in enumerate(section.figures)
            ],
        }
        for number, section in enumerate(sections)
    ]
    policy = (
        f"default-src 'none'; style-src {_hash(style)}; script-src {_hash(script)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        environment()
        .get_template("report.html.j2")
        .render(root="", policy=policy, style=Markup(style), script=Markup(script), sections=parts)
    )


def _facts(runs: Sequence[Run]) -> dict[str, str]:
    """The fingerprints of runs of one protocol, which may differ in replay and tuning: every value that there is."""
    every = [fingerprint(run) for run in runs]
    return {name: "; ".join(sorted({one[name] for one in every})) for name in (every[0] if every else {})}


def _caption(path: Path) -> str:
    """What a figure shows, by its file's name."""
    return path.stem.replace("_", " ").replace("-", " ").capitalize()


def _hash(content: str) -> str:
    """What a content security policy names an inline element by."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
