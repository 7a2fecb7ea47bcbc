"""``retain fetch``: downloads what a suite needs."""

from __future__ import annotations

import argparse

from benchmark.commands import Commands
from benchmark.commands.arguments import names
from benchmark.console import print_result, say


def add(commands: Commands) -> None:
    """Declares it."""
    fetch = commands.add_parser("fetch", help="download what a suite needs; afterwards it runs with no network")
    fetch.add_argument("suite", help="a shipped suite or a YAML file")
    fetch.add_argument("--backbone", type=names, metavar="A,B", help="instead of the suite's")
    fetch.set_defaults(handler=_fetch)


def _fetch(options: argparse.Namespace) -> None:
    from benchmark.suite import Overrides, load_suites

    suites = load_suites(options.suite, Overrides(backbone=options.backbone))

    from benchmark.needs import fetch_needed

    kept = dict.fromkeys(folder for suite in suites for folder in fetch_needed(suite, say))
    print_result(f"{suites[0].name}: everything is in {' and '.join(map(str, kept))}")
