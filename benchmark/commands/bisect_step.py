"""``retain bisect-step``: one step of ``git bisect run``, which looks for the commit that made something worse.

To git, 0 says that a commit is good, 125 that it can't be tested, 1 to 127 that it is bad, and all beyond ends the
search. So here, unlike elsewhere, a user's mistake ends with 128: with 2 the search would go on, and name a wrong
commit.
"""

from __future__ import annotations

import argparse
import tempfile
import traceback
from pathlib import Path

from benchmark import gate
from benchmark.commands import Commands
from benchmark.console import complain, print_result, say
from benchmark.errors import UserError

GOOD, BAD, UNTESTABLE, STOP = 0, 1, 125, 128


def add(commands: Commands) -> None:
    """Declares it."""
    parser = commands.add_parser(
        "bisect-step",
        help="one step of git bisect run: is the commit that is checked out worse than BASE?",
        description="Runs a suite by the code that is checked out, compares its records with BASE, and ends as git "
        "bisect run wants it: 0 good, 1 bad, 125 can't be tested, 128 stop. Install retain apart from the repository "
        "that is searched, so that every step is judged by the same code.",
    )
    parser.add_argument("base", type=Path, metavar="BASE", help="records of a good commit: a folder or a file")
    parser.add_argument(
        "--run",
        required=True,
        metavar="COMMAND",
        help="what installs and runs the code that is checked out; the shell runs it at the top of the repository, "
        "with {out} replaced by the folder for its records",
    )
    parser.add_argument(
        "--records", type=Path, metavar="DIR", help="keep the records of every commit here, for retain track"
    )
    parser.add_argument(
        "--failed",
        choices=["skip", "bad"],
        default="skip",
        help="what a commit is of which a run fails that finished in BASE; default: skip",
    )
    gate.add_options(parser)
    parser.set_defaults(handler=_step, mistake=STOP)


def _step(options: argparse.Namespace) -> int:
    try:
        return _judge(options)
    except UserError as error:
        complain(f"retain: {' '.join(str(error).split())}; the search stops here: git bisect reset")
        return STOP
    except Exception:  # Python would end with 1, and git would take a crash of ours for a bad commit
        complain(traceback.format_exc())
        return STOP


def _judge(options: argparse.Namespace) -> int:
    from benchmark.bisection import UntestableError, check_base, checked_out, run_command

    place = checked_out()
    check_base(options.base, options.tolerance)
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.records.resolve() if options.records else Path(temporary)) / place.commit
        try:
            run_command(options.run, place, folder)
            found = gate.compare_folders([options.base], [folder], options.tolerance)
        except UntestableError as error:
            say(f"{place.commit[:12]}: can't be tested: {error}")
            return UNTESTABLE

        from results.compare import FailOn
        from results.compare_text import as_console

        on = FailOn(options.fail_on)
        print_result(as_console(found, str(options.base), place.commit[:12], on))
        if found.broken and options.failed == "skip":
            say(f"{place.commit[:12]}: can't be tested: {found.broken[0]}; --failed bad takes that for the regression")
            return UNTESTABLE
        return BAD if found.fails(on) else GOOD
