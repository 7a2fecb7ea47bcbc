"""Outputs of frozen layers, computed once: equal to those computed in every step, or not used."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from benchmark import frozen
from benchmark.backbone import Backbone, Model, load_backbone
from benchmark.backbones import resolve_backbone
from benchmark.checkpoints import Keeper, Stopped
from benchmark.frozen import FrozenPart, start_training
from benchmark.loop import make_stage, select_trainable, train_stage
from benchmark.pretrained_head import load_pretrained_head
from benchmark.store import Store
from benchmark.team import Team
from strategies.base import Batch, Learner, Strategy, Training, snapshot
from strategies.base import Task as StrategyTask
from strategies.freeze import Freeze
from strategies.gradual_unfreezing import GradualUnfreezing
from strategies.naive import Naive
from strategies.warm_head import WarmHead
from tasks.base import Batch as TaskBatch
from tasks.base import Task
from tests.conftest import WORDS
from tests.lab import Silent
from tests.language_models import save_language_model
from tests.test_families import ROWS
from tests.test_tasks_causal import build as causal
from tests.test_team import member
from tests.tiny_models import FAMILIES, albert, build

TRAINING = Training(epochs=3, batch_size=6, learning_rate=0.05, head_learning_rate=0.1)
KINDS = ["sequence", "pair", "token", "span"]
TOKENS = 64
"""Of a batch whose states are computed: few, so that there are several."""


@dataclass(frozen=True)
class Descending(Freeze):
    """Freezes, and goes down the gradient itself: Adam would blow up what rounding leaves of a gradient of 0."""

    name: ClassVar[str] = "descending"

    def optimizer(self, learner: Learner) -> torch.optim.Optimizer:
        return torch.optim.SGD(learner.trainable().values(), lr=0.05)


@pytest.fixture(scope="module")
def team() -> Team:
    return Team(Accelerator(cpu=True))


@pytest.fixture(scope="module")
def backbones(family_folders: dict[str, Path]) -> dict[str, Backbone]:
    return {name: load_backbone(resolve_backbone(str(path)), path) for name, path in family_folders.items()}


Make = Callable[..., tuple[Learner, Task]]


@pytest.fixture(scope="module")
def make(backbones: dict[str, Backbone]) -> Make:
    """A learner of a family with a task of a kind."""
    tasks: dict[tuple[str, str], Task] = {}

    def made(family: str = "bert", kind: str = "sequence", body: nn.Module | None = None) -> tuple[Learner, Task]:
        backbone = backbones[family]
        if (family, kind) not in tasks:
            tasks[family, kind] = build(kind, ROWS[kind], backbone.tokenizer, 32)  # type: ignore[arg-type, index]
        chosen: Any = body or backbone.body
        model = Model(copy.deepcopy(chosen), backbone.pooling)
        return learner_of(model, tasks[family, kind])

    return made


def learner_of(model: Model, task: Task) -> tuple[Learner, Task]:
    if task.head not in model.heads:
        model.add_head(task.head, task.outputs, 0)
    untrained = snapshot(dict(model.named_parameters()))
    return Learner(model, model.layers(), model.head_names(), {task.name: task}, TRAINING, 0, untrained), task


@pytest.fixture
def uncached(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Makes frozen layers run in every step from now on."""

    def now() -> None:
        monkeypatch.setattr(frozen, "DISK_BYTES", 0)
        monkeypatch.setattr(frozen, "MEMORY_BYTES", 0)

    return now


class Passes:
    """Counts forward passes of a module's own code."""

    def __init__(self, module: nn.Module) -> None:
        self.count = 0
        module.register_forward_hook(self._note)

    def _note(self, module: nn.Module, given: Any, out: Any) -> None:
        self.count += 1


def lowest(learner: Learner) -> nn.Module:
    """A norm in the lowest layer: it runs when the layer's own code does."""
    assert isinstance(learner.model, Model)
    layer = learner.model.stack()[0]
    return next(module for module in layer.modules() if "norm" in type(module).__name__.lower())


def train(learner: Learner, task: Task, strategy: Strategy, team: Team, index: int = 0) -> list[float]:
    stage = make_stage(0, index, 3, [task], learner.training, team.device)
    return train_stage(learner, strategy, stage, [task], team, Silent()).losses


