"""Losses that are read from a device now and then are those that would be read in every step."""

from __future__ import annotations

import math

import pytest
import torch

from benchmark import ledger
from benchmark.ledger import Diverged, Ledger
from strategies.naive import Naive
from tests.lab import OpenStudy, train, weights

CPU = torch.device("cpu")
ONE = torch.tensor(1.0)


def noted(values: list[float], every: int, monkeypatch: pytest.MonkeyPatch, done: list[float] | None = None) -> Ledger:
    monkeypatch.setattr(ledger, "READ_EVERY", {"cpu": every})
    made = Ledger(done or [], len(values), CPU)
    for value in values:
        made.note(torch.tensor(value), ONE)
    return made


@pytest.mark.parametrize("every", [1, 3, 100])
def test_what_is_read_does_not_depend_on_when(every: int, monkeypatch: pytest.MonkeyPatch) -> None:
    values = [0.5, 0.25, 4.0, 1.5, 2.0]
    made = noted(values, every, monkeypatch, done=[8.0])
    assert len(made) == 6
    assert list(made) == [8.0, *values]
    assert made[-1] == 2.0 and made[1:3] == [0.5, 0.25]
    assert made.read() == [8.0, *values]


def test_the_last_loss_that_was_read_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "READ_EVERY", {"cpu": 2})
    made = Ledger([], 4, CPU)
    told = [made.note(torch.tensor(value), ONE) for value in (1.0, 2.0, 3.0, 4.0)]
    assert math.isnan(told[0])
    assert told[1:] == [2.0, 2.0, 4.0]


@pytest.mark.parametrize("every", [1, 2, 50])
@pytest.mark.parametrize(("loss", "norm"), [(math.nan, 1.0), (math.inf, 1.0), (1.0, math.nan), (1.0, math.inf)])
def test_what_is_not_finite_is_an_error_of_its_own_step(
    every: int, loss: float, norm: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "READ_EVERY", {"cpu": every})
    made = Ledger([1.0], 9, CPU)
    with pytest.raises(Diverged, match=rf"^loss {loss:g}, gradient norm {norm:g} at step 3 of 9; lower the"):
        made.note(ONE, ONE)
        made.note(torch.tensor(loss), torch.tensor(norm))
        made.note(torch.tensor(math.nan), ONE)  # what follows from it
        made.read()


def test_a_stage_that_is_read_seldom_is_the_same_bit_for_bit(
    open_tiny: OpenStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = open_tiny(["naive"])
    expected, often = train(study, Naive())
    monkeypatch.setattr(ledger, "READ_EVERY", {"cpu": 5})
    learner, seldom = train(study, Naive())
    assert all(torch.equal(value, weights(expected)[name]) for name, value in weights(learner).items())
    assert seldom.losses[4] == often.losses[4] and len(seldom.losses) == len(often.losses)


def test_divergence_is_noticed_though_it_is_read_seldom(open_tiny: OpenStudy, monkeypatch: pytest.MonkeyPatch) -> None:
    study = open_tiny(["naive"], ["training.learning_rate=1e30"])
    with pytest.raises(Diverged) as each:
        train(study, Naive(), stages=1)
    monkeypatch.setattr(ledger, "READ_EVERY", {"cpu": 50})
    with pytest.raises(Diverged) as together:
        train(study, Naive(), stages=1)
    assert str(together.value) == str(each.value)
