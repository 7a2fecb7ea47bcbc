"""Studies run in this process, on the tiny backbone."""

from __future__ import annotations

from io import StringIO
from pathlib import Path
from typing import Any

from benchmark.engine import Engine, Keep
from benchmark.executors import InProcess
from benchmark.progress import Progress
from benchmark.study import Study
from benchmark.worker import Worker
from results.record import Run


class Ran:
    """A study that was run: its runs, the examples it trained on, and what was said."""

    def __init__(self, study: Study, folder: Path, keep: Keep = "none", **worker: Any) -> None:
        said = StringIO()
        with Progress(stream=said) as self.progress:
            self.engine = Engine(study, folder, self.progress, keep)
            self.worker = Worker(study, self.engine.store, self.progress.lane(), **worker)
            try:
                self.runs = self.engine.run(InProcess(self.worker))
            finally:
                self.said = said.getvalue()

    @property
    def by_strategy(self) -> dict[str, Run]:
        return {run.strategy: run for run in self.runs}

    @property
    def trained(self) -> int:
        return self.progress.done - self.progress.skipped


def numbers(run: Run) -> dict[str, Any]:
    """A record but for seconds, memory of the process and the time of day."""
    record = run.model_dump(exclude={"seconds", "finished", "peak_memory_bytes"})
    for cost in record["costs"]:
        del cost["train_seconds"], cost["evaluate_seconds"]
    return record
