"""Low-rank adapters: what is adapted, what moves, what is left when they are merged, how orthogonal they come out."""

from __future__ import annotations

import math
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from benchmark.backbone import Model, layer_names, load_backbone
from benchmark.backbones import resolve_backbone
from benchmark.loop import make_stage, select_trainable, train_stage
from benchmark.study import Study
from benchmark.worker import new_learner
from strategies.adapters import Target, attach, factors, matrices, merge
from strategies.base import Learner, Strategy, Training, snapshot
from strategies.freeze import Freeze
from strategies.lora import LoRA
from strategies.naive import Naive
from strategies.o_lora import OLoRA
from tests.kill_harness import records
from tests.lab import OpenStudy, Ran, Silent, run_all, train, weights
from tests.small_problem import STEPS, Problem, problem
from tests.test_checkpoints import position, stop
from tests.tiny_models import FAMILIES

EVERY: Target = "all-linear"
TARGETS: list[Target] = ["attention", EVERY]
MATRICES = {
    "bert": (4, 12),
    "tinybert": (4, 12),
    "distilbert": (4, 12),
    "roberta": (4, 12),
    "electra": (4, 13),
    "deberta": (4, 12),
    "modernbert": (2, 8),
    "gpt2": (2, 8),
    "neox": (2, 8),
    "llama": (4, 14),
}
"""Of two layers: queries and values, and all linear maps."""


def learner_of(folder: Path, seed: int = 0) -> Learner:
    """With two heads, the first of which trains."""
    backbone = load_backbone(resolve_backbone(str(folder)), folder)
    model = Model(backbone.body, backbone.pooling)
    for head in ("first", "second"):
        model.add_head(head, 3, seed)
    untrained = snapshot(dict(model.named_parameters()))
    learner = Learner(model.eval(), model.layers(), model.head_names(), {}, Training(), seed, untrained)
    select_trainable(learner, {"first"})
    return learner


def shape_of(learner: Learner) -> object:
    """All that attaching changes and merging must put back."""
    modules = [(name, type(module)) for name, module in learner.model.named_modules()]
    parameters = [(name, value.shape) for name, value in learner.model.named_parameters()]
    return modules, parameters, learner.layers


def embedded(learner: Learner) -> Tensor:
    assert isinstance(learner.model, Model)
    inputs = {"input_ids": torch.tensor([[5, 9, 7, 3]]), "attention_mask": torch.ones(1, 4, dtype=torch.int64)}
    with torch.no_grad():
        return learner.model.embed(inputs)


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("family", FAMILIES)
def test_an_adapter_of_any_family_starts_without_effect_and_merges_to_what_it_was(
    family_folders: dict[str, Path], family: str, target: Target
) -> None:
    learner = learner_of(family_folders[family])
    shape, output = shape_of(learner), embedded(learner)
    stage = problem().stage(0)
    attach(learner, stage, 3, 6.0, 0.0, target)
    adapted = factors(learner)
    assert len(adapted) == MATRICES[family][TARGETS.index(target)]
    assert not any(name.startswith("heads") for name in adapted)
    assert set(learner.trainable()) - set(learner.heads["first"]) == {
        f"{name}.lora_{factor}.default.weight" for name in adapted for factor in ("A", "B")
    }
    assert set(learner.body()) | {name for names in learner.heads.values() for name in names} == set(
        dict(learner.model.named_parameters())
    )
    assert torch.equal(embedded(learner), output)
    generator = torch.Generator().manual_seed(1)
    for _, b in adapted.values():
        b.data.normal_(generator=generator)
    attached = embedded(learner)
    assert not torch.allclose(attached, output, atol=1e-2)
    merge(learner)
    assert shape_of(learner) == shape
    assert set(learner.trainable()) == set(learner.heads["first"])
    torch.testing.assert_close(embedded(learner), attached, rtol=1e-4, atol=1e-4)
    for name, (a, b) in adapted.items():
        change = 2 * (b @ a).detach()  # 6 / 3
        merged, before = learner.body()[f"{name}.weight"].detach(), learner.untrained[f"{name}.weight"]
        torch.testing.assert_close(merged - before, change.T if family == "gpt2" else change, rtol=1e-4, atol=1e-5)
    changed = {name for name, value in weights(learner).items() if not torch.equal(value, learner.untrained[name])}
    assert changed == {f"{name}.weight" for name in adapted}


