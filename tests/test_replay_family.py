"""What the strategies that rehearse do with their memory, on a problem small enough to follow."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from strategies.agem import AGem
from strategies.base import Strategy, snapshot
from strategies.derpp import Derpp
from strategies.er_ace import ErAce
from strategies.gem import Gem
from strategies.memory import draw, held_batches, replay_loss
from strategies.naive import Naive
from strategies.replay import Replay
from tests.rehearsal import DECAY, begun, cross_entropy, loss_of, same, trained, weights, with_shared_head
from tests.small_problem import PointTask, Problem, problem

FAMILY: list[Callable[..., Any]] = [Replay, ErAce, Derpp, AGem, Gem]


def remembered_places(made: Problem, index: int) -> list[int]:
    (part,) = held_batches(made.learner, made.tasks[index].name)
    return [int(place) for place in part.batch.index]


@pytest.mark.parametrize(
    "strategy",
    [
        *(make(memory=0) for make in FAMILY),
        Replay(weight=0),
        Derpp(alpha=0, beta=0),
    ],
)
def test_without_memory_or_strength_it_is_naive_bit_for_bit(strategy: Strategy) -> None:
    for training in (None, DECAY):
        assert same(weights(trained(strategy, training=training)), weights(trained(Naive(), training=training)))


@pytest.mark.parametrize("make", FAMILY)
def test_the_declared_neutral_setting_is_the_empty_memory(make: Any) -> None:
    assert make.neutral.settings == {"memory": 0}
    assert make.neutral.equals == "naive"


@pytest.mark.parametrize("make", FAMILY)
def test_with_a_memory_the_first_stage_is_naive_and_the_second_is_not_and_repeats(make: Any) -> None:
    once, again, naive = (trained(each) for each in (make(), make(), Naive()))
    assert same(weights(trained(make(), stages=1)), weights(trained(Naive(), stages=1)))
    assert not same(snapshot(once.learner.body()), snapshot(naive.learner.body()))
    assert same(weights(once), weights(again))


@pytest.mark.parametrize("make", FAMILY)
def test_the_global_generator_changes_nothing_but_dropout(make: Any) -> None:
    made, other = begun(make(replay_batch=3), 2), begun(make(replay_batch=3), 2)
    first = loss_of(made, make(replay_batch=3), 2)
    torch.manual_seed(12345)
    assert torch.equal(first, loss_of(other, make(replay_batch=3), 2))


@pytest.mark.parametrize("make", FAMILY)
def test_fingerprints_hold_what_acts_and_no_more(make: Any) -> None:
    made = problem(3)
    first, second, last = (made.stage(index) for index in range(3))
    acts = {field.name for field in fields(make)} - {"memory", "policy"}
    assert make().fingerprint(first) == {}
    assert make().fingerprint(second).keys() == {"strategy", *acts}
    assert make().fingerprint_after(last) == make(memory=0).fingerprint_after(first) == {}
    if make is not Derpp:
        assert make(memory=7, policy="balanced").fingerprint_after(first) == {"memory": 7, "policy": "balanced"}


def test_who_shares_a_memory_leaves_the_same_state() -> None:
    made = [trained(make(memory=5, policy="reservoir"), stages=1) for make in FAMILY]
    states = [str(each.learner.state) for each in made]
    assert states[0] == states[1] == states[3] == states[4]
    after = [make(memory=5, policy="reservoir").fingerprint_after(made[0].stage(0)) for make in FAMILY]
    assert after[0] == after[1] == after[3] == after[4]
    assert after[2] != after[0]  # logits lie beside
    assert states[2] != states[0]


@pytest.mark.parametrize("make", FAMILY)
def test_what_is_remembered_does_not_depend_on_how_it_is_used(make: Any) -> None:
    made = trained(make(memory=6, replay_batch=2), stages=2)
    other = trained(make(memory=6, replay_batch=3), stages=2)
    for name, held in made.learner.state["memory"].items():
        assert str(held["examples"]) == str(other.learner.state["memory"][name]["examples"])
    assert sum(len(held["keys"]) for held in made.learner.state["memory"].values()) == 6


@pytest.mark.parametrize("make", FAMILY)
def test_nothing_is_remembered_of_the_last_stage(make: Any) -> None:
    assert trained(make()).learner.state["memory"].keys() == {"task0", "task1"}


def test_the_loss_of_replay_is_the_stated_formula() -> None:
    strategy = Replay(weight=0.3, replay_batch=99, memory=9, policy="balanced")
    made = begun(strategy, 2)
    kept = [remembered_places(made, index) for index in (0, 1)]
    assert [len(places) for places in kept] == [5, 4]
    memory = sum(len(places) / 9 * cross_entropy(made, index, places) for index, places in enumerate(kept))
    torch.testing.assert_close(loss_of(made, strategy, 2), cross_entropy(made, 2, list(range(12))) + 0.3 * memory)


@pytest.mark.parametrize("make", [Replay, ErAce, Derpp])
def test_parts_of_a_step_draw_the_same_and_the_next_step_does_not(make: Any) -> None:
    strategy = make(replay_batch=2, **({"beta": 1.0} if make is Derpp else {}))
    made = begun(strategy, 1)
    # Every part has every class, so that ER-ACE masks nothing.
    made.tasks[1] = replace(made.tasks[1], y=torch.arange(12) % 3)
    parts = [list(range(3)), list(range(3, 12))]
    shares = sum(len(part) / 12 * loss_of(made, strategy, 1, part) for part in parts)
    whole = loss_of(made, strategy, 1)
    torch.testing.assert_close(shares, whole)
    strategy.after_step(made.learner)
    assert not torch.equal(loss_of(made, strategy, 1), whole)


@pytest.mark.parametrize("make", [Replay, ErAce, Derpp])
def test_of_the_earlier_heads_only_those_drawn_move_even_with_weight_decay(make: Any) -> None:
    settings = {"alpha": 0.0} if make is Derpp else {}
    strategy = make(replay_batch=1, policy="balanced", **settings)
    made = trained(strategy, 2, training=DECAY)
    learner, task, stage = made.learner, made.tasks[2], made.stage(2)
    strategy.before_stage(learner, stage)
    optimizer = strategy.optimizer(learner)
    moved = []
    for _ in range(12):
        (drawn,) = draw(learner, 1, "replay")
        before = weights(made)
        optimizer.zero_grad()
        strategy.loss(learner, task, task.batch(range(12))).backward()
        optimizer.step()
        strategy.after_step(learner)
        heads = {
            name
            for name in ("task0", "task1")
            if not torch.equal(before[f"heads.{name}.weight"], weights(made)[f"heads.{name}.weight"])
        }
        assert heads == {drawn.task.name}
        moved.append(drawn.task.name)
    assert set(moved) == {"task0", "task1"}


@pytest.mark.parametrize("make", [AGem, Gem])
def test_projections_leave_earlier_heads_alone(make: Any) -> None:
    made = trained(make(), 2, training=DECAY)
    before = weights(made)
    made.train(make(), 2)
    for name in [*made.learner.heads["task0"], *made.learner.heads["task1"]]:
        assert torch.equal(before[name], weights(made)[name])


def test_new_examples_do_not_push_classes_down_that_they_do_not_have() -> None:
    made, strategy = with_shared_head(), ErAce(replay_batch=3)
    made.train(strategy, 0)
    made.learner.model.eval()
    task = made.tasks[1]
    places = [place for place in range(12) if task.y[place] != 2]
    assert {0, 1} == set(task.y[places].tolist())
    bias = dict(made.learner.model.named_parameters())["heads.task0.bias"]

    def pushed(loss: Tensor) -> Tensor:
        return torch.autograd.grad(loss, bias)[0]

    old = pushed(replay_loss(made.learner, draw(made.learner, 3, "replay")))
    new = pushed(strategy.loss(made.learner, task, task.batch(places))) - old
    assert float(new[2].abs()) < 1e-7
    assert float(new[:2].abs().min()) > 1e-3
    assert float(pushed(Replay(replay_batch=3).loss(made.learner, task, task.batch(places)))[2] - old[2]) > 1e-3
    logits = made.learner.rows(task, task.batch(places)).logits[:, :2]
    by_hand = nn.functional.cross_entropy(logits, task.y[places])
    torch.testing.assert_close(pushed(by_hand), new, rtol=1e-4, atol=1e-6)


def test_with_all_classes_in_the_batch_the_asymmetric_loss_is_that_of_replay() -> None:
    made = begun(ErAce(), 1)
    assert set(made.tasks[1].y.tolist()) == {0, 1, 2}
    assert torch.equal(loss_of(made, ErAce(), 1), loss_of(made, Replay(), 1))


def test_tasks_without_classes_are_refused_by_er_ace() -> None:
    class Places(PointTask):
        @property
        def classes(self) -> Any:
            return None

    made = problem()
    ErAce().check(made.learner.model, made.learner.layers, made.tasks)
    places = Places("spans", made.tasks[0].x, made.tasks[0].y)
    with pytest.raises(
        ValueError, match="^it masks classes, but task spans has none: its choices are places in a text$"
    ):
        ErAce().check(made.learner.model, made.learner.layers, [*made.tasks, places])


def test_without_logits_derpp_is_replay_bit_for_bit() -> None:
    dark = trained(Derpp(alpha=0, beta=0.7, replay_batch=4), training=DECAY)
    assert same(weights(dark), weights(trained(Replay(weight=0.7, replay_batch=4), training=DECAY)))


def test_the_loss_of_derpp_is_the_stated_formula() -> None:
    strategy = Derpp(alpha=0.3, beta=0.0, replay_batch=99, memory=9, policy="balanced")
    made = begun(strategy, 1)
    (part,) = held_batches(made.learner, "task0")
    at_end = made.learner.rows(part.task, part.batch).logits.detach()  # nothing was trained since
    torch.testing.assert_close(torch.stack(part.beside["logits"]), at_end)
    torch.testing.assert_close(loss_of(made, strategy, 1), loss_of(made, Naive(), 1))
    bias = dict(made.learner.model.named_parameters())["heads.task0.bias"]
    bias.data += torch.tensor([1.0, 0.0, -2.0])
    expected = cross_entropy(made, 1, list(range(12))) + 0.3 * (1 + 0 + 4) / 3
    torch.testing.assert_close(loss_of(made, strategy, 1), expected)


def test_the_two_terms_of_derpp_draw_independently() -> None:
    strategy = Derpp(alpha=1.0, beta=0.0, replay_batch=1)
    made = begun(strategy, 1)
    places = remembered_places(made, 0)
    shift = torch.arange(float(len(places))).repeat_interleave(3)
    made.learner.state["memory"]["task0"]["beside"]["logits"]["values"] += shift
    for _ in range(5):
        (drawn,) = draw(made.learner, 1, "logits")
        error = float((loss_of(made, strategy, 1) - loss_of(made, Naive(), 1)).detach())
        assert error == pytest.approx(places.index(int(drawn.batch.index)) ** 2, rel=1e-4, abs=1e-5)
        strategy.after_step(made.learner)


def test_logits_of_several_rows_an_example_are_kept_together() -> None:
    strategy = Derpp(memory=7, replay_batch=4)
    made = problem(2, rows_each=3)
    made.train(strategy, 0)
    made.learner.model.eval()
    (part,) = held_batches(made.learner, "task0")
    rows = made.learner.rows(part.task, part.batch)
    for example, logits in enumerate(part.beside["logits"]):
        torch.testing.assert_close(logits, rows.logits[rows.owner == example].flatten())
    made.tasks[1] = replace(made.tasks[1], rows_each=1)
    naive = loss_of(made, Naive(), 1)
    torch.testing.assert_close(loss_of(made, Derpp(alpha=9.0, beta=0, replay_batch=4), 1), naive)
