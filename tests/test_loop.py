"""The training loop and the engine on a tiny real transformer."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from accelerate.state import AcceleratorState
from torch import Tensor

from benchmark.ledger import Diverged
from benchmark.loop import evaluate, rate_factor
from benchmark.measuring import measure, relative_distance
from benchmark.study import Study, open_study
from benchmark.suite import Overrides, load_suite
from strategies.base import Batch, Learner, Stage, Strategy, Task, snapshot
from strategies.ewc import EWC
from strategies.freeze import Freeze
from strategies.l2_anchor import L2Anchor
from strategies.naive import Naive
from tests.lab import SUITE, OpenStudy, Ran, run_all, train, untrained, weights


@dataclass(frozen=True)
class Recorder(Strategy):
    """Notes every hook it is called through, and draws from the global generator to disturb it."""

    name: ClassVar[str] = "recorder"
    calls: list[str] = field(default_factory=list)
    seen: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)
    noise: bool = False

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        self.calls.append("before_stage")

    def optimizer(self, learner: Learner) -> torch.optim.Optimizer:
        self.calls.append("optimizer")
        return super().optimizer(learner)

    def loss(self, learner: Learner, task: Task, batch: Batch) -> Tensor:
        assert learner.model.training
        self.calls.append("loss")
        self.seen.append((task.name, tuple(batch.index.tolist())))
        return super().loss(learner, task, batch)

    def before_step(self, learner: Learner) -> None:
        self.calls.append("before_step")
        if self.noise:
            torch.rand(7)
            for parameter in learner.trainable().values():
                if parameter.grad is not None:
                    parameter.grad.mul_(1e6)

    def after_step(self, learner: Learner) -> None:
        norms = [value.grad.norm() for value in learner.trainable().values() if value.grad is not None]
        assert torch.stack(norms).norm() <= learner.training.max_grad_norm * 1.001
        self.calls.append("after_step")

    def after_stage(self, learner: Learner, stage: Stage) -> None:
        assert not learner.model.training
        self.calls.append("after_stage")


def test_hooks_come_in_the_documented_order(open_tiny: OpenStudy) -> None:
    recorder = Recorder()
    train(open_tiny(["naive"]), recorder, stages=1)
    step = ["loss", "before_step", "after_step"]
    assert recorder.calls == ["before_stage", "optimizer", *step * 12, "after_stage"]


def test_every_example_is_seen_once_an_epoch_and_no_strategy_shifts_the_order(open_tiny: OpenStudy) -> None:
    study = open_tiny(["naive"])
    calm, noisy = Recorder(), Recorder(noise=True)
    train(study, calm)
    train(study, noisy)
    assert calm.seen == noisy.seen
    first = [index for name, indices in calm.seen for index in indices if name == "tiny_sentiment"]
    assert sorted(first) == sorted(list(range(48)) * 2)
    assert first[:48] != first[48:]


@pytest.mark.parametrize("strategy", [L2Anchor(lam=0), EWC(lam=0, examples=8), EWC(lam=0, fisher="exact", examples=4)])
def test_without_strength_a_transformer_trains_like_naive_bit_for_bit(open_tiny: OpenStudy, strategy: Strategy) -> None:
    study = open_tiny(["naive"])
    expected, expected_losses = train(study, Naive(), stages=3)
    learner, losses = train(study, strategy, stages=3)
    assert losses.losses == expected_losses.losses
    assert all(torch.equal(value, weights(expected)[name]) for name, value in weights(learner).items())


def test_frozen_layers_keep_their_bits_and_the_rest_moves(open_tiny: OpenStudy) -> None:
    study = open_tiny(["naive"])
    learner, _ = train(study, Freeze(part="layers", layers=1))
    before = {f"body.{name}": value for name, value in study.backbone.body.named_parameters()}
    for layer, names in learner.layers.items():
        moved = relative_distance(learner.body(), before, names)
        assert (moved == 0) is (layer in {"embeddings", "layer 1"})


def test_heads_of_untrained_tasks_keep_their_bits(open_tiny: OpenStudy) -> None:
    study = open_tiny(["naive"])
    learner, _ = train(study, Naive(), stages=1)
    fresh = weights(untrained(study))
    for head, names in learner.heads.items():
        same = all(torch.equal(weights(learner)[name], fresh[name]) for name in names)
        assert same is (head != "tiny_sentiment")


def test_the_backbone_itself_is_never_trained(open_tiny: OpenStudy) -> None:
    study = open_tiny(["naive"])
    before = snapshot(dict(study.backbone.body.named_parameters()))
    train(study, Naive())
    assert all(torch.equal(value, before[name]) for name, value in study.backbone.body.named_parameters())


def test_a_loss_that_is_not_finite_is_an_error_that_says_where(open_tiny: OpenStudy) -> None:
    study = open_tiny(["naive"], ["training.learning_rate=1e30"])
    with pytest.raises(Diverged, match=r"loss .* at step \d+ of 12; lower the learning rate"):
        train(study, Naive(), stages=1)


def test_a_batch_of_one_example_trains(open_tiny: OpenStudy) -> None:
    _, watch = train(open_tiny(["naive"], ["training.batch_size=1", "training.epochs=1"]), Naive(), stages=4)
    assert len(watch.losses) == 48 + 40 + 40 + len(open_tiny().tasks[3].train.features)


def test_evaluation_does_not_depend_on_how_it_is_batched(open_tiny: OpenStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    study = open_tiny(["naive"])
    learner, _ = train(study, Naive(), stages=4)
    together = [evaluate(learner, Naive(), task, study.team) for task in study.tasks]
    monkeypatch.setattr("benchmark.loop.EVALUATION_TOKENS", {"cpu": 1})
    assert [evaluate(learner, Naive(), task, study.team) for task in study.tasks] == together


def test_every_kind_of_task_is_learned_and_the_first_are_forgotten(open_tiny: OpenStudy, tmp_path: Path) -> None:
    study = open_tiny(["naive"], ["training.learning_rate=1e-2", "training.epochs=10"])
    naive = run_all(study, tmp_path / "runs")["naive"]
    assert naive.learned_at == [1, 2, 3, 4]
    for position, row in enumerate(naive.learned_at):
        assert row is not None
        assert naive.scores[row][position] > naive.scores[0][position] + 0.2
    assert naive.scores[4][0] < naive.scores[1][0] - 0.2


def test_every_strategy_fills_its_record(open_tiny: OpenStudy, tmp_path: Path) -> None:
    study = open_tiny(settings=["training.epochs=1"])
    runs = run_all(study, tmp_path / "runs")
    naive = runs["naive"]
    assert runs["joint"].stages == [["tiny_sentiment", "tiny_pair", "tiny_tags", "tiny_spans"]]
    assert {run.strategy: len(run.scores) for run in runs.values()} == {
        "naive": 5,
        "l2_anchor": 5,
        "ewc": 5,
        "freeze": 5,
        "joint": 2,
    }
    for run in runs.values():
        assert run.scores[0] == naive.scores[0]
        assert run.probes[0] == naive.probes[0]
        assert set(run.drift[0].values()) == {0.0}
        assert list(run.drift[0]) == ["embeddings", "layer 1", "layer 2"]
    for same in ("l2_anchor", "ewc"):  # both with strength 0
        assert runs[same].scores == naive.scores
        assert runs[same].drift == naive.drift
        assert runs[same].probes == naive.probes
    assert naive.drift[4]["layer 1"] > 0
    assert runs["freeze"].drift[4]["layer 1"] == 0
    body = sum(value.numel() for value in study.backbone.body.parameters())
    assert naive.parameters == body
    assert naive.costs[0].trainable_parameters == body + 2 * 32 + 2
    assert naive.costs[0].strategy_bytes == 0
    assert runs["l2_anchor"].costs[0].strategy_bytes == 4 * body
    assert runs["ewc"].costs[0].strategy_bytes == 2 * 4 * (body + 2 * 32 + 2)
    assert sum(cost.steps for cost in naive.costs) == runs["joint"].costs[0].steps
    assert naive.costs[0].trained_tokens == int(study.tasks[0].train.lengths.sum())


def test_row_0_is_measured_once_a_seed(open_tiny: OpenStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[float] = []

    def counting(study: Study, learner: Learner, strategy: Strategy, refit: list[str]) -> Any:
        row = measure(study, learner, strategy, refit)
        measured.append(row["drift"]["layer 1"])
        return row

    monkeypatch.setattr("benchmark.worker.measure", counting)
    run_all(open_tiny(["naive", "joint"], ["training.epochs=1"]), tmp_path / "runs")
    assert [drift > 0 for drift in measured] == [False, True, True, True, True, True]


def test_no_run_depends_on_what_ran_before_it(open_tiny: OpenStudy, tmp_path: Path) -> None:
    together = run_all(open_tiny(["naive", "freeze"]), tmp_path / "together" / "runs")
    alone = run_all(open_tiny(["freeze"]), tmp_path / "alone" / "runs")
    assert together["freeze"].scores == alone["freeze"].scores
    assert together["freeze"].metrics == alone["freeze"].metrics
    assert together["freeze"].drift == alone["freeze"].drift


def test_as_many_examples_are_announced_as_are_trained_on(open_tiny: OpenStudy, tmp_path: Path) -> None:
    progress = Ran(open_tiny(["naive", "ewc", "joint"]), tmp_path / "runs").progress
    assert progress.done == progress.total


def test_relative_distance_is_the_norm_of_the_move_over_the_norm_before() -> None:
    before = {"a": torch.tensor([3.0, 0.0]), "b": torch.tensor([4.0])}
    now = {"a": torch.tensor([3.0, 3.0]), "b": torch.tensor([8.0])}
    assert relative_distance(now, before, ["a", "b"]) == 1.0
    assert relative_distance(before, before, ["a"]) == 0.0
    assert relative_distance(now, {"a": torch.zeros(2)}, ["a"]) == 0.0


def test_dropout_masks_do_not_depend_on_what_a_strategy_draws(open_tiny: OpenStudy) -> None:
    study = open_tiny(["naive"])
    _, calm = train(study, Recorder())
    _, drawing = train(study, Drawing())
    assert calm.losses == drawing.losses


@dataclass(frozen=True)
class Drawing(Strategy):
    """Naive, but for drawing from the global generator wherever it can."""

    name: ClassVar[str] = "drawing"

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        torch.rand(3)

    def before_step(self, learner: Learner) -> None:
        torch.rand(7)


@pytest.mark.parametrize(
    ("steps", "warmup"), [(1, 0.1), (1, 1.0), (2, 0.5), (20, 0.0), (20, 0.1), (20, 0.33), (20, 1.0)]
)
def test_the_learning_rate_rises_to_its_peak_and_falls_and_is_never_0(steps: int, warmup: float) -> None:
    factors = [rate_factor(step, steps, warmup) for step in range(steps)]
    assert max(factors) == 1
    assert min(factors) > 0
    peak = factors.index(1)
    assert factors[: peak + 1] == sorted(factors[: peak + 1])
    assert factors[peak:] == sorted(factors[peak:], reverse=True)


def test_the_learning_rates_of_ten_steps_are_those_worked_out_by_hand() -> None:
    assert [rate_factor(step, 10, 0.2) for step in range(10)] == [
        0.5,
        1,
        1,
        7 / 8,
        6 / 8,
        5 / 8,
        4 / 8,
        3 / 8,
        2 / 8,
        1 / 8,
    ]


def test_a_stage_of_one_step_trains(open_tiny: OpenStudy) -> None:
    study = open_tiny(["naive"], ["training.batch_size=64", "training.epochs=1"])
    learner, watch = train(study, Naive(), stages=1)
    assert len(watch.losses) == 1
    before = {f"body.{name}": value for name, value in study.backbone.body.named_parameters()}
    assert relative_distance(learner.body(), before, learner.layers["layer 1"]) > 0


def test_half_precision_trains_and_measures(
    open_tiny: OpenStudy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = run_all(open_tiny(["ewc"], ["training.epochs=1", "ewc.lam=10"]), tmp_path / "full")["ewc"]
    AcceleratorState._reset_state(True)  # accelerate allows one precision a process
    try:
        study = open_tiny(["ewc"], ["training.epochs=1", "ewc.lam=10", "precision=bf16"])
        half = run_all(study, tmp_path / "half")["ewc"]
    finally:
        AcceleratorState._reset_state(True)
    assert half.provenance.precision == "bf16"
    assert half.scores[0] == full.scores[0]  # measured in 32 bits
    assert half.drift[4] != full.drift[4]
    assert half.drift[4]["layer 1"] == pytest.approx(full.drift[4]["layer 1"], rel=0.2)


def test_labels_that_a_limit_leaves_without_training_are_said_and_recorded(
    offline_catalogue: Path, backbone_folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(SUITE.format(backbone=backbone_folder), encoding="utf-8")
    said: list[str] = []
    study = open_study(load_suite(str(path), Overrides(["naive"], limit=1)), "cpu", said.append)
    left = study.task_infos()[0].untrained_labels
    assert left in (["bad"], ["good"])
    assert f"tiny_sentiment: no training example of 1 of 2 labels: {left[0]}" in said