def test_adapters_are_drawn_from_seed_tasks_and_names_and_leave_the_global_generator_alone(
    family_folders: dict[str, Path],
) -> None:
    def drawn(seed: int, stage: int, global_seed: int) -> dict[str, Tensor]:
        learner, of_tasks = learner_of(family_folders["bert"], seed), problem().stage(stage)
        torch.manual_seed(global_seed)
        before = torch.get_rng_state()
        attach(learner, of_tasks, 4, 1.0, 0.5, EVERY)
        assert torch.equal(torch.get_rng_state(), before)
        return {name: a.detach() for name, (a, _) in factors(learner).items()}

    first = drawn(0, 0, 7)
    assert all(torch.equal(value, first[name]) for name, value in drawn(0, 0, 8).items())
    for other in (drawn(1, 0, 7), drawn(0, 1, 7)):
        assert not any(torch.equal(value, first[name]) for name, value in other.items())
    assert len({float(value[0, 0]) for value in first.values()}) == len(first)
    for value in first.values():
        bound = 1 / math.sqrt(value.shape[1])
        assert value.abs().max() <= bound and value.std() == pytest.approx(bound / math.sqrt(3), rel=0.25)


class Odd(nn.Module):
    """What must not be adapted: a subclass whose owner reads its weights, and a head with a name that ends alike."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2)
        self.query = nn.Linear(4, 4)
        self.my_query = nn.Linear(4, 4)
        self.heads = nn.ModuleDict({"query": nn.Linear(4, 4)})
        self.embedding = nn.Embedding(4, 4)


def test_only_plain_matrices_of_the_body_with_a_name_that_fits_are_adapted() -> None:
    body = Odd()
    names = [name for name, _ in body.named_parameters() if not name.startswith("heads")]
    assert list(matrices(body, names, "attention")) == ["query"]
    assert list(matrices(body, names, EVERY)) == ["query", "my_query"]
    assert list(matrices(body, ["my_query.weight", "my_query.bias"], EVERY)) == ["my_query"]
    learner = Learner(body, {"all": names}, {}, {}, Training(), 0, snapshot(dict(body.named_parameters())))
    attach(learner, problem().stage(0), 1, 1.0, 0.0, "attention")
    assert list(factors(learner)) == ["query"]


@pytest.mark.parametrize("strategy", [LoRA(), OLoRA()])
def test_a_backbone_without_such_matrices_is_refused_in_one_line(strategy: Strategy) -> None:
    body = problem().learner.model.get_submodule("body")
    layers = layer_names(body)
    with pytest.raises(ValueError, match=rf"^{strategy.name}.target is attention, but .*; all-linear may find others$"):
        strategy.check(body, layers, [])
    type(strategy)(target=EVERY).check(body, layers, [])  # type: ignore[call-arg]
    bare = nn.Embedding(3, 3)
    with pytest.raises(ValueError, match="is all-linear, but the backbone has no such matrices$"):
        type(strategy)(target=EVERY).check(bare, {"all": ["weight"]}, [])  # type: ignore[call-arg]


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_is_accepted(family_folders: dict[str, Path], family: str) -> None:
    body = load_backbone(resolve_backbone(str(family_folders[family])), family_folders[family]).body
    for target in TARGETS:
        LoRA(target=target).check(body, layer_names(body), [])


def trained(strategy: Strategy, stages: int = 2, count: int = 3, training: Training | None = None) -> Problem:
    made = problem(count=count, training=training)
    for index in range(stages):
        made.train(strategy, index)
    return made


def same(one: Problem, other: Problem) -> bool:
    ours, theirs = weights(one.learner), weights(other.learner)
    return ours.keys() == theirs.keys() and all(torch.equal(value, theirs[name]) for name, value in ours.items())


class Reference(nn.Module):
    """The small problem's model with the adapter written out."""

    def __init__(self, made: Problem, a: Tensor) -> None:
        super().__init__()
        self.model = deepcopy(made.learner.model).requires_grad_(False)
        self.a, self.b = nn.Parameter(a.clone()), nn.Parameter(torch.zeros(4, a.shape[0]))

    def matrix(self) -> Tensor:
        return (self.model.get_parameter("body.weight") + 1.5 * self.b @ self.a).detach()

    def merge(self, a: Tensor) -> None:
        self.model.get_parameter("body.weight").data = self.matrix()
        self.a, self.b = nn.Parameter(a.clone()), nn.Parameter(torch.zeros(4, a.shape[0]))

    def step(self, made: Problem, index: int, rate: float) -> None:
        body, head = self.model.get_submodule("body"), self.model.get_submodule(f"heads.task{index}")
        assert isinstance(body, nn.Linear) and isinstance(head, nn.Linear)
        head.requires_grad_(True)
        task = made.tasks[index]
        hidden = torch.tanh(task.x @ (body.weight + 1.5 * self.b @ self.a).T + body.bias)
        loss = nn.functional.cross_entropy(head(hidden), task.y)
        moving = [self.a, self.b, head.weight, head.bias]
        for value, gradient in zip(moving, torch.autograd.grad(loss, moving), strict=True):
            value.data -= rate * gradient
        head.requires_grad_(False)


