"""``retain report``: tables and plots from records."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from benchmark.commands import Commands
from benchmark.console import print_result
from benchmark.errors import UserError
from benchmark.output import check_writable, read_runs, report

GROUPS = ("strategy", "backbone", "order", "task")
FIGURES = ("auto", "all", "none")


def add(commands: Commands) -> None:
    """Declares it."""
    tables = commands.add_parser("report", help="tables and plots from records")
    tables.add_argument("runs", nargs="+", type=Path, metavar="RUNS", help="records, or folders that hold them")
    tables.add_argument("--out", type=Path, metavar="DIR", help="default: the folder 'report' beside the first record")
    tables.add_argument(
        "--metric",
        action="append",
        default=[],
        metavar="NAME",
        help="a column of the main table, several by repeating it; the first is what rows are ranked by; NAME:METRIC "
        "takes another metric of the tasks, as forgetting:macro_f1 (docs/statistics.md names all)",
    )
    tables.add_argument("--group-by", choices=GROUPS, default=GROUPS[0], help="what else gets a row of its own")
    tables.add_argument(
        "--best", action="store_true", help="only the best hyperparameters of each strategy, chosen on these runs"
    )
    tables.add_argument(
        "--figures",
        choices=FIGURES,
        default=FIGURES[0],
        help="whether each protocol gets its own figures; auto: if there are at most three",
    )
    tables.set_defaults(handler=_report)


def _report(options: argparse.Namespace) -> None:
    runs = read_runs(options.runs)
    first: Path = options.runs[0]
    folder = options.out or (first if first.is_dir() else first.parent) / "report"
    _check_apart(folder, options.runs)
    check_writable(folder)
    print_result(report(runs, folder, options.metric, options.group_by, options.best, options.figures))


def _check_apart(folder: Path, runs: Sequence[Path]) -> None:
    """A report holds a JSON file of its own: among records it would be read as one of them the next time."""
    if folder.resolve() in {(path if path.is_dir() else path.parent).resolve() for path in runs}:
        raise UserError(f"--out {folder}: holds the records themselves; name another folder, as {folder / 'report'}")
