"""Records sent to an experiment tracker, through accelerate's classes for them. Each run is one of the tracker's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from accelerate.tracking import (
    GeneralTracker,
    MLflowTracker,
    TensorBoardTracker,
    TrackioTracker,
    WandBTracker,
)

from benchmark.errors import UserError
from results.record import Run

Say = Callable[[str], None]

TRACKERS: dict[str, Callable[[str, str, Path], GeneralTracker]] = {
    "tensorboard": lambda project, name, folder: TensorBoardTracker(name, folder / "tensorboard"),
    "wandb": lambda project, name, folder: WandBTracker(project, name=name),
    "mlflow": lambda project, name, folder: MLflowTracker(project, run_name=name),
    "trackio": lambda project, name, folder: TrackioTracker(project, name=name),
}
"""Package -> makes its tracker from a project, the name of a run and the folder of the records."""


def check_tracker(kind: str) -> None:
    """Fails before any work if a tracker's package is not installed.

    Raises:
        UserError: it is not.
    """
    if find_spec(kind) is None:
        raise UserError(f"--track {kind}: the package {kind} is not installed: pip install {kind}")


def track(kind: str, name: str, run: Run, folder: Path, say: Say) -> None:
    """Sends a run's settings, its training loss and what was measured after each stage; steps are optimizer steps.

    What goes wrong there is said and ends nothing: the record has it all.
    """
    try:
        tracker = TRACKERS[kind](f"retain-{run.suite}", name, folder)
        tracker.start()
        tracker.store_init_configuration(configuration(run))
        for step, values in points(run):
            tracker.log(values, step=step)
        tracker.finish()
    except Exception as error:  # the network, a full quota, a wrong key: trackers raise what they like
        reason = " ".join(str(error).split())
        say(f"--track {kind}: {name} could not be sent ({type(error).__name__}: {reason}); its record is complete")


def configuration(run: Run) -> dict[str, str | float | bool | None]:
    """A run's settings without nesting, and what made it."""
    found = dict(_flat(run.settings))
    found["commit"], found["device"] = run.provenance.commit, run.provenance.device
    if run.failure is not None:
        found["failure"] = run.failure.reason
    return found


def points(run: Run) -> Iterator[tuple[int, dict[str, float]]]:
    """What is sent, in order of steps: losses of a stage, then what was measured after it; 0 is the untrained model."""
    if run.scores:
        yield 0, _measured(run, 0)
    end = 0
    for stage, cost in enumerate(run.costs):
        losses = run.losses[stage] if run.losses else []
        for number, loss in enumerate(losses, start=1):
            yield end + round(number * cost.steps / len(losses)), {"loss/train": loss}
        end += cost.steps
        yield end, _measured(run, stage + 1)


def _measured(run: Run, row: int) -> dict[str, float]:
    values: dict[str, float] = {"stage": row}
    values |= {f"score/{task.name}": score for task, score in zip(run.tasks, run.scores[row], strict=True)}
    for probe, measures in run.probes[row].items():
        values |= {f"probe/{probe}/{measure}": value for measure, value in measures.items()}
    values |= {f"drift/{layer}": value for layer, value in run.drift[row].items()}
    if row:
        cost = run.costs[row - 1]
        values |= {"cost/train_seconds": cost.train_seconds, "cost/strategy_bytes": cost.strategy_bytes}
    return values


def _flat(nested: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str | float | bool | None]]:
    for name, value in nested.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        elif value is None or isinstance(value, (str, int, float, bool)):
            yield f"{prefix}{name}", value
        else:
            yield f"{prefix}{name}", json.dumps(value)
