"""The ``retain`` command: parses, calls, prints. Heavy packages are imported only by the commands that need them."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from benchmark.errors import UserError, unknown
from benchmark.output import check_writable, read_runs, report

RUNS = Path("results", "runs")
"""Where runs are written unless ``--out`` says otherwise."""
RANKS = ("RANK", "PMI_RANK", "OMPI_COMM_WORLD_RANK", "MV2_COMM_WORLD_RANK")
"""Where launchers tell a process which of several it is; accelerate looks there too."""
GRACE_SECONDS = 10.0
"""For which a process lets the main one say what is wrong."""


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
        _complain(f"retain: {' '.join(str(error).split())}")
        return 2
    except KeyboardInterrupt as interrupt:
        _say("retain: interrupted; what was done is kept, the same command goes on from there")
        (number,) = interrupt.args or (signal.SIGINT,)
        return 128 + int(number)
    except BrokenPipeError:  # the reader of a pipe, such as head, has what it wanted
        with contextlib.suppress(OSError):  # what is left in the buffer goes nowhere when the interpreter ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, with the nearest command if one was misspelt."""

    def error(self, message: str) -> NoReturn:
        _complain(f"retain: {message}; see {self.prog} --help")
        self.exit(2)

    def _check_value(self, action: argparse.Action, value: object) -> None:
        if action.choices is not None and value not in action.choices:
            _complain(f"retain: {unknown(action.dest, str(value), map(str, action.choices))}")
            self.exit(2)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="retain",
        description="Measures what pretrained language models forget when fine-tuned on one task after another.",
    )
    parser.add_argument("--version", action="version", version=f"retain {_version()}")
    parser.set_defaults(handler=_no_command)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)

    run = commands.add_parser("run", help="train every strategy of a suite over its stream and write a report")
    run.add_argument("suite", help="a shipped suite (retain list suites) or a YAML file")
    run.add_argument("--strategies", type=_names, metavar="A,B", help="only these, or others; all: every one there is")
    run.add_argument("--seeds", type=_seeds, metavar="0,1", help="default: the suite's")
    run.add_argument("--orders", type=_orders, metavar="1,2", help="numbers of the stream's orders, or all")
    run.add_argument(
        "--set",
        dest="settings",
        action="append",
        default=[],
        metavar="WHERE=VALUE",
        help="change a setting, such as ewc.lam=100 or training.epochs=1; may be repeated",
    )
    run.add_argument(
        "--eval-every", type=_positive, metavar="N", help="test earlier tasks every N steps inside a stage: slower"
    )
    run.add_argument(
        "--backbone", type=_names, metavar="A,B", help="known names, local folders, or hub ids (org/name); each is run"
    )
    run.add_argument("--limit", type=_positive, metavar="N", help="at most N examples of each split of each task")
    run.add_argument("--device", choices=["auto", "cpu", "cuda", "mps"], default="auto")
    run.add_argument("--jobs", type=_positive, default=1, metavar="N", help="train N stages at once, each in a process")
    run.add_argument("--threads", type=_positive, metavar="N", help="threads a stage trains with; default: the cores")
    run.add_argument("--accumulate", type=_positive, default=1, metavar="N", help="cut every batch into N parts")
    run.add_argument(
        "--keep",
        choices=["none", "last", "all"],
        default="none",
        help="weights that stay when all is done: none, those at the end of each run, all; default: none",
    )
    run.add_argument(
        "--checkpoint-minutes",
        type=_amount,
        default=10.0,
        metavar="M",
        help="keep a stage on its way every M minutes; 0: only when it is interrupted; default: 10",
    )
    run.add_argument("--executor", choices=["local", "ray"], default="local", help="where stages are trained")
    run.add_argument("--address", default="", metavar="A", help="of a Ray cluster, or auto; default: start one here")
    run.add_argument("--stage-gpus", type=_amount, default=0.0, metavar="N", help="that Ray sets aside for a stage")
    run.add_argument("--stage-memory", type=_amount, default=0.0, metavar="GB", help="the same of memory")
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

    fetch = commands.add_parser("fetch", help="download what a suite needs; afterwards it runs with no network")
    fetch.add_argument("suite", help="a shipped suite or a YAML file")
    fetch.add_argument("--backbone", type=_names, metavar="A,B", help="instead of the suite's")
    fetch.set_defaults(handler=_fetch)

    listing = commands.add_parser("list", help="list suites, streams, tasks, probes, strategies or backbones")
    listing.add_argument(
        "kind", choices=["suites", "streams", "tasks", "probes", "strategies", "backbones"], metavar="KIND"
    )
    listing.set_defaults(handler=_list)

    show = commands.add_parser("show", help="everything about one suite, stream, task, probe, strategy or backbone")
    show.add_argument("name", help="its name, or the .yaml file of a task of your own")
    show.add_argument("--data", action="store_true", help="of a task: read its rows, count and check them")
    show.add_argument("--backbone", metavar="NAME", help="with --data, or a task of your own: count its tokens")
    show.add_argument("--max-length", type=_positive, metavar="N", help="likewise: tokens in a window; default: 128")
    show.set_defaults(handler=_show)

    checking = commands.add_parser("check", help="hold strategies to the contract, on problems made on the spot")
    checking.add_argument(
        "names", nargs="*", metavar="NAME", help="a strategy, or package.module:Class; default: every strategy"
    )
    checking.add_argument("--fast", action="store_true", help="leave out the texts: seconds a strategy")
    checking.set_defaults(handler=_check)

    standing = commands.add_parser("status", help="which runs of a folder are done, running, failed or to do")
    standing.add_argument("runs", type=Path, metavar="RUNS", help="a folder that retain run wrote to")
    standing.set_defaults(handler=_status)

    cleaning = commands.add_parser("clean", help="free the weights that a folder of runs holds")
    cleaning.add_argument("runs", type=Path, metavar="RUNS", help="a folder that retain run wrote to")
    cleaning.add_argument("--records", action="store_true", help="delete the records as well: they can't be had back")
    cleaning.set_defaults(handler=_clean)

    tables = commands.add_parser("report", help="tables and plots from records")
    tables.add_argument("runs", nargs="+", type=Path, metavar="RUNS", help="records, or folders that hold them")
    tables.add_argument("--out", type=Path, metavar="DIR", help="default: the folder 'report' beside the first record")
    tables.set_defaults(handler=_report)
    return parser


