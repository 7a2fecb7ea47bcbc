"""The suite's `evaluate` metrics. They need no download and keep nothing on disk.

Every score is in [0, 1] and larger is better, but for the correlation as it is, which can be no main score.

Use them as any metric of `evaluate`: ``Accuracy().compute(predictions=..., references=...)``, or
``add_batch`` for every batch and ``compute()`` at the end.
"""

from __future__ import annotations

import math
import re
import string
from abc import abstractmethod
from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

import evaluate
from datasets import Features, Value
from seqeval.metrics.sequence_labeling import precision_recall_fscore_support as entity_scores
from sklearn.metrics import f1_score, matthews_corrcoef, precision_recall_fscore_support

Scores = dict[str, float]

LABELS = [
    # The first that fits is taken, and text would also pass for a number if it looks like one.
    Features({"predictions": Value("string"), "references": Value("string")}),
    Features({"predictions": Value("int64"), "references": Value("int64")}),
]
TAGS = Features({"predictions": [Value("string")], "references": [Value("string")]})
TOKENS = Features({"predictions": [Value("float64")], "references": Value("int64")})
ANSWERS = Features({"predictions": Value("string"), "references": [Value("string")]})


class LocalMetric(evaluate.Metric):  # type: ignore[misc]  # evaluate ships no types
    """A metric that keeps its inputs in memory and refuses to score nothing.

    A subclass states the format of its inputs in ``inputs`` and computes in ``score``. Its docstring is the
    description that `evaluate` shows.
    """

    inputs: Features | list[Features]
    scores: ClassVar[tuple[str, ...]] = ()
    """What it computes, the score first that is looked at first."""
    signed: ClassVar[tuple[str, ...]] = ()
    """Those of its scores that can be below 0: they can be no main score."""

    def __init__(self) -> None:
        """Takes no settings: what a metric computes is fixed by its name."""
        super().__init__(keep_in_memory=True)

    @abstractmethod
    def score(self, predictions: Sequence[object], references: Sequence[object]) -> Scores:
        """The scores of at least one prediction."""

    def add_batch(
        self, *, predictions: Sequence[object] = (), references: Sequence[object] = (), **kwargs: object
    ) -> None:
        """Adds predictions and references; a batch without any is fine."""
        if len(predictions) != len(references):
            raise ValueError(f"{len(predictions)} predictions but {len(references)} references")
        if len(predictions):
            super().add_batch(predictions=predictions, references=references, **kwargs)

    def _info(self) -> evaluate.MetricInfo:
        description = type(self).__doc__ or ""
        return evaluate.MetricInfo(description=description, citation="", features=self.inputs)

    def _build_data_dir(self) -> str:
        return ""  # evaluate would create a folder in the user's cache, for files that are never written

    def _finalize(self) -> None:
        if not len(self):
            raise ValueError(f"{type(self).__name__} has no predictions to score")
        super()._finalize()

    def _compute(self, *, predictions: Sequence[object], references: Sequence[object], **settings: object) -> Scores:
        return self.score(predictions, references, **settings)


class Accuracy(LocalMetric):
    """The share of predictions that equal their reference; labels are all numbers or all text."""

    inputs = LABELS
    scores = ("accuracy",)

    def score(self, predictions: Sequence[object], references: Sequence[object]) -> Scores:
        """``accuracy``."""
        pairs = zip(predictions, references, strict=True)
        return {"accuracy": sum(predicted == true for predicted, true in pairs) / len(references)}


class MacroF1(LocalMetric):
    """The mean of the classes' F1, each class counting the same however rare it is.

    Classes are those that occur in the predictions or the references, or, with ``labels=[...]``, those of the
    given ones that occur. One that occurs in only one of the two has an F1 of 0. One that occurs in neither
    is left out: nothing was measured of it.
    """

    inputs = LABELS
    scores = ("macro_f1",)

    def score(
        self,
        predictions: Sequence[object],
        references: Sequence[object],
        labels: Sequence[object] | None = None,
    ) -> Scores:
        """``macro_f1``."""
        found = set(predictions) | set(references)
        classes = sorted(found if labels is None else found & set(labels), key=str)
        if not classes:
            raise ValueError("none of the labels occurs in the predictions or the references")
        value = f1_score(references, predictions, labels=classes, average="macro", zero_division=0)
        return {"macro_f1": float(value)}


class WordAccuracy(LocalMetric):
    """The share of words that get the right tag, over all sentences together.

    Predictions and references are lists of tags of any scheme, one list a sentence.
    """

    inputs = TAGS
    scores = ("accuracy",)

    def score(self, predictions: Sequence[object], references: Sequence[object]) -> Scores:
        """``accuracy``."""
        right = words = 0
        for row, (predicted, true) in enumerate(zip(predictions, references, strict=True), start=1):
            pairs = _tag_pairs(predicted, true, row)
            right += sum(tag == wanted for tag, wanted in pairs)
            words += len(pairs)
        if not words:
            raise ValueError("there is no word in any sentence")
        return {"accuracy": right / words}


