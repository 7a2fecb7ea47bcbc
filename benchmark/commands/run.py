"""``retain run``: trains every strategy of a suite over its stream."""

from __future__ import annotations

import argparse
from pathlib import Path

from benchmark.commands import Commands
from benchmark.commands.arguments import JOBS, amount, names, orders, positive, processes, seeds
from benchmark.console import follows, print_result, say
from benchmark.output import check_writable, report

RUNS = Path("results", "runs")
"""Where runs are written unless ``--out`` says otherwise."""


def add(commands: Commands) -> None:
    """Declares it."""
    run = commands.add_parser("run", help="train every strategy of a suite over its stream and write a report")
    run.add_argument("suite", help="a shipped suite (retain list suites) or a YAML file")
    run.add_argument("--strategies", type=names, metavar="A,B", help="only these, or others; all: every one there is")
    run.add_argument("--seeds", type=seeds, metavar="0,1", help="default: the suite's")
    run.add_argument("--orders", type=orders, metavar="1,2", help="numbers of the stream's orders, or all")
    run.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="WHERE=VALUE",
        help="change a setting, such as ewc.lam=100 or training.epochs=1; may be repeated",
    )
    run.add_argument(
        "--eval-every", type=positive, metavar="N", help="test earlier tasks every N steps inside a stage: slower"
    )
    run.add_argument(
        "--backbone", type=names, metavar="A,B", help="known names, local folders, or hub ids (org/name); each is run"
    )
    run.add_argument("--limit", type=positive, metavar="N", help="at most N examples of each split of each task")
    run.add_argument("--device", choices=["auto", "cpu", "cuda", "mps"], default="auto")
    run.add_argument("--jobs", type=processes, metavar="N", help=JOBS)
    run.add_argument("--threads", type=positive, metavar="N", help="threads a stage trains with; default: the cores")
    run.add_argument("--accumulate", type=positive, default=1, metavar="N", help="cut every batch into N parts")
    run.add_argument(
        "--keep",
        choices=["none", "last", "all"],
        default="none",
        help="weights that stay when all is done: none, those at the end of each run, all; default: none",
    )
    run.add_argument(
        "--checkpoint-minutes",
        type=amount,
        default=10.0,
        metavar="M",
        help="keep a stage on its way every M minutes; 0: only when it is interrupted; default: 10",
    )
    run.add_argument("--executor", choices=["local", "ray"], default="local", help="where stages are trained")
    run.add_argument("--address", default="", metavar="A", help="of a Ray cluster, or auto; default: start one here")
    run.add_argument("--stage-gpus", type=amount, default=0.0, metavar="N", help="that Ray sets aside for a stage")
    run.add_argument("--stage-memory", type=amount, default=0.0, metavar="GB", help="the same of memory")
    run.add_argument(
        "--track",
        choices=["tensorboard", "wandb", "mlflow", "trackio"],
        default="",
        help="send every new record to a tracker; default: none",
    )
    run.add_argument(
        "--dry-run", action="store_true", help="only say what would be trained, and what is shared or done"
    )
    run.add_argument("--out", type=Path, metavar="DIR", help=f"where records and report go; default: {RUNS}/SUITE")
    run.set_defaults(handler=_run)


def _run(options: argparse.Namespace) -> int:
    from benchmark.division import Wish, forks
    from benchmark.forking import begin_early
    from benchmark.suite import Overrides, load_suites

    settings = [*options.settings, *([f"eval_every={options.eval_every}"] if options.eval_every else [])]
    overrides = Overrides(options.strategies, options.seeds, settings, options.backbone, options.limit, options.orders)
    suites = load_suites(options.suite, overrides)
    folder = options.out or RUNS / suites[0].name
    if not follows():
        check_writable(folder)
    wish = Wish(options.jobs, options.threads, options.executor == "local", options.device)
    if forks(suites, wish) and not options.dry_run:
        begin_early(options.device)  # it imports while this process does what comes now

    from benchmark.launch import Launch, run_suites
    from benchmark.plan import plan_suites

    launch = Launch(
        folder=folder,
        device=options.device,
        jobs=options.jobs,
        threads=options.threads,
        accumulation=options.accumulate,
        keep=options.keep,
        checkpoint_minutes=options.checkpoint_minutes,
        executor=options.executor,
        address=options.address,
        stage_gpus=options.stage_gpus,
        stage_memory=options.stage_memory,
        track=options.track,
    )
    if options.dry_run:
        for planned in plan_suites(suites, launch, say):
            print_result(planned)
        return 0
    runs = run_suites(suites, launch, say)
    if not runs:  # this process helped another one
        return 0
    print_result(report(runs, folder / "report"))
    return 1 if any(run.failure is not None for run in runs) else 0
