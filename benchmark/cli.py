"""The ``retain`` command: parses, calls, prints. Heavy packages are imported only by the commands that need them."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from benchmark.commands import (
    bisect_step,
    check,
    compare,
    fetch,
    keep,
    leaderboard,
    look,
    report,
    reproduce,
    run,
    track,
    tune,
)
from benchmark.console import complain, say
from benchmark.errors import UserError, unknown

COMMANDS = (run, tune, fetch, look, check, keep, report, leaderboard, reproduce, compare, track, bisect_step)
"""In the order in which the help lists them."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit code: 0 done, 1 something failed, 2 the user's mistake, 130 interrupted.

    Raises:
        SystemExit: the arguments ask for help or the version (0) or are wrong (2), as argparse has it.
    """
    try:
        try:
            options = _parser().parse_args(arguments)
            handler: Callable[[argparse.Namespace], int | None] = options.handler
            return handler(options) or 0
        finally:
            sys.stdout.flush()  # here, where a reader that has gone can still be met
    except UserError as error:
        complain(f"retain: {' '.join(str(error).split())}")
        return 2
    except KeyboardInterrupt as interrupt:
        say("retain: interrupted; what was done is kept, the same command goes on from there")
        (number,) = interrupt.args or (signal.SIGINT,)
        return 128 + int(number)
    except BrokenPipeError:  # the reader of a pipe, such as head, has what it wanted
        with contextlib.suppress(OSError):  # what is left in the buffer goes nowhere when the interpreter ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, with the nearest command if one was misspelt."""

    def error(self, message: str) -> NoReturn:
        complain(f"retain: {message}; see {self.prog} --help")
        self._end()

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            complain(f"retain: {unknown(action.dest, str(value), map(str, action.choices))}")
            self._end()

    def _end(self) -> NoReturn:
        """A command whose exit codes somebody else gives a meaning declares its own for a mistake."""
        self.exit(self.get_default("mistake") or 2)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="retain",
        description="Measures what pretrained language models forget when fine-tuned on one task after another.",
    )
    parser.add_argument("--version", action="version", version=f"retain {_version()}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    for command in COMMANDS:
        command.add(commands)

    def no_command(options: argparse.Namespace) -> None:
        *first, last = commands.choices
        raise UserError(f"name a command: {', '.join(first)} or {last}; see retain --help")

    parser.set_defaults(handler=no_command)
    return parser


def _version() -> str:
    from benchmark.provenance import code_version

    return code_version()


if __name__ == "__main__":
    sys.exit(main())
