"""``retain reproduce``: a paper's figures beside ours."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.commands import Commands
from benchmark.commands.arguments import JOBS, positive, processes, seeds
from benchmark.commands.run import RUNS
from benchmark.console import follows, print_result, say
from benchmark.errors import UserError
from benchmark.output import check_writable, read_runs, writing

if TYPE_CHECKING:
    from results.papers.base import Paper
    from results.record import Run

FOLDER = "reproduction"
"""Beside records, unless ``--out`` says otherwise."""


def add(commands: Commands) -> None:
    """Declares it."""
    one = commands.add_parser("reproduce", help="a paper's figures beside ours: reproduced, differs, not comparable")
    one.add_argument("paper", help="its name: retain list papers")
    one.add_argument("runs", nargs="*", type=Path, metavar="RUNS", help="records, or folders that hold them")
    one.add_argument("--run", action="store_true", help="run what answers it, or else the nearest, and compare")
    one.add_argument(
        "--as-published", action="store_true", help="with --run: the paper's backbone, sizes and training, where said"
    )
    one.add_argument("--seeds", type=seeds, metavar="0,1", help="with --run; default: the suite's")
    one.add_argument("--limit", type=positive, metavar="N", help="with --run: at most N examples of each split")
    one.add_argument("--device", choices=["auto", "cpu", "cuda", "mps"], help="with --run; default: auto")
    one.add_argument("--jobs", type=processes, metavar="N", help=f"with --run: {JOBS}")
    one.add_argument("--threads", type=positive, metavar="N", help="with --run: threads a stage trains with")
    one.add_argument("--dry-run", action="store_true", help="only say what --run would train")
    one.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help=f"default: the folder '{FOLDER}' beside the first record; with --run: {RUNS}/PAPER, records in it too",
    )
    one.set_defaults(handler=_reproduce)


def _reproduce(options: argparse.Namespace) -> int | None:
    from benchmark.papers import find_paper

    paper = find_paper(options.paper)
    if options.run or options.dry_run:
        return _run(options, paper)
    for flag in ("as_published", "seeds", "limit", "device", "jobs", "threads"):
        if getattr(options, flag):
            raise UserError(f"--{flag.replace('_', '-')} of reproduce is for what it runs: add --run or --dry-run")
    runs = read_runs(options.runs)
    if not runs and options.out is None:
        print_result(_published(paper))
        return None
    folder = options.out or _beside(options.runs[0])
    check_writable(folder)
    print_result(_compared(paper, runs, folder))
    return None


def _published(paper: Paper) -> str:
    """What there is without any record: the published figures, what can be run, and figures of ours that a page has."""
    from benchmark.show_paper import paper_page
    from results.reproduction import compare_paper
    from results.reproduction_tables import console_text

    stated = compare_paper(paper, [])
    return "\n\n\n".join([paper_page(paper), *([console_text(stated)] if stated.comparisons else [])])


def _run(options: argparse.Namespace, paper: Paper) -> int:
    """Runs what answers the paper, or says what that would take, and compares."""
    folder = options.out or RUNS / paper.name
    given = read_runs(options.runs)
    if not follows():
        check_writable(folder)

    from benchmark.launch import Launch
    from benchmark.reproduce import Wish, plan_paper, run_paper

    wish = Wish(options.seeds, options.limit, options.as_published)
    launch = Launch(folder, options.device or "auto", options.jobs, options.threads)
    if options.dry_run:
        for planned in plan_paper(paper, wish, launch, say):
            print_result(planned)
        return 0
    runs = given + run_paper(paper, wish, launch, say)
    if not runs:  # this process helped another one
        return 0
    print_result(_compared(paper, runs, folder))
    return 1 if any(run.failed for run in runs) else 0


def _compared(paper: Paper, runs: Sequence[Run], folder: Path) -> str:
    """Writes the comparison, and returns what a terminal shows of it.

    Raises:
        UserError: two records are of the same cell, or a file can't be written.
    """
    from results.record import RecordError
    from results.reproduction import compare_paper
    from results.reproduction_tables import console_text, write_reproduction

    try:
        found = compare_paper(paper, runs)
    except RecordError as error:
        raise UserError(str(error)) from error
    with writing(folder):
        files = write_reproduction(found, folder)
    return f"{console_text(found)}\n\n{', '.join(file.name for file in files)} in {folder}"


def _beside(first: Path) -> Path:
    return (first if first.is_dir() else first.parent) / FOLDER
