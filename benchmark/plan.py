"""What running a suite would take, before it is run."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmark.division import divide
from benchmark.engine import Engine
from benchmark.estimate import estimate
from benchmark.launch import Launch, open_launched
from benchmark.progress import Progress
from benchmark.stages import plan
from benchmark.study import Say, Study
from benchmark.suite import Suite


def plan_suites(suites: Sequence[Suite], launch: Launch, say: Say) -> Iterator[str]:
    """The same of a suite on each of its backbones, as soon as it is known: estimating takes a while.

    Raises:
        UserError: something can't be fetched, loaded or read.
    """
    for number, suite in enumerate(suites):
        title = f"on {suite.backbone.name}\n" if len(suites) > 1 else ""
        between = "\n" if number else ""
        yield f"{between}{title}{plan_suite(suite, launch, say)}"


def plan_suite(suite: Suite, launch: Launch, say: Say) -> str:
    """Runs, stages, how many are shared, how many are done; about how long it takes, and how much disk.

    Raises:
        UserError: something can't be fetched, loaded or read.
    """
    chosen = divide(suite, launch.wish)
    study = open_launched(suite, launch, say)
    with Progress() as progress:
        planned = plan_study(study, Engine(study, launch.folder, progress, launch.keep))
    return planned if launch.jobs is not None or chosen.jobs == 1 else f"{planned}\n{chosen}"


def plan_study(study: Study, engine: Engine) -> str:
    """The same of a study that is open."""
    todo = engine.graph.to_do(engine.waiting())
    found = plan(engine.graph.paths, set(todo))
    counts = (
        f"{study.suite.name}: {found.runs} runs, {found.from_scratch} training stages in all; {found.trained} "
        f"to train since {found.from_scratch - found.trained} are shared, {found.done} of them done; "
        f"{sum(engine.graph.examples(job) for job in todo.values())} examples to train on"
    )
    if not todo or study.team.count > 1:  # several processes train one model: what that takes was never measured
        return counts
    needs = estimate(engine, todo)
    return (
        f"{counts}\nabout {format_interval(needs.seconds)} one stage at a time on this machine, and up to "
        f"{needs.disk / 2**20:.0f} MiB of weights on the disk with --keep {engine.keep}; tried out on a few batches"
    )


def format_interval(seconds: float) -> str:
    """Seconds as people say them, such as ``7 min`` or ``2 h 10 min``."""
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{max(1, round(seconds))} s"
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