class Descending(LoRA):
    """With plain gradient descent, so that the steps can be written down, and no dropout in the model."""

    def optimizer(self, learner: Learner) -> torch.optim.Optimizer:
        return torch.optim.SGD(list(learner.trainable().values()), lr=0.3)


@pytest.mark.parametrize("mode", ["continue", "merge"])
def test_two_stages_equal_those_written_out_by_hand(mode: str) -> None:
    made, strategy = problem(), Descending(rank=2, alpha=3.0, target=EVERY, mode=mode)  # type: ignore[arg-type]
    made.learner.model.get_submodule("dropout").p = 0.0  # type: ignore[assignment]
    a = _first_a(0)
    reference = Reference(made, a)
    for index in range(2):
        if index and mode == "merge":
            reference.merge(_first_a(1))
        made.train(strategy, index)
        for _ in range(STEPS):
            reference.step(made, index, 0.3)
        found = weights(made.learner)
        torch.testing.assert_close(found["body.weight"], reference.matrix(), rtol=1e-5, atol=1e-6)
        assert torch.equal(found["body.bias"], made.learner.untrained["body.bias"])
        for part in ("weight", "bias"):
            name = f"heads.task{index}.{part}"
            torch.testing.assert_close(found[name], reference.model.get_parameter(name).detach(), rtol=1e-5, atol=1e-6)


def _first_a(index: int) -> Tensor:
    made = problem()
    attach(made.learner, made.stage(index), 2, 3.0, 0.0, EVERY)
    return factors(made.learner)["body"][0].detach()


def change_of(made: Problem) -> Tensor:
    return made.learner.body()["body.weight"].detach() - made.learner.untrained["body.weight"]


def test_one_adapter_changes_no_more_dimensions_than_its_rank_and_fresh_ones_add_up() -> None:
    for stages in (1, 3):
        assert torch.linalg.matrix_rank(change_of(trained(LoRA(rank=1, target=EVERY), stages)), rtol=1e-4) == 1
    merging = LoRA(rank=1, target=EVERY, mode="merge")
    assert torch.linalg.matrix_rank(change_of(trained(merging, 1)), rtol=1e-4) == 1
    assert torch.linalg.matrix_rank(change_of(trained(merging, 2)), rtol=1e-4) == 2


def test_an_adapter_that_goes_on_leaves_no_roundings_behind() -> None:
    made = trained(LoRA(rank=2, alpha=3.0, target=EVERY), 3)
    kept = made.learner.state["adapter"]["body"]
    exact = made.learner.untrained["body.weight"] + (kept["B"] @ kept["A"]) * 1.5
    assert torch.equal(made.learner.body()["body.weight"], exact)
    assert made.learner.state_bytes() == 4 * (2 * 3 + 4 * 2)


def test_fresh_adapters_keep_nothing() -> None:
    assert trained(LoRA(target=EVERY, mode="merge")).learner.state == {}


@pytest.mark.parametrize("mode", ["continue", "merge"])
def test_a_scale_of_0_is_a_frozen_backbone_bit_for_bit(open_tiny: OpenStudy, mode: str) -> None:
    strategy = LoRA(alpha=0, dropout=0.5, mode=mode, target=EVERY)  # type: ignore[arg-type]
    assert same(trained(strategy, 3), trained(Freeze(dropout=True), 3))
    study = open_tiny(["naive"], ["training.epochs=1"])
    expected, expected_losses = train(study, Freeze(dropout=True))
    learner, losses = train(study, strategy)
    assert losses.losses == expected_losses.losses
    assert all(torch.equal(value, weights(expected)[name]) for name, value in weights(learner).items())


