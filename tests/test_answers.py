"""Several tasks' questions about the same texts: read once, answered as one by one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from benchmark.backbone import Model
from strategies.base import Strategy
from strategies.freeze import Freeze
from strategies.naive import Naive
from tests.lab import OpenStudy, untrained
from tests.test_frozen import Passes, lowest, prepared


@pytest.mark.parametrize("strategy", [Naive(), Freeze(), Freeze(part="layers", layers=1)], ids=str)
def test_they_are_answered_as_one_by_one(open_tiny: OpenStudy, strategy: Strategy) -> None:
    study = open_tiny(["naive"])
    learner, (task, *others) = untrained(study), study.tasks
    batch = prepared(learner, task, strategy, study.team).collate(task, [3, 0, 5])
    assert (batch.frozen is None) == isinstance(strategy, Naive)
    learner.model.eval()
    questions = [(task, batch), *((other, other.unlabelled(batch)) for other in others)]
    assert {asked.spec.kind for asked, _ in questions} == {"sequence", "pair", "token", "span"}
    passes = Passes(lowest(learner))
    together = learner.answers(questions)
    assert passes.count == 1
    for (asked, question), rows in zip(questions, together, strict=True):
        alone = learner.rows(asked, replace(question, frozen=None))
        torch.testing.assert_close(rows.logits, alone.logits, atol=1e-6, rtol=1e-6)
        assert torch.equal(rows.owner, alone.owner) and len(rows.logits)


def test_questions_about_different_texts_are_refused(open_tiny: OpenStudy) -> None:
    study = open_tiny(["naive"])
    one, other = study.tasks[:2]
    learner = untrained(study)
    assert isinstance(learner.model, Model)
    questions = [(task, task.collate(task.train, [0, 1])) for task in (one, other)]
    with pytest.raises(ValueError, match="about the same texts"):
        learner.answers(questions)