class _Averaged(LocalMetric):
    """A measure of each class, averaged over the classes that occur in the predictions or the references."""

    inputs = LABELS
    measure: ClassVar[int]
    """Which one: 0 precision, 1 recall, 2 F1."""
    average: ClassVar[str]

    def score(self, predictions: Sequence[object], references: Sequence[object]) -> Scores:
        """One score, named like the metric; a class with nothing to divide by has 0."""
        values = precision_recall_fscore_support(references, predictions, average=self.average, zero_division=0)
        (name,) = self.scores
        return {name: float(values[self.measure])}


class MicroF1(_Averaged):
    """F1 over all decisions counted together: with one label a text it equals accuracy."""

    scores, measure, average = ("micro_f1",), 2, "micro"


class WeightedF1(_Averaged):
    """The mean of the classes' F1, each weighing as much as it has references."""

    scores, measure, average = ("weighted_f1",), 2, "weighted"


class MacroPrecision(_Averaged):
    """The mean of the classes' precision, each class counting the same; one never predicted has 0."""

    scores, measure, average = ("macro_precision",), 0, "macro"


class WeightedPrecision(_Averaged):
    """The mean of the classes' precision, each weighing as much as it has references."""

    scores, measure, average = ("weighted_precision",), 0, "weighted"


class MacroRecall(_Averaged):
    """The mean of the classes' recall, each class counting the same; one predicted but in no reference has 0."""

    scores, measure, average = ("macro_recall",), 1, "macro"


class BinaryF1(LocalMetric):
    """F1 of the second of two labels, number 1: what GLUE gives for MRPC, whose first is "not the same"."""

    inputs = Features({"predictions": Value("int64"), "references": Value("int64")})
    scores = ("binary_f1",)

    def score(self, predictions: Sequence[object], references: Sequence[object]) -> Scores:
        """``binary_f1``: 0 where the label is neither predicted nor right."""
        return {"binary_f1": float(f1_score(references, predictions, labels=[1], average="macro", zero_division=0))}


class Matthews(LocalMetric):
    """Matthews' correlation of predictions and references, for any number of classes (Gorodkin's R_K).

    The correlation is in [-1, 1]: 0 is chance, and what there is where either side has one class only. Its score here
    is (1 + correlation) / 2, in [0, 1] like all others: chance is 0.5.
    """

    inputs = LABELS
    scores = ("matthews_scaled", "matthews_correlation")
    signed = ("matthews_correlation",)

    def score(self, predictions: Sequence[object], references: Sequence[object]) -> Scores:
        """``matthews_correlation`` and ``matthews_scaled``."""
        several = len({*predictions, *references}) > 1  # of one class scikit-learn would warn, and give 0
        correlation = float(matthews_corrcoef(references, predictions)) if several else 0.0
        return {"matthews_correlation": correlation, "matthews_scaled": (1 + correlation) / 2}


class EntityF1(LocalMetric):
    """Micro-averaged F1 over entities, as the CoNLL-2003 evaluation script has it.

    Predictions and references are lists of tags in the BIO scheme, one list a sentence. An entity is right if
    its type, its first and its last word are. An ``I-`` tag that follows no tag of its type starts an entity,
    as in that script. All three scores are 0 where there is nothing to divide by.
    """

    inputs = TAGS
    scores = ("f1", "precision", "recall")

    def score(self, predictions: Sequence[object], references: Sequence[object]) -> Scores:
        """``precision``, ``recall`` and ``f1``."""
        for row, (predicted, true) in enumerate(zip(predictions, references, strict=True), start=1):
            _check_tags(predicted, true, row)
        precision, recall, f1, _ = entity_scores(references, predictions, average="micro", zero_division=0)
        return {"precision": float(precision), "recall": float(recall), "f1": float(f1)}


def _tag_pairs(predicted: object, true: object, row: int) -> list[tuple[str, str]]:
    assert isinstance(predicted, list) and isinstance(true, list)  # by the declared features
    if len(predicted) != len(true):
        raise ValueError(f"sentence {row} has {len(true)} tags but {len(predicted)} predictions")
    return list(zip(predicted, true, strict=True))


def _check_tags(predicted: object, true: object, row: int) -> None:
    for tag in (tag for pair in _tag_pairs(predicted, true, row) for tag in pair):
        if not re.fullmatch("O|[BI]-.+", tag):  # seqeval would only warn, and count it as some entity
            raise ValueError(f"sentence {row}: '{tag}' is no tag of the BIO scheme")


