"""``retain track``: how measures went over the commits of a program."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmark.commands import Commands
from benchmark.console import print_result
from benchmark.errors import UserError
from benchmark.output import check_writable, read_runs, writing


def add(commands: Commands) -> None:
    """Declares it."""
    parser = commands.add_parser(
        "track", help="the history of records over commits and versions, and where a measure stepped"
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUNS", help="records, or folders that hold them")
    parser.add_argument(
        "--repository",
        type=Path,
        metavar="DIR",
        help="git repository that has the commits: they are ordered by ancestry; default: by the time of the first run",
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="default: the folder 'track' beside the first record")
    parser.set_defaults(handler=_track)


def _track(options: argparse.Namespace) -> None:
    runs = read_runs(options.runs)
    first: Path = options.runs[0]
    folder = options.out or (first if first.is_dir() else first.parent) / "track"
    check_writable(folder)

    from benchmark.ancestry import ranks
    from results.record import RecordError
    from results.track import track
    from results.track_text import as_console, write_track

    commits = [run.provenance.commit for run in runs if run.provenance.commit]
    places = None if options.repository is None else ranks(options.repository, commits)
    try:
        found = track(runs, places)
        with writing(folder):
            files = write_track(found, folder)
    except RecordError as error:
        raise UserError(str(error)) from error
    print_result(f"{as_console(found)}\n\n{len(files)} files in {folder}: history as Markdown and CSV, plots")
