"""One decision a text, or a pair of texts: sentiment, topic, yes/no questions about a passage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from tasks.base import Batch, Rows, Task, input_names, label_ids
from tasks.metrics import compute
from tasks.spec import TaskSpec


class SequenceTask(Task):
    """A text, or two, gets one of C labels. Longer texts are cut; the share that was cut is recorded."""

    reads_pooled: ClassVar[bool] = True

    @property
    def outputs(self) -> int:
        """One a label."""
        return len(self.spec.labels)

    @classmethod
    def encode(
        cls,
        spec: TaskSpec,
        examples: Mapping[str, list[Any]],
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
    ) -> dict[str, list[Any]]:
        """Tokenises; of a pair the longer text is cut first."""
        texts = [examples["text"]] + ([examples["text_pair"]] if spec.kind == "pair" else [])
        encoded = tokenizer(*texts, truncation=True, max_length=max_length)
        # An empty text is one padding token to a tokenizer that adds none of its own: there is something to read.
        empty = {"input_ids": [tokenizer.pad_token_id], "token_type_ids": [0]}
        return {name: [row or empty[name] for row in encoded[name]] for name in input_names(tokenizer)} | {
            "labels": label_ids(spec, examples["label"]),
            "example": examples["example"],
            "cut": [bool(encoding.overflowing) for encoding in encoded.encodings],
        }

    def rows(self, hidden: Tensor, pooled: Tensor, head: nn.Module, batch: Batch) -> Rows:
        """One row an example."""
        logits: Tensor = head(pooled)
        return Rows(logits, batch.labels, torch.arange(len(batch), device=logits.device))

    def decide(self, rows: Rows, batch: Batch) -> list[Any]:
        """The likeliest label's position."""
        return rows.logits.argmax(dim=-1).tolist()

    def score(self, decisions: Sequence[Any]) -> dict[str, float]:
        """The spec's metrics over label positions."""
        return compute(self.spec.metrics, decisions, self.test.features["labels"][:])
