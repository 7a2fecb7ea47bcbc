"""Every family of backbones trains on every kind of task, with every strategy that asks for layers or matrices."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor

from benchmark.backbone import Backbone, Model, layer_names, load_backbone
from benchmark.backbones import resolve_backbone
from benchmark.loop import evaluate, make_stage, train_stage
from benchmark.team import Team
from strategies.base import Learner, Strategy, Training, snapshot
from strategies.bitfit import BitFit
from strategies.freeze import Freeze
from strategies.gradual_unfreezing import GradualUnfreezing
from strategies.importance import Fisher, stage_fisher, stage_sensitivity
from strategies.layerwise_lr import LayerwiseLR
from strategies.lora import LoRA
from strategies.naive import Naive
from strategies.o_lora import OLoRA
from strategies.per_example import PerExample
from tasks.base import Task
from tasks.sources.base import Row
from tasks.spec import Kind
from tests.conftest import sequence_rows, span_rows, token_rows
from tests.lab import Silent
from tests.single_examples import fisher_of_singles, sensitivity_of_singles
from tests.tiny_models import FAMILIES, build

ROWS: dict[Kind, list[Row]] = {
    "sequence": sequence_rows(16, 1),
    "pair": sequence_rows(16, 2, pair=True),
    "token": token_rows(16, 3),
    "span": span_rows(16, 4),
}
TRAINING = Training(epochs=4, batch_size=8, learning_rate=3e-3, head_learning_rate=1e-2)
WITHOUT_BIASES = ("modernbert", "llama")

MakeLearner = Callable[[str, Kind], tuple[Learner, Task]]


@pytest.fixture(scope="module")
def team() -> Team:
    return Team(Accelerator(cpu=True))


@pytest.fixture(scope="module")
def backbones(family_folders: dict[str, Path]) -> dict[str, Backbone]:
    return {name: load_backbone(resolve_backbone(str(path)), path) for name, path in family_folders.items()}


@pytest.fixture(scope="module")
def make(backbones: dict[str, Backbone]) -> MakeLearner:
    """A learner of a family with a task of a kind; bodies are copies, tasks are made once."""
    tasks: dict[tuple[str, Kind], Task] = {}

    def made(family: str, kind: Kind) -> tuple[Learner, Task]:
        backbone = backbones[family]
        if (family, kind) not in tasks:
            tasks[family, kind] = build(kind, ROWS[kind], backbone.tokenizer, 32)
        task, model = tasks[family, kind], Model(copy.deepcopy(backbone.body), backbone.pooling)
        model.add_head(task.head, task.outputs, 0)
        untrained = snapshot(dict(model.named_parameters()))
        learner = Learner(model, model.layers(), model.head_names(), {task.name: task}, TRAINING, 0, untrained)
        return learner, task

    return made


def train(learner: Learner, task: Task, strategy: Strategy, team: Team) -> list[float]:
    stage = make_stage(0, 0, 1, [task], learner.training, team.device)
    return train_stage(learner, strategy, stage, [task], team, Silent()).losses


def changed(learner: Learner) -> set[str]:
    now: dict[str, Tensor] = dict(learner.model.named_parameters())
    return {name for name, before in learner.untrained.items() if not torch.equal(now[name], before)}


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_learns_every_kind_of_task(make: MakeLearner, team: Team, family: str, kind: Kind) -> None:
    learner, task = make(family, kind)
    losses = train(learner, task, Naive(), team)
    assert len(losses) == TRAINING.epochs * -(-len(task.train.features) // TRAINING.batch_size)
    assert sum(losses[-2:]) < sum(losses[:2])
    assert all(changed(learner) & set(names) for names in [*learner.layers.values(), *learner.heads.values()])
    scores = evaluate(learner, Naive(), task, team)
    assert all(0 <= score <= 1 for score in scores.values())


@pytest.mark.parametrize("family", FAMILIES)
def test_the_order_of_a_batch_does_not_change_its_rows(make: MakeLearner, family: str) -> None:
    learner, task = make(family, "sequence")
    learner.model.eval()
    order = [3, 0, 2, 1]
    with torch.inference_mode():
        rows = learner.rows(task, task.collate(task.test, range(4))).logits
        mixed = learner.rows(task, task.collate(task.test, order)).logits
    torch.testing.assert_close(mixed, rows[order], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_what_the_padding_holds_does_not_change_a_texts_rows(make: MakeLearner, family: str) -> None:
    learner, task = make(family, "token")
    learner.model.eval()
    batch = task.collate(task.test, range(6))
    ids, present = batch.inputs["input_ids"], batch.inputs["attention_mask"].bool()
    assert not present.all()
    with torch.inference_mode():
        rows = learner.rows(task, batch).logits
        ids[~present] = 7
        torch.testing.assert_close(learner.rows(task, batch).logits, rows, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("part", ["embeddings", "layers", "backbone"])
@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_frozen_stays_and_the_rest_moves(make: MakeLearner, team: Team, family: str, part: str) -> None:
    learner, task = make(family, "sequence")
    train(learner, task, Freeze(part=part, layers=1), team)  # type: ignore[arg-type]  # one of its parts
    count = {"embeddings": 1, "layers": 2, "backbone": len(learner.layers)}[part]
    names = list(learner.layers)
    frozen = {name for layer in names[:count] for name in learner.layers[layer]}
    assert frozen and not changed(learner) & frozen
    assert all(changed(learner) & set(learner.layers[layer]) for layer in names[count:])


@pytest.mark.parametrize("strategy", [LoRA(), OLoRA(), LoRA(target="all-linear")])
@pytest.mark.parametrize("family", FAMILIES)
def test_of_a_family_with_adapters_only_matrices_move(
    make: MakeLearner, team: Team, family: str, strategy: Strategy
) -> None:
    learner, task = make(family, "sequence")
    body = learner.model.get_submodule("body")
    strategy.check(body, layer_names(body), [task])
    train(learner, task, strategy, team)
    moved = changed(learner) & set(learner.body())
    assert moved and all(learner.untrained[name].dim() == 2 for name in moved)
    assert {layer for layer, names in learner.layers.items() if moved & set(names)} >= {"layer 1", "layer 2"}


@pytest.mark.parametrize("family", FAMILIES)
def test_only_the_biases_of_a_family_move_or_it_has_none(make: MakeLearner, team: Team, family: str) -> None:
    learner, task = make(family, "sequence")
    body, strategy = learner.model.get_submodule("body"), BitFit()
    if family in WITHOUT_BIASES:
        with pytest.raises(ValueError, match="the backbone has none"):
            strategy.check(body, layer_names(body), [task])
        return
    strategy.check(body, layer_names(body), [task])
    train(learner, task, strategy, team)
    moved = changed(learner) & set(learner.body())
    assert moved and all(name.endswith("bias") for name in moved)
    assert {layer for layer, names in learner.layers.items() if moved & set(names)} >= {"layer 1", "layer 2"}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_familys_layers_have_rates_of_their_own(make: MakeLearner, family: str) -> None:
    learner, _ = make(family, "sequence")
    groups = LayerwiseLR(factor=2.0).optimizer(learner).param_groups
    rate = {id(parameter): group["lr"] for group in groups for parameter in group["params"]}
    assert len(rate) == len(list(learner.model.parameters()))
    expected = {"embeddings": 3e-3 / 4, "layer 1": 3e-3 / 2, "layer 2": 3e-3, "top": 3e-3}
    for layer, names in learner.layers.items():
        assert {rate[id(learner.body()[name])] for name in names} == {expected[layer]}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_familys_layers_join_from_the_top(make: MakeLearner, team: Team, family: str) -> None:
    learner, task = make(family, "sequence")
    strategy, stage = GradualUnfreezing(share=0.75), make_stage(0, 0, 1, [task], TRAINING, team.device)
    strategy.before_stage(learner, stage)  # 8 steps: a layer joins after 2, 4 and 6
    batch, joined = task.collate(task.train, [0]), []
    for step in range(8):
        strategy.loss(learner, task, batch)
        joined.append({layer for layer, names in learner.layers.items() if learner.body()[names[0]].requires_grad})
        assert learner.state["step"] == step
        strategy.after_step(learner)
    tops = {"layer 2"} | ({"top"} & set(learner.layers))
    assert joined == [set()] * 2 + [tops] * 2 + [tops | {"layer 1"}] * 2 + [set(learner.layers)] * 2
    train(learner, task, strategy, team)
    assert "step" not in learner.state


def test_states_are_those_that_the_family_gives(family_folders: dict[str, Path], tokenizers: dict[str, Any]) -> None:
    for family, folder in family_folders.items():
        backbone = load_backbone(resolve_backbone(str(folder)), folder)
        inputs = backbone.tokenizer(["balo comi dinu", "gelo"], padding=True, return_tensors="pt")
        with torch.inference_mode():
            theirs = backbone.body(**inputs, output_hidden_states=True).hidden_states
            model = Model(backbone.body, backbone.pooling)
            found, vectors = model.states(inputs)
            assert torch.equal(vectors, model.embed(inputs)), family
        assert len(found) == len(theirs), family
        # Of the last layer some families give the state after one more norm.
        assert all(torch.equal(ours, other) for ours, other in zip(found[:-1], theirs[:-1], strict=True)), family


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("family", FAMILIES)
def test_importance_from_batches_is_that_of_single_examples(make: MakeLearner, family: str, kind: Kind) -> None:
    learner, task = make(family, kind)
    learner.model.eval()
    stage = make_stage(0, 0, 2, [task], TRAINING, learner.device)
    rows_of, weights = partial(learner.rows, task), learner.trainable()
    labels: list[Fisher] = ["sampled", "empirical", *(["exact"] if kind == "sequence" else [])]  # type: ignore[list-item]
    pairs = [
        (
            next(stage_sensitivity(learner, stage, 12)),
            sensitivity_of_singles(rows_of, stage.examples(task, 12, 1), weights),
        )
    ]
    for of in labels:
        singles = fisher_of_singles(rows_of, stage.examples(task, 12, 1), weights, of, 0)
        pairs.append((next(stage_fisher(learner, stage, 12, of)), singles))
    for found, expected in pairs:
        largest = max(float(value.norm()) for value in expected.values())
        for name, value in expected.items():  # some gradients are 0 but for rounding, as those of the keys' biases
            assert float((found[name] - value).norm()) <= 1e-4 * float(value.norm()) + 1e-7 * largest, name


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("family", FAMILIES)
def test_only_a_family_with_weights_of_no_token_is_measured_one_by_one(
    make: MakeLearner, family: str, kind: Kind
) -> None:
    learner, task = make(family, kind)
    learner.model.eval()
    sums = PerExample(learner.trainable().values(), "square")
    for indices in ([0, 1, 2], [3, 4, 5, 6, 7]):
        sums.add(partial(learner.rows, task), task.collate(task.train, indices), lambda rows, _: [rows.logits.sin()])
    assert sums.together == (family != "deberta")  # its embeddings of relative places are all examples'
