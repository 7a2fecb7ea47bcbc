"""The metrics against values worked out by hand or published, and the laws they all obey."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tasks.metrics import (
    AVERAGED,
    METRICS,
    SAME,
    Accuracy,
    EntityF1,
    LocalMetric,
    MacroF1,
    Scores,
    SquadV1,
    WordAccuracy,
    fitting,
)

LABEL = st.integers(0, 4)
BIO = st.sampled_from(["O", "B-PER", "I-PER", "B-LOC", "I-LOC"])
WORDS = st.lists(st.sampled_from(["the", "red", "cat", "sat,", "A"]), max_size=5).map(" ".join)

Pairs = list[tuple[object, object]]


def sentences(tag: st.SearchStrategy[str]) -> st.SearchStrategy[tuple[list[str], list[str]]]:
    pairs = st.lists(st.tuples(tag, tag), min_size=1, max_size=6)
    return pairs.map(lambda tags: ([left for left, _ in tags], [right for _, right in tags]))


def text_sums(tokens: int) -> st.SearchStrategy[tuple[list[float], int]]:
    """Nats and right ones of so many tokens, and their number."""
    right = st.integers(0, tokens).map(float)
    return st.tuples(st.tuples(st.floats(0, 20), right).map(list), st.just(tokens))


TEXTS = st.integers(1, 9).flatmap(text_sums)

# For each metric: a prediction and its reference.
INPUTS = {
    "accuracy": st.tuples(LABEL, LABEL),
    "macro_f1": st.tuples(LABEL, LABEL),
    **dict.fromkeys(
        [
            "micro_f1",
            "weighted_f1",
            "macro_precision",
            "weighted_precision",
            "macro_recall",
            "matthews_correlation",
        ],
        st.tuples(LABEL, LABEL),
    ),
    "binary_f1": st.tuples(st.integers(0, 1), st.integers(0, 1)),
    "word_accuracy": sentences(st.sampled_from(["NN", ".", "''", "O"])),
    **dict.fromkeys(["token_probability", "token_accuracy"], TEXTS),
    "entity_f1": sentences(BIO),
    "squad_v1": st.tuples(WORDS, st.lists(WORDS, min_size=1, max_size=3)),
}


def compute(name: str, pairs: Pairs) -> Scores:
    predictions, references = zip(*pairs, strict=True)
    scores: Scores = METRICS[name]().compute(predictions=list(predictions), references=list(references))
    return scores


def test_every_metric_has_inputs_here() -> None:
    assert INPUTS.keys() == METRICS.keys()


@pytest.mark.parametrize("name", METRICS)
@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_scores_lie_between_0_and_1_and_no_order_matters(name: str, data: st.DataObject) -> None:
    pairs: Pairs = data.draw(st.lists(INPUTS[name], min_size=1, max_size=8))
    scores = compute(name, pairs)
    assert set(scores) == set(METRICS[name].scores)
    assert set(METRICS[name].signed) < set(scores)
    lowest = {score: -1 if score in METRICS[name].signed else 0 for score in scores}
    assert all(type(value) is float and lowest[score] <= value <= 1 for score, value in scores.items())
    shuffled = random.Random(0).sample(pairs, len(pairs))
    assert compute(name, shuffled) == pytest.approx(scores, abs=1e-12)


@pytest.mark.parametrize("name", ["accuracy", "macro_f1"])
@settings(max_examples=15, deadline=None)
@given(labels=st.lists(LABEL, min_size=1, max_size=8))
def test_right_labels_score_1(name: str, labels: list[int]) -> None:
    assert set(compute(name, [(label, label) for label in labels]).values()) == {1.0}


@settings(max_examples=15, deadline=None)
@given(tags=st.lists(st.lists(BIO, min_size=1, max_size=6), min_size=1, max_size=6))
def test_right_tags_score_1_if_there_is_an_entity(tags: list[list[str]]) -> None:
    expected = float(any(tag != "O" for sentence in tags for tag in sentence))
    assert set(compute("entity_f1", [(sentence, sentence) for sentence in tags]).values()) == {expected}


@settings(max_examples=15, deadline=None)
@given(answers=st.lists(WORDS, min_size=1, max_size=6), other=WORDS)
def test_right_answers_score_1(answers: list[str], other: str) -> None:
    scores = compute("squad_v1", [(answer, [other, answer]) for answer in answers])
    assert scores == {"exact_match": 1.0, "f1": 1.0}


def test_accuracy() -> None:
    assert Accuracy().compute(predictions=[0, 1, 2, 2], references=[0, 1, 1, 2]) == {"accuracy": 0.75}
    assert Accuracy().compute(predictions=["1", "b"], references=["01", "b"]) == {"accuracy": 0.5}
    arrays = {"predictions": np.array([3, 4]), "references": np.array([3, 3])}
    assert Accuracy().compute(**arrays) == {"accuracy": 0.5}


def test_macro_f1_counts_each_class_the_same() -> None:
    # class 0: precision 3/4, recall 1, F1 6/7; class 1: precision 1, recall 1/2, F1 2/3
    scores = MacroF1().compute(predictions=[0, 0, 0, 0, 1], references=[0, 0, 0, 1, 1])
    assert scores == {"macro_f1": pytest.approx((6 / 7 + 2 / 3) / 2)}


def test_macro_f1_of_the_scikit_learn_documentation() -> None:
    scores = MacroF1().compute(predictions=[0, 2, 1, 0, 0, 1], references=[0, 1, 2, 0, 1, 2])
    assert scores == {"macro_f1": pytest.approx(0.266, abs=1e-3)}


def test_macro_f1_of_a_class_that_one_side_lacks_is_0_and_one_that_both_lack_is_left_out() -> None:
    right_but_one = {"predictions": [0, 0, 2], "references": [0, 0, 1]}
    assert MacroF1().compute(**right_but_one) == {"macro_f1": pytest.approx(1 / 3)}
    assert MacroF1().compute(**right_but_one, labels=[0, 1, 3]) == {"macro_f1": 0.5}
    with pytest.raises(ValueError, match="none of the labels"):
        MacroF1().compute(**right_but_one, labels=[7])


def test_word_accuracy_counts_words_not_sentences() -> None:
    scores = WordAccuracy().compute(predictions=[["NN"], ["NN", "VB", "."]], references=[["NN"], ["VB", "NN", "."]])
    assert scores == {"accuracy": 0.5}  # two of four words; by sentences it were 2/3


def test_word_accuracy_needs_words_and_one_prediction_each() -> None:
    assert WordAccuracy().compute(predictions=[[], ["NN"]], references=[[], ["NN"]]) == {"accuracy": 1.0}
    with pytest.raises(ValueError, match="no word in any sentence"):
        WordAccuracy().compute(predictions=[[]], references=[[]])
    with pytest.raises(ValueError, match="sentence 2 has 1 tags but 2 predictions"):
        WordAccuracy().compute(predictions=[["NN"], ["NN", "NN"]], references=[["NN"], ["NN"]])


def test_entity_f1_of_the_seqeval_documentation() -> None:
    true = [["O", "O", "O", "B-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
    predicted = [["O", "O", "B-MISC", "I-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
    scores = EntityF1().compute(predictions=predicted, references=true)
    assert scores == {"precision": 0.5, "recall": 0.5, "f1": 0.5}


def test_entity_f1_needs_the_whole_entity_and_its_type() -> None:
    # 3 entities, 2 predicted: one right, one too short
    scores = EntityF1().compute(
        predictions=[["B-PER", "O", "B-LOC"], ["O"]], references=[["B-PER", "O", "B-LOC"], ["B-ORG"]]
    )
    assert scores == pytest.approx({"precision": 1.0, "recall": 2 / 3, "f1": 0.8})
    wrong_type = EntityF1().compute(predictions=[["B-PER", "I-PER"]], references=[["B-LOC", "I-LOC"]])
    too_short = EntityF1().compute(predictions=[["B-PER", "O"]], references=[["B-PER", "I-PER"]])
    assert wrong_type["f1"] == too_short["f1"] == 0.0


def test_entity_f1_reads_a_stray_inside_tag_as_conlleval_does() -> None:
    assert EntityF1().compute(predictions=[["O", "I-PER"]], references=[["O", "B-PER"]])["f1"] == 1.0


def test_entity_f1_does_not_join_entities_of_neighbouring_sentences() -> None:
    scores = EntityF1().compute(predictions=[["B-PER"], ["I-PER"]], references=[["B-PER"], ["B-PER"]])
    assert scores["f1"] == 1.0


def test_entity_f1_without_entities_is_0_and_warns_of_nothing() -> None:
    nothing = {"precision": 0.0, "recall": 0.0, "f1": 0.0}
    assert EntityF1().compute(predictions=[["O", "O"]], references=[["B-PER", "O"]]) == nothing
    assert EntityF1().compute(predictions=[["O"]], references=[["O"]]) == nothing


@pytest.mark.parametrize("tags", [["NN"], ["B-"], [""], ["O", "O"]])
def test_entity_f1_refuses_other_tags_and_other_lengths(tags: list[str]) -> None:
    with pytest.raises(ValueError, match="sentence 2"):
        EntityF1().compute(predictions=[["O"], tags], references=[["O"], ["O"]])


@pytest.mark.parametrize(
    ("prediction", "answers", "exact", "f1"),
    [
        ("Denver Broncos", ["Denver Broncos", "The Denver Broncos"], 1, 1),
        ("the denver  broncos!", ["Denver Broncos"], 1, 1),
        ("Broncos of Denver", ["Carolina", "Denver Broncos"], 0, 0.8),  # 2 of 3 and 2 of 2 words
        ("cat cat cat", ["cat sat"], 0, 0.4),  # a word counts as often as both have it: 1 of 3, 1 of 2
        ("1.5", ["15"], 1, 1),  # no punctuation, as published
        ("theatre", ["atre"], 0, 0),  # articles are whole words
        ("", ["cat"], 0, 0),
        ("the", ["a"], 1, 1),
        ("über", ["Über"], 1, 1),
    ],
)
def test_squad(prediction: str, answers: list[str], exact: float, f1: float) -> None:
    scores = SquadV1().compute(predictions=[prediction], references=[answers])
    assert scores == pytest.approx({"exact_match": exact, "f1": f1})


def test_squad_needs_a_right_answer() -> None:
    with pytest.raises(ValueError, match="question 1 has no right answer"):
        SquadV1().compute(predictions=["cat"], references=[[]])


@pytest.mark.parametrize("metric", METRICS.values())
def test_nothing_to_score_is_an_error(metric: type[LocalMetric]) -> None:
    with pytest.raises(ValueError, match=f"{metric.__name__} has no predictions"):
        metric().compute(predictions=[], references=[])
    with pytest.raises(ValueError, match=f"{metric.__name__} has no predictions"):
        metric().compute()


@pytest.mark.parametrize("metric", METRICS.values())
def test_unequal_numbers_are_an_error(metric: type[LocalMetric]) -> None:
    with pytest.raises(ValueError, match="0 predictions but 1 references"):
        metric().compute(predictions=[], references=[0])


def test_batches_add_up_and_an_instance_can_be_used_again() -> None:
    metric = Accuracy()
    for _ in range(2):
        metric.add_batch(predictions=[0, 1], references=[0, 0])
        metric.add_batch(predictions=[], references=[])
        metric.add_batch(predictions=[2], references=[2])
        assert metric.compute() == {"accuracy": pytest.approx(2 / 3)}


def test_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluate.config.HF_METRICS_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    Accuracy().compute(predictions=[1], references=[1])
    assert list(tmp_path.iterdir()) == []


def test_matthews_correlation_is_that_of_the_four_counts() -> None:
    # 3 true positives, 2 true negatives, 1 false positive, 2 false negatives
    predictions, references = [1, 1, 1, 0, 0, 1, 0, 0], [1, 1, 1, 0, 0, 0, 1, 1]
    expected = (3 * 2 - 1 * 2) / (4 * 5 * 3 * 4) ** 0.5
    scores = METRICS["matthews_correlation"]().compute(predictions=predictions, references=references)
    assert scores["matthews_scaled"] == pytest.approx((1 + expected) / 2)
    one_class = METRICS["matthews_correlation"]().compute(predictions=[0, 0], references=[0, 1])
    assert one_class["matthews_scaled"] == 0.5


def test_binary_f1_is_that_of_the_second_label() -> None:
    scores = METRICS["binary_f1"]().compute(predictions=[1, 1, 0, 0, 1], references=[1, 0, 1, 0, 1])
    assert scores == pytest.approx({"binary_f1": 2 / 3})
    assert METRICS["binary_f1"]().compute(predictions=[0, 0], references=[0, 0]) == {"binary_f1": 0.0}


# Three classes: a is right 2 of 3 times and predicted 3 times, b right 1 of 1 and predicted 2 times, c never predicted.
SIX = [("a", "a"), ("a", "a"), ("b", "a"), ("b", "b"), ("a", "c")]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("micro_f1", 3 / 5),
        ("weighted_f1", (3 * 2 / 3 + 1 * 2 / 3) / 5),
        ("macro_precision", (2 / 3 + 1 / 2 + 0) / 3),
        ("weighted_precision", (3 * 2 / 3 + 1 * 1 / 2) / 5),
        ("macro_recall", (2 / 3 + 1 + 0) / 3),
    ],
)
def test_averages_over_classes_by_hand(name: str, value: float) -> None:
    assert compute(name, list(SIX)) == {name: pytest.approx(value)}


def test_matthews_correlation_by_its_formula_and_scaled_into_0_to_1() -> None:
    # 3 true positives, 1 false positive, 2 false negatives, 4 true negatives.
    pairs: Pairs = [*[(1, 1)] * 3, (1, 0), *[(0, 1)] * 2, *[(0, 0)] * 4]
    expected = (3 * 4 - 1 * 2) / (4 * 5 * 5 * 6) ** 0.5
    scores = compute("matthews_correlation", pairs)
    assert scores["matthews_correlation"] == pytest.approx(expected)
    assert scores["matthews_scaled"] == pytest.approx((1 + expected) / 2)
    turned = compute("matthews_correlation", [(1 - int(str(left)), right) for left, right in pairs])
    assert turned["matthews_correlation"] == pytest.approx(-expected)
    assert compute("matthews_correlation", [(1, 1), (1, 0)])["matthews_scaled"] == 0.5


def test_every_metric_fits_the_kinds_whose_answers_it_takes() -> None:
    assert set(fitting("sequence")) == set(fitting("pair")) > {"accuracy", "macro_f1", "weighted_f1"}
    assert "entity_f1" in fitting("token")
    assert fitting("span") == ["squad_v1"]
    known = [*SAME.values(), *(name for averages in AVERAGED.values() for name in averages.values())]
    assert set(known) <= METRICS.keys()
