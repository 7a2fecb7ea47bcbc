"""Strategies that change how the body is trained or averaged: formulas by worked examples, what is frozen, resuming."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from torch import Tensor, nn

from benchmark.checkpoints import Keeper, Stopped
from benchmark.store import Store
from benchmark.team import Team
from strategies.base import Learner, Strategy, Training, snapshot
from strategies.bitfit import BitFit
from strategies.ema import EMA
from strategies.gradual_unfreezing import GradualUnfreezing
from strategies.layerwise_lr import LayerwiseLR, layers_above
from strategies.lwf import LwF
from strategies.mixout import Mixout
from strategies.naive import Naive
from strategies.recadam import RecAdam
from strategies.warm_head import WarmHead
from strategies.wise_ft import WiSEFT
from tests.deep_problem import bodies, deep, same, steps, trained, weights
from tests.small_problem import STEPS, Problem

FAMILY: list[Strategy] = [
    LwF(),
    RecAdam(gamma=2.0, k=1.0, t0=0.5),
    RecAdam(gamma=2.0, anneal="linear", t0=0.8),
    RecAdam(gamma=2.0, anneal="constant", weight=0.5),
    Mixout(p=0.5),
    Mixout(p=0.5, unit="weight"),
    WiSEFT(),
    WiSEFT(base="previous"),
    EMA(decay=0.5),
    EMA(decay=1.0),
    LayerwiseLR(),
    GradualUnfreezing(share=0.6),
    WarmHead(warmup=0.6),
    WarmHead(warmup=1.4),
    BitFit(speed=2.0),
]
NEUTRAL = [LwF, RecAdam, Mixout, WiSEFT, EMA, LayerwiseLR, GradualUnfreezing, WarmHead]


@pytest.mark.parametrize("kind", NEUTRAL)
def test_the_neutral_settings_are_naive_bit_for_bit_and_keep_nothing(kind: type[Strategy]) -> None:
    assert kind.neutral is not None and kind.neutral.equals == "naive"
    strategy = kind(**kind.neutral.settings)
    made = trained(strategy)
    assert same(weights(made), weights(trained(Naive())))
    assert made.learner.state == {}
    for index in range(3):
        assert strategy.fingerprint(made.stage(index)) == strategy.fingerprint_after(made.stage(index)) == {}


@pytest.mark.parametrize("kind", NEUTRAL)
def test_neutral_settings_share_checkpoints_with_naive(kind: type[Strategy]) -> None:
    assert kind.neutral is not None
    groups = []
    for strategy in (Naive(), kind(**kind.neutral.settings)):
        made = deep()
        strategy.before_stage(made.learner, made.stage(1))
        groups.append(strategy.optimizer(made.learner).state_dict()["param_groups"])
    assert groups[0] == groups[1]


@pytest.mark.parametrize("strategy", FAMILY, ids=str)
def test_other_settings_are_not_naive_and_a_stage_without_fingerprint_is(strategy: Strategy) -> None:
    naive, made = deep(), deep()
    differs = False
    for index in range(3):
        steps(naive, Naive(), index)
        steps(made, strategy, index)
        stage = made.stage(index)
        differs = differs or bool(strategy.fingerprint(stage) or strategy.fingerprint_after(stage))
        assert same(weights(made), weights(naive)) is not differs
        assert differs or made.learner.state == {}
    assert differs


@pytest.mark.parametrize("strategy", FAMILY, ids=str)
def test_a_stage_that_is_killed_after_any_step_ends_in_the_same_bits(strategy: Strategy, tmp_path: Path) -> None:
    whole = trained(strategy, stages=2)
    for kill in range(1, STEPS + 1):
        stopping = [True]

        def keeper(made: Problem, kill: int = kill, stopping: list[bool] = stopping) -> Keeper:
            store, team = Store(tmp_path / str(kill), lambda _: None), Team(Accelerator(cpu=True))
            left = iter([False] * (kill - 1) + [True])
            return Keeper(
                store, "key", made.learner.untrained, team, math.inf, lambda: stopping[0] and next(left, True)
            )

        made = trained(strategy, stages=1)
        with pytest.raises(Stopped):
            steps(made, strategy, 1, keeper(made))
        stopping[0] = False
        again = trained(strategy, stages=1)
        steps(again, strategy, 1, keeper(again))
        assert same(weights(again), weights(whole))
        assert {name: value for name, value in again.learner.state.items() if isinstance(value, (int, float))} == {
            name: value for name, value in whole.learner.state.items() if isinstance(value, (int, float))
        }


@pytest.mark.parametrize("strategy", [strategy for strategy in FAMILY if not isinstance(strategy, LwF)], ids=str)
def test_heads_of_other_tasks_keep_their_bits(strategy: Strategy) -> None:
    made = trained(strategy, stages=1)
    before = weights(made)
    steps(made, strategy, 1)
    after = weights(made)
    for task in ("task0", "task2"):
        assert all(torch.equal(before[name], after[name]) for name in made.learner.heads[task])
    assert not torch.equal(before["heads.task1.weight"], after["heads.task1.weight"])


# WiSE-FT


def test_wise_ft_ends_the_first_stage_between_pretrained_and_trained() -> None:
    naive, merged = trained(Naive(), stages=1), trained(WiSEFT(alpha=0.25), stages=1)
    for name, value in weights(merged).items():
        after = weights(naive)[name]
        if name.startswith("body."):
            torch.testing.assert_close(value, 0.75 * merged.learner.untrained[name] + 0.25 * after)
        else:
            assert torch.equal(value, after)


@pytest.mark.parametrize("base", ["pretrained", "previous"])
def test_wise_ft_goes_back_to_what_it_says(base: str) -> None:
    strategy = WiSEFT(alpha=0.5, base=base)  # type: ignore[arg-type]
    made = trained(strategy, stages=1)
    start = weights(made)
    naive = deep()
    naive.learner.model.load_state_dict(start)
    steps(naive, Naive(), 1)
    steps(made, strategy, 1)
    to = bodies(dict(made.learner.untrained)) if base == "pretrained" else bodies(start)
    for name, value in made.learner.body().items():
        torch.testing.assert_close(value.detach(), (to[name] + naive.learner.body()[name].detach()) / 2)


def test_wise_ft_with_nothing_of_the_way_left_puts_the_body_back() -> None:
    made = trained(WiSEFT(alpha=0.0))
    assert same(bodies(weights(made)), bodies(dict(made.learner.untrained)))


def test_alphas_share_the_first_training_and_the_last_stage_is_merged_too() -> None:
    made = deep()
    for alpha in (0.1, 0.9):
        assert all(WiSEFT(alpha=alpha).fingerprint(made.stage(index)) == {} for index in range(3))
        assert WiSEFT(alpha=alpha).fingerprint_after(made.stage(2)) == {
            "strategy": "wise_ft",
            "alpha": alpha,
            "base": "pretrained",
        }
    assert trained(WiSEFT()).learner.state == {}
    kept = [trained(WiSEFT(base="previous"), stages).learner for stages in (2, 3)]
    assert same(kept[0].state["previous"], kept[1].state["previous"])  # the last stage copies nothing


# Averages


@pytest.mark.parametrize(("decay", "counts"), [(0.5, [1, 2, 4, 8, 16]), (1.0, [1] * 5), (0.1, [1, 10, 100, 1e3, 1e4])])
def test_the_average_is_the_stated_mean_of_the_weights_after_each_step(decay: float, counts: list[float]) -> None:
    path: list[dict[str, Tensor]] = []
    made = deep()
    steps(made, Naive(), 0, seen=lambda step, learner: path.append(snapshot(learner.trainable())))
    averaged = trained(EMA(decay=decay), stages=1)
    for name, value in weights(averaged).items():
        if name in path[0]:
            mean = sum((count * then[name] for count, then in zip(counts, path, strict=True)), torch.zeros(()))
            torch.testing.assert_close(value, mean / sum(counts), rtol=1e-5, atol=1e-6)
    assert "heads.task0.weight" in path[0]
    assert averaged.learner.state == {}


# Rates of layers


def test_lower_layers_train_more_slowly_by_the_factor() -> None:
    made = deep(Training(learning_rate=0.08, head_learning_rate=0.5))
    before = weights(made)
    optimizer = LayerwiseLR(factor=2.0).optimizer(made.learner)
    for parameter in made.learner.model.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    rates = {"body.0": 0.02, "body.1": 0.04, "body.2": 0.08, "body.3": 0.08, "heads": 0.5}
    for name, value in weights(made).items():
        (rate,) = [rate for start, rate in rates.items() if name.startswith(start)]
        torch.testing.assert_close(before[name] - value, torch.full_like(value, rate), rtol=1e-4, atol=1e-6)


def test_layers_are_counted_from_the_top() -> None:
    assert layers_above({"embeddings": [], "layer 1": [], "layer 2": []}) == {
        "embeddings": 2,
        "layer 1": 1,
        "layer 2": 0,
    }
    assert layers_above({"all": []}) == {"all": 0}


# What is frozen


def moved(made: Problem, strategy: Strategy, index: int) -> list[set[str]]:
    """For each step the layers that moved in it; what has no gradient must have kept its bits."""
    found: list[set[str]] = []
    last = weights(made)

    def seen(step: int, learner: Learner) -> None:
        nonlocal last
        now = weights(made)
        changed = {name for name, value in now.items() if not torch.equal(value, last[name])}
        assert changed == {name for name, value in learner.model.named_parameters() if value.grad is not None}
        found.append({name.rpartition(".")[0] for name in changed})
        last = now

    steps(made, strategy, index, seen=seen)
    return found


@pytest.mark.parametrize("index", [0, 1])
def test_layers_join_from_the_top_down_at_equal_distances(index: int) -> None:
    head, top = {f"heads.task{index}"}, {"body.2", "body.3"}
    expected = [head, head | top, head | top | {"body.1"}, *[head | top | {"body.1", "body.0"}] * 2]
    made = deep()
    assert moved(made, GradualUnfreezing(share=0.6), index) == expected
    assert made.learner.state == {}


def test_the_optimizer_knows_layers_that_still_wait() -> None:
    made, strategy = deep(), GradualUnfreezing(share=0.6)
    strategy.before_stage(made.learner, made.stage(0))
    groups = strategy.optimizer(made.learner).param_groups
    assert sum(len(group["params"]) for group in groups) == len(list(made.learner.model.parameters()))


BODY = {f"body.{layer}" for layer in range(4)}


@pytest.mark.parametrize(
    ("warmup", "steps_of_body"),
    [(0.0, [0, 0, 0]), (0.6, [3, 0, 0]), (1.0, [5, 0, 0]), (1.4, [5, 2, 0]), (2.01, [5, 5, 0]), (3.0, [5, 5, 5])],
)
def test_the_body_trains_in_the_warm_up_and_then_keeps_its_bits(warmup: float, steps_of_body: list[int]) -> None:
    made, strategy = deep(), WarmHead(warmup=warmup)
    for index, count in enumerate(steps_of_body):
        head = {f"heads.task{index}"}
        assert moved(made, strategy, index) == [head | BODY] * count + [head] * (STEPS - count)
        assert made.learner.state == {}
        how = {} if count else {"dropout": False}  # of a stage in which the body drops anyhow it says nothing
        expected = {} if count == STEPS else {"strategy": "warm_head", "body_steps": count, **how}
        assert strategy.fingerprint(made.stage(index)) == expected


def test_a_body_that_is_frozen_from_the_start_is_not_the_optimizers() -> None:
    made, strategy = deep(), WarmHead(warmup=1.0)
    strategy.before_stage(made.learner, made.stage(1))
    assert not made.learner.body().keys() & made.learner.trainable().keys()


def test_bitfit_trains_biases_and_the_head_and_nothing_else() -> None:
    made = deep()
    before = weights(made)
    steps(made, BitFit(speed=1.0), 0)
    changed = {name for name, value in weights(made).items() if not torch.equal(value, before[name])}
    assert changed == {f"body.{layer}.bias" for layer in range(4)} | {"heads.task0.weight", "heads.task0.bias"}


def test_biases_train_faster_and_heads_do_not() -> None:
    made, strategy = deep(Training(learning_rate=1e-3, head_learning_rate=1e-2)), BitFit(speed=20.0)
    strategy.before_stage(made.learner, made.stage(0))
    assert [group["lr"] for group in strategy.optimizer(made.learner).param_groups] == [0.02, 0.01]


@pytest.fixture
def families() -> Iterator[tuple[nn.Module, nn.Module]]:
    """A tiny body with biases, and one without."""
    from transformers import BertConfig, BertModel, LlamaConfig, LlamaModel

    shape = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    yield BertModel(BertConfig(vocab_size=9, **shape)), LlamaModel(LlamaConfig(vocab_size=9, **shape))


def test_a_backbone_without_biases_is_refused(families: tuple[nn.Module, nn.Module]) -> None:
    BitFit().check(families[0], {}, [])
    with pytest.raises(ValueError, match="bitfit trains biases, but the backbone has none"):
        BitFit().check(families[1], {}, [])
    for body in families:
        Mixout().check(body, {}, [])
