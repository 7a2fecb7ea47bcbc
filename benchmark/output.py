"""Where records and reports go, and what can go wrong there. Imports nothing heavy until it is asked for a report."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.errors import UserError, unknown

if TYPE_CHECKING:
    from results.record import Run


def check_writable(folder: Path) -> None:
    """Fails before any work if nothing can be written to a folder; leaves nothing behind.

    Asking for permissions would not tell of a read-only disk or an impossible name, so this tries.

    Raises:
        UserError: the folder can't be made, or no file can be made in it.
    """
    made: list[Path] = []
    try:
        for place in (*reversed(folder.parents), folder):
            if not place.exists():
                place.mkdir()
                made.append(place)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as error:
        raise UserError(f"--out {folder}: cannot be written to ({_reason(error)}); name another folder") from error
    finally:
        for place in reversed(made):
            with contextlib.suppress(OSError):  # another process has put something there
                place.rmdir()


@contextlib.contextmanager
def writing(place: Path) -> Iterator[None]:
    """Turns what the operating system refuses while something is written into one line.

    Raises:
        UserError: writing failed, because the disk is full, say.
    """
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{place}: writing failed ({_reason(error)}); mend that, the same command goes on after the finished runs"
        ) from error


def read_runs(paths: Sequence[Path]) -> list[Run]:
    """The records in these files and folders.

    Raises:
        UserError: one is missing, empty, unreadable or no record.
    """
    from results.record import RecordError, load_all

    try:
        return load_all(paths)
    except RecordError as error:
        raise UserError(str(error)) from error


def report(
    runs: Sequence[Run],
    folder: Path,
    metrics: Sequence[str] = (),
    group_by: str = "strategy",
    best: bool = False,
    figures: str = "auto",
) -> str:
    """Writes tables and plots of the runs, and returns what a terminal shows of them.

    Args:
        runs: Finished and failed.
        folder: Where files go.
        metrics: Names of columns of the main tables, the first is ranked by; empty for those shown by default.
        group_by: What rows are split by: see `results.summary.SPLITS`.
        best: Whether only the best choice of hyperparameters of each strategy is kept.
        figures: Whether each protocol gets its own: see `results.report.FIGURES`.

    Raises:
        UserError: the runs don't fit together, a metric is not known of them, or a file can't be written.
    """
    from results.record import RecordError
    from results.report import build, console, write
    from results.summary import Choice

    try:
        check_metrics(runs, metrics)
        made = build(runs, Choice(tuple(metrics), group_by, best), figures)
        summary = console(made)
        with writing(folder):
            files = write(made, folder)
    except RecordError as error:
        raise UserError(str(error)) from error
    plots = sum(file.suffix == ".png" for file in files)
    left_out = "; --figures all draws those of every protocol" if not made.drawn else ""
    return (
        f"{summary}\n\n{len(files)} files in {folder}: tables as Markdown, CSV, LaTeX and JSON, "
        f"{plots} plots as PNG and SVG{left_out}"
    )


def check_metrics(runs: Sequence[Run], names: Sequence[str]) -> None:
    """Fails unless some of the runs allow each of these columns, each named once.

    Raises:
        UserError: one is not known.
    """
    from results.all_columns import named_columns
    from results.groups import protocol_groups

    known = {name for group in protocol_groups(runs) for name in named_columns(group.runs)} if names else set()
    for name in names:
        if name not in known:
            raise unknown("metric", name, known)
    if len(set(names)) < len(names):
        raise UserError(f"--metric: {', '.join(names)}: each once, please")


def _reason(error: OSError) -> str:
    reason = error.strerror or str(error)
    return f"{reason}: {error.filename}" if error.filename else reason
