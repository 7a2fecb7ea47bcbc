"""Extractive question answering: where in a passage does the answer start and end?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from tasks.base import Batch, Rows, Split, Task, input_names
from tasks.metrics import compute
from tasks.spec import TaskError, TaskSpec

LONGEST_ANSWER = 30
"""Tokens in the longest answer considered, as in the SQuAD baselines of BERT's authors."""
CANDIDATES = 20
"""Starts and ends considered per window, likewise."""


class SpanTask(Task):
    """A question about a passage is answered by a span of it: one choice of start, one of end.

    A passage that does not fit is read in windows that share a quarter of their length; the best span over all
    windows is the answer. In training a window without the answer is taught to choose its first token. Only a
    question that fills more than half a window is cut, and counted as cut.
    """

    @property
    def outputs(self) -> int:
        """Two: how well a token starts, and ends, the answer."""
        return 2

    @property
    def classes(self) -> int | None:
        """None: a row chooses among the places of its passage."""
        return None

    @property
    def rows_each(self) -> int:
        """Two: start and end."""
        return 2

    @classmethod
    def encode(
        cls,
        spec: TaskSpec,
        examples: Mapping[str, list[Any]],
        tokenizer: PreTrainedTokenizerBase,
        max_length: int,
    ) -> dict[str, list[Any]]:
        """Windows over the passage; ``span_start`` and ``span_end`` hold each token's place in it, -1 outside."""
        half = max_length // 2
        questions, cut = _fit(examples["question"], tokenizer, half)
        # Windows must share less than what the longest question leaves of them.
        spare = max_length - half - tokenizer.num_special_tokens_to_add(pair=True)
        encoded = tokenizer(
            questions,
            examples["context"],
            truncation="only_second",
            max_length=max_length,
            stride=min(max_length // 4, spare - 1),
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        names = input_names(tokenizer)
        columns = [*names, "span_start", "span_end", "labels", "example", "cut"]
        features: dict[str, list[Any]] = {name: [] for name in columns}
        for window, owner in enumerate(encoded["overflow_to_sample_mapping"]):
            if not encoded["input_ids"][window]:
                continue  # nothing to read: no question, no passage, and a tokenizer that adds no tokens of its own
            in_passage = [part == 1 for part in encoded.sequence_ids(window)]
            offsets = encoded["offset_mapping"][window]
            starts = [start if inside else -1 for inside, (start, _) in zip(in_passage, offsets, strict=True)]
            ends = [end if inside else -1 for inside, (_, end) in zip(in_passage, offsets, strict=True)]
            answers = examples["answers"][owner]
            if not answers["text"]:
                raise TaskError(f"{spec.name}: question '{examples['question'][owner][:60]}' has no answer")
            for name in names:
                features[name].append(encoded[name][window])
            features["span_start"].append(starts)
            features["span_end"].append(ends)
            features["labels"].append(_positions(answers["text"][0], answers["answer_start"][0], starts, ends))
            features["example"].append(examples["example"][owner])
            features["cut"].append(cut[owner])
        return features

    def pad_labels(self, split: Split, places: NDArray[np.int64], longest: int) -> tuple[Tensor, Tensor | None]:
        """(B, 2) positions of start and end, and (B, L) where they may be: the passage and the first token."""
        allowed = split.column("span_start").padded(places, -1, longest) >= 0
        allowed[:, 0] = True
        return split.column("labels").padded(places, 0, 2), allowed

    def made_up_labels(self, present: Tensor) -> tuple[Tensor, Tensor | None]:
        """Every token may start and end an answer."""
        return torch.zeros(len(present), 2, dtype=torch.long, device=present.device), present

    def rows(self, hidden: Tensor, pooled: Tensor, head: nn.Module, batch: Batch) -> Rows:
        """Two rows a window: all starts first, then all ends; places outside the passage are shut."""
        assert batch.allowed is not None
        scores: Tensor = head(hidden).float()  # (B, L, 2); in 16 bits, shut places would be no lower than real scores
        scores = scores.masked_fill(~batch.allowed[..., None], torch.finfo(scores.dtype).min)
        logits = torch.cat([scores[..., 0], scores[..., 1]])
        targets = torch.cat([batch.labels[:, 0], batch.labels[:, 1]])
        return Rows(logits, targets, torch.arange(len(batch), device=logits.device).repeat(2))

    def decide(self, rows: Rows, batch: Batch) -> list[Any]:
        """For each window the best span as (score, first token, last token), or None if it has no span."""
        assert batch.allowed is not None
        starts, ends = rows.logits.chunk(2)
        return [_best_span(*window) for window in zip(starts, ends, batch.allowed, strict=True)]

    def score(self, decisions: Sequence[Any]) -> dict[str, float]:
        """The spec's metrics over answer texts; over the windows of one question the best score wins."""
        best: dict[int, tuple[float, str]] = {}
        columns = self.test.features.select_columns(["example", "span_start", "span_end"])[:]
        contexts = self.test.examples["context"][:]
        for example, starts, ends, decision in zip(
            columns["example"], columns["span_start"], columns["span_end"], decisions, strict=True
        ):
            if decision is None:
                continue
            score, first, last = decision
            if example not in best or score > best[example][0]:
                best[example] = (score, contexts[example][starts[first] : ends[last]].strip())
        predictions = [best.get(example, (0.0, ""))[1] for example in range(len(contexts))]
        references = [answers["text"] for answers in self.test.examples["answers"][:]]
        return compute(self.spec.metrics, predictions, references)


def _fit(questions: list[str], tokenizer: PreTrainedTokenizerBase, room: int) -> tuple[list[str], list[bool]]:
    """The questions with at most ``room`` tokens each, and which of them were cut for it."""

    def token_ends(texts: list[str]) -> list[list[int]]:
        encoded = tokenizer(texts, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
        return [[end for _, end in places] for places in encoded["offset_mapping"]]

    fitting: list[str] = []
    cut: list[bool] = []
    for question, ends in zip(questions, token_ends(questions), strict=True):
        text, keep = question, room
        cut.append(len(ends) > room)
        if cut[-1]:
            text = question[: ends[room - 1]]
            # What is left of a word, or of a character of several bytes, may be split into more tokens than before.
            while len(token_ends([text])[0]) > room and keep > 1:
                keep -= 1
                text = question[: ends[keep - 1]]
        fitting.append(text)
    return fitting, cut


def _positions(answer: str, place: int, starts: list[int], ends: list[int]) -> list[int]:
    """First and last token of the answer in this window; (0, 0) where the answer is not all inside.

    Tokens may share their characters (the bytes of an emoji), or carry the space before them.
    """
    first = place + len(answer) - len(answer.lstrip())
    last = first + len(answer.strip())
    inside = [position for position, start in enumerate(starts) if start >= 0]
    answered = [position for position in inside if starts[position] < last and ends[position] > first]
    if not answered or starts[inside[0]] > first or ends[inside[-1]] < last:
        return [0, 0]
    return [answered[0], answered[-1]]


def _best_span(starts: Tensor, ends: Tensor, allowed: Tensor) -> tuple[float, int, int] | None:
    """The likeliest span among the best starts and ends; the window's first token, "no answer", is left out."""
    count = min(CANDIDATES, len(starts))
    start_scores, start_places = starts.topk(count)
    end_scores, end_places = ends.topk(count)
    length = end_places[None, :] - start_places[:, None]
    possible = (
        (length >= 0)
        & (length < LONGEST_ANSWER)
        & (start_places > 0)[:, None]
        & allowed[start_places][:, None]
        & allowed[end_places][None, :]
    )
    if not possible.any():
        return None
    total = (start_scores[:, None] + end_scores[None, :]).masked_fill(~possible, -torch.inf)
    row, column = divmod(int(total.argmax()), count)
    return float(total[row, column]), int(start_places[row]), int(end_places[column])
