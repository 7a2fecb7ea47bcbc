"""Speed and memory, against others and against what is promised (docs/performance.md).

    make bench
    python -m tests.bench [--only NAME]... [--rounds N] [--quick] [--json FILE]

Every ratio is the median over rounds that are run in turns. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tests.bench.field import Failed, Process
from tests.bench.job import BATCH, FULL, GPU, QUICK, Job
from tests.bench.parts import COMMANDS, ON_GPU, PARTS, Order
from tests.bench.ratios import Row, table


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(
        prog="python -m tests.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--only", action="append", choices=list(PARTS), default=[], help="this part; may be repeated")
    made.add_argument("--rounds", type=int, default=5, help="that are counted; default: 5")
    made.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="default: the cores")
    made.add_argument("--device", choices=["cpu", "cuda"], default="cpu", help="default: cpu")
    made.add_argument("--precision", choices=["no", "bf16"], default="no", help="of training; default: no, float32")
    made.add_argument("--batch-size", type=int, default=BATCH, help="of training; default: %(default)s")
    made.add_argument("--quick", action="store_true", help="small sizes: whether it works, not how fast it is")
    made.add_argument("--whole", action="store_true", help="the sweep at its full size, which takes over an hour")
    made.add_argument("--json", type=Path, metavar="FILE", help="writes the rows there too")
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the parts and prints the table; 1 if something could not be measured."""
    options = parser().parse_args(arguments)
    gpu = options.device != "cpu"
    chosen = options.only or list(ON_GPU if gpu else PARTS)
    if gpu and (others := sorted(set(chosen) - set(ON_GPU))):
        parser().error(f"{', '.join(others)}: not on a GPU; there are {', '.join(ON_GPU)}")
    rows: list[Row] = []
    failed = False
    with tempfile.TemporaryDirectory() as folder:
        sizes = QUICK if options.quick else GPU if gpu else FULL
        job = Job(folder, options.threads, sizes, options.device, options.precision, options.batch_size)
        order = Order(job, options.rounds, options.whole, _say)
        if set(chosen) - set(COMMANDS):
            found = _texts(job)
            _say(f"texts: {found['train']:.0f} to train on, {found['test']:.0f} to test on")
        for name in chosen:
            started = time.perf_counter()
            try:
                rows += PARTS[name](order)
            except Failed as error:
                failed = True
                _say(f"{name}: {error}")
            _say(f"{name}: {time.perf_counter() - started:.0f} s")
    if (options.device, options.precision, options.batch_size) != ("cpu", "no", BATCH):
        rows = [replace(row, bound=None) for row in rows]  # what is promised is promised of these
    sys.stdout.write("\n".join(table(rows)) + "\n")
    if options.json:
        made = {"machine": platform.platform(), "cores": os.cpu_count(), "threads": options.threads}
        made |= {"device": options.device, "precision": options.precision, "batch_size": options.batch_size}
        made |= {"quick": options.quick, "rows": [row.plain() for row in rows]}
        options.json.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    return 1 if failed else 0


def _texts(job: Job) -> dict[str, float]:
    """Writes the texts that contenders work on, downloading them if need be."""
    process = Process("texts", job, online=True)
    try:
        return dict(process.ask("round"))
    finally:
        process.close()


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    sys.exit(main())
