"""Makes tests/avalanche_values.json: what Avalanche itself computes on random score matrices.

    pip download --no-deps avalanche-lib==0.6.0 && unzip avalanche_lib-*.whl -d FOLDER
    python -m tests.benchmarks.avalanche_values FOLDER tests/avalanche_values.json

Avalanche's metrics are driven as its plugins are: an evaluation of every task before training and after each of its
experiences, through the very classes that it averages with. The ``__init__`` files of its packages are left out: they
import torchvision and all else that Avalanche can use.
"""

from __future__ import annotations

import importlib
import json
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np

SIZES = (2, 3, 5, 10)
PACKAGES = ("avalanche", "avalanche.evaluation", "avalanche.evaluation.metrics")


def load(folder: Path) -> dict[str, Any]:
    """The modules of Avalanche that compute forgetting and transfer."""
    for name in PACKAGES:
        package = types.ModuleType(name)
        package.__path__ = [str(folder / name.replace(".", "/"))]
        sys.modules[name] = package
    definitions = importlib.import_module("avalanche.evaluation.metric_definitions")
    vars(sys.modules["avalanche.evaluation"]).update(
        {name: found for name, found in vars(definitions).items() if not name.startswith("__")}
    )
    mean = importlib.import_module("avalanche.evaluation.metrics.mean")
    metrics = sys.modules["avalanche.evaluation.metrics"]
    vars(metrics).update({"Mean": mean.Mean, "TaskAwareAccuracy": _NoAccuracy})
    accuracy = types.ModuleType("avalanche.evaluation.metrics.accuracy")
    vars(accuracy)["TaskAwareAccuracy"] = _NoAccuracy
    sys.modules[accuracy.__name__] = accuracy
    return {
        "functional": importlib.import_module("avalanche.evaluation.functional"),
        "forgetting": importlib.import_module("avalanche.evaluation.metrics.forgetting_bwt"),
        "forward": importlib.import_module("avalanche.evaluation.metrics.forward_transfer"),
    }


class _NoAccuracy:
    """In place of the accuracy of a model: values are those of the matrix."""

    def reset(self) -> None:
        pass


def stream_value(kind: type[Any], scores: np.ndarray[Any, Any]) -> float:
    """What a stream metric says after the last evaluation of a run whose score matrix is ``scores``, row 0 included."""

    class Driven(kind):  # type: ignore[misc]
        def metric_update(self, strategy: Any) -> None:
            pass

        def metric_result(self, strategy: Any) -> float:
            return float(strategy.value)

        def _package_result(self, strategy: Any) -> None:
            pass

    metric = Driven()
    strategy = types.SimpleNamespace(experience=types.SimpleNamespace(current_experience=0), value=0.0, eval_every=0)
    for row, values in enumerate(scores):
        if row:
            strategy.experience.current_experience = row - 1
            metric.before_training_exp(strategy)
        metric.before_eval(strategy)
        for task, value in enumerate(values):
            metric.eval_exp_id, strategy.value = task, value
            metric.after_eval_exp(strategy)
        metric.after_eval(strategy)
    return float(metric.result())


def main(folder: Path, out: Path) -> None:
    """Writes matrices, row 0 included, with Avalanche's values."""
    modules = load(folder)
    cases = []
    for size in SIZES:
        scores = np.random.default_rng(size).uniform(0, 1, (size + 1, size)).round(4)
        last_row = modules["functional"].forgetting(scores[1:])[-1]
        cases.append(
            {
                "scores": scores.tolist(),
                "functional_forgetting_last_row": [float(value) for value in last_row],
                "stream_forgetting": stream_value(modules["forgetting"].StreamForgetting, scores),
                "stream_bwt": stream_value(modules["forgetting"].StreamBWT, scores),
                "stream_forward_transfer": stream_value(modules["forward"].StreamForwardTransfer, scores),
            }
        )
    out.write_text(json.dumps({"avalanche": "0.6.0", "cases": cases}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
