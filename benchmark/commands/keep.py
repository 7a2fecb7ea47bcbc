"""``retain status`` and ``retain clean``: folders of runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmark.commands import Commands
from benchmark.console import print_result, say


def add(commands: Commands) -> None:
    """Declares it."""
    standing = commands.add_parser("status", help="which runs of a folder are done, running, failed or to do")
    standing.add_argument("runs", type=Path, metavar="RUNS", help="a folder that retain run wrote to")
    standing.set_defaults(handler=_status)

    cleaning = commands.add_parser("clean", help="free the weights that a folder of runs holds")
    cleaning.add_argument("runs", type=Path, metavar="RUNS", help="a folder that retain run wrote to")
    cleaning.add_argument("--records", action="store_true", help="delete the records as well: they can't be had back")
    cleaning.set_defaults(handler=_clean)


def _status(options: argparse.Namespace) -> None:
    from benchmark.status import status

    print_result(status(options.runs, say))


def _clean(options: argparse.Namespace) -> None:
    from benchmark.status import clean

    print_result(clean(options.runs, options.records, say))