class SquadV1(LocalMetric):
    """Exact match and F1 of extracted answers, as the SQuAD v1.1 evaluation script has them.

    A prediction is a text, its reference the list of right answers; the best of them counts. Texts are
    compared in lower case, without punctuation, without the words a, an and the, and with single spaces. If
    one of them is empty then, F1 is 1 if both are, else 0: the rule of v2's script; v1.1's gives 0 to both.
    """

    inputs = ANSWERS
    scores = ("f1", "exact_match")

    def score(self, predictions: Sequence[object], references: Sequence[object]) -> Scores:
        """``exact_match`` and ``f1``."""
        exact = f1 = 0.0
        for row, (prediction, answers) in enumerate(zip(predictions, references, strict=True), start=1):
            assert isinstance(answers, list)  # by the declared features
            if not answers:
                raise ValueError(f"question {row} has no right answer to compare with")
            predicted = _answer_words(str(prediction))
            right = [_answer_words(answer) for answer in answers]
            exact += predicted in right
            f1 += max(_overlap_f1(predicted, words) for words in right)
        return {"exact_match": exact / len(references), "f1": f1 / len(references)}


class TokenProbability(LocalMetric):
    """The probability that a token of the text gets, in the geometric mean: ``exp(-nats / tokens)``, 1 / perplexity.

    A prediction is the sums over a text, or a part of one: ``[nats, right]``, of minus the log-probabilities of its
    tokens and of those that were the likeliest. Its reference is the number of its tokens. Sums are added up over all
    texts first, so every token counts the same.
    """

    inputs = TOKENS
    scores = ("token_probability",)

    def score(self, predictions: Sequence[object], references: Sequence[object]) -> Scores:
        """``token_probability``."""
        return {"token_probability": math.exp(-_per_token(predictions, references, 0))}


class TokenAccuracy(LocalMetric):
    """The share of a text's tokens that were the likeliest where they stand; inputs are those of `TokenProbability`."""

    inputs = TOKENS
    scores = ("token_accuracy",)

    def score(self, predictions: Sequence[object], references: Sequence[object]) -> Scores:
        """``token_accuracy``."""
        return {"token_accuracy": _per_token(predictions, references, 1)}


def _per_token(sums: Sequence[object], tokens: Sequence[object], place: int) -> float:
    """One of the sums, added up and divided by the tokens."""
    count = sum(int(str(number)) for number in tokens)
    if count <= 0:
        raise ValueError("there are no tokens to score")
    return math.fsum(pair[place] for pair in sums if isinstance(pair, list)) / count


_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)


def _answer_words(text: str) -> list[str]:
    """The words of an answer that are compared."""
    plain = text.lower().translate(_NO_PUNCTUATION)
    return re.sub(r"\b(a|an|the)\b", " ", plain).split()


def _overlap_f1(predicted: list[str], right: list[str]) -> float:
    """F1 of the words that two answers share, as many times as both have them."""
    if not predicted or not right:
        return float(predicted == right)
    shared = (Counter(predicted) & Counter(right)).total()
    return 2 * shared / (len(predicted) + len(right))


METRICS: dict[str, type[LocalMetric]] = {
    "accuracy": Accuracy,
    "macro_f1": MacroF1,
    "word_accuracy": WordAccuracy,
    "micro_f1": MicroF1,
    "weighted_f1": WeightedF1,
    "macro_precision": MacroPrecision,
    "weighted_precision": WeightedPrecision,
    "macro_recall": MacroRecall,
    "binary_f1": BinaryF1,
    "matthews_correlation": Matthews,
    "entity_f1": EntityF1,
    "squad_v1": SquadV1,
    "token_probability": TokenProbability,
    "token_accuracy": TokenAccuracy,
}
"""Every metric by its name."""


AVERAGED = {
    "f1": {"macro": "macro_f1", "micro": "micro_f1", "weighted": "weighted_f1"},
    "precision": {"macro": "macro_precision", "weighted": "weighted_precision"},
    "recall": {"macro": "macro_recall"},
}
"""Metrics that `evaluate` has under one name and that need an average over classes: average -> the metric here.

Where the weighted or micro average is left out it equals accuracy.
"""
SAME = {"seqeval": "entity_f1", "squad": "squad_v1"}
"""Names that `evaluate` has for metrics of here."""


def fitting(kind: str) -> list[str]:
    """Names of the metrics that can score a kind of task."""
    inputs = {"sequence": LABELS, "pair": LABELS, "token": TAGS, "span": ANSWERS}.get(kind)
    return [name for name, metric in METRICS.items() if metric.inputs == inputs]


def compute(names: Sequence[str], predictions: Sequence[object], references: Sequence[object]) -> Scores:
    """The scores of several metrics together.

    Raises:
        ValueError: two of them give a score of the same name.
    """
    scores: Scores = {}
    for name in names:
        found = METRICS[name]().compute(predictions=predictions, references=references)
        if twice := scores.keys() & found.keys():
            raise ValueError(f"metrics {', '.join(names)} give '{', '.join(sorted(twice))}' twice")
        scores |= found
    return scores
