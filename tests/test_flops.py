"""Operations of training: counted as by hand, and without leaving a trace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator

from benchmark.backbone import Model, load_backbone
from benchmark.backbones import resolve_backbone
from benchmark.batching import Step, training_plan
from benchmark.flops import training_flops
from benchmark.frozen import FrozenPart, start_training
from benchmark.loop import make_stage, select_trainable
from benchmark.team import Team
from results.record import Run
from strategies.base import Learner, Training, snapshot
from strategies.freeze import Freeze
from tasks.base import Task
from tasks.sources.base import Row
from tests.lab import OpenStudy, run_all
from tests.tiny_models import build

LAYERS, WIDTH, INNER = 2, 32, 64
EIGHT: list[Row] = [{"text": "balo comi dinu gelo", "label": "good"}] * 8
"""With the tokenizer's two: 6 tokens each."""


@pytest.fixture(scope="module")
def team() -> Team:
    return Team(Accelerator(cpu=True))


@pytest.fixture
def learner(family_folders: dict[str, Path], tokenizers: dict[str, Any]) -> Learner:
    folder = family_folders["bert"]
    backbone = load_backbone(resolve_backbone(str(folder)), folder)
    task = build("sequence", EIGHT, tokenizers["bert"])
    model = Model(backbone.body, backbone.pooling)
    model.add_head(task.head, 2, 0)
    untrained = snapshot(dict(model.named_parameters()))
    made = Learner(model, model.layers(), model.head_names(), {task.name: task}, Training(), 0, untrained)
    select_trainable(made, {task.head})
    return made


def the_task(learner: Learner) -> Task:
    (task,) = learner.tasks.values()
    assert isinstance(task, Task)
    return task


def forward_flops(batch: int, length: int) -> int:
    """Of a BERT: four square maps, two of the inner width, scores and weighted sums of attention; the head."""
    tokens = batch * length
    matrices = tokens * 2 * (4 * WIDTH * WIDTH + 2 * WIDTH * INNER)
    attention = 2 * 2 * batch * length * length * WIDTH
    return LAYERS * (matrices + attention) + batch * 2 * WIDTH * 2


def test_a_stage_costs_what_is_worked_out_by_hand(learner: Learner, team: Team) -> None:
    task = the_task(learner)
    plan = training_plan([task], 4, 3, torch.Generator())
    assert len(plan) == 6
    # Backward each product needs two, one for each factor.
    assert training_flops(learner, plan, team) == 6 * 3 * forward_flops(4, 6)


def test_what_is_frozen_needs_no_backward_pass(learner: Learner, team: Team) -> None:
    task = the_task(learner)
    plan = [Step(task, list(range(8)))]
    for parameter in learner.body().values():
        parameter.requires_grad_(False)
    head = 8 * 2 * WIDTH * 2
    assert training_flops(learner, plan, team) == forward_flops(8, 6) + head  # of the head's weights alone
    for parameter in learner.model.parameters():
        parameter.requires_grad_(False)
    assert training_flops(learner, plan, team) == forward_flops(8, 6)


@pytest.mark.parametrize(("layers", "above"), [(1, 1), (None, 0)])
def test_what_is_computed_once_counts_once(learner: Learner, team: Team, layers: int | None, above: int) -> None:
    task = the_task(learner)
    strategy = Freeze() if layers is None else Freeze(part="layers", layers=layers)
    stage = make_stage(0, 0, 1, [task], learner.training, team.device)
    strategy.before_stage(learner, stage)
    start_training(learner.model, strategy.without_dropout(learner, stage))
    modes = [module.training for module in learner.model.modules()]
    plan = training_plan([task], 4, 3, torch.Generator())
    layer, head = (forward_flops(24, 6) - 24 * 2 * WIDTH * 2) / LAYERS, 24 * 2 * WIDTH * 2
    once = layer * (LAYERS - above) / 3  # the texts are read in the first of three epochs
    # Of the lowest layer that trains no gradient of what it reads is needed: only the maps' own, and attention's.
    first = 24 * 6 * 2 * 3 * WIDTH * WIDTH if above else head
    found = training_flops(learner, plan, team, FrozenPart(learner, [task], team, 1024))
    assert found == once + 3 * (above * layer + head) - first
    assert [module.training for module in learner.model.modules()] == modes


def test_batches_cost_by_their_tokens_with_padding(learner: Learner, tokenizers: dict[str, Any], team: Team) -> None:
    texts = ["balo", "balo comi", "balo comi dinu gelo balo comi"]  # 3, 4 and 8 tokens
    task = build("sequence", [{"text": text, "label": "good"} for text in texts], tokenizers["bert"])
    plan = [Step(task, [0]), Step(task, [1]), Step(task, [0, 2])]  # 3, 4 and 2 * 8: the second is measured
    assert training_flops(learner, plan, team) == pytest.approx(3 * forward_flops(1, 4) * (3 + 4 + 16) / 4)


def test_counting_leaves_no_trace(learner: Learner, team: Team) -> None:
    learner.model.train()
    before, state = snapshot(dict(learner.model.named_parameters())), torch.get_rng_state()
    training_flops(learner, [Step(the_task(learner), [0, 1])], team)
    assert learner.model.training
    assert torch.equal(torch.get_rng_state(), state)
    for name, parameter in learner.model.named_parameters():
        assert parameter.grad is None and parameter.requires_grad
        assert torch.equal(parameter, before[name])


def test_records_have_the_operations_of_every_stage(open_tiny: OpenStudy, tmp_path: Path) -> None:
    runs = run_all(open_tiny(["naive", "joint", "freeze"]), tmp_path / "runs")

    def flops(run: Run) -> list[float]:
        return [cost.flops or 0 for cost in run.costs]

    assert len(flops(runs["naive"])) == 4 and all(count > 0 for count in flops(runs["naive"]))
    assert sum(flops(runs["joint"])) == pytest.approx(sum(flops(runs["naive"])), rel=0.02)  # the same batches' sizes
    assert all(less < more for less, more in zip(flops(runs["freeze"]), flops(runs["naive"]), strict=True))
