"""What the commands that compare two sets of runs share: tolerances from the command line, and the comparison."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.errors import UserError, unknown
from benchmark.output import read_runs

if TYPE_CHECKING:
    from results.compare import Comparison
    from results.record import Run
    from results.watched import Tolerance

FAIL_ON = ("worse", "changed", "missing")
"""The values of `results.compare.FailOn`, which is not imported for ``--help``."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """Declares what decides whether a comparison fails."""
    parser.add_argument(
        "--tolerance",
        action="append",
        default=[],
        metavar="MEASURE=AMOUNT",
        help="a change for the worse that counts for nothing: forgetting=0.01, train_seconds=20%%, or scores=0.005 for "
        "every score; may be repeated; default: 0 for scores, 25%% for train_seconds, 10%% for peak_memory_bytes, "
        "1%% for strategy_bytes",
    )
    parser.add_argument(
        "--fail-on",
        choices=FAIL_ON,
        default=FAIL_ON[0],
        help="worse: what is shown to be worse; changed: also what is worse in single runs, of which nothing can be "
        "shown; missing: also strategies and runs that BASE has and NEW lacks, or what can't be compared; default: "
        "worse",
    )


def compare_folders(base: Sequence[Path], new: Sequence[Path], tolerances: Sequence[str]) -> Comparison:
    """Compares the records in two places.

    Args:
        base: Records or folders of the version before.
        new: The same of the version after.
        tolerances: As the command line has them.

    Raises:
        UserError: a place holds no records, a tolerance names no measure, or nothing can be compared.
    """
    before, after = read_runs(base), read_runs(new)
    chosen = _parse(tolerances, [*before, *after])

    from results.compare import compare
    from results.record import RecordError

    try:
        return compare(before, after, chosen)
    except RecordError as error:
        raise UserError(f"{' '.join(map(str, base))} and {' '.join(map(str, new))}: {error}") from error


def _parse(texts: Sequence[str], runs: Sequence[Run]) -> dict[str, Tolerance]:
    from results.watched import SCORES, measures, parse_tolerance

    known = [SCORES, *(measure.name for measure in measures(runs))]
    found: dict[str, Tolerance] = {}
    for text in texts:
        name, equals, amount = text.partition("=")
        name = name.strip()
        if not equals:
            raise UserError(f"--tolerance {text}: write MEASURE=AMOUNT, such as forgetting=0.01 or train_seconds=20%")
        if name not in known:
            raise unknown("measure of --tolerance", name, known)
        if name in found:
            raise UserError(f"--tolerance {name} is given twice")
        try:
            found[name] = parse_tolerance(amount)
        except ValueError as error:
            raise UserError(f"--tolerance {name}: {error}") from error
    return found
