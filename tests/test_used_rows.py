"""Word embeddings of tokens that no training text has are left alone, and nothing else changes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from benchmark import used_rows
from benchmark.registry import build_strategy, strategy_names
from benchmark.study import Study
from benchmark.used_rows import UsedRows, used_tokens
from strategies.base import Learner, Strategy
from strategies.naive import Naive
from tests.kill_harness import records
from tests.lab import OpenStudy, Ran, train, untrained, weights
from tests.test_checkpoints import position, stop

FROZEN = ("freeze", "lora", "o_lora", "bitfit")
"""Train no word embeddings."""
TABLE = "body.embeddings.word_embeddings.weight"


def table(learner: Learner) -> nn.Parameter:
    return dict(learner.model.named_parameters())[TABLE]


def stepper(study: Study, learner: Learner, optimizer: torch.optim.Optimizer | None = None) -> UsedRows:
    return UsedRows(optimizer or Naive().optimizer(learner), learner)


@pytest.fixture
def worth(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """So small a vocabulary is in use as a whole, nearly."""
    monkeypatch.setattr(used_rows, "WORTH", 1.0)
    return monkeypatch


def test_the_tokens_in_use_are_those_of_training_texts_and_padding(open_tiny: OpenStudy) -> None:
    study = open_tiny(["naive"])
    expected = {token for task in study.tasks for ids in task.train.features["input_ids"] for token in ids} | {0}
    assert used_tokens(study.tasks).tolist() == sorted(expected)
    assert len(expected) < len(table(untrained(study)))


@pytest.mark.parametrize("name", [name for name in strategy_names() if name not in FROZEN])
def test_every_strategy_trains_to_the_same_bits(open_tiny: OpenStudy, worth: pytest.MonkeyPatch, name: str) -> None:
    settings = {"lam": 0.5, "memory": 12, "examples": 8, "warmup": 1.5}
    strategy = build_strategy(name, {})
    strategy = type(strategy)(
        **vars(strategy) | {key: value for key, value in settings.items() if key in vars(strategy)}
    )
    study = open_tiny(["naive"], ["training.epochs=1", "train_examples=24"])
    found, losses = train(study, strategy, stages=3)
    worth.setattr(used_rows, "WORTH", 0.0)
    expected, expected_losses = train(study, strategy, stages=3)
    assert losses.losses == expected_losses.losses
    assert all(torch.equal(value, weights(expected)[part]) for part, value in weights(found).items())
    assert not torch.equal(table(found), table(untrained(study)))


def test_only_rows_in_use_have_moments(open_tiny: OpenStudy, worth: pytest.MonkeyPatch) -> None:
    study = open_tiny(["naive"])
    learner = untrained(study)
    made = stepper(study, learner)
    before = table(learner).detach().clone()
    for _ in range(2):
        loss = Naive().loss(learner, study.tasks[0], study.tasks[0].collate(study.tasks[0].train, [0, 1]))
        loss.backward()  # type: ignore[no-untyped-call]
        made.step()
        assert table(learner).grad is not None
        made.zero_grad()
        assert table(learner).grad is None
    used = used_tokens(study.tasks)
    shapes = {tuple(state["exp_avg"].shape) for state in made.optimizer.state.values()}
    assert (len(used), before.shape[1]) in shapes and tuple(before.shape) not in shapes
    moved = (table(learner) != before).any(dim=1).nonzero()[:, 0]
    assert len(moved) > 0 and set(moved.tolist()) <= set(used.tolist())


@dataclass(frozen=True)
class ToZero(Strategy):
    """Decays all weights through their gradients, also those that no text uses."""

    name: ClassVar[str] = "to_zero"

    def before_step(self, learner: Learner) -> None:
        for value in learner.trainable().values():
            if value.grad is not None:
                value.grad.add_(value.detach(), alpha=0.1)


def test_a_strategy_that_moves_other_rows_moves_them(open_tiny: OpenStudy, worth: pytest.MonkeyPatch) -> None:
    study = open_tiny(["naive"], ["training.epochs=1"])
    found, _ = train(study, ToZero())
    worth.setattr(used_rows, "WORTH", 0.0)
    expected, _ = train(study, ToZero())
    assert all(torch.equal(value, weights(expected)[part]) for part, value in weights(found).items())
    unused = [row for row in range(len(table(found))) if row not in set(used_tokens(study.tasks).tolist())]
    assert (table(found)[unused] != table(untrained(study))[unused]).any()


def test_all_rows_are_stepped_where_that_is_not_the_same(open_tiny: OpenStudy, worth: pytest.MonkeyPatch) -> None:
    study = open_tiny(["naive"])
    learner = untrained(study)
    assert stepper(study, learner).table is table(learner)
    decays = torch.optim.AdamW(learner.model.parameters(), weight_decay=0.1)
    other = torch.optim.SGD(learner.model.parameters(), lr=0.1)

    class Own(torch.optim.AdamW):
        pass

    for optimizer in (decays, other, Own(learner.model.parameters(), weight_decay=0)):
        assert stepper(study, learner, optimizer).table is None
        assert any(weight is table(learner) for group in optimizer.param_groups for weight in group["params"])
    heads = torch.optim.AdamW(learner.model.heads.parameters(), weight_decay=0)  # type: ignore[union-attr]
    assert stepper(study, learner, heads).table is None
    learner.model.heads[study.tasks[0].head].tied = table(learner)  # type: ignore[index, union-attr]
    assert stepper(study, learner).table is None
    worth.setattr(used_rows, "WORTH", 0.01)
    assert stepper(study, untrained(study)).table is None


def test_rows_that_a_strategy_moved_by_hand_are_stepped(open_tiny: OpenStudy, worth: pytest.MonkeyPatch) -> None:
    study = open_tiny(["naive"])
    learner = untrained(study)
    (other, *_) = [row for row in range(len(table(learner))) if row not in set(used_tokens(study.tasks).tolist())]
    with torch.no_grad():
        table(learner)[other] += 1
    assert stepper(study, learner).table is None


@dataclass(frozen=True)
class Told(Strategy):
    """Naive; takes down which rows it is told of."""

    name: ClassVar[str] = "told"

    def before_step(self, learner: Learner) -> None:
        learner.notes[f"step {len(learner.notes)}"] = sum(map(len, learner.in_use.values()))


def test_strategies_are_told_of_the_rows_while_a_stage_trains(open_tiny: OpenStudy, worth: pytest.MonkeyPatch) -> None:
    study = open_tiny(["naive"], ["training.epochs=1"])
    learner, losses = train(study, Told(), stages=1)
    used = len(used_tokens(study.tasks))
    assert list(learner.notes.values()) == [0] + [used] * (len(losses.losses) - 1)
    assert not learner.in_use
    worth.setattr(used_rows, "WORTH", 0.0)
    learner, _ = train(study, Told(), stages=1)
    assert set(learner.notes.values()) == {0}


def test_frozen_tables_are_left_out(open_tiny: OpenStudy, worth: pytest.MonkeyPatch) -> None:
    study = open_tiny(["naive"])
    learner = untrained(study)
    table(learner).requires_grad_(False)
    assert stepper(study, learner).table is None


@pytest.mark.parametrize("strategy", ["naive", "to_zero"])
def test_a_stage_that_was_killed_goes_on_with_the_rows_that_it_had(
    open_tiny: OpenStudy, worth: pytest.MonkeyPatch, tmp_path: Path, strategy: str
) -> None:
    if strategy == "to_zero":
        worth.setattr(Naive, "before_step", ToZero.before_step)
    study = open_tiny(["naive"], ["training.epochs=1", "train_examples=32"])
    Ran(study, tmp_path / "whole")
    at = []
    for times in (3, 4):
        stop(study, tmp_path / "killed", times)
        at.append(position(tmp_path / "killed"))
    rest = Ran(study, tmp_path / "killed", checkpoint_seconds=0)
    assert at == [3, 2] and rest.progress.skipped > 0
    assert records(tmp_path / "killed") == records(tmp_path / "whole")
    worth.setattr(used_rows, "WORTH", 0.0)
    Ran(study, tmp_path / "dense")
    assert records(tmp_path / "dense") == records(tmp_path / "whole")


def test_padding_that_has_a_gradient_is_among_the_rows(open_tiny: OpenStudy) -> None:
    tokens: Tensor = used_tokens(open_tiny(["naive"]).tasks)
    assert tokens[0] == 0 and tokens.dtype == torch.int64
