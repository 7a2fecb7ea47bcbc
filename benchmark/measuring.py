"""What is measured of a model between stages: tasks, probes, layers, and heads fitted anew."""

from __future__ import annotations

import math
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor

from benchmark.backbone import Model
from benchmark.ledger import Diverged
from benchmark.loop import evaluate
from benchmark.provenance import peak_memory, reset_peak_memory
from benchmark.reader import ModelReader
from benchmark.refitting import refitted_score
from benchmark.study import Study
from strategies.base import Learner, Strategy
from tasks.base import check_main_score
from tasks.probes.similarity import layer_similarity, token_states


def measure(study: Study, learner: Learner, strategy: Strategy, refit: Collection[str] = ()) -> dict[str, Any]:
    """A row of results: every task and probe, how each layer has changed, and what measuring took.

    Args:
        study: Names tasks and probes.
        learner: The model, between stages.
        strategy: Whose way to predict is measured.
        refit: Tasks of which a fresh head is fitted and tested too.

    Raises:
        Diverged: a value is not finite.
        TaskError: a task's metrics don't give its main score, or one outside [0, 1].
    """
    reset_peak_memory()
    started = time.perf_counter()
    metrics = {task.name: evaluate(learner, strategy, task, study.team) for task in study.tasks}
    row = {
        "metrics": metrics,
        "probes": measure_probes(study, learner),
        "drift": {
            layer: relative_distance(learner.body(), learner.untrained, names)
            for layer, names in learner.layers.items()
        },
        "similarity": measure_similarity(study, learner),
        "refits": {
            task.name: refitted_score(learner, strategy, task, study.team, study.suite.refit or 0)
            for task in study.tasks
            if task.name in refit
        },
    }
    for name, value in _numbers(row):
        if not math.isfinite(value):
            raise Diverged(f"{name} is {value:g} when measured")
    for task in study.tasks:
        check_main_score(task, metrics[task.name])
    return row | {"seconds": time.perf_counter() - started, "peak_memory_bytes": peak_memory()}


def measure_probes(study: Study, learner: Learner) -> dict[str, dict[str, float]]:
    """Every measure of every probe."""
    reader = _reader(study, learner)
    return {probe.name: probe.measure(reader) for probe in study.probes}


def measure_similarity(study: Study, learner: Learner) -> dict[str, float]:
    """Linear CKA of every layer with the pretrained body; nothing where the suite has no probe with texts."""
    if not study.pretrained_states:
        return {}
    return layer_similarity(token_states(_reader(study, learner), study.texts), study.pretrained_states)


def relative_distance(now: Mapping[str, Tensor], before: Mapping[str, Tensor], names: Sequence[str]) -> float:
    """``||now - before|| / ||before||`` (L2) over the named tensors together."""
    pairs = [(now[name].detach().cpu().double(), before[name].detach().cpu().double()) for name in names]
    moved = sum(float((new - old).square().sum()) for new, old in pairs)
    size = sum(float(old.square().sum()) for _, old in pairs)
    return (moved / size) ** 0.5 if size > 0 else 0.0


def _reader(study: Study, learner: Learner) -> ModelReader:
    model = learner.model
    assert isinstance(model, Model)
    model.eval()
    return ModelReader(model, study.device)


def _numbers(nested: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in nested.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
