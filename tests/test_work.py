"""What a training step takes, counted: a step that suddenly does twice the work is found here, on any machine."""

from __future__ import annotations

from collections import Counter

import pytest
import torch
from torch import Tensor, nn

from benchmark.batching import training_plan
from benchmark.loop import finish_stage, make_stage, train_stage
from benchmark.registry import build_strategy, strategy_names
from benchmark.seeding import generator
from benchmark.study import Study
from strategies.base import Learner, Stage, Strategy
from strategies.quadratic import add_penalty_gradient, merge
from tests.lab import OpenStudy, Silent, train, untrained
from tests.work import Waits, Work, work

STEPS = 3
"""In an epoch."""
NAIVE = (1.02, 1.01)
LIMITS = {
    "l2_anchor": (1.04, 1.06),
    "ewc": (1.04, 1.07),
    "online_ewc": (1.04, 1.07),
    "mas": (1.04, 1.07),
    "si": (1.42, 1.16),
    "rwalk": (1.42, 1.16),
    "recadam": (1.02, 1.03),
    "mixout": (1.5, 1.1),
    "lwf": (1.4, 1.22),
    "replay": (2.95, 1.9),
    "er_ace": (2.95, 1.9),
    "derpp": (5.3, 2.8),
    "agem": (2.7, 1.6),
    "gem": (2.9, 1.6),
    "freeze": (0.2, 0.01),
    "warm_head": (0.2, 0.01),
    "bitfit": (0.95, 0.9),
    "lora": (1.02, 0.96),
    "o_lora": (1.06, 0.96),
    "gradual_unfreezing": (0.9, 0.83),
    "layerwise_lr": (1.04, 1.02),
    "ema": (1.02, 1.03),
}
"""Strategy -> operations and elements of its step over naive's, at most; others do what `NAIVE` allows. A few percent
above what was counted on the tiny backbone with 12 remembered examples, where the weights weigh more than in a real
one."""


def step_of(open_tiny: OpenStudy, name: str) -> Work:
    """A step of a second stage: a second epoch, over its steps."""
    fields = vars(build_strategy(name, {}))
    settings = {key: value for key, value in {"memory": 12, "examples": 8}.items() if key in fields}
    strategy = build_strategy(name, settings)
    stages = []
    for epochs in (1, 2):
        study = open_tiny(["naive"], [f"training.epochs={epochs}", "train_examples=24"])
        learner, _ = train(study, strategy, stages=1)
        stages.append(work(lambda study=study, learner=learner: one_stage(study, learner, strategy, 1)))  # type: ignore[misc]
    epoch = stages[1] - stages[0]
    return Work(epoch.operations // STEPS, epoch.elements // STEPS)


def one_stage(study: Study, learner: Learner, strategy: Strategy, place: int) -> Stage:
    tasks = [study.tasks[place]]
    stage = make_stage(learner.seed, place, len(study.tasks), tasks, learner.training, study.device)
    train_stage(learner, strategy, stage, tasks, study.team, Silent())
    return stage


def bare_step(open_tiny: OpenStudy) -> Work:
    """The same step as one would write it by hand, on the same batches."""
    study = open_tiny(["naive"], ["training.epochs=2", "train_examples=24"])
    learner, task = untrained(study), study.tasks[1]
    plan = training_plan([task], learner.training.batch_size, 2, generator("order", learner.seed, [task.name]))
    weights = [value for name, value in learner.model.named_parameters() if f"heads.{task.head}." in name]
    weights += learner.body().values()
    optimizer = torch.optim.AdamW(weights, fused=True)

    def steps() -> None:
        learner.model.train()
        for _, indices in plan[STEPS:]:
            rows = learner.rows(task, task.collate(task.train, indices))
            nn.functional.cross_entropy(rows.logits, rows.targets).backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(weights, 1.0)
            optimizer.step()
            optimizer.zero_grad()

    whole = work(steps)
    return Work(whole.operations // STEPS, whole.elements // STEPS)


def test_the_loop_does_what_one_would_write_by_hand(open_tiny: OpenStudy) -> None:
    ours, bare = step_of(open_tiny, "naive"), bare_step(open_tiny)
    assert ours.operations <= 0.95 * bare.operations  # numpy does some of a batch's, and word embeddings are fewer
    assert ours.elements <= 1.01 * bare.elements


@pytest.mark.parametrize("name", strategy_names())
def test_a_step_takes_no_more_than_it_did(open_tiny: OpenStudy, name: str) -> None:
    naive, own = step_of(open_tiny, "naive"), step_of(open_tiny, name)
    operations, elements = LIMITS.get(name, NAIVE)
    assert own.operations <= operations * naive.operations
    assert own.elements <= elements * naive.elements


def test_a_penalty_on_eight_tasks_takes_what_one_on_one_task_takes() -> None:
    theta = {"a": nn.Parameter(torch.randn(30, 20)), "b": nn.Parameter(torch.randn(20))}
    for value in theta.values():
        value.grad = torch.zeros_like(value)
    anchor: dict[str, Tensor] = {}
    weight: dict[str, Tensor] = {}
    taken = []
    for _ in range(8):
        merge(anchor, weight, theta, {name: value.detach().square() for name, value in theta.items()})
        taken.append(work(lambda: add_penalty_gradient(theta, anchor, 1.0, weight)))
    size = sum(value.numel() for value in theta.values())
    assert set(taken) == {Work(2, 6 * size)}  # a difference and a product added, of three tensors each


@pytest.mark.parametrize("name", ["naive", "ewc", "l2_anchor", "si", "mas", "lora", "freeze"])
def test_a_step_never_waits_for_a_gpu(open_tiny: OpenStudy, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr("benchmark.ledger.READ_EVERY", {"cpu": 50})  # as on a GPU
    fields = vars(build_strategy(name, {}))
    strategy = build_strategy(name, {"examples": 8} if "examples" in fields else {})
    waits = []
    for epochs in (1, 2):
        study = open_tiny(["naive"], [f"training.epochs={epochs}", "train_examples=24"])
        learner, _ = train(study, strategy, stages=1)
        found: Counter[str] = Counter()
        for place in (1, 2, 3):
            with Waits() as mode:
                stage = one_stage(study, learner, strategy, place)
            if strategy.fingerprint_after(stage):
                finish_stage(learner, strategy, stage)
            found += mode.found
        waits.append(found)
    # Choices are counted while a batch is on the CPU; whether a batch has padding is asked by transformers.
    assert set(waits[1] - waits[0]) <= {"choices", "_ignore_bidirectional_mask_sdpa"}
