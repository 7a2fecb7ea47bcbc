"""Fresh heads on frozen features: against scikit-learn, and in cases where it is known what is lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from benchmark import refitting
from benchmark.backbone import Model
from benchmark.loop import evaluate
from benchmark.refitting import Seen, fit_head, refitted_score
from benchmark.study import Study
from results import recovery
from results.record import FinishedRun, Run
from strategies.base import Learner, Strategy
from strategies.independent import Independent
from strategies.naive import Naive
from tasks.base import Task
from tests.lab import OpenStudy, Ran, run_all, train, untrained, weights

KINDS = ["tiny_sentiment", "tiny_pair", "tiny_tags", "tiny_spans"]


def model_of(learner: Learner) -> Model:
    assert isinstance(learner.model, Model)
    return learner.model


def fresh(study: Study, learner: Learner, name: str, examples: int = 1000) -> float:
    return refitted_score(learner, Strategy(), study.task(name), study.team, examples)


def score(study: Study, learner: Learner, name: str) -> float:
    task = study.task(name)
    return evaluate(learner, Strategy(), task, study.team)[task.spec.main]


def seen(study: Study, learner: Learner, name: str) -> list[Seen]:
    task = study.task(name)
    return refitting._read(model_of(learner), task, list(range(len(task.train.features))), study.team)


def loss_of(task: Task, head: nn.Module, batches: list[Seen]) -> Tensor:
    return torch.stack([refitting._loss(task, head, batch) for batch in batches]).sum()


def test_for_one_label_a_text_it_is_the_logistic_regression_of_scikit_learn(open_tiny: OpenStudy) -> None:
    study = open_tiny(["naive"])
    batches = seen(study, untrained(study), "tiny_pair")
    head = fit_head(study.task("tiny_pair"), batches)
    x = torch.cat([batch.states for batch in batches]).double()
    labels = torch.cat([batch.batch.labels for batch in batches]).numpy()
    z = ((x - x.mean(dim=0)) / x.std(dim=0, correction=0)).numpy()
    # Two softmax weights of opposite signs, w and -w, cost |w|^2; their difference 2w would cost 2 |w|^2: C is doubled.
    known = LogisticRegression(C=2.0, tol=1e-10, max_iter=10000).fit(z, labels)
    found = torch.softmax(head(x.float()), dim=1)[:, 1].detach().numpy()
    assert found == pytest.approx(known.predict_proba(z)[:, 1], abs=1e-4)


@pytest.mark.parametrize("name", KINDS)
def test_no_other_head_has_a_smaller_penalised_loss(open_tiny: OpenStudy, name: str) -> None:
    study = open_tiny(["naive"])
    task, batches = study.task(name), seen(study, untrained(study), name)
    head = fit_head(task, batches).double()

    def total() -> Tensor:
        return loss_of(task, head, batches) + head.weight.square().sum() / 2

    best = total()
    gradients = torch.autograd.grad(best, list(head.parameters()))
    rows = sum(batch.batch.choices for batch in batches)
    assert max(float(gradient.abs().max()) for gradient in gradients) / rows < 1e-4
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        with torch.no_grad():
            before = head.weight.clone()
            head.weight.add_(torch.randn(head.weight.shape, generator=generator, dtype=torch.float64), alpha=0.05)
            assert total() > best
            head.weight.copy_(before)


@pytest.mark.parametrize("name", KINDS)
def test_nothing_of_the_model_changes_and_the_same_is_found_again(open_tiny: OpenStudy, name: str) -> None:
    study = open_tiny(["naive"])
    learner, _ = train(study, Naive(), stages=1)
    before, heads = weights(learner), dict(model_of(learner).heads.items())
    torch.manual_seed(5)
    drawn = torch.get_rng_state()
    first = fresh(study, learner, name)
    assert torch.equal(torch.get_rng_state(), drawn)
    assert fresh(study, learner, name) == first
    assert list(model_of(learner).heads.items()) == list(heads.items())
    after = weights(learner)
    assert before.keys() == after.keys() and all(torch.equal(before[key], after[key]) for key in before)


def test_it_is_fitted_on_as_many_examples_as_are_asked_for_and_seeds_choose_others(
    open_tiny: OpenStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = open_tiny(["naive"])
    learner = untrained(study)
    read: list[list[int]] = []

    def reading(model: Model, task: Task, chosen: list[int], team: Any) -> list[Seen]:
        read.append(chosen)
        return original(model, task, chosen, team)

    original = refitting._read
    monkeypatch.setattr(refitting, "_read", reading)
    for examples in (5, 5, 1000):
        fresh(study, learner, "tiny_tags", examples)
    learner.seed += 1
    fresh(study, learner, "tiny_tags", 5)
    assert [len(chosen) for chosen in read] == [5, 5, 40, 5]
    assert read[0] == read[1] != read[3]
    assert read[2] == list(range(40))


def learned(study: Study) -> Learner:
    """Trained on words' tags until its head knows them."""
    learner = untrained(study)
    task = study.task("tiny_tags")
    model = model_of(learner)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    batch = task.collate(task.train, range(len(task.train.features)))
    for _ in range(60):
        optimizer.zero_grad()
        Naive().loss(learner, task, batch).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    model.eval()
    return learner


