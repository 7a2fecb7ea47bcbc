"""Runs what answers a paper: its own suites where what they need can be had, else the nearest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmark.errors import UserError
from benchmark.launch import Launch, run_suites
from benchmark.needs import fetch_needed
from benchmark.papers import Plan, exact_plans, nearest_plans
from benchmark.plan import plan_suites
from benchmark.study import Say
from benchmark.suite import Overrides, Suite, load_suites
from results.papers.base import Paper
from results.record import Run

AS_WRITTEN = "the paper's tasks, but with the suite's own backbone, sizes and training"


@dataclass(frozen=True)
class Wish:
    """What the command line changes in whatever is run; None leaves it."""

    seeds: Sequence[int] | None = None
    limit: int | None = None
    as_published: bool = False


def run_paper(paper: Paper, wish: Wish, launch: Launch, say: Say) -> list[Run]:
    """Runs the suites of a paper, each into a folder of its own in that of the launch.

    Raises:
        UserError: nothing of it can be run here, or a run could not be done.
        KeyboardInterrupt: a signal came; what was done is kept.
    """
    return [run for plan, suites in _open(paper, wish, say) for run in run_suites(suites, _into(launch, plan), say)]


def plan_paper(paper: Paper, wish: Wish, launch: Launch, say: Say) -> Iterator[str]:
    """What running it would take.

    Raises:
        UserError: nothing of it can be run here.
    """
    for plan, suites in _open(paper, wish, say):
        yield from plan_suites(suites, _into(launch, plan), say)


def _open(paper: Paper, wish: Wish, say: Say) -> list[tuple[Plan, list[Suite]]]:
    """The suites that can be run: the paper's own, and the nearest to those tables whose own can't.

    Raises:
        UserError: there is none.
    """
    opened: list[tuple[Plan, list[Suite]]] = []
    refused: list[str] = []
    missing = [table.name for table in paper.tables if not table.suite]
    for table in paper.tables:
        if table.missing:
            say(f"{table.name}: can't be run: {table.missing}")
    instead: list[Plan] = []
    for plan in exact_plans(paper, wish.as_published):
        try:
            opened.append((plan, _suites(plan, wish, say)))
        except UserError as error:
            refused.append(f"{' and '.join(plan.tables)}: suite {plan.suite} can't be run here: {error}")
            say(refused[-1])
            missing += plan.tables
            instead += [replace(one, nearest=AS_WRITTEN) for one in exact_plans(paper) if one.suite == plan.suite]
    stand_ins = list(dict.fromkeys(instead)) if wish.as_published else []
    for plan in [*stand_ins, *nearest_plans(paper, missing)]:
        try:
            suites = _suites(plan, wish, say)
        except UserError as error:
            refused.append(f"nearest suite {plan.suite} can't be run here: {error}")
            say(refused[-1])
            continue
        say(f"nearest to {' and '.join(plan.tables)}, NOT THE SAME, suite {plan.suite}: {plan.nearest}")
        opened.append((plan, suites))
    if not opened:
        stated = [one.command for table in paper.tables for one in table.stated]
        why = [*refused[:1], *(f"{command} prints the nearest that there is" for command in dict.fromkeys(stated))]
        raise UserError(f"paper {paper.name}: nothing of it can be run here: {'; '.join(why) or 'no suite is near it'}")
    return opened


def _suites(plan: Plan, wish: Wish, say: Say) -> list[Suite]:
    """The suite as it is to be run, with all that it needs at hand.

    Raises:
        UserError: something of it can't be had, or does not fit together.
    """
    overrides = Overrides(plan.strategies, wish.seeds, plan.settings, plan.backbone, wish.limit, plan.orders)
    suites = load_suites(plan.suite, overrides)
    for suite in suites:
        fetch_needed(suite, say)
    return suites


def _into(launch: Launch, plan: Plan) -> Launch:
    return replace(launch, folder=launch.folder / Path(plan.suite).stem)