@pytest.mark.parametrize(
    "change", [{"rank": 2}, {"alpha": 4.0}, {"dropout": 0.5}, {"mode": "merge"}, {"target": "attention"}, {"rate": 2.0}]
)
def test_every_setting_acts(open_tiny: OpenStudy, change: dict[str, object]) -> None:
    study = open_tiny(["naive"], ["training.epochs=1"])
    plain, _ = train(study, LoRA(target=EVERY))
    other, _ = train(study, LoRA(**({"target": EVERY} | change)))  # type: ignore[arg-type]
    assert any(not torch.equal(value, weights(plain)[name]) for name, value in weights(other).items())


ADAPTERS: dict[str, Strategy] = {
    "one that goes on": LoRA(rank=2, alpha=16.0, dropout=0.1),
    "fresh ones": LoRA(rank=2, alpha=16.0, mode="merge", target=EVERY),
    "orthogonal ones": OLoRA(rank=2, alpha=16.0),
}


@pytest.mark.parametrize("name", ADAPTERS)
def test_all_kinds_of_task_train_and_all_but_matrices_and_heads_keeps_its_bits(open_tiny: OpenStudy, name: str) -> None:
    study, strategy = open_tiny(["naive"], ["training.epochs=1"]), ADAPTERS[name]
    learner = new_learner(study, 0)
    shape = shape_of(learner)
    target = matrices(learner.model, learner.body(), strategy.target)  # type: ignore[attr-defined]
    for index, task in enumerate(study.tasks):
        before = weights(learner)
        train_on(study, learner, strategy, index)
        assert shape_of(learner) == shape
        assert not learner.model.training
        moved = {name for name, value in weights(learner).items() if not torch.equal(value, before[name])}
        assert moved == {f"{name}.weight" for name in target} | set(learner.heads[task.head])
        assert set(learner.trainable()) == set(learner.heads[task.head])


def train_on(study: Study, learner: Learner, strategy: Strategy, index: int) -> None:
    tasks = [study.tasks[index]]
    stage = make_stage(learner.seed, index, len(study.tasks), tasks, learner.training, study.device)
    train_stage(learner, strategy, stage, tasks, study.team, Silent())


@pytest.mark.parametrize("name", ADAPTERS)
def test_a_run_that_is_killed_in_the_middle_of_stages_equals_one_that_is_not(
    open_tiny: OpenStudy, tmp_path: Path, name: str
) -> None:
    strategy = ADAPTERS[name]
    changes = [f"{strategy.name}.{field}={value}" for field, value in vars(strategy).items()]
    study = open_tiny([strategy.name], ["training.epochs=1", "train_examples=32", *changes])
    whole = Ran(study, tmp_path / "whole")
    assert records(tmp_path / "whole")
    at = []
    for times in (3, 4):
        stop(study, tmp_path / "killed", times)
        at.append(position(tmp_path / "killed"))
    rest = Ran(study, tmp_path / "killed", checkpoint_seconds=0)
    assert at == [3, 2] and rest.progress.skipped > 0
    assert records(tmp_path / "killed") == records(tmp_path / "whole")
    assert whole.runs[0].failure is None


def test_the_record_counts_what_trains_and_what_is_kept(open_tiny: OpenStudy, tmp_path: Path) -> None:
    study = open_tiny(["lora", "o_lora"], ["training.epochs=1", "lora.rank=2", "o_lora.rank=2"])
    runs = run_all(study, tmp_path / "runs")
    adapter, head = 4 * (2 * 32 + 32 * 2), 2 * 32 + 2
    assert [runs[name].costs[0].trainable_parameters for name in ("lora", "o_lora")] == [adapter + head] * 2
    assert [cost.strategy_bytes for cost in runs["lora"].costs] == [4 * adapter] * 4
    assert [cost.strategy_bytes for cost in runs["o_lora"].costs] == [4 * 4 * 2 * 32 * (1 + t) for t in range(4)]
    assert runs["lora"].drift[4]["embeddings"] == 0 < runs["lora"].drift[4]["layer 1"]


@pytest.mark.parametrize("strategy", ADAPTERS.values(), ids=ADAPTERS)
def test_nothing_is_remembered_but_in_the_state(strategy: Strategy) -> None:
    before = dict(vars(strategy))
    trained(type(strategy)(**before | {"target": EVERY}))
    assert vars(strategy) == before
    assert not same(trained(type(strategy)(**before | {"target": EVERY})), trained(Naive()))
