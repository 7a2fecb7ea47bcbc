"""``retain check``: holds strategies to the contract."""

from __future__ import annotations

import argparse

from benchmark.commands import Commands
from benchmark.console import print_result, say


def add(commands: Commands) -> None:
    """Declares it."""
    checking = commands.add_parser("check", help="hold strategies to the contract, on problems made on the spot")
    checking.add_argument(
        "names", nargs="*", metavar="NAME", help="a strategy, or package.module:Class; default: every strategy"
    )
    checking.add_argument("--fast", action="store_true", help="leave out the texts: seconds a strategy")
    checking.set_defaults(handler=_check)


def _check(options: argparse.Namespace) -> int:
    from benchmark.conformance.command import check_strategies

    text, passed = check_strategies(options.names, options.fast, say)
    print_result(text)
    return 0 if passed else 1
