"""What a task is before any text is read: names, labels, where its data comes from. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from tasks.sources.base import Source

Kind = Literal["sequence", "pair", "token", "span", "causal"]

Objective = Literal["causal", "masked"]
"""What a language model was pretrained for: to tell the next token, or those that were masked."""
ScoredSplit = Literal["test", "validation"]
"""A split that models are scored on."""
PRETRAINING = "pretraining"
"""Name of the head that the backbone itself was pretrained with."""


class TaskError(ValueError):
    """A task's data or settings can't be used; the message is one line for the user."""


@dataclass(frozen=True)
class TaskSpec:
    """One entry of the catalogue.

    Attributes:
        name: Its name on the command line; a corrected task gets a new one.
        kind: How examples become rows of choices (see `tasks.base`).
        description: One sentence: what is decided about which texts.
        source: Archive and reader of its splits.
        counts: Examples a split as counted on the real archive, before any limit.
        split: Where the split comes from. Scores on a split of our own don't compare with published ones.
        licence: Of the data, with what it forbids.
        citation: Paper or page that introduced the data.
        metrics: Names in `tasks.metrics.METRICS`.
        main: The score of theirs that goes into the score matrix (in [0, 1], larger is better).
        labels: All labels, in the order of the output weights; empty for ``span`` and ``causal``.
        head: Name of the output weights; tasks that share it share them. Default: the task's own name.
        validation: The split that tuning may look at, or None where the source has none.
        own: Of `labels` those that this task teaches, where others are other tasks'; empty for all. Streams set it.
        told_apart: Whether predicting may know which task of the stream a text is of. Streams set it.
        scored: The split that scores are of: ``test``, or ``validation`` while settings are searched, see
            `tasks.holdout`.
    """

    name: str
    kind: Kind
    description: str
    source: Source
    counts: dict[str, int]
    split: str
    licence: str
    citation: str
    metrics: tuple[str, ...]
    main: str
    labels: tuple[str, ...] = ()
    head: str = field(default="")
    validation: str | None = None
    own: tuple[str, ...] = ()
    told_apart: bool = True
    scored: ScoredSplit = "test"

    @property
    def head_name(self) -> str:
        """Name of the output weights that this task trains."""
        return self.head or self.name


@dataclass(frozen=True)
class ProbeSpec:
    """A fixed measurement of what pretraining could do; each kind has a subclass.

    Attributes:
        name: Its name in suites and records.
        description: What is measured, in one sentence.
        source: Archive and reader of the held-out documents.
        licence: Of the documents.
    """

    name: str
    description: str
    source: Source
    licence: str

    @property
    def facts(self) -> list[tuple[str, str]]:
        """What else a reader should know, each with a word for what it is about."""
        return []

    @property
    def objective(self) -> Objective | None:
        """What a backbone must have been pretrained for, its head still there; None if it may be any."""
        return None

    @property
    def held_out(self) -> TaskSpec | None:
        """The task whose data it holds back, so that no stream may train it; None if it holds back none."""
        return None


@dataclass(frozen=True)
class RetrievalSpec(ProbeSpec):
    """Two spans of one document must find each other: see `tasks.probes.retrieval`.

    Attributes:
        documents: How many documents take part; chosen once, by hash, the same for every run.
        span_words: Words in each of a document's two spans.
    """

    documents: int
    span_words: int

    @property
    def facts(self) -> list[tuple[str, str]]:
        """Sizes, and what its values mean."""
        return [
            ("documents", f"{self.documents}, two spans of {self.span_words} words each"),
            ("values", "mrr and accuracy_at_1 (0 to 1, larger is better), both directions averaged"),
        ]


@dataclass(frozen=True)
class CausalLMSpec(ProbeSpec):
    """How well a decoder tells the next token: see `tasks.probes.language.CausalLM`.

    Attributes:
        documents: How many documents are read; chosen once, by hash, the same for every run and backbone.
        words: That are read of each, from its beginning.
    """

    documents: int
    words: int

    @property
    def objective(self) -> Objective | None:
        """``causal``."""
        return "causal"

    @property
    def facts(self) -> list[tuple[str, str]]:
        """Sizes, and what its values mean."""
        return [
            ("documents", f"the first {self.words} words of {self.documents}"),
            ("values", "token_probability (1 / perplexity) and token_accuracy, of every token but a document's first"),
            ("backbones", "decoders with the head they were pretrained with; values depend on the tokenizer"),
        ]


@dataclass(frozen=True)
class MaskedLMSpec(ProbeSpec):
    """How well an encoder tells masked tokens: see `tasks.probes.language.MaskedLM`.

    Attributes:
        documents: How many documents are read; chosen once, by hash, the same for every run and backbone.
        words: That are read of each, from its beginning.
        share: Of a document's tokens that are masked at once; which, is decided by hash.
        alone: In how many of the documents every token is also masked alone, for pseudo-perplexity.
    """

    documents: int
    words: int
    share: float
    alone: int

    @property
    def objective(self) -> Objective | None:
        """``masked``."""
        return "masked"

    @property
    def facts(self) -> list[tuple[str, str]]:
        """Sizes, and what its values mean."""
        return [
            ("documents", f"the first {self.words} words of {self.documents}, {self.share:.0%} of the tokens masked"),
            ("values", "token_probability (exp of minus the masked tokens' mean loss) and token_accuracy;"),
            ("", f"pseudo_token_probability (1 / pseudo-perplexity): each token alone, in {self.alone} documents"),
            ("backbones", "encoders with the head they were pretrained with; values depend on the tokenizer"),
        ]


@dataclass(frozen=True)
class LinearSpec(ProbeSpec):
    """A linear classifier on frozen features of a task that is never trained: see `tasks.probes.linear`.

    Attributes:
        task: The task, with one label a text or pair of texts.
        train_examples: Examples that the classifier is fitted on; chosen once, by hash, the same for every run.
        test_examples: Examples that it is tested on, likewise.
        max_length: Tokens in a text; longer ones are cut.
        penalties: Strengths of the ridge penalty, of which leave-one-out chooses; a single one is fixed.
    """

    task: TaskSpec
    train_examples: int
    test_examples: int
    max_length: int
    penalties: tuple[float, ...] = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)

    @property
    def facts(self) -> list[tuple[str, str]]:
        """The task, sizes, and what its values mean."""
        return [
            ("task", f"{self.task.name}, {len(self.task.labels)} labels; no stream with it may be trained beside"),
            ("examples", f"fitted on {self.train_examples:,}, tested on {self.test_examples:,}"),
            ("tokens", f"{self.max_length} of each text"),
            ("values", f"{', '.join(self.task.metrics)} (0 to 1, larger is better) of a ridge classifier"),
        ]

    @property
    def held_out(self) -> TaskSpec | None:
        """Its task."""
        return self.task
