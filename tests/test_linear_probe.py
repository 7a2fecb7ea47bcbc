"""The linear probe: closed forms against hand-worked values, scikit-learn and leaving one out in earnest."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from torch import Tensor

from benchmark.errors import UserError
from benchmark.study import open_study
from benchmark.suite import Overrides, load_suite
from tasks.catalogue import PROBES, TASKS
from tasks.prepare import Sizes, prepare
from tasks.probes.linear import LinearProbe, features, fit_ridge, prepare_linear
from tasks.probes.prepare import prepare_probe
from tasks.sources.base import Row
from tasks.spec import LinearSpec, TaskError, TaskSpec
from tests.conftest import BAD, GOOD, WORDS, JsonSource, make_spec, publish, sequence_rows
from tests.readers import Silent
from tests.tiny_models import NOWHERE

PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)


def points(seed: int, rows: int = 20, width: int = 5, classes: int = 3) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(rows) % classes
    x = torch.randn(rows, width, generator=generator, dtype=torch.float64)
    x[:, 0] += labels
    return x, labels


def spec(task: TaskSpec | None = None, train: int = 12, test: int = 6) -> LinearSpec:
    task = task or make_spec("held", "sequence", NOWHERE, ("bad", "good"))
    return LinearSpec("linear_held", "made up", task.source, "none", task, train, test, 32, PENALTIES)


def splits(train: int = 20, test: int = 10) -> dict[str, list[Row]]:
    return {"train": sequence_rows(train, 1), "test": sequence_rows(test, 2)}


def test_one_feature_and_two_classes_give_the_values_worked_out_by_hand() -> None:
    x, labels = torch.tensor([[0.0], [2.0], [4.0], [6.0]]), torch.tensor([0, 0, 1, 1])
    # z = (-3, -1, 1, 3) / sqrt(5); z'z = 4, N p = 4: w = sum(z (y - 1/2)) / 8 = (4 / sqrt 5) / 8.
    predict = fit_ridge(x, labels, 2, [1.0])
    slope = 0.5 / 5**0.5
    expected = [0.5 + slope * z / 5**0.5 for z in (-3, -1, 1, 3)]  # 0.2, 0.4, 0.6, 0.8
    assert predict(x)[:, 1].tolist() == pytest.approx(expected)
    assert predict(x)[:, 1].tolist() == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert predict(x).sum(dim=1).tolist() == pytest.approx([1.0] * 4)


@pytest.mark.parametrize("rows, width", [(20, 5), (8, 30)])
def test_it_is_the_ridge_regression_of_scikit_learn_on_standardised_features(rows: int, width: int) -> None:
    x, labels = points(0, rows, width)
    z = (x - x.mean(dim=0)) / x.std(dim=0, correction=0)
    targets = torch.nn.functional.one_hot(labels, 3).double()
    known = Ridge(alpha=0.5 * rows).fit(z.numpy(), targets.numpy()).predict(z.numpy())
    assert fit_ridge(x, labels, 3, [0.5])(x).numpy() == pytest.approx(known, abs=1e-9)


def left_out_error(x: Tensor, labels: Tensor, penalty: float) -> float:
    """By fitting N times without one row; features are standardised with all of them."""
    z = ((x - x.mean(dim=0)) / x.std(dim=0, correction=0)).numpy()
    targets = torch.nn.functional.one_hot(labels, 3).double().numpy()
    total = 0.0
    for row in range(len(z)):
        rest = [other for other in range(len(z)) if other != row]
        fitted = Ridge(alpha=penalty * len(z)).fit(z[rest], targets[rest])
        total += float(((fitted.predict(z[[row]]) - targets[[row]]) ** 2).sum())
    return total


@pytest.mark.parametrize("seed", range(4))
def test_the_penalty_is_the_one_with_the_least_error_on_rows_left_out(seed: int) -> None:
    x, labels = points(seed, 15, 12)
    best = min(PENALTIES, key=lambda penalty: left_out_error(x, labels, penalty))
    chosen = fit_ridge(x, labels, 3, PENALTIES)(x)
    assert torch.equal(chosen, fit_ridge(x, labels, 3, [best])(x))
    others = [fit_ridge(x, labels, 3, [penalty])(x) for penalty in PENALTIES if penalty != best]
    assert not any(torch.allclose(chosen, other, atol=1e-6) for other in others)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 2**31), scale=st.floats(1e-2, 1e2), shift=st.floats(-10, 10))
def test_scale_and_place_of_a_feature_and_its_copies_of_a_constant_do_not_matter(
    seed: int, scale: float, shift: float
) -> None:
    x, labels = points(seed)
    moved = x.clone()
    moved[:, 1] = moved[:, 1] * scale + shift
    constant = torch.full((len(x), 1), 0.1 + shift, dtype=x.dtype)
    wide = torch.cat([moved, constant], dim=1)
    assert torch.allclose(fit_ridge(x, labels, 3, PENALTIES)(x), fit_ridge(wide, labels, 3, PENALTIES)(wide), atol=1e-8)


def test_features_that_are_all_equal_predict_the_shares_of_the_labels() -> None:
    labels = torch.tensor([0, 0, 0, 1])
    assert fit_ridge(torch.full((4, 3), 0.1), labels, 2, PENALTIES)(torch.zeros(1, 3)).tolist() == [[0.75, 0.25]]


class WordCounts(Silent):
    """A model whose features tell whether a text has a good or a bad word."""

    def __init__(self, tokenizer: Any, useful: bool = True) -> None:
        self.good, self.bad = (torch.tensor(tokenizer.convert_tokens_to_ids(words)) for words in (GOOD, BAD))
        self.useful = useful
        self.longest = 0

    def embed(self, inputs: Mapping[str, Tensor]) -> Tensor:
        ids = inputs["input_ids"]
        self.longest = max(self.longest, ids.shape[1])
        counts = [torch.isin(ids, words).sum(dim=1) for words in (self.good, self.bad)]
        found = torch.stack([*counts, inputs["attention_mask"].sum(dim=1)], dim=1).float()
        return found if self.useful else found * 0


def test_what_features_tell_is_measured_and_what_they_do_not_is_not(tokenizers: dict[str, Any]) -> None:
    probe = prepare_probe(spec(), splits(), tokenizers["bert"])
    assert isinstance(probe, LinearProbe)
    assert (len(probe.task.train.examples), len(probe.task.test.examples)) == (12, 6)
    scores = probe.measure(WordCounts(tokenizers["bert"]))
    assert scores == {"accuracy": 1.0, "macro_f1": 1.0}
    assert next(iter(scores)) == "accuracy"
    blind = probe.measure(WordCounts(tokenizers["bert"], useful=False))
    shares = [probe.task.test.features["labels"][:].count(label) / 6 for label in (0, 1)]
    assert blind["accuracy"] in shares


def test_features_come_back_in_the_order_of_the_examples(tokenizers: dict[str, Any]) -> None:
    rows: list[Row] = [
        {"text": " ".join(random.Random(n).choices(WORDS, k=n % 9 + 1)), "label": "bad"} for n in range(70)
    ]
    probe = prepare_linear(spec(train=70, test=70), {"train": rows, "test": rows}, tokenizers["bert"])
    lengths = features(WordCounts(tokenizers["bert"]), probe.task, probe.task.train)[:, 2]
    assert lengths.tolist() == probe.task.train.lengths.tolist()


def test_its_texts_are_those_it_is_tested_on(tokenizers: dict[str, Any]) -> None:
    probe = prepare_linear(spec(), splits(), tokenizers["bert"])
    texts = [
        ids[: int(mask.sum())].tolist()
        for batch in probe.texts()
        for ids, mask in zip(batch["input_ids"], batch["attention_mask"], strict=True)
    ]
    assert sorted(texts) == sorted(probe.task.test.features["input_ids"][:])


def test_its_hash_names_both_splits(tokenizers: dict[str, Any]) -> None:
    one, two = splits(), splits()
    two["train"] = sequence_rows(20, 3)
    hashes = [prepare_linear(spec(), rows, tokenizers["bert"]).sha256 for rows in (one, two, splits())]
    assert hashes[0] == hashes[2] != hashes[1]


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (spec(train=21), "linear_held: 20 train examples of held are there, 21 are needed"),
        (spec(test=11), "linear_held: 10 test examples of held are there, 11 are needed"),
        (
            spec(make_spec("held", "span", NOWHERE, ())),
            "linear_held: a linear probe needs one label a text, but held is span",
        ),
    ],
)
def test_what_does_not_suffice_is_refused_in_one_line(
    tokenizers: dict[str, Any], changed: LinearSpec, message: str
) -> None:
    with pytest.raises(TaskError, match=f"^{message}$"):
        prepare_linear(changed, splits(), tokenizers["bert"])


def test_every_shipped_probe_of_a_task_fits_its_counts() -> None:
    held = [probe for probe in PROBES if isinstance(probe, LinearSpec)]
    assert {"linear_bbc_news", "linear_newsgroups20", "linear_boolq"} <= {probe.name for probe in held}
    for probe in held:
        assert probe.task in TASKS and probe.source == probe.task.source
        assert probe.train_examples <= probe.task.counts["train"]
        assert probe.test_examples <= probe.task.counts["test"]


SUITE = """
description: a probe of a task
backbone: {backbone}
stream: [{stream}]
probes: [linear_held]
strategies: {{naive: {{}}}}
"""


@pytest.fixture
def suite(
    offline_catalogue: Path, specs: dict[str, TaskSpec], backbone_folder: Path, tmp_path: Path, monkeypatch: Any
) -> Any:
    """Opens a suite whose probe holds back the task of tiny_sentiment."""
    sentiment = specs["tiny_sentiment"]
    assert isinstance(sentiment.source, JsonSource)
    renamed = replace(sentiment, name="renamed")
    published = publish(offline_catalogue, "tiny-copied", {"train": sequence_rows(20, 2), "test": sequence_rows(5, 9)})
    copied = make_spec("copied", "sequence", published, ("bad", "good"))
    monkeypatch.setattr("benchmark.suite.TASKS", (*specs.values(), renamed, copied))
    monkeypatch.setattr("benchmark.suite.PROBES", (spec(sentiment),))

    def opened(*stream: str) -> Any:
        file = tmp_path / "held.yaml"
        file.write_text(SUITE.format(backbone=backbone_folder, stream=", ".join(stream)), encoding="utf-8")
        return load_suite(str(file), Overrides())

    return opened


@pytest.mark.parametrize("trained", ["tiny_sentiment", "renamed"])
def test_a_stream_that_trains_the_held_out_task_is_refused_before_anything_is_read(suite: Any, trained: str) -> None:
    message = f"probe linear_held measures a task that is never trained, but the stream trains {trained}: take another"
    with pytest.raises(UserError, match=message):
        suite("tiny_pair", trained)


def test_a_stream_that_trains_its_texts_under_another_name_is_refused(suite: Any) -> None:
    with pytest.raises(
        UserError, match="^probe linear_held measures .* but copied trains 100% of its texts: take another"
    ):
        open_study(suite("tiny_pair", "copied"), "cpu", lambda _: None)


@pytest.mark.parametrize(("kind", "column"), [("sequence", "text"), ("pair", "text_pair"), ("span", "context")])
def test_a_passage_that_is_trained_is_found_in_whichever_column_it_stands(
    tokenizers: dict[str, Any], kind: Any, column: str
) -> None:
    pairs = {"train": sequence_rows(20, 1, pair=True), "test": sequence_rows(10, 2, pair=True)}
    probe = prepare_linear(spec(make_spec("held", "pair", NOWHERE, ("bad", "good"))), pairs, tokenizers["bert"])
    held = probe.task.test.examples
    for texts, share in ((held["text_pair"][:3], 0.5), (held["text"][:2], 2 / 6), (["quite another"], 0.0)):
        rows: list[Row] = []
        for number, text in enumerate(texts):
            spaced = "\n" + str(text).replace(" ", "  ")
            row: Row = {"id": f"{number}", "text": f"t{number}", "question": f"q{number}", "label": "good"}
            answers = {"answers": {"text": [str(text).split()[0]], "answer_start": [1]}} if kind == "span" else {}
            rows.append({**row, **answers, column: spaced})
        labels = () if kind == "span" else ("bad", "good")
        task = prepare(
            make_spec("t", kind, NOWHERE, labels),
            {"train": rows, "test": rows},
            tokenizers["bert"],
            Sizes(None, None, 32),
        )
        assert probe.trained_by(task) == pytest.approx(share)


def test_beside_other_tasks_it_is_measured_in_every_row(suite: Any) -> None:
    study = open_study(suite("tiny_pair", "tiny_tags"), "cpu", lambda _: None)
    assert study.provenance.data_sha256["linear_held"] == {"test": study.probes[0].sha256}
    assert len(study.texts) == 1
