"""``retain leaderboard``: records as a static site."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmark.commands import Commands
from benchmark.console import print_result
from benchmark.errors import UserError
from benchmark.output import check_writable, read_runs, writing


def add(commands: Commands) -> None:
    """Declares it."""
    board = commands.add_parser(
        "leaderboard", help="records as a static site: rankings, trade-offs, a page for each run"
    )
    board.add_argument("runs", nargs="+", type=Path, metavar="RUNS", help="records, or folders that hold them")
    board.add_argument(
        "--out",
        type=Path,
        default=Path("site"),
        metavar="DIR",
        help="an empty folder, or that of an earlier leaderboard, which is written anew; default: site",
    )
    board.set_defaults(handler=_leaderboard)


def _leaderboard(options: argparse.Namespace) -> None:
    from results.leaderboard.site import check_folder, write_site
    from results.record import RecordError

    folder: Path = options.out
    try:
        check_folder(folder)
        check_writable(folder)
        runs = read_runs(options.runs)
        with writing(folder):
            files = write_site(runs, folder)
    except RecordError as error:
        raise UserError(str(error)) from error
    pages = sum(file.suffix == ".html" for file in files)
    print_result(f"{pages} pages of {len(runs)} runs: open {folder / 'index.html'}")
