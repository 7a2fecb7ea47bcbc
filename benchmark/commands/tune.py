"""``retain tune``: searches settings on validation rows of a stream's first tasks, then runs the suite."""

from __future__ import annotations

import argparse
from importlib.util import find_spec
from pathlib import Path

from benchmark.commands import Commands
from benchmark.commands.arguments import JOBS, amount, names, positive, processes, seeds, whole
from benchmark.commands.run import RUNS
from benchmark.console import print_result, say
from benchmark.errors import UserError
from benchmark.output import check_writable, report, writing

SAMPLERS = ("qmc", "random", "tpe")


def add(commands: Commands) -> None:
    """Declares it."""
    tune = commands.add_parser(
        "tune", help="search settings of strategies on validation splits of the first tasks, then run the suite"
    )
    tune.add_argument("suite", help="a shipped suite (retain list suites) or a YAML file")
    tune.add_argument("--strategies", type=names, metavar="A,B", help="only these, or others; all: every one there is")
    tune.add_argument(
        "--trials",
        type=positive,
        required=True,
        metavar="N",
        help="settings tried for each strategy, those given first",
    )
    tune.add_argument(
        "--tasks", type=positive, metavar="K", help="first tasks that the search sees; default: half, 2 or 3"
    )
    tune.add_argument(
        "--search",
        action="append",
        default=[],
        metavar="WHERE=LOW..HIGH",
        help="where to search, such as ewc.lam=1..1e6:log, training.learning_rate=on or lora.rank=off; may be repeated",
    )
    tune.add_argument("--seed", type=whole, default=0, metavar="S", help="of the search itself; default: 0")
    tune.add_argument("--search-seeds", type=seeds, metavar="0,1", help="trials train with; default: the suite's first")
    tune.add_argument("--sampler", choices=SAMPLERS, default="qmc", help="default: qmc, quasi-random and parallel")
    tune.add_argument("--seeds", type=seeds, metavar="0,1", help="of the whole stream's runs; default: the suite's")
    tune.add_argument(
        "--set", dest="settings", action="append", default=[], metavar="WHERE=VALUE", help="as for retain run"
    )
    tune.add_argument("--backbone", metavar="A", help="a known name, a local folder, or a hub id (org/name)")
    tune.add_argument("--limit", type=positive, metavar="N", help="at most N examples of each split of each task")
    tune.add_argument("--device", choices=["auto", "cpu", "cuda", "mps"], default="auto")
    tune.add_argument("--jobs", type=processes, metavar="N", help=JOBS)
    tune.add_argument("--threads", type=positive, metavar="N", help="threads a stage trains with; default: the cores")
    tune.add_argument("--checkpoint-minutes", type=amount, default=10.0, metavar="M", help="as for retain run")
    tune.add_argument("--out", type=Path, metavar="DIR", help=f"where everything goes; default: {RUNS}/SUITE-tuned")
    tune.set_defaults(handler=_tune)


def _tune(options: argparse.Namespace) -> int:
    from benchmark.suite import Overrides, draft_suite

    if find_spec("optuna") is None:
        raise UserError("retain tune needs Optuna: pip install 'retain[tune]'")
    overrides = Overrides(options.strategies, options.seeds, options.settings, options.backbone, options.limit)
    draft = draft_suite(options.suite, overrides)
    folder = options.out or RUNS / f"{draft.title}-tuned"
    check_writable(folder)

    from benchmark.launch import Launch
    from benchmark.tuning.search import Budget
    from benchmark.tuning.tune import Search, tune
    from results.record import write_atomically
    from results.render import console, markdown
    from results.tuned import tuned_text

    wanted = Search(
        Budget(options.trials, options.sampler, options.seed), options.tasks, options.search_seeds, options.search
    )
    launch = Launch(
        folder=folder,
        device=options.device,
        jobs=options.jobs,
        threads=options.threads,
        checkpoint_minutes=options.checkpoint_minutes,
    )
    outcome = tune(draft, wanted, launch, say)
    print_result(report([*outcome.given, *outcome.tuned], folder / "report"))
    table = tuned_text(outcome.given, outcome.tuned, draft.title)
    with writing(folder):
        write_atomically(folder / "tuned.md", markdown(table))
    print_result(f"\n{console(table)}\n\nsettings, trials and their figure are in {folder}")
    failed = any(run.failure is not None for run in [*outcome.given, *outcome.tuned])
    return 1 if failed or any(trial.failure for trial in outcome.trials) else 0