def weights(learner: Learner) -> dict[str, Tensor]:
    return snapshot(dict(learner.model.named_parameters()))


def prepared(learner: Learner, task: Task, strategy: Strategy, team: Team) -> FrozenPart:
    """What `train_stage` looks at before the first step."""
    stage = make_stage(0, 0, 1, [task], learner.training, team.device)
    select_trainable(learner, {task.head})
    strategy.before_stage(learner, stage)
    start_training(learner.model, strategy.without_dropout(learner, stage))
    return FrozenPart(learner, [task], team, TOKENS)


def assert_equal_without(
    make: Callable[[], tuple[Learner, Task]], strategy: Strategy, team: Team, uncached: Callable[[], None]
) -> None:
    """Trains with states that are kept and without, and compares losses, weights and how often layers ran."""
    kept, task = make()
    passes = Passes(lowest(kept))
    losses = train(kept, task, strategy, team)
    uncached()
    plain, _ = make()
    plain_passes = Passes(lowest(plain))
    assert losses == pytest.approx(train(plain, task, strategy, team), abs=1e-6)
    for name, value in weights(plain).items():
        torch.testing.assert_close(weights(kept)[name], value, atol=1e-6, rtol=1e-6)
    assert passes.count < len(losses) < plain_passes.count


@pytest.mark.parametrize("kind", ["sequence", "token"])
@pytest.mark.parametrize("part", ["layers", "backbone"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_trains_as_if_frozen_layers_ran_in_every_step(
    make: Make, team: Team, uncached: Callable[[], None], family: str, part: Any, kind: str
) -> None:
    assert_equal_without(lambda: make(family, kind), Descending(part=part, layers=1), team, uncached)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("part", "layers"), [("layers", 1), ("layers", 2), ("backbone", 1)])
def test_every_kind_of_task_trains_as_if_frozen_layers_ran_in_every_step(
    make: Make, team: Team, uncached: Callable[[], None], part: Any, layers: int, kind: str
) -> None:
    assert_equal_without(lambda: make("gpt2", kind), Descending(part=part, layers=layers), team, uncached)


@pytest.mark.parametrize("part", ["layers", "backbone"])
def test_language_modelling_trains_as_if_frozen_layers_ran_in_every_step(
    tmp_path: Path, team: Team, uncached: Callable[[], None], part: Any
) -> None:
    save_language_model("llama", tmp_path / "llama")
    backbone = load_backbone(resolve_backbone(str(tmp_path / "llama")), tmp_path / "llama")
    head = load_pretrained_head(tmp_path / "llama", backbone.body)
    task = causal([" ".join(WORDS[place : place + 9]) for place in range(12)], backbone.tokenizer, tied=False)
    task = replace(task, pretraining=head.about)

    def make() -> tuple[Learner, Task]:
        return learner_of(Model(*copy.deepcopy((backbone.body, backbone.pooling, head))), task)

    assert_equal_without(make, Descending(part=part, layers=1), team, uncached)


@pytest.mark.parametrize("kind", ["sequence", "token"])
def test_a_frozen_body_runs_once_for_every_text_however_long_a_stage_is(make: Make, team: Team, kind: str) -> None:
    counts = []
    for epochs in (1, 5):
        learner, task = make("bert", kind)
        learner.training = Training(epochs=epochs, batch_size=4)
        passes = Passes(lowest(learner))
        train(learner, task, Freeze(), team)
        counts.append(passes.count)
    assert counts[0] == counts[1] > 0


def test_warm_head_freezes_whole_stages_like_freeze(make: Make, team: Team, uncached: Callable[[], None]) -> None:
    frozen_, task = make()
    warm, _ = make()
    assert train(frozen_, task, Freeze(), team) == train(warm, task, WarmHead(warmup=0), team)
    assert all(torch.equal(value, weights(warm)[name]) for name, value in weights(frozen_).items())
    kept = train(warm, task, WarmHead(warmup=1), team, index=1)
    uncached()
    assert kept == pytest.approx(train(frozen_, task, WarmHead(warmup=1), team, index=1), abs=1e-6)


@pytest.mark.parametrize(
    ("strategy", "served"),
    [
        (Freeze(), True),
        (Freeze(part="layers", layers=1), True),
        (Freeze(part="layers", layers=2), True),
        (Freeze(part="embeddings"), False),
        (Freeze(dropout=True), False),
        (Freeze(part="layers", layers=1, dropout=True), False),
        (WarmHead(warmup=0), True),
        (WarmHead(warmup=0, dropout=True), False),
        (WarmHead(warmup=0.5), False),
        (GradualUnfreezing(), False),
        (Naive(), False),
    ],
    ids=str,
)
def test_outputs_are_kept_where_layers_are_frozen_and_without_dropout(
    make: Make, team: Team, strategy: Strategy, served: bool
) -> None:
    learner, task = make()
    assert prepared(learner, task, strategy, team).served == ({task.name} if served else set())


def test_only_frozen_layers_are_without_dropout(make: Make) -> None:
    learner, task = make("gpt2")
    model = learner.model
    assert isinstance(model, Model)
    prepared(learner, task, Freeze(part="layers", layers=1), Team(Accelerator(cpu=True)))
    assert not any(module.training for module in (model.body, *model.stack()[0].modules(), model.body.drop))
    assert all(module.training for module in (*model.stack()[1].modules(), model.heads[task.head]))
    prepared(learner, task, Freeze(part="layers", layers=1, dropout=True), Team(Accelerator(cpu=True)))
    assert all(module.training for module in model.modules())


def test_with_dropout_in_the_frozen_part_every_step_draws_another_mask(make: Make, team: Team) -> None:
    (without, task), (with_it, _) = make(), make()
    first = train(without, task, Freeze(), team)[0]
    assert train(with_it, task, Freeze(dropout=True), team)[0] != pytest.approx(first, abs=1e-4)


def test_several_processes_and_too_many_states_run_the_layers_in_every_step(
    make: Make, team: Team, monkeypatch: pytest.MonkeyPatch
) -> None:
    learner, task = make("bert", "token")
    assert prepared(learner, task, Freeze(), member(team, 0, 2)).served == set()
    assert prepared(learner, task, Freeze(), member(team, 0, 1, accumulation=2)).served == {task.name}
    size = 4 * 32 * int(task.train.lengths.sum())
    monkeypatch.setattr(frozen, "DISK_BYTES", size)
    assert prepared(learner, task, Freeze(), team).served == {task.name}
    monkeypatch.setattr(frozen, "DISK_BYTES", size - 1)
    assert prepared(learner, task, Freeze(), team).served == set()


@pytest.mark.parametrize("kind", ["sequence", "span"])
def test_states_in_a_file_are_those_in_memory(
    make: Make, team: Team, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    (one, task), (other, _) = make("bert", kind), make("bert", kind)
    losses = train(one, task, Freeze(part="layers", layers=1), team)
    monkeypatch.setattr(frozen, "MEMORY_BYTES", 0)
    assert not prepared(other, task, Freeze(part="layers", layers=1), team).in_memory
    assert train(other, task, Freeze(part="layers", layers=1), team) == losses


def test_a_body_whose_layers_share_weights_is_not_cut_but_can_be_frozen_whole(
    make: Make, team: Team, uncached: Callable[[], None]
) -> None:
    body = albert()
    learner, task = make("bert", "token", body)
    part = prepared(learner, task, Freeze(part="layers", layers=1), team)
    assert part.cut is not None and part.cut.depth == 1 and part.served == set()
    learner, task = make("bert", "token", body)
    assert prepared(learner, task, Freeze(), team).served == {task.name}
    assert_equal_without(lambda: make("bert", "token", body), Descending(), team, uncached)


# What the kept states are not used for


def step(learner: Learner, task: Task, strategy: Strategy, team: Team) -> tuple[FrozenPart, TaskBatch]:
    part = prepared(learner, task, strategy, team)
    return part, part.collate(task, [3, 0, 5])


@pytest.mark.parametrize("strategy", [Freeze(), Freeze(part="layers", layers=1)], ids=str)
def test_other_weights_answer_for_themselves(make: Make, team: Team, strategy: Strategy) -> None:
    learner, task = make()
    _, batch = step(learner, task, strategy, team)
    learner.model.eval()
    bare = task.collate(task.train, [3, 0, 5])
    assert batch.frozen is not None and bare.frozen is None

    def logits(model: Learner, of: TaskBatch, weights: dict[str, Tensor] | None = None) -> Tensor:
        return model.rows(task, of, weights).logits.detach()

    torch.testing.assert_close(logits(learner, batch), logits(learner, bare), atol=1e-6, rtol=1e-6)
    others = {name: value.detach() + 0.3 for name, value in learner.body().items()}
    assert torch.equal(logits(learner, batch, others), logits(learner, bare, others))
    assert not torch.allclose(logits(learner, batch, others), logits(learner, batch), atol=1e-3)
    teacher = copy.deepcopy(learner)
    with torch.no_grad():
        for value in teacher.body().values():
            value.add_(0.3)
    assert torch.equal(logits(teacher, batch), logits(teacher, bare))
    with torch.no_grad():
        next(iter(learner.body().values())).add_(0.3)
    assert torch.equal(logits(learner, batch), logits(learner, bare))


def test_layers_that_begin_to_train_or_to_drop_run_again(make: Make, team: Team) -> None:
    learner, task = make()
    part, _ = step(learner, task, Freeze(), team)
    assert part.cut is not None and part.cut.holds()
    weight = next(iter(learner.body().values()))
    weight.requires_grad_(True)
    assert not part.cut.holds()
    weight.requires_grad_(False)
    assert part.cut.holds()
    learner.model.train()
    assert not part.cut.holds()


def test_what_is_made_of_a_batch_has_no_states(make: Make, team: Team) -> None:
    learner, task = make("bert", "token")
    _, batch = step(learner, task, Freeze(), team)
    moved = batch.to(torch.device("cpu"))
    assert moved.frozen is not None and batch.frozen is not None and moved.frozen.origin is batch.frozen.origin
    assert task.unlabelled(batch).frozen is None
    assert task.put_together(task.take_apart(batch)).frozen is None


@dataclass(frozen=True)
class Thawing(Freeze):
    """Moves a frozen weight in the middle of a stage."""

    name: ClassVar[str] = "thawing"
    hidden: bool = False

    def loss(self, learner: Learner, task: StrategyTask, batch: Batch) -> Tensor:
        learner.state["step"] = learner.state.get("step", 0) + 1
        if learner.state["step"] == 3:
            value = next(iter(learner.body().values()))
            if self.hidden:
                value.data.add_(0.5)
            else:
                with torch.no_grad():
                    value.add_(0.5)
        return super().loss(learner, task, batch)


def test_frozen_weights_that_move_are_noticed(make: Make, team: Team, uncached: Callable[[], None]) -> None:
    kept, task = make()
    losses = train(kept, task, Thawing(), team)
    with pytest.raises(RuntimeError, match=r"were changed through \.data"):
        train(make()[0], task, Thawing(hidden=True), team)
    uncached()
    assert losses == pytest.approx(train(make()[0], task, Thawing(), team), abs=1e-6)


@pytest.mark.parametrize("strategy", [Freeze(), Freeze(part="layers", layers=1), Thawing()], ids=str)
def test_a_stage_that_is_killed_after_any_step_ends_in_the_same_bits(
    make: Make, team: Team, tmp_path: Path, strategy: Strategy
) -> None:
    learner, task = make("bert", "span")
    losses, whole = train(learner, task, strategy, team), weights(learner)
    for kill in range(1, len(losses) + 1, 2):
        store = Store(tmp_path / str(kill), lambda _: None)
        stopping = iter([False] * (kill - 1) + [True])
        for stop in (stopping.__next__, lambda: False):
            again, _ = make("bert", "span")
            keeper = Keeper(store, "key", again.untrained, team, math.inf, stop)
            stage = make_stage(0, 0, 3, [task], again.training, team.device)
            try:
                found = train_stage(again, strategy, stage, [task], team, Resumed(), keeper)
            except Stopped:
                continue
            assert found.losses == losses
            assert all(torch.equal(value, weights(again)[name]) for name, value in whole.items())


class Resumed(Silent):
    """Does not mind steps that were done before."""

    def skip(self, examples: int) -> None:
        assert examples > 0
