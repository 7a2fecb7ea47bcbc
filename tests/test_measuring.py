"""What is measured between stages is measured once for the same weights, and is the same as if it were each time."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from benchmark import measuring
from benchmark.backbone import Model
from benchmark.measuring import measure, measure_probes, measure_similarity, reader_of
from strategies.base import Learner, Strategy, Task
from strategies.naive import Naive
from tests.lab import OpenStudy, Ran, untrained


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often tasks, bodies and fresh heads are measured."""
    counts: Counter[str] = Counter()
    for name in ("evaluate", "measure_probes", "refitted_score"):
        real = getattr(measuring, name)

        def counting(*given: Any, name: str = name, real: Any = real) -> Any:
            counts[name] += 1
            return real(*given)

        monkeypatch.setattr(measuring, name, counting)
    return counts


def test_a_body_that_stays_is_measured_once_and_a_task_where_its_head_has_changed(
    open_tiny: OpenStudy, tmp_path: Path, counted: Counter[str]
) -> None:
    run = Ran(open_tiny(["freeze"], ["freeze.part=backbone", "refit=8"]), tmp_path / "runs").by_strategy["freeze"]
    # Four tasks, untrained and after the stage that trains them. Fresh heads: of all but the last, once.
    assert counted == {"evaluate": 4 + 4, "measure_probes": 1, "refitted_score": 3}
    assert len({str(row) for row in run.probes}) == 1


def test_a_body_that_moves_is_measured_after_every_stage(
    open_tiny: OpenStudy, tmp_path: Path, counted: Counter[str]
) -> None:
    Ran(open_tiny(["naive"]), tmp_path / "runs")
    assert counted == {"evaluate": 5 * 4, "measure_probes": 5}


def numbers_of(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("seconds", "peak_memory_bytes")}


def test_what_was_measured_before_is_what_would_be_measured_now(open_tiny: OpenStudy, counted: Counter[str]) -> None:
    study = open_tiny(["naive"], ["refit=8"])
    names = [task.name for task in study.tasks[:2]]
    first = measure(study, untrained(study), Naive(), names)
    before = counted.copy()
    again = measure(study, untrained(study), Naive(), names)
    assert counted == before
    assert numbers_of(again) == numbers_of(first)
    again["metrics"].clear()
    afresh = measure(replace(study), untrained(study), Naive(), names)
    assert counted["measure_probes"] == 2
    assert numbers_of(afresh) == numbers_of(first) == numbers_of(measure(study, untrained(study), Naive(), names))


def test_one_weight_of_a_head_that_moves_is_measured_again(open_tiny: OpenStudy, counted: Counter[str]) -> None:
    study = open_tiny(["naive"])
    learner = untrained(study)
    measure(study, learner, Naive())
    with torch.no_grad():
        learner.model.get_submodule(f"heads.{study.tasks[1].head}").get_parameter("bias")[0] += 1
    measure(study, learner, Naive())
    assert counted == {"evaluate": 4 + 1, "measure_probes": 1}


def test_texts_that_layers_are_compared_on_are_read_once_for_their_probe_too(open_tiny: OpenStudy) -> None:
    study = open_tiny(["naive"])
    learner = untrained(study)
    alone = measure_probes(study, reader_of(study, learner))
    assert isinstance(learner.model, Model) and study.texts and study.pretrained_states
    passes: list[object] = []
    learner.model.body.register_forward_hook(lambda module, given, out: passes.append(module))
    reader = reader_of(study, learner)
    measure_similarity(study, reader)
    assert measure_probes(study, reader) == alone
    assert len(passes) == len(study.texts)


@dataclass(frozen=True)
class Elsewhere(Strategy):
    """Predicts with other weights than the model has."""

    name: ClassVar[str] = "elsewhere"

    @contextmanager
    def predicting(self, learner: Learner, task: Task) -> Any:
        yield


def test_who_predicts_with_other_weights_is_measured_every_time(open_tiny: OpenStudy, counted: Counter[str]) -> None:
    study = open_tiny(["naive"], ["refit=8"])
    for _ in range(2):
        measure(study, untrained(study), Elsewhere(), [study.tasks[0].name])
    assert counted == {"evaluate": 8, "refitted_score": 2, "measure_probes": 1}
