"""What ``retain show`` and ``retain reproduce`` print of a paper: its figures, and what of it can be run."""

from __future__ import annotations

from collections.abc import Iterator

from benchmark.layout import fill, section
from benchmark.papers import NO_HUB, Plan, exact_plans, nearest_plans, needs_text
from results.papers.base import Paper, Table


def paper_page(paper: Paper) -> str:
    """Everything about a paper."""
    from results.render import console
    from results.reproduction_tables import published_text

    head = [f"paper {paper.name}", fill(paper.title), *([paper.url] if paper.url else [])]
    parts = ["\n".join(head), *(console(published_text(table)) for table in paper.tables)]
    if paper.notes:
        parts.append(section("Notes", paper.notes))
    parts.append("\n".join(["What can be run", *(fill(f"    {line}", indent="      ") for line in run_lines(paper))]))
    return "\n\n".join(parts)


def run_lines(paper: Paper) -> Iterator[str]:
    """One line for each thing that can be run, or can't."""
    for plan in exact_plans(paper):
        yield f"{_named(plan)}: retain reproduce {paper.name} --run"
        yield f"  is {plan.command}: {needs_text(plan.suite)}"
        yield f"  with the paper's backbone, sizes and training: retain reproduce {paper.name} --run --as-published"
    for table in paper.tables:
        yield from _rest(paper, table)


def _rest(paper: Paper, table: Table) -> Iterator[str]:
    if not table.suite:
        yield f"{table.name}: can't be run: {table.missing}"
    for plan in nearest_plans(paper, [table.name]):
        yield f"  nearest to {table.name}, NOT THE SAME: {plan.command}: {needs_text(plan.suite)}: {plan.nearest}"
    for stated in table.stated:
        yield f"  nearest to {table.name}, NOT THE SAME: {stated.command} (in {stated.page}): {stated.why}"
    if not table.nearest and not table.stated and (not table.suite or needs_text(table.suite) != NO_HUB):
        yield f"  nothing here is near {table.name}"


def _named(plan: Plan) -> str:
    return " and ".join(plan.tables)
