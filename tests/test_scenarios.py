"""Scenarios are properties of the stream: heads, open classes, and what predicting is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor, nn

from benchmark.errors import UserError
from benchmark.growing import ClosedRows, GrowingHead, open_classes
from benchmark.loop import evaluate, finish_stage, make_stage, select_trainable, train_stage
from benchmark.registry import shipped_names
from benchmark.stages import path
from benchmark.study import Study
from benchmark.team import Team
from benchmark.worker import new_learner
from results.record import Run
from strategies.base import Learner, Strategy
from strategies.base import Task as StrategyTask
from strategies.derpp import Derpp
from strategies.ewc import EWC
from strategies.lwf import LwF
from strategies.mas import MAS
from strategies.memory import draw
from strategies.naive import Naive
from strategies.rwalk import RWalk
from strategies.si import SI
from tasks.base import Rows, Task
from tasks.prepare import Sizes, prepare, untrained_labels
from tasks.sources.base import Row
from tests.classes import CLASSES, DOMAINS, TYPES, open_classes_study, publish_tasks
from tests.conftest import make_spec
from tests.lab import Ran, Silent, numbers
from tests.test_checkpoints import After
from tests.tiny_models import NOWHERE

Open = Callable[..., Study]


@pytest.fixture
def open_study_of(tmp_path: Path, backbone_folder: Path, specs: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    made = [*publish_tasks(tmp_path / "cache"), *specs.values()]
    monkeypatch.setenv("RETAIN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RETAIN_OFFLINE", "1")
    monkeypatch.setattr("benchmark.suite.TASKS", tuple(made))
    yield lambda *given, **more: open_classes_study(backbone_folder, tmp_path, *given, **more)


def train(study: Study, strategy: Strategy, stages: int, learner: Learner | None = None, first: int = 0) -> Learner:
    """The first stages of a run as a worker does them, without measuring."""
    learner = learner or new_learner(study, 0)
    for index in range(first, stages):
        tasks = [study.tasks[index]]
        select_trainable(learner, {tasks[0].head})
        open_classes(learner.model, study.tasks[: index + 1])
        stage = make_stage(0, index, len(study.tasks), tasks, learner.training, study.device)
        train_stage(learner, strategy, stage, tasks, study.team, Silent())
        if strategy.fingerprint_after(stage):
            finish_stage(learner, strategy, stage)
    return learner


def head_of(learner: Learner) -> GrowingHead:
    (head,) = learner.model.get_submodule("heads").children()
    assert isinstance(head, GrowingHead)
    return head


def batch_of(task: Task) -> Any:
    return task.collate(task.train, range(6))


def test_one_head_with_all_labels_in_an_order_that_is_the_streams_in_no_way(open_study_of: Open) -> None:
    study = open_study_of(["naive"])
    labels = ("a_bad", "a_good", "b_bad", "b_good", "c_bad", "c_good")
    assert {task.spec.labels for task in study.tasks} == {labels}
    assert [task.own for task in study.tasks] == [(2, 3), (0, 1), (4, 5)]
    assert {task.head for task in study.tasks} == {"-".join(CLASSES)}
    assert [info.own_labels for info in study.task_infos()][0] == ["b_bad", "b_good"]


def test_a_closed_class_keeps_its_bits_under_weight_decay_and_is_never_predicted(open_study_of: Open) -> None:
    study = open_study_of(["naive"], settings=["training.weight_decay=0.5"])
    learner = new_learner(study, 0)
    head = head_of(learner)
    before = head.weight.detach().clone()
    assert bool(head.open.all())  # of the untrained model
    train(study, Naive(), 1, learner)
    assert head.open.tolist() == [False, False, True, True, False, False]
    assert torch.equal(head.weight[~head.open], before[~head.open])
    assert bool((head.weight[head.open] != before[head.open]).all())
    assert torch.equal(head.bias[~head.open], torch.zeros(4))
    for task in study.tasks:
        rows = learner.rows(task, batch_of(task))
        lowest = torch.finfo(torch.float32).min
        assert bool((rows.logits[:, ~head.open] == lowest).all()) and bool((rows.logits[:, head.open] > -100).all())
        assert set(task.decide(Rows(rows.logits, rows.targets, rows.owner), batch_of(task))) <= {2, 3}
    train(study, Naive(), 2, learner, first=1)
    assert head.open.tolist() == [True, True, True, True, False, False]
    assert torch.equal(head.weight[~head.open], before[~head.open])


def test_closed_classes_have_no_gradient_at_all() -> None:
    head = GrowingHead(3, 4)
    head.open[2:] = False
    loss = nn.functional.cross_entropy(head(torch.randn(5, 3)), torch.tensor([0, 1, 0, 1, 1]))
    loss.backward()  # type: ignore[no-untyped-call]
    assert head.weight.grad is not None and head.bias.grad is not None
    assert not head.weight.grad[2:].any() and not head.bias.grad[2:].any() and head.weight.grad[:2].any()
    # As if the classes were not there.
    alone = nn.functional.cross_entropy(head(torch.ones(1, 3))[:, :2], torch.tensor([0]))
    assert torch.equal(nn.functional.cross_entropy(head(torch.ones(1, 3)), torch.tensor([0])), alone)


def test_put_back_is_of_closed_rows_alone() -> None:
    head = GrowingHead(2, 3)
    head.open[1] = False
    before, closed = head.weight.detach().clone(), ClosedRows(head)
    with torch.no_grad():
        head.weight += 1
    closed.put_back()
    assert torch.equal(head.weight[1], before[1]) and torch.equal(head.weight[::2], before[::2] + 1)


@pytest.mark.parametrize("strategy", [EWC(examples=4), MAS(examples=4), SI(), RWalk(examples=4)], ids=lambda s: s.name)
def test_weights_of_closed_classes_have_no_importance(open_study_of: Open, strategy: Strategy) -> None:
    learner = train(open_study_of(["naive"]), strategy, 1)
    (name,) = [name for name in learner.state["importance"] if name.startswith("heads.") and name.endswith("weight")]
    importance, head = learner.state["importance"][name], head_of(learner)
    assert not importance[~head.open].any()
    assert bool((importance[head.open] > 0).any())


def test_derpp_compares_the_classes_that_were_open_then(open_study_of: Open) -> None:
    study, strategy = open_study_of(["naive"]), Derpp(memory=6, beta=0.0, alpha=1.0)
    learner = train(study, strategy, 1)
    first, second = study.tasks[:2]
    open_classes(learner.model, study.tasks[:2])  # nothing was trained since, so all old logits are as they were
    batch = batch_of(second)
    task_alone = Naive().loss(learner, second, batch)
    assert torch.equal(strategy.loss(learner, second, batch), task_alone)
    (drawn,) = draw(learner, 16, "logits")
    with torch.no_grad():
        head_of(learner).bias[[0, 1]] += 5.0  # new classes: not compared
        head_of(learner).bias[2] += 0.5  # one of the two old ones: mean over both is 0.125
    added = strategy.loss(learner, second, batch) - Naive().loss(learner, second, batch)
    assert drawn.task.name == first.name and added.item() == pytest.approx(0.125, rel=1e-3)


def test_lwf_compares_softmaxes_over_the_classes_that_the_teacher_knew(open_study_of: Open) -> None:
    study, strategy = open_study_of(["naive"]), LwF(lam=1.0, temperature=1.0)
    learner = train(study, strategy, 1)
    second = study.tasks[1]
    open_classes(learner.model, study.tasks[:2])
    stage = make_stage(0, 1, 3, [second], learner.training, study.device)
    strategy.before_stage(learner, stage)
    batch = batch_of(second)
    with torch.no_grad():
        head_of(learner).bias[[0, 1]] += 3.0
    kept = strategy.loss(learner, second, batch) - Naive().loss(learner, second, batch)
    assert kept.item() == pytest.approx(0, abs=1e-6)
    before = learner.rows(second, batch).logits[:, [2, 3]].detach()
    with torch.no_grad():
        head_of(learner).bias[2] += 1.0
    wanted, given = before.log_softmax(1), (before + torch.tensor([1.0, 0.0])).log_softmax(1)
    expected = (wanted.exp() * (wanted - given)).sum(1).mean()
    found = strategy.loss(learner, second, batch) - Naive().loss(learner, second, batch)
    assert found.item() == pytest.approx(expected.item(), rel=1e-4)


def test_words_of_other_types_count_as_outside(tokenizers: dict[str, Any]) -> None:
    rows: list[Row] = [
        {"words": ["balo", "comi"], "tags": ["B-PER", "O"]},
        {"words": ["comi", "balo", "dinu"], "tags": ["O", "B-PER", "O"]},
    ]
    spec = make_spec("type_per", "token", NOWHERE, ("O", "B-LOC", "B-PER"))
    people, every = (
        prepare(spec, {"train": rows, "test": rows}, tokenizers["bert"], Sizes(None, None, 24))
        for spec in (replace(spec, own=("O", "B-PER")), spec)
    )
    decisions = [[2, 1], [2, 1, 0]]  # PER LOC | PER LOC O: one person right, one too many, one missed
    assert people.score(decisions) == {"precision": 0.5, "recall": 0.5, "f1": 0.5}
    assert every.score(decisions) == {"precision": 0.25, "recall": 0.5, "f1": pytest.approx(1 / 3)}
    assert untrained_labels(people) == [] and untrained_labels(every) == ["B-LOC"]


@pytest.mark.parametrize(
    ("scenario", "tasks"),
    [
        ("class-incremental", CLASSES),
        ("class-incremental", TYPES),
        ("domain-incremental", DOMAINS),
        ("task-incremental", CLASSES),
    ],
)
def test_every_strategy_works_or_refuses_and_predicts_without_being_told(
    open_study_of: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scenario: str, tasks: tuple[str, ...]
) -> None:
    said: list[str] = []
    study = open_study_of(["all"], scenario, tasks, settings=["train_examples=8"], say=said)
    hidden = scenario != "task-incremental"

    def also_under_another_name(learner: Learner, strategy: Strategy, task: Task, team: Team) -> dict[str, float]:
        scores = evaluate(learner, strategy, task, team)
        other = next(name for name in learner.tasks if name != task.name)
        if hidden:
            renamed = replace(task, spec=replace(task.spec, name=other))
            assert evaluate(learner, strategy, renamed, team) == scores, strategy.name
        return scores

    monkeypatch.setattr("benchmark.measuring.evaluate", also_under_another_name)
    ran = Ran(study, tmp_path / "runs")
    refused = {name for name in shipped_names() if any(line.startswith(f"strategy {name}:") for line in said)}
    assert refused == ({"independent"} if hidden else set())
    assert {run.strategy for run in ran.runs} == set(shipped_names()) - refused
    for run in ran.runs:
        assert run.failure is None, (run.strategy, run.failure)
        assert run.scenario == scenario
        for row, scores in enumerate(run.scores):
            for learned, score in zip(run.learned_at, scores, strict=True):
                if scenario == "class-incremental" and 0 < row < (learned or 0):
                    assert score == 0.0, run.strategy  # its classes are closed


@dataclass(frozen=True)
class Peeking(Strategy):
    """Answers each task by its name."""

    name: ClassVar[str] = "peeking"

    @contextmanager
    def predicting(self, learner: Learner, task: StrategyTask) -> Iterator[None]:
        weights = list(learner.model.get_submodule("heads").parameters())
        kept = [weight.detach().clone() for weight in weights]
        seed = sum(task.name.encode())
        for weight in weights:
            weight.data.copy_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(seed)))
        yield
        for weight, value in zip(weights, kept, strict=True):
            weight.data.copy_(value)


@pytest.mark.parametrize(("scenario", "told"), [("domain-incremental", False), ("task-incremental", True)])
def test_a_strategy_that_peeks_at_the_task_sees_it_only_where_it_is_told(
    open_study_of: Open, scenario: str, told: bool
) -> None:
    study = open_study_of(["naive"], scenario, DOMAINS)
    learner = new_learner(study, 0)
    seen: list[Tensor] = []
    rows = learner.rows
    learner.rows = lambda task, batch, weights=None: seen.append(rows(task, batch).logits) or rows(task, batch)  # type: ignore[method-assign,func-returns-value]
    task = study.tasks[0]
    for name in DOMAINS[:2]:
        evaluate(learner, Peeking(), replace(task, spec=replace(task.spec, name=name)), study.team)
    assert torch.equal(seen[0], seen[1]) is not told


def test_what_predicting_is_given_is_equal_for_all_tasks_and_holds_no_data(open_study_of: Open) -> None:
    study = open_study_of(["naive"])
    asked = [task.question() for task in study.tasks]
    assert asked[0].spec == asked[1].spec == asked[2].spec
    assert [len(split.examples) for task in asked for split in (task.train, task.test)] == [0] * 6
    told = open_study_of(["naive"], "task-incremental").tasks[0]
    assert told.question() is told


@pytest.mark.parametrize("strategy", ["naive", "derpp", "lwf", "ewc"])
@pytest.mark.parametrize("steps", [2, 5])
def test_a_stopped_run_goes_on_to_the_same_bits(open_study_of: Open, tmp_path: Path, strategy: str, steps: int) -> None:
    """Two steps are within the first of three stages of three, five within the second."""
    settings = ["training.weight_decay=0.1"]
    whole = Ran(open_study_of([strategy], settings=settings), tmp_path / "whole").runs[0]
    with pytest.raises(KeyboardInterrupt):
        Ran(open_study_of([strategy], settings=settings), tmp_path / "broken", stop=After(steps))
    again = Ran(open_study_of([strategy], settings=settings), tmp_path / "broken")
    assert numbers(again.runs[0]) == numbers(whole)
    assert again.trained < 3 * 12


def test_orders_share_their_beginning_and_equal_runs_of_one_order_alone(open_study_of: Open, tmp_path: Path) -> None:
    strategies = ["naive", "lwf", "derpp", "joint"]
    study = open_study_of(strategies, orders=[1, 2])
    names = [cell.name for cell in study.suite.cells]
    assert names[:2] == ["naive-seed0", "naive-order2-seed0"] and len(names) == 8
    one, other = (path(study, cell) for cell in study.suite.cells[:2])
    assert one[:2] == other[:2] and one[2] != other[2]
    together = Ran(study, tmp_path / "together").runs
    alone = Ran(open_study_of(strategies, orders=[2]), tmp_path / "alone").runs
    for swapped, single in zip(together[1::2], alone, strict=True):
        assert numbers(swapped) == numbers(single), single.strategy
    run, run2 = together[:2]
    assert [task.name for task in run2.tasks] == list(CLASSES) == run.learned_in
    assert run2.learned_in == [name for (name,) in run2.stages] == ["classes_b", "classes_c", "classes_a"]
    assert run2.learned_at == [1, 3, 2] and (run2.order.number, run.order.number) == (2, 1)
    assert run.scores[:2] == run2.scores[:2] and run.scores != run2.scores


def test_the_same_tasks_in_another_scenario_share_no_stage_and_no_row(open_study_of: Open, tmp_path: Path) -> None:
    runs: list[Run] = []
    for scenario in ("domain-incremental", "task-incremental"):
        study = open_study_of(["naive"], scenario, DOMAINS)
        runs += Ran(study, tmp_path / "shared").runs
        (alone,) = Ran(study, tmp_path / scenario).runs
        assert numbers(runs[-1]) == numbers(alone)
    assert runs[0].settings["stream"]["scenario"] != runs[1].settings["stream"]["scenario"]


@pytest.mark.parametrize(
    ("scenario", "tasks", "message"),
    [
        ("domain-incremental", CLASSES, "classes_b and classes_a have different labels, such as a_bad"),
        ("class-incremental", ("tiny_spans",), "tiny_spans has no classes: its kind is span"),
        ("class-incremental", (CLASSES[0], TYPES[0]), "are of the kinds sequence and token"),
        ("domain-incremental", ("tiny_sentiment", "tiny_pair"), "are of the kinds sequence and pair"),
        ("class-incremental", ("tiny_tags", TYPES[0]), "tiny_tags and type_per both have the label B-PER"),
        ("task-incremntal", CLASSES, "it should be 'task-incremental', 'domain-incremental' or 'class-incremental'"),
    ],
)
def test_streams_that_are_not_of_their_scenario_are_refused_by_name(
    open_study_of: Open, scenario: str, tasks: tuple[str, ...], message: str
) -> None:
    with pytest.raises(UserError) as caught:
        open_study_of(["naive"], scenario, tasks)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_independent_refuses_tasks_that_are_not_told_apart(open_study_of: Open) -> None:
    with pytest.raises(UserError, match="strategy independent: .* predicting is not told which task a text is of"):
        open_study_of(["independent"])
