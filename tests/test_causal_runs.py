"""Streams with causal language modelling, run whole: every strategy works or says why not, stops lose nothing."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmark.errors import UserError
from benchmark.registry import strategy_names
from benchmark.study import Study, open_study
from benchmark.suite import Overrides, load_suite
from benchmark.worker import new_learner
from tasks.spec import CausalLMSpec, MaskedLMSpec, TaskSpec
from tests.conftest import CACHES, document_rows, publish
from tests.lab import Ran, numbers
from tests.language_models import save_language_model
from tests.test_checkpoints import After
from tests.test_tasks_causal import causal_spec

SUITE = """
description: text, then labels
backbone: {backbone}
stream: [tiny_text, tiny_sentiment]
probes: [{probes}]
max_length: 16
train_examples: 8
test_examples: 4
training: {{epochs: 1, batch_size: 4, learning_rate: 3e-3, head_learning_rate: 1e-2}}
strategies: {{naive: {{}}}}
"""
NOTHING = "nothing would train"
REFUSED = {
    ("freeze", "llama-tied"): NOTHING,
    ("warm_head", "llama-tied"): NOTHING,
    ("gradual_unfreezing", "llama-tied"): NOTHING,
    ("bitfit", "llama-tied"): "the backbone has none",
    ("bitfit", "llama"): "the backbone has none",
}
"""(strategy, family) -> why it can't; all others can. The reasons that lie in sizes are tested below."""

Open = Callable[..., Study]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("models")
    for family in ("llama-tied", "llama", "bert"):
        save_language_model(family, root / family)
    return {family: root / family for family in ("llama-tied", "llama", "bert")}


@pytest.fixture
def opened(
    offline_catalogue: Path,
    specs: dict[str, TaskSpec],
    folders: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Open]:
    """Opens the suite above on a family."""
    cache = CACHES[0]
    texts = publish(cache, "tiny-text", {"train": document_rows(12, 21), "test": document_rows(6, 22)})
    news = publish(cache, "tiny-news", {"test": document_rows(20, 9)})
    tasks = (causal_spec("tiny_text", texts), specs["tiny_sentiment"])
    probes = (
        CausalLMSpec("tiny_causal", "made up", news, "none", 4, 12),
        MaskedLMSpec("tiny_masked", "made up", news, "none", 4, 12, 0.2, 1),
    )
    monkeypatch.setattr("benchmark.suite.TASKS", tasks)
    monkeypatch.setattr("benchmark.suite.PROBES", probes)
    threads = torch.get_num_threads()

    def open_it(
        family: str,
        strategies: list[str] | None = None,
        settings: list[str] | None = None,
        probes: str = "tiny_causal",
        swapped: str | None = None,
        say: Callable[[str], None] = lambda _: None,
    ) -> Study:
        path = tmp_path / "tiny.yaml"
        path.write_text(SUITE.format(backbone=folders[family], probes=probes), encoding="utf-8")
        backbone = None if swapped is None else str(folders[swapped])
        return open_study(load_suite(str(path), Overrides(strategies, None, settings or [], backbone)), "cpu", say, 1)

    yield open_it
    torch.set_num_threads(threads)


@pytest.mark.parametrize("family", ["llama-tied", "llama"])
def test_every_strategy_works_or_says_why_not(opened: Open, tmp_path: Path, family: str) -> None:
    names = list(strategy_names())
    for name in names:
        if reason := REFUSED.get((name, family)):
            with pytest.raises(UserError, match=f"^strategy {name}: .*{reason}$"):
                opened(family, [name])
    work = [name for name in names if (name, family) not in REFUSED]
    runs = Ran(opened(family, work), tmp_path / "runs").by_strategy
    assert runs.keys() == set(work)
    for name, run in runs.items():
        assert run.failure is None, (name, run.failure)
        for row in (*run.metrics, *run.probes):
            for values in row.values():
                assert all(0 <= value <= 1 for value in values.values()), name
    naive = runs["naive"]
    assert naive.tasks[0].head == "pretraining" and naive.tasks[0].metric == "token_probability"
    assert naive.scores[1][0] > naive.scores[0][0]  # it learned the text
    assert naive.probes[1] != naive.probes[0]
    assert runs["l2_anchor"].probes[-1] != naive.probes[-1]
    head = opened(family).backbone.pretrained_head
    assert head is not None
    own = 0 if family == "llama-tied" else sum(weight.numel() for weight in head.parameters())
    assert naive.costs[0].trainable_parameters == naive.parameters + own


def test_what_takes_a_vocabulary_for_every_token_is_refused_with_its_size(opened: Open) -> None:
    with pytest.raises(UserError, match=r"^strategy derpp: it keeps every logit .* up to \d+ GB of task tiny_text"):
        opened("llama", ["derpp"], ["derpp.memory=100000"])
    vocabulary = opened("llama").task("tiny_text").outputs
    passes = 16 * vocabulary
    assert passes < 100_000  # so a tiny one may be exact
    opened("llama", ["ewc"], ["ewc.fisher=exact"])


def test_a_run_that_is_stopped_in_a_causal_stage_equals_one_that_is_not(opened: Open, tmp_path: Path) -> None:
    for family, strategy in (("llama", "lwf"), ("llama-tied", "ewc")):
        study = opened(family, [strategy])
        whole = Ran(study, tmp_path / family / "whole").by_strategy[strategy]
        with pytest.raises(KeyboardInterrupt):
            Ran(study, tmp_path / family / "stopped", stop=After(4))
        rest = Ran(study, tmp_path / family / "stopped")
        assert rest.progress.skipped > 0
        assert numbers(rest.by_strategy[strategy]) == numbers(whole)


def test_an_encoder_is_refused_for_a_causal_task_by_name(opened: Open) -> None:
    message = (
        "^task tiny_text needs a causal language-modelling head, but backbone bert was pretrained with a masked one$"
    )
    with pytest.raises(UserError, match=message):
        opened("bert")


def test_a_probe_that_does_not_apply_is_refused_by_name(opened: Open) -> None:
    message = (
        "^probe tiny_masked needs a masked language-modelling head, but backbone llama was pretrained with a causal one"
    )
    with pytest.raises(UserError, match=message):
        opened("llama", probes="tiny_causal, tiny_masked")


def test_a_probe_that_does_not_apply_to_another_backbone_is_left_out_with_a_line(opened: Open) -> None:
    said: list[str] = []
    study = opened("bert", probes="tiny_causal, tiny_masked", swapped="llama", say=said.append)
    assert [probe.name for probe in study.probes] == ["tiny_causal"]
    assert said == [
        "probe tiny_masked needs a masked language-modelling head, but backbone llama was pretrained with a causal "
        "one; it is left out"
    ]


def test_the_head_goes_with_the_body_when_a_study_travels(opened: Open) -> None:
    study = opened("llama-tied")
    for one in (study, pickle.loads(pickle.dumps(study))):
        model: Any = new_learner(one, 0).model
        shared = list(model.heads["pretraining"].parameters())
        assert len(shared) == 1 and model.body.get_input_embeddings().weight is shared[0]
        assert shared[0] is not one.backbone.body.get_input_embeddings().weight