def parts(study: Study, before: Learner, damage: Any) -> tuple[float, float]:
    """What head and body lost by some damage, as `results.recovery` splits it."""
    observed, refits = [score(study, before, "tiny_tags")], [fresh(study, before, "tiny_tags")]
    damage(model_of(before))
    observed.append(score(study, before, "tiny_tags"))
    refits.append(fresh(study, before, "tiny_tags"))
    body = refits[0] - refits[1]
    assert observed[0] > 0.9
    assert observed[0] - observed[1] > 0.5
    return observed[0] - observed[1] - body, body


def test_of_a_damaged_head_all_is_recoverable(open_tiny: OpenStudy) -> None:
    study = open_tiny(["naive"])

    def damage(model: Model) -> None:
        with torch.no_grad():
            next(model.heads["tiny_tags"].parameters()).zero_()

    head, body = parts(study, learned(study), damage)
    assert body == 0.0
    assert head > 0.5


def test_of_a_destroyed_body_all_is_lost(open_tiny: OpenStudy) -> None:
    study = open_tiny(["naive"])

    def damage(model: Model) -> None:
        with torch.no_grad():
            for parameter in model.body.parameters():
                parameter.zero_()

    head, body = parts(study, learned(study), damage)
    assert body > 0.9
    assert head == pytest.approx(0, abs=0.05)


def test_of_rotated_features_all_is_recoverable(open_tiny: OpenStudy) -> None:
    """What Zheng et al. (2025) call spurious: the features are all there, but no longer where the head looks."""
    study = open_tiny(["naive"])

    def damage(model: Model) -> None:
        order = torch.randperm(32, generator=torch.Generator().manual_seed(0))
        turned = model.body.encoder.layer[-1].output
        with torch.no_grad():
            for parameter in turned.parameters():
                parameter.copy_(parameter[order])
        turned.register_forward_pre_hook(lambda _module, inputs: (inputs[0], inputs[1][..., order]))

    head, body = parts(study, learned(study), damage)
    assert head > 0.5
    assert body == pytest.approx(0, abs=0.02)


def rows_with_refits(run: Run) -> list[set[str]]:
    return [set(row) for row in run.refits]


def test_a_run_refits_each_task_after_learning_and_all_but_the_last_at_the_end(
    open_tiny: OpenStudy, tmp_path: Path
) -> None:
    settings = ["training.epochs=1", "refit=20"]
    runs = run_all(open_tiny(["naive", "joint", "independent"], settings), tmp_path / "runs")
    stages = [set[str](), *({name} for name in KINDS[:3]), set(KINDS[:3])]
    assert rows_with_refits(runs["naive"]) == stages
    assert rows_with_refits(runs["joint"]) == [set(), set()]
    assert runs["naive"].settings["refit"] == 20
    split = recovery.losses(FinishedRun(runs["naive"]))
    assert list(split) == KINDS[:3]
    for name, loss in split.items():
        place = KINDS.index(name)
        lost = runs["naive"].scores[place + 1][place] - runs["naive"].scores[-1][place]
        assert loss.head + loss.body == pytest.approx(lost)
    # Every task has a body by itself, which no later stage touches.
    assert {loss.body for loss in recovery.losses(FinishedRun(runs["independent"])).values()} == {0.0}
    plain = run_all(open_tiny(["naive"], settings[:1]), tmp_path / "plain")["naive"]
    assert "refit" not in plain.settings and plain.refits == []
    assert plain.model_dump(include={"scores", "losses", "drift", "probes", "similarity"}) == runs["naive"].model_dump(
        include={"scores", "losses", "drift", "probes", "similarity"}
    )


def test_rows_without_fresh_heads_do_not_answer_for_rows_with_them_but_stages_do(
    open_tiny: OpenStudy, tmp_path: Path
) -> None:
    settings = ["training.epochs=1"]
    Ran(open_tiny(["naive"], settings), tmp_path / "runs", keep="all")
    ran = Ran(open_tiny(["naive"], [*settings, "refit=5"]), tmp_path / "runs")
    assert ran.trained == 0
    assert rows_with_refits(ran.runs[0])[4] == set(KINDS[:3])
    again = Ran(open_tiny(["naive"], [*settings, "refit=6"]), tmp_path / "runs", keep="all").runs[0]
    assert again.refits != ran.runs[0].refits or again.settings["refit"] == 6


def test_strategies_that_predict_in_their_own_way_are_refitted_in_it(open_tiny: OpenStudy) -> None:
    study = open_tiny(["naive"])
    learner, _ = train(study, Independent(), stages=3)
    task = study.task("tiny_sentiment")
    own = refitted_score(learner, Independent(), task, study.team, 20)
    with Independent().predicting(learner, task):
        assert refitted_score(learner, Strategy(), task, study.team, 20) == own
