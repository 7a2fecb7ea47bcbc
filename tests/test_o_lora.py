"""Orthogonal adapters: the penalty by hand and as autograd has it, and what the record says of them."""

from __future__ import annotations

import math

import pytest
import torch

from strategies.adapters import factors
from strategies.base import Training
from strategies.lora import LoRA
from strategies.naive import Naive
from strategies.o_lora import OLoRA
from tests.lab import OpenStudy, train, weights
from tests.small_problem import problem
from tests.test_adapters import EVERY, same, trained


def test_without_strength_o_lora_is_lora_on_merged_weights_bit_for_bit(open_tiny: OpenStudy) -> None:
    settings = {"rank": 3, "alpha": 5.0, "dropout": 0.2, "target": EVERY}
    plain = LoRA(mode="merge", **settings)  # type: ignore[arg-type]
    assert same(trained(OLoRA(lam=0, **settings), 3), trained(plain, 3))  # type: ignore[arg-type]
    study = open_tiny(["naive"], ["training.epochs=1"])
    expected, expected_losses = train(study, LoRA(mode="merge"), stages=3)
    learner, losses = train(study, OLoRA(lam=0), stages=3)
    assert losses.losses == expected_losses.losses
    assert all(torch.equal(value, weights(expected)[name]) for name, value in weights(learner).items())


@pytest.mark.parametrize("norm", ["absolute", "squared"])
def test_the_overlap_is_punished_as_the_formula_says(norm: str) -> None:
    made, strategy = problem(), OLoRA(lam=0.3, norm=norm, rank=2, target=EVERY)  # type: ignore[arg-type]
    learner = made.learner
    strategy.before_stage(learner, made.stage(0))
    assert strategy.penalty(learner) is None
    earlier = torch.tensor([[1.0, 0, 0], [0, 2, 0], [0, 1, 1]])  # of two stages, with ranks 1 and 2
    learner.state["directions"] = {"body": earlier}
    a, _ = factors(learner)["body"]
    a.data = torch.tensor([[1.0, -1, 0], [0, 3, 5]])
    # The products of rows are 1, 0; -2, 6; -1, 8.
    penalty = strategy.penalty(learner)
    assert penalty is not None
    assert penalty.item() == pytest.approx(0.3 * {"absolute": 18, "squared": 1 + 4 + 36 + 1 + 64}[norm])
    a.grad = torch.full_like(a, 0.25)
    strategy.before_step(learner)
    (written,) = torch.autograd.grad(penalty, [a])
    torch.testing.assert_close(a.grad, 0.25 + written)


@pytest.mark.parametrize("norm", ["absolute", "squared"])
def test_strength_makes_adapters_orthogonal_and_the_notes_say_how_much(norm: str) -> None:
    def overlap(lam: float) -> dict[str, float]:
        made = problem(training=Training(learning_rate=0.02))
        strategy = OLoRA(lam=lam, norm=norm, rank=1, target=EVERY)  # type: ignore[arg-type]
        made.train(strategy, 0)
        assert set(made.learner.notes) == {"a_norm"}
        made.train(strategy, 1, steps=60)
        return dict(made.learner.notes)

    free, held = overlap(0), overlap(20)
    assert free["overlap"] > 0.2 > 0.1 > held["overlap"]
    assert held["penalty"] < 0.2 * free["penalty"]
    assert held["a_norm"] > 0.05


def test_shrinking_satisfies_the_penalty_and_is_seen_through() -> None:
    strategy = OLoRA(rank=2, target=EVERY)

    def notes(scale: float) -> dict[str, float]:
        made = problem()
        made.learner.state["directions"] = {"body": torch.tensor([[1.0, 0, 0]])}
        strategy.before_stage(made.learner, made.stage(1))
        a, _ = factors(made.learner)["body"]
        a.data = scale * torch.tensor([[3.0, 4, 0], [0, 0, 2]])
        strategy.after_training(made.learner, made.stage(1))
        return made.learner.notes

    assert notes(1.0) == pytest.approx({"overlap": 0.3, "penalty": 3.0, "a_norm": math.sqrt(29)})
    assert notes(1e-3) == pytest.approx({"overlap": 0.3, "penalty": 3e-3, "a_norm": 1e-3 * math.sqrt(29)})


def test_all_earlier_rows_are_kept_and_only_those() -> None:
    made, strategy = problem(count=3), OLoRA(rank=2, target=EVERY)
    rows = []
    for index in range(3):
        made.train(strategy, index)
        rows.append(made.learner.state["directions"]["body"])
        assert made.learner.state_bytes() == 4 * (index + 1) * 2 * 3
    assert torch.equal(rows[2][:4], rows[1]) and torch.equal(rows[1][:2], rows[0])
    assert not torch.equal(rows[1][2:], rows[0])


def test_what_does_not_act_in_the_first_stage_is_left_out() -> None:
    first, second = problem().stage(0), problem().stage(1)
    weak, strong = OLoRA(lam=1, norm="squared"), OLoRA(lam=9)
    assert weak.fingerprint(first) == strong.fingerprint(first) != OLoRA(rank=3).fingerprint(first)
    assert weak.fingerprint(second) != strong.fingerprint(second)
    weak, strong = OLoRA(lam=1, norm="squared", target=EVERY), OLoRA(lam=9, target=EVERY)
    assert same(trained(weak, 1), trained(strong, 1))
    assert not same(trained(weak, 2), trained(strong, 2))
    for strategy in (LoRA(), OLoRA()):
        assert strategy.fingerprint_after(first) == strategy.fingerprint_prediction() == {}
    assert LoRA().fingerprint(first) == LoRA().fingerprint(second)


def test_the_rate_acts_and_is_that_of_the_adapters_alone(open_tiny: OpenStudy) -> None:
    made = problem(training=Training(learning_rate=0.1, head_learning_rate=0.5))
    strategy = OLoRA(rank=2, target=EVERY, rate=3.0)
    strategy.before_stage(made.learner, made.stage(0))
    adapters = {id(factor) for pair in factors(made.learner).values() for factor in pair}
    for optimizer, expected in ((strategy.optimizer(made.learner), 0.3), (Naive().optimizer(made.learner), 0.1)):
        rates: dict[bool, list[float]] = {True: [], False: []}
        for group in optimizer.param_groups:
            rates[bool(adapters.intersection(map(id, group["params"])))].append(group["lr"])
        assert rates[True] == pytest.approx([expected])
        assert rates[False] == [0.5]
    study = open_tiny(["naive"], ["training.epochs=1"])
    slow, _ = train(study, OLoRA(target=EVERY))
    fast, _ = train(study, OLoRA(target=EVERY, rate=2.0))
    assert any(not torch.equal(value, weights(slow)[name]) for name, value in weights(fast).items())
