"""Strategies that rehearse, on real tasks of every kind and a tiny transformer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from benchmark.loop import finish_stage, make_stage, train_stage
from benchmark.study import Study, open_study
from benchmark.suite import Overrides, load_suite
from benchmark.worker import new_learner
from strategies.base import Learner, Strategy, snapshot
from strategies.derpp import Derpp
from strategies.memory import draw, held_batches, replay_loss
from strategies.naive import Naive
from strategies.replay import Replay
from tests.lab import Ran, numbers
from tests.rehearsal import same
from tests.test_checkpoints import After

SUITE = """
description: all kinds of task
backbone: {backbone}
stream: [{stream}]
probes: []
max_length: 24
train_examples: 12
test_examples: 6
training: {{epochs: 1, batch_size: 4, learning_rate: 3e-3, head_learning_rate: 1e-2, weight_decay: 0.1}}
strategies:
  naive: {{}}
  replay: {{memory: 10, replay_batch: 3}}
  er_ace: {{memory: 10, replay_batch: 3}}
  derpp: {{memory: 10, replay_batch: 3}}
  agem: {{memory: 10, replay_batch: 3}}
  gem: {{memory: 10, replay_batch: 3}}
"""
FAMILY = ["replay", "er_ace", "derpp", "agem", "gem"]

Open = Callable[..., Study]


@pytest.fixture
def open_tiny(offline_catalogue: Path, backbone_folder: Path, tmp_path: Path) -> Open:
    path = tmp_path / "tiny.yaml"

    def opened(strategies: list[str], spans: bool = True) -> Study:
        stream = ["tiny_sentiment", "tiny_tags", *(["tiny_spans"] if spans else []), "tiny_pair"]
        path.write_text(SUITE.format(backbone=backbone_folder, stream=", ".join(stream)), encoding="utf-8")
        return open_study(load_suite(str(path), Overrides(strategies)), "cpu", lambda _: None)

    return opened


class Silent:
    def step(self, loss: float, examples: int) -> None:
        assert loss == loss

    def skip(self, examples: int) -> None:
        assert examples == 0


def train(study: Study, strategy: Strategy, stages: int) -> Learner:
    learner = new_learner(study, 0)
    for index in range(stages):
        tasks = [study.tasks[index]]
        stage = make_stage(0, index, len(study.tasks), tasks, learner.training, study.device)
        train_stage(learner, strategy, stage, tasks, study.team, Silent())
        if strategy.fingerprint_after(stage):
            finish_stage(learner, strategy, stage)
    return learner


@pytest.mark.parametrize("strategy", FAMILY)
def test_a_run_that_is_stopped_while_it_replays_every_kind_of_task_ends_in_the_same_bits(
    open_tiny: Open, tmp_path: Path, strategy: str
) -> None:
    study = open_tiny([strategy], spans=strategy != "er_ace")
    whole = Ran(study, tmp_path / "whole").by_strategy[strategy]
    # It asks after every step, training and filling: the first is after step 2 of stage 2, the second in stage 3.
    for times in (7, 4) if strategy == "er_ace" else (7, 4, 5):
        with pytest.raises(KeyboardInterrupt):
            Ran(study, tmp_path / "stopped", stop=After(times))
    rest = Ran(study, tmp_path / "stopped")
    assert rest.progress.skipped > 0
    assert numbers(rest.by_strategy[strategy]) == numbers(whole)
    assert whole.costs[-1].strategy_bytes > 0


def test_strategies_with_the_same_memory_share_what_fills_it(open_tiny: Open, tmp_path: Path) -> None:
    study = open_tiny(["naive", "replay", "er_ace", "derpp", "agem"], spans=False)
    Ran(study, tmp_path / "together")
    kept = list((tmp_path / "together" / "stages" / "nodes").iterdir())
    # Stage 1; its memory for replay and ER-ACE, for DER++, and for A-GEM, which is balanced; then all on their own.
    assert len(kept) == 1 + 3 + 5 * 2 + 4


@pytest.mark.parametrize("strategy", [Replay(memory=0), Replay(memory=9, weight=0), Derpp(memory=9, alpha=0, beta=0)])
def test_without_strength_a_transformer_trains_like_naive_bit_for_bit(open_tiny: Open, strategy: Strategy) -> None:
    study = open_tiny(["naive"])
    expected, found = (snapshot(dict(train(study, each, 3).model.named_parameters())) for each in (Naive(), strategy))
    assert same(found, expected)


def test_old_logits_of_every_kind_are_what_the_model_said_however_they_are_padded(open_tiny: Open) -> None:
    study = open_tiny(["derpp"])
    for index, task in enumerate(study.tasks):
        learner = new_learner(study, 0)
        learner.model.eval()
        with torch.no_grad():
            # Untrained heads say nearly nothing: so that there is something to compare.
            for name in learner.heads[task.head]:
                learner.model.get_parameter(name).mul_(100)
        stage = make_stage(0, index, 9, [task], learner.training, study.device)
        strategy = Derpp(memory=10, replay_batch=3, alpha=2.0, beta=0.0)
        finish_stage(learner, strategy, stage)
        other = study.tasks[index - 1]
        batch = other.collate(other.train, [0, 1])
        plain = Naive().loss(learner, other, batch)
        (part,) = held_batches(learner, task.name)
        assert sum(len(logits) for logits in part.beside["logits"]) > 10
        assert max(float(logits.abs().max()) for logits in part.beside["logits"]) < 1e4  # no place that is shut
        torch.testing.assert_close(strategy.loss(learner, other, batch), plain, atol=1e-6, rtol=1e-5)
        # One number off by d in a row of C moves the mean over N rows by d^2 / (C N): here all of them are.
        learner.state["memory"][task.name]["beside"]["logits"]["values"] += 0.5
        torch.testing.assert_close(strategy.loss(learner, other, batch), plain + 2.0 * 0.25, atol=1e-4, rtol=1e-4)
        learner.model.zero_grad()
        strategy.loss(learner, other, batch).backward()  # type: ignore[no-untyped-call]
        gradients = [value.grad for value in learner.model.parameters() if value.grad is not None]
        assert all(torch.isfinite(gradient).all() for gradient in gradients)


def test_words_do_not_outweigh_texts(open_tiny: Open) -> None:
    """Each drawn example counts as much as its task's mean: half of the loss is of the task with half of them."""
    learner = train(open_tiny(["replay"]), Replay(memory=8, policy="balanced"), 2)
    drawn = draw(learner, 99, "replay")
    assert [part.share for part in drawn] == [0.5, 0.5]
    parts = [replay_loss(learner, draw(learner, 99, "replay", [part.task.name])) for part in drawn]
    torch.testing.assert_close(replay_loss(learner, drawn), (parts[0] + parts[1]) / 2)
