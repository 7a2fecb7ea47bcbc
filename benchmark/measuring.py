"""What is measured of a model between stages: tasks, probes, layers, and heads fitted anew."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from torch import Tensor, nn

from benchmark.backbone import Model
from benchmark.checkpoints import tensors_of
from benchmark.cutting import sha256_of
from benchmark.ledger import Diverged
from benchmark.loop import evaluate
from benchmark.provenance import peak_memory, reset_peak_memory
from benchmark.reader import ModelReader
from benchmark.refitting import refitted_score
from benchmark.study import Study
from strategies.base import Learner, Strategy
from tasks.base import Task, check_main_score
from tasks.probes.similarity import layer_similarity, token_states
from tasks.spec import PRETRAINING

T = TypeVar("T")


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
    known = _Known(study, learner, strategy)
    metrics = {task.name: known.scores(task) for task in study.tasks}
    row = {
        "metrics": metrics,
        **known.of_body(),
        "refits": {task.name: known.refit(task) for task in study.tasks if task.name in refit},
    }
    for name, value in _numbers(row):
        if not math.isfinite(value):
            raise Diverged(f"{name} is {value:g} when measured")
    for task in study.tasks:
        check_main_score(task, metrics[task.name])
    return row | {"seconds": time.perf_counter() - started, "peak_memory_bytes": peak_memory()}


class _Known:
    """What is measured, once in a process for the same weights: a body that does not train is not read again."""

    def __init__(self, study: Study, learner: Learner, strategy: Strategy) -> None:
        """Looks at the weights; how a strategy predicts with others than these is measured every time."""
        self.study, self.learner, self.strategy = study, learner, strategy
        self.plain = not strategy.fingerprint_prediction()
        self.body = _sha256(_model(learner).body)

    def scores(self, task: Task) -> dict[str, float]:
        """All metrics of a task: of the body and its head."""
        head = _sha256(_model(self.learner).heads[task.head])
        return self._once(
            ("scores", task.name, self.body, head),
            lambda: evaluate(self.learner, self.strategy, task, self.study.team),
            self.plain,
        )

    def refit(self, task: Task) -> float:
        """Score of a task with a head fitted anew: of the body, and of the seed, which chooses what it is fitted on."""
        return self._once(
            ("refit", task.name, self.body, self.learner.seed),
            lambda: refitted_score(self.learner, self.strategy, task, self.study.team, self.study.suite.refit or 0),
            self.plain,
        )

    def of_body(self) -> dict[str, Any]:
        """Probes, drift and similarity: of the body and of the head that it was pretrained with."""
        heads = _model(self.learner).heads
        head = _sha256(heads[PRETRAINING]) if PRETRAINING in heads else None
        return self._once(("body", self.body, head), self._of_body, True)

    def _of_body(self) -> dict[str, Any]:
        study, learner = self.study, self.learner
        reader = reader_of(study, learner)
        similarity = measure_similarity(study, reader)  # first: probes of the same texts need not read them again
        return {
            "probes": measure_probes(study, reader),
            "drift": {
                layer: relative_distance(learner.body(), learner.untrained, names)
                for layer, names in learner.layers.items()
            },
            "similarity": similarity,
        }

    def _once(self, key: Hashable, measured: Callable[[], T], same: bool) -> T:
        """What was measured under this key before, as a copy, if the same key gives the same."""
        if not same:
            return measured()
        if key not in self.study.measured:
            self.study.measured[key] = measured()
        found: T = copy.deepcopy(self.study.measured[key])
        return found


def measure_probes(study: Study, reader: ModelReader) -> dict[str, dict[str, float]]:
    """Every measure of every probe."""
    return {probe.name: probe.measure(reader) for probe in study.probes}


def measure_similarity(study: Study, reader: ModelReader) -> dict[str, float]:
    """Linear CKA of every layer with the pretrained body; nothing where the suite has no probe with texts."""
    if not study.pretrained_states:
        return {}
    return layer_similarity(token_states(reader, study.texts), study.pretrained_states)


def relative_distance(now: Mapping[str, Tensor], before: Mapping[str, Tensor], names: Sequence[str]) -> float:
    """``||now - before|| / ||before||`` (L2) over the named tensors together."""
    pairs = [(now[name].detach().cpu().double(), before[name].detach().cpu().double()) for name in names]
    moved = sum(float((new - old).square().sum()) for new, old in pairs)
    size = sum(float(old.square().sum()) for _, old in pairs)
    return (moved / size) ** 0.5 if size > 0 else 0.0


def reader_of(study: Study, learner: Learner) -> ModelReader:
    """Reads the learner's model as it is now."""
    return ModelReader(_model(learner).eval(), study.device)


def _model(learner: Learner) -> Model:
    assert isinstance(learner.model, Model)
    return learner.model


def _sha256(module: nn.Module) -> str:
    return sha256_of(tensors_of(module).values())


def _numbers(nested: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float]]:
    for name, value in nested.items():
        if isinstance(value, Mapping):
            yield from _numbers(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value