def _no_command(options: argparse.Namespace) -> None:
    raise UserError("name a command: run, fetch, list, show, check, status, clean or report; see retain --help")


def _run(options: argparse.Namespace) -> int:
    from benchmark.suite import Overrides, load_suites

    settings = [*options.settings, *([f"eval_every={options.eval_every}"] if options.eval_every else [])]
    overrides = Overrides(options.strategies, options.seeds, settings, options.backbone, options.limit, options.orders)
    suites = load_suites(options.suite, overrides)
    folder = options.out or RUNS / suites[0].name
    if not _follows():
        check_writable(folder)

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
        for planned in plan_suites(suites, launch, _say):
            _print(planned)
        return 0
    runs = run_suites(suites, launch, _say)
    if not runs:  # this process helped another one
        return 0
    _print(report(runs, folder / "report"))
    return 1 if any(run.failure is not None for run in runs) else 0


def _fetch(options: argparse.Namespace) -> None:
    from benchmark.suite import Overrides, load_suites

    suites = load_suites(options.suite, Overrides(backbone=options.backbone))

    from benchmark.needs import fetch_needed

    kept = dict.fromkeys(folder for suite in suites for folder in fetch_needed(suite, _say))
    _print(f"{suites[0].name}: everything is in {' and '.join(map(str, kept))}")


def _list(options: argparse.Namespace) -> None:
    from benchmark.show import listing

    _print(listing(options.kind))


def _show(options: argparse.Namespace) -> None:
    from benchmark.own_tasks import is_own
    from benchmark.show import describe

    if options.data or is_own(options.name):
        from benchmark.show_data import describe_data

        _print(describe_data(options.name, _say, options.backbone, options.max_length))
        return
    if options.backbone or options.max_length:
        raise UserError("--backbone and --max-length of show are for a task's rows: add --data")
    _print(describe(options.name))


def _check(options: argparse.Namespace) -> int:
    from benchmark.conformance.command import check_strategies

    text, passed = check_strategies(options.names, options.fast, _say)
    _print(text)
    return 0 if passed else 1


def _status(options: argparse.Namespace) -> None:
    from benchmark.status import status

    _print(status(options.runs, _say))


def _clean(options: argparse.Namespace) -> None:
    from benchmark.status import clean

    _print(clean(options.runs, options.records, _say))


def _report(options: argparse.Namespace) -> None:
    runs = read_runs(options.runs)
    first: Path = options.runs[0]
    folder = options.out or (first if first.is_dir() else first.parent) / "report"
    check_writable(folder)
    _print(report(runs, folder))


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if "" in names or len(set(names)) < len(names):
        raise argparse.ArgumentTypeError(f"'{text}' should be names, each once, such as naive,ewc")
    return names


def _seeds(text: str) -> list[int]:
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts) or len(set(map(int, parts))) < len(parts):
        raise argparse.ArgumentTypeError(f"'{text}' should be whole numbers from 0 on, each once, such as 0,1,2")
    return [int(part) for part in parts]


def _orders(text: str) -> str | list[int]:
    return text if text == "all" else _seeds(text)


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"'{text}' should be a whole number of at least 1")
    return int(text)


def _amount(text: str) -> float:
    try:
        amount = float(text)
    except ValueError:
        amount = -1.0
    if not 0 <= amount < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' should be a number of at least 0")
    return amount


def _version() -> str:
    from benchmark.provenance import code_version

    return code_version()


def _print(text: str) -> None:
    if not _follows():
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()


def _say(text: str) -> None:
    if not _follows():
        with contextlib.suppress(OSError):  # nobody may listen any more
            sys.stderr.write(f"{text}\n")


def _complain(text: str) -> None:
    """Says why the command ends.

    Of processes that train one model, all find most mistakes. The main one says it, so the others let it: its end ends
    them. One that is still there found what the main one did not, and says it itself.
    """
    if _follows():
        time.sleep(GRACE_SECONDS)
    with contextlib.suppress(OSError):  # nobody may listen any more
        sys.stderr.write(f"{text}\n")


def _follows() -> bool:
    """Whether this is one of several processes that train one model, and not the main one: that speaks and writes."""
    return next((os.environ[name] for name in RANKS if name in os.environ), "0") != "0"


if __name__ == "__main__":
    sys.exit(main())
