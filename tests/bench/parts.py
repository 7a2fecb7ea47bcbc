"""The parts of the bench: what each runs, the rows that it gives, and what they are held to."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from tests.bench import commands, wanted
from tests.bench.field import afresh, run_rounds, started
from tests.bench.job import Job
from tests.bench.ratios import Bound, Numbers, Row, in_turns, ratios, shown

CLOCKS = {"wall": "wall time", "cpu": "processor time"}
NO_AVALANCHE = f"Avalanche is not here, so its rows are left out; to get it: {wanted.HOW}"


@dataclass(frozen=True)
class Order:
    """What was asked for.

    Attributes:
        job: What contenders work on.
        rounds: That are counted.
        whole: Whether the sweep is run at its full size, every run of it from scratch.
        say: Is told how it goes.
    """

    job: Job
    rounds: int
    whole: bool
    say: Callable[[str], None]


def training(order: Order) -> list[Row]:
    """One epoch."""
    bounds = {"trainer": 2.7, "trainer by length": 1.05, "avalanche": 2.6, "bare": 0.98}
    titles = {
        "trainer": "training, against HF Trainer",
        "trainer by length": "training, against HF Trainer with texts grouped by length",
        "avalanche": "training, against Avalanche's Naive",
        "bare": "training, against a loop written by hand, same batches",
    }
    there = _with_avalanche(order, titles)
    with started(["ours", *there], order.job) as field:
        rounds = run_rounds(field, order.rounds)
        rate = field["ours"].ask("check")["rate"]
    rows = _wall_rows(rounds, "ours", {name: titles[name] for name in there}, bounds)
    seconds = statistics.median([found["ours"]["wall"] for found in rounds])
    done = rounds[0]["ours"]
    note = f"ours {shown(order.job.sizes.train / seconds)} examples a second"
    note += f", {shown(done['tokens'] / seconds)} tokens without padding"
    note += f", {100 * done['flops'] / seconds / rate:.0f} % of the rate of large matrix products"
    return [replace(rows[0], note=f"{rows[0].note}; {note}"), *rows[1:]]


def compiled(order: Order) -> list[Row]:
    """What compiling the body would change."""
    with started(["ours", "compiled"], order.job) as field:
        rounds = run_rounds(field, order.rounds)
    return _wall_rows(rounds, "compiled", {"ours": "training with the body compiled, against as it is"}, {})


def evaluation(order: Order) -> list[Row]:
    """The test split once."""
    with started(["evaluate", "predict"], order.job) as field:
        rounds = run_rounds(field, order.rounds)
    return _wall_rows(rounds, "evaluate", {"predict": "evaluation, against HF Trainer's predict"}, {"predict": 2.4})


def steps(order: Order) -> list[Row]:
    """Steps of strategies, with one thread."""
    with started(["steps"], replace(order.job, threads=1)) as field:
        found = [numbers["steps"] for numbers in run_rounds(field, order.rounds)]
    rows = (
        ("a step of L2 anchor, against one of naive", "l2_anchor", "naive", 1.08),
        ("a step of EWC, against one of naive", "ewc 1", "naive", 1.08),
        ("a step of EWC with 8 past tasks, against one with 1", "ewc 8", "ewc 1", 1.03),
    )
    return [
        Row(what, CLOCKS["cpu"], tuple(one[above] / one[below] for one in found), Bound(bound, most=True))
        for what, above, below, bound in rows
    ]


def memory(order: Order) -> list[Row]:
    """Largest memory of processes that train with EWC."""
    names = {"memory ewc 1": "1 past task", "memory ewc 8": "8 past tasks"}
    rounds = afresh(["memory naive", *names], replace(order.job, threads=1), min(order.rounds, 3))
    return [
        Row(
            f"extra memory of EWC, {title}",
            "peak resident bytes over naive's, in copies of the trained weights",
            tuple((one[name]["peak"] - one["memory naive"]["peak"]) / one[name]["weights"] for one in rounds),
            Bound(3.0, most=True),
            unit="",
        )
        for name, title in names.items()
    ]


def fisher(order: Order) -> list[Row]:
    """The Fisher information of single examples."""
    titles = {
        "fisher loop": "Fisher of single examples, against a loop over batches of one",
        "fisher avalanche": "Fisher of single examples, against Avalanche's pass, batches of one (the same values)",
        "fisher avalanche 16": "Fisher of single examples, against Avalanche's pass, larger batches (other values)",
    }
    there = _with_avalanche(order, titles)
    with started(["fisher", *there], order.job) as field:
        rounds = run_rounds(field, order.rounds)
        errors = {name: process.ask("check")["error"] for name, process in field.items()}
    bounds = {"fisher loop": 1.15, "fisher avalanche": 1.7}
    rows = _wall_rows(rounds, "fisher", {name: titles[name] for name in there}, bounds)
    rows = [
        replace(row, note=f"{row.note}; its relative error {shown(errors[name])}")
        for name, row in zip(there, rows, strict=True)
    ]
    error = Row("relative error of ours", "against double precision", (errors["fisher"],), Bound(1e-4, True), unit="")
    return [*rows, error]


def freezing(order: Order) -> list[Row]:
    """Epochs of the head alone."""
    with started(["freezing"], order.job) as field:
        found = [numbers["freezing"] for numbers in run_rounds(field, order.rounds)]
    return [
        Row(
            "an epoch of full fine-tuning, against one of the head alone (after the first)",
            CLOCKS[clock],
            tuple(one[f"full {clock}"] / one[f"head {clock}"] for one in found),
            Bound(100.0) if clock == "wall" else None,
        )
        for clock in CLOCKS
    ]


def jobs(order: Order) -> list[Row]:
    """The quickstart with two processes, and with one that has two threads."""
    variants = {"two": ("--jobs", "2", "--threads", "1"), "one": ("--jobs", "1", "--threads", "2")}
    limit = order.job.sizes.limit
    rounds = []
    for number in range(order.rounds):
        found = {}
        for name in in_turns(list(variants), number):
            found[name] = commands.run("quickstart", limit, *variants[name])
            order.say(f"quickstart, {' '.join(variants[name])}: {found[name].wall:.0f} s")
        rounds.append(found)
    faster = tuple(found["one"].wall / found["two"].wall for found in rounds)
    minutes = tuple(found["two"].wall / 60 for found in rounds)
    size = "whole" if limit is None else f"--limit {limit}"
    note = f"with --threads 2 {shown(statistics.median([found['one'].wall for found in rounds]) / 60)} minutes"
    return [
        Row(f"retain run quickstart ({size}) with --jobs 2, against --threads 2", CLOCKS["wall"], faster, Bound(1.15)),
        Row(
            f"retain run quickstart ({size}) with --jobs 2, downloads done",
            CLOCKS["wall"],
            minutes,
            Bound(6.0, most=True) if limit is None else None,
            unit=" minutes",
            note=note,
        ),
    ]


def sweep(order: Order) -> list[Row]:
    """The sweep, against all of its runs from scratch.

    The latter are priced: one run of each strategy from scratch, times how many the sweep has of it. All commands are
    given without options: the sweep takes as many processes as it likes, a single run has one, with a thread a core.
    Start-up weighs more where runs are short, so the ratio without it is told too, its price being that of opening the
    study.
    """
    limit = None if order.whole else order.job.sizes.sweep
    size = "whole" if limit is None else f"--limit {limit}"
    found: list[dict[str, float]] = []
    for number in range(max(1, order.rounds // 5)):
        took: dict[str, commands.Took] = {}
        for name in in_turns(["shared", "start", *commands.SWEPT], number):
            if name == "shared":
                took[name] = commands.run("sweep", limit)
            elif name == "start":
                took[name] = commands.start_of_sweep(limit)
            else:
                took[name] = commands.one_of_sweep(name, limit)
            order.say(f"sweep {size}, {name}: {took[name].wall:.0f} s")
        found.append(priced({name: one.wall for name, one in took.items()}))
    shared, scratch, bare = (statistics.median([one[what] for one in found]) for what in ("shared", "scratch", "bare"))
    note = f"without start-up {shown(bare)}x; {shared:,.0f} s instead of {scratch:,.0f} s"
    what = f"retain run sweep ({size}), against every run from scratch"
    return [Row(what, CLOCKS["wall"], tuple(one["ratio"] for one in found), Bound(0.55, most=True), note=note)]


def priced(took: Numbers) -> dict[str, float]:
    """What the sweep costs, what all runs from scratch would, and the ratio of the two, with start-up and without.

    Args:
        took: Seconds of the sweep (``shared``), of a start-up (``start``) and of one run of each strategy.
    """
    runs = sum(commands.SWEPT.values())
    scratch = sum(count * took[name] for name, count in commands.SWEPT.items())
    bare = (took["shared"] - took["start"]) / (scratch - runs * took["start"])
    return {"shared": took["shared"], "scratch": scratch, "ratio": took["shared"] / scratch, "bare": bare}


def help(order: Order) -> list[Row]:
    """``retain --help``, which imports nothing heavy."""
    commands.retain("--help")
    times = tuple(commands.retain("--help").wall for _ in range(max(order.rounds, 10)))
    heavy = sorted(commands.imported_by_help() & {"torch", "transformers", "datasets", "matplotlib", "pandas"})
    return [
        Row("retain --help", CLOCKS["wall"], times, Bound(0.3, most=True), unit=" s"),
        Row("heavy packages that it imports", "count", (float(len(heavy)),), Bound(0, True), "", " ".join(heavy)),
    ]


PARTS: dict[str, Callable[[Order], list[Row]]] = {
    part.__name__: part for part in (training, compiled, evaluation, steps, memory, fisher, freezing, jobs, sweep, help)
}
ON_GPU = ("training", "compiled", "evaluation", "fisher")
"""Those that measure on a GPU too; others are of a processor's time and of a process's memory."""
COMMANDS = ("jobs", "sweep", "help")
"""Those that need no texts of their own."""


def _wall_rows(
    rounds: Sequence[dict[str, Numbers]], ours: str, titles: dict[str, str], bounds: dict[str, float]
) -> list[Row]:
    """How many times as long others take; by the processor's clock as well, which a busy machine disturbs less."""
    rows = []
    for name, title in titles.items():
        wall, cpu = (ratios(rounds, name, ours, clock) for clock in CLOCKS)
        note = f"processor time {shown(statistics.median(cpu))}x"
        rows.append(Row(title, CLOCKS["wall"], wall, Bound(bounds[name]) if name in bounds else None, note=note))
    return rows


def _with_avalanche(order: Order, names: Sequence[str] | dict[str, str]) -> list[str]:
    """The contenders, Avalanche's only where it is installed."""
    if wanted.has_avalanche():
        return list(names)
    order.say(NO_AVALANCHE)
    return [name for name in names if "avalanche" not in name]
