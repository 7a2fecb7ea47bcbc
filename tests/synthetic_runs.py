"""Made-up records in any number, alike to real ones: ``python -m tests.synthetic_runs COUNT FOLDER [SEED]``.

Several suites, backbones, strategies with some choices of hyperparameters, seeds and orders of the tasks; every 53rd
run failed. Seeds come last: any number of runs has all suites, backbones and strategies before a second seed.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import count as numbers
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from results.record import CurvePoint, Failure, Order, Provenance, Run, StageCost, TaskInfo

STEPS = 100
PROBES_KEPT = 0.05
"""What is left of a probe at a drift of 1."""
PROBES = {"news_retrieval": ("mrr", 0.62), "masked_words": ("accuracy", 0.41)}


@dataclass(frozen=True)
class Setup:
    """One suite: what its runs share."""

    name: str
    tasks: tuple[str, ...]
    scenario: str
    chance: float
    orders: int = 1
    refits: bool = False
    curves: bool = False


@dataclass(frozen=True)
class Method:
    """How a strategy does: everything in score, before noise."""

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    learns: float = 0.0
    """Added to what a task can reach."""
    loses: float = 0.25
    """Share of what is above chance that a later stage takes from a task."""
    moves: float = 0.05
    """Drift a stage."""
    memory: int = 0
    slower: float = 1.0
    stages: str = "one by one"


SETUPS = (
    Setup("short", ("reviews", "news", "entities"), "task-incremental", 0.3),
    Setup("topics", tuple(f"topics_{n:02}" for n in range(1, 6)), "class-incremental", 0.1, orders=2, refits=True),
    Setup("domains", ("books", "films", "hotels", "phones"), "domain-incremental", 0.5, curves=True),
)
BACKBONES = (("tiny", 4_400_000, 2, 0.72), ("small", 22_600_000, 6, 0.84), ("base", 110_000_000, 12, 0.88))
METHODS = (
    Method("naive"),
    Method("ewc", {"lam": 10.0, "fisher": "sampled"}, 0.0, 0.22, 0.04, 90_000_000, 1.2),
    Method("ewc", {"lam": 1000.0, "fisher": "sampled"}, -0.01, 0.15, 0.03, 90_000_000, 1.2),
    Method("ewc", {"lam": 100000.0, "fisher": "sampled"}, -0.06, 0.08, 0.01, 90_000_000, 1.2),
    Method("l2_anchor", {"lam": 0.01}, 0.0, 0.23, 0.04, 0, 1.05),
    Method("l2_anchor", {"lam": 1.0}, -0.05, 0.1, 0.01, 0, 1.05),
    Method("replay", {"per_task": 20}, 0.005, 0.1, 0.05, 8_000, 1.6),
    Method("replay", {"per_task": 200}, 0.005, 0.05, 0.05, 80_000, 1.6),
    Method("lwf", {"temperature": 2.0}, -0.01, 0.15, 0.04, 90_000_000, 1.4),
    Method("er_ace", {"per_task": 200}, 0.0, 0.05, 0.05, 80_000, 1.6),
    Method("si", {"c": 0.1}, -0.005, 0.2, 0.04, 180_000_000, 1.1),
    Method("mas", {"lam": 1.0}, -0.005, 0.2, 0.04, 90_000_000, 1.1),
    Method("lora", {"rank": 8}, -0.03, 0.12, 0.01, 600_000, 0.8),
    Method("freeze", {}, -0.12, 0.0, 0.0, 0, 0.4),
    Method("independent", {}, 0.0, 0.0, 0.05, 0, 1.0, "apart"),
    Method("joint", {}, 0.01, 0.0, 0.06, 0, 1.0, "together"),
)


def synthetic_runs(count: int, seed: int = 0) -> list[Run]:
    """As many records; equal arguments give equal ones."""
    return list(islice(_runs(seed), count))


def write_runs(count: int, folder: Path, seed: int = 0) -> list[Path]:
    """The same as files of a folder."""
    found = []
    for number, run in enumerate(islice(_runs(seed), count)):
        found.append(folder / f"{number:05}-{run.suite}-{run.backbone}-{run.strategy}-seed{run.seed}.json")
        found[-1].parent.mkdir(parents=True, exist_ok=True)
        found[-1].write_text(run.model_dump_json(indent=1) + "\n", encoding="utf-8")
    return found


def _runs(seed: int) -> Iterator[Run]:
    made = numbers(1)
    for run_seed in numbers():
        for setup, backbone, method in product(SETUPS, BACKBONES, METHODS):
            for order in range(1, setup.orders + 1):
                yield _run(setup, backbone, method, run_seed, order, seed, failed=next(made) % 53 == 0)


def _run(
    setup: Setup,
    backbone: tuple[str, int, int, float],
    method: Method,
    run_seed: int,
    order: int,
    seed: int,
    failed: bool,
) -> Run:
    name, parameters, layers, reach = backbone
    cell = np.random.default_rng(_entropy(seed, setup.name, name, method.name, str(method.settings), run_seed, order))
    shared = np.random.default_rng(_entropy(seed, setup.name, name, run_seed))  # what pairs of runs have in common
    learned = list(setup.tasks if order == 1 else reversed(setup.tasks))
    stages = [list(setup.tasks)] if method.stages == "together" else [[task] for task in learned]
    luck = shared.normal(0, 0.015, len(setup.tasks))
    scores = _scores(setup, method, stages, reach + luck, cell)
    end = len(stages) - 1 if failed else len(stages)
    drift = [row * method.moves for row in range(end + 1)]
    names = ["embeddings", *(f"layer {n}" for n in range(1, layers + 1))]
    return Run(
        suite=setup.name,
        stream=setup.name,
        scenario=setup.scenario,
        backbone=name,
        strategy=method.name,
        seed=run_seed,
        order=Order(number=order, tasks=learned),
        tasks=[_task(task, setup) for task in setup.tasks],
        stages=stages,
        scores=[list(map(float, row)) for row in scores[: end + 1]],
        metrics=[_metrics(setup, row) for row in scores[: end + 1]],
        probes=_probes(drift if method.stages != "apart" else [0.0] * (end + 1), cell),
        drift=[{layer: far * 1.2**n for n, layer in enumerate(names)} for far in drift],
        similarity=[{layer: float(np.exp(-far * n / 2)) for n, layer in enumerate(names)} for far in drift],
        refits=_refits(setup, stages, scores, end) if setup.refits else [],
        curves=_curves(setup, stages, scores, end, cell) if setup.curves else [],
        costs=[_cost(stage, number, parameters, method, cell) for number, stage in enumerate(stages[:end])],
        losses=[
            [float(value) for value in 0.2 + 1.5 * np.exp(-np.arange(STEPS) / 20) + cell.normal(0, 0.05, STEPS)]
            for _ in stages[:end]
        ],
        failure=Failure(stage=end, reason="the training loss is NaN") if failed else None,
        parameters=parameters,
        peak_memory_bytes=parameters * 40 + method.memory,
        seconds=parameters / 1e6 * method.slower * 1.2 * len(setup.tasks),
        finished=f"2026-01-{1 + run_seed % 28:02}T00:00:00Z",
        settings=_settings(setup, name, method, run_seed, order),
        provenance=_provenance(setup, name),
    )


def _metrics(setup: Setup, row: NDArray[np.float64]) -> dict[str, dict[str, float]]:
    return {
        task: {"accuracy": float(value), "macro_f1": 0.98 * float(value)}
        for task, value in zip(setup.tasks, row, strict=True)
    }


def _probes(drift: Sequence[float], cell: np.random.Generator) -> list[dict[str, dict[str, float]]]:
    rows: list[dict[str, dict[str, float]]] = []
    for row, far in enumerate(drift):
        noise = cell.normal(0, 0.005, len(PROBES)) if row else np.zeros(len(PROBES))
        rows.append(
            {
                probe: {measure: before * PROBES_KEPT**far + float(shift)}
                for shift, (probe, (measure, before)) in zip(noise, PROBES.items(), strict=True)
            }
        )
    return rows


def _cost(stage: Sequence[str], number: int, parameters: int, method: Method, cell: np.random.Generator) -> StageCost:
    seconds = parameters / 1e6 * method.slower * len(stage)
    return StageCost(
        train_seconds=seconds * (1 + 0.1 * float(cell.random())),
        evaluate_seconds=seconds / 5,
        trained_tokens=40_000 * len(stage),
        steps=STEPS * len(stage),
        strategy_bytes=method.memory * number,
        trainable_parameters=parameters,
        flops=6.0 * parameters * 40_000 * len(stage),
    )


def _scores(
    setup: Setup, method: Method, stages: Sequence[Sequence[str]], reach: NDArray[np.float64], cell: np.random.Generator
) -> NDArray[np.float64]:
    """Chance until a task is learned, then what it can reach, then less with every stage; later tasks start higher."""
    tasks = {task: number for number, task in enumerate(setup.tasks)}
    learned_at = {tasks[task]: row for row, stage in enumerate(stages, start=1) for task in stage}
    scores = np.full((len(stages) + 1, len(tasks)), setup.chance)
    for task, learned in learned_at.items():
        top = reach[task] + method.learns - 0.02 * (task % 3)
        for row in range(1, len(stages) + 1):
            if row < learned:
                scores[row, task] += 0.01 * row
            else:
                scores[row, task] += (top - setup.chance) * (1 - method.loses) ** (row - learned)
    scores[1:] += cell.normal(0, 0.012, scores[1:].shape)
    return np.asarray(np.round(scores.clip(0, 1) * 2000) / 2000)  # as a test set of 2,000 examples gives


def _refits(
    setup: Setup, stages: Sequence[Sequence[str]], scores: NDArray[np.float64], end: int
) -> list[dict[str, float]]:
    tasks = {task: number for number, task in enumerate(setup.tasks)}
    rows: list[dict[str, float]] = [{} for _ in range(end + 1)]
    for row in range(1, end + 1):
        done = stages[:row] if row == len(stages) else stages[row - 1 : row]
        for task in (name for stage in done for name in stage):
            best = scores[1:, tasks[task]].max()
            rows[row][task] = float(best - 0.4 * (best - scores[row, tasks[task]]))
    return rows


def _curves(
    setup: Setup, stages: Sequence[Sequence[str]], scores: NDArray[np.float64], end: int, cell: np.random.Generator
) -> list[list[CurvePoint]]:
    found: list[list[CurvePoint]] = []
    for number in range(end):
        earlier = [task for stage in stages[:number] for task in stage]
        dips = {task: float(cell.uniform(0, 0.1)) for task in earlier}
        after = dict(zip(setup.tasks, scores[number + 1].tolist(), strict=True))
        points = [
            CurvePoint(
                step=step,
                scores={task: max(0.0, after[task] - dips[task] * (1 - step / STEPS)) for task in earlier},
            )
            for step in range(10, STEPS, 10)
        ]
        found.append(points if earlier else [])
    return found


@cache
def _task(name: str, setup: Setup) -> TaskInfo:
    return TaskInfo(
        name=name,
        kind="sequence",
        metric="accuracy",
        head=name if setup.scenario == "task-incremental" else setup.name,
        train_examples=2000,
        test_examples=2000,
        truncated_share=0.1,
        split="official",
    )


def _settings(setup: Setup, backbone: str, method: Method, run_seed: int, order: int) -> dict[str, Any]:
    return {
        "suite": setup.name,
        "backbone": backbone,
        "stream": {"name": setup.name, "scenario": setup.scenario, "tasks": list(setup.tasks)},
        "tasks": {task: {"train_examples": 2000, "test_examples": 2000, "max_length": 128} for task in setup.tasks},
        "probes": list(PROBES),
        "training": {"epochs": 3, "batch_size": 16, "learning_rate": 2e-5, "weight_decay": 0.0, "warmup": 0.1},
        "precision": "no",
        "strategy": {"name": method.name, "settings": method.settings},
        "seed": run_seed,
    } | ({"order": order} if order > 1 else {})


@cache
def _provenance(setup: Setup, backbone: str) -> Provenance:
    return Provenance(
        version="0.1.0",
        code_sha256=_digest("code"),
        commit="0" * 40,
        dirty=False,
        python="3.11.9",
        platform="Linux",
        device="cpu",
        precision="no",
        threads=1,
        packages={"torch": "2.13.0", "transformers": "5.23.0"},
        data_sha256={
            name: {"train": _digest(name), "test": _digest(name + "test")} for name in (*setup.tasks, *PROBES)
        },
        weights_sha256=_digest(backbone),
        backbone_sha256=_digest(f"{backbone} tokenizer"),
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _entropy(*parts: object) -> list[int]:
    return list(hashlib.sha256(repr(parts).encode()).digest())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Writes made-up records.")
    parser.add_argument("count", type=int, metavar="COUNT")
    parser.add_argument("folder", type=Path, metavar="FOLDER")
    parser.add_argument("seed", type=int, metavar="SEED", nargs="?", default=0)
    options = parser.parse_args()
    write_runs(options.count, options.folder, options.seed)
