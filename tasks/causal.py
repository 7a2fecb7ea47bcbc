"""Causal language modelling: every next token of a text is told from those before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from transformers import PreTrainedTokenizerBase

from tasks.base import IGNORED, Batch, Rows, input_names
from tasks.likelihood import nats, right
from tasks.metrics import compute
from tasks.per_token import PerTokenTask
from tasks.spec import PRETRAINING, Objective, TaskSpec


class CausalTask(PerTokenTask):
    """Every token of a text that has one before it is a row: a choice among the whole vocabulary.

    The head is the one that the backbone was pretrained with. A text that does not fit is read in consecutive windows:
    the last token of one tells the first of the next, so each of these tokens is told exactly once. A window knows
    nothing of what came before it.
    """

    objective: ClassVar[Objective | None] = "causal"

    @property
    def head(self) -> str:
        """The backbone's own."""
        return PRETRAINING

    @property
    def outputs(self) -> int:
        """Tokens of the vocabulary, as many as the backbone's head has."""
        assert self.pretraining is not None
        return self.pretraining.outputs

    @property
    def own_head(self) -> bool:
        """False where the head is tied to the body's embeddings and has nothing beside them."""
        assert self.pretraining is not None
        return not self.pretraining.tied

    @classmethod
    def encode(
        cls,
        spec: TaskSpec,
        examples: Mapping[str, list[Any]],
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
    ) -> dict[str, list[Any]]:
        """Consecutive windows; a token's label is the one that follows it. Texts of one token tell nothing.

        What the tokenizer itself puts around a text, as it did in pretraining, is read but never told.
        """
        encoded = tokenizer(examples["text"], return_special_tokens_mask=True, verbose=False)
        names = input_names(tokenizer)
        features: dict[str, list[Any]] = {name: [] for name in [*names, "labels", "example", "cut"]}
        for text, ids in enumerate(encoded["input_ids"]):
            added = encoded["special_tokens_mask"][text]
            following = [IGNORED if made_up else token for token, made_up in zip(ids, added, strict=True)][1:]
            for start in range(0, len(following), max_length):
                labels = following[start : start + max_length]
                if all(label == IGNORED for label in labels):
                    continue
                for name in names:
                    features[name].append(encoded[name][text][start : start + len(labels)])
                features["labels"].append(labels)
                features["example"].append(examples["example"][text])
                features["cut"].append(False)
        return features

    def decide(self, rows: Rows, batch: Batch) -> list[Any]:
        """For each window three sums over its tokens: nats, how many were the likeliest, how many there are."""
        lost, hit = nats(rows.logits, rows.targets), right(rows.logits, rows.targets)
        owned = [rows.owner == example for example in range(len(batch))]
        return [(float(lost[mine].sum()), int(hit[mine].sum()), int(mine.sum())) for mine in owned]

    def score(self, decisions: Sequence[Any]) -> dict[str, float]:
        """The spec's metrics over the sums of all windows."""
        sums = [[told, correct] for told, correct, _ in decisions]
        return compute(self.spec.metrics, sums, [count for _, _, count in decisions])
