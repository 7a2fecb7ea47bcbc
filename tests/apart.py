"""The command in a process of its own, on the tiny catalogue: where signals and exit codes matter."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import benchmark.cli
import benchmark.commands.run
import benchmark.registry
import benchmark.suite
from strategies import STRATEGIES

ROOT = Path(__file__).parents[1]


def begin(folder: Path, *arguments: object) -> subprocess.Popen[str]:
    """Begins `retain` in a group of processes of its own, on the catalogue in force here; it says into ``said``."""
    catalogue = folder / "catalogue.pickle"
    catalogue.write_bytes(pickle.dumps([vars(benchmark.suite)[name] for name in ("TASKS", "PROBES")]))
    command = [sys.executable, "-m", "tests.apart", str(catalogue), *map(str, arguments)]
    with (folder / "said").open("w", encoding="utf-8") as said:
        return subprocess.Popen(
            command, cwd=ROOT, stderr=said, stdout=subprocess.DEVNULL, text=True, start_new_session=True
        )


if __name__ == "__main__":
    tasks, probes = pickle.loads(Path(sys.argv[1]).read_bytes())
    vars(benchmark.suite).update(TASKS=tasks, PROBES=probes)
    vars(benchmark.registry).update(STRATEGIES=(*STRATEGIES, "tests.faulty:Slow"))
    vars(benchmark.commands.run).update(report=lambda runs, folder: f"{len(runs)} runs")  # figures take seconds
    sys.exit(benchmark.cli.main(sys.argv[2:]))
