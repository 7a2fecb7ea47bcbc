"""Sentence retrieval: do two spans of one document find each other among all documents' spans?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from tasks.prepare import ranked, rows_sha256
from tasks.probes.base import Probe, Reader
from tasks.spec import RetrievalSpec, TaskError

BATCH = 32


@dataclass(frozen=True)
class SentenceRetrieval(Probe):
    """Two disjoint spans of one document must find each other among all documents' spans.

    This is what sentence embedding models are pretrained for (contrastively, on pairs of texts that belong
    together), so it tells how much of that ability fine-tuning leaves. Nothing is trained.

    Attributes:
        encoded: Two spans a document, tokenised: first spans of all N documents, then second spans in the same order.
    """

    encoded: Sequence[Mapping[str, list[int]]]
    tokenizer: PreTrainedTokenizerBase

    def measure(self, reader: Reader) -> dict[str, float]:
        """Mean reciprocal rank and accuracy@1 in [0, 1], larger is better; both directions averaged.

        Chance is 1/N for accuracy@1. Similarity is the cosine.
        """
        vectors: list[Tensor] = [torch.empty(0)] * len(self.encoded)
        for chosen, padded in self._batches:
            for place, vector in zip(chosen, reader.embed(padded), strict=True):
                vectors[place] = vector.float().cpu()
        first, second = torch.stack(vectors).chunk(2)
        return retrieval_scores(first, second)

    def texts(self) -> Sequence[Mapping[str, Tensor]]:
        """All spans, in the batches that `measure` reads: a reader that knows them need not read them again."""
        return [padded for _, padded in self._batches]

    @cached_property
    def _batches(self) -> list[tuple[list[int], Mapping[str, Tensor]]]:
        """The spans, shortest first, with their places."""
        batches: list[tuple[list[int], Mapping[str, Tensor]]] = []
        order = sorted(range(len(self.encoded)), key=lambda position: len(self.encoded[position]["input_ids"]))
        for start in range(0, len(order), BATCH):
            chosen = order[start : start + BATCH]
            padded = self.tokenizer.pad(
                {key: [self.encoded[place][key] for place in chosen] for key in self.encoded[0]},
                padding_side="right",
                return_tensors="pt",
            )
            batches.append((chosen, dict(padded)))
        return batches


def retrieval_scores(first: Tensor, second: Tensor) -> dict[str, float]:
    """Scores of retrieving row i of one matrix by row i of the other, both ways, by cosine similarity.

    A tie counts against the right answer, so embeddings that are all equal, or not a number, score as badly as they
    should.

    Args:
        first: (N, D).
        second: (N, D).
    """
    unit = torch.nn.functional.normalize
    similarity = unit(first.double(), dim=1) @ unit(second.double(), dim=1).T
    right = similarity.diagonal()
    # Equal vectors can differ in the last bits of their similarity; and no comparison holds for what is not a number.
    worse = right - 1e-9
    ranks = torch.cat([(~(similarity < worse[:, None])).sum(dim=1), (~(similarity < worse[None, :])).sum(dim=0)])
    return {"mrr": float((1 / ranks).mean()), "accuracy_at_1": float((ranks == 1).double().mean())}


def prepare_retrieval(
    spec: RetrievalSpec, rows: Sequence[Mapping[str, object]], tokenizer: PreTrainedTokenizerBase
) -> SentenceRetrieval:
    """Cuts each document's first words, and as many from its middle on, and tokenises both.

    Which documents take part is decided by the hash of their spans. No two share a span: they could not be told apart
    by it.

    Raises:
        TaskError: fewer different documents than asked for are long enough.
    """
    spans: list[dict[str, str]] = []
    for row in rows:
        words = str(row["text"]).split()
        middle = max(spec.span_words, len(words) // 2)
        if len(words) >= middle + spec.span_words:
            halves = words[: spec.span_words], words[middle : middle + spec.span_words]
            spans.append({"first": " ".join(halves[0]), "second": " ".join(halves[1])})
    chosen: list[int] = []
    firsts: set[str] = set()
    seconds: set[str] = set()
    for place in ranked(spans):
        first, second = spans[place]["first"], spans[place]["second"]
        if len(chosen) < spec.documents and first not in firsts and second not in seconds:
            chosen.append(place)
            firsts.add(first)
            seconds.add(second)
    if len(chosen) < spec.documents:
        raise TaskError(f"{spec.name}: {len(chosen)} different documents are long enough, {spec.documents} are needed")
    pairs = [spans[place] for place in sorted(chosen)]
    texts = [pair["first"] for pair in pairs] + [pair["second"] for pair in pairs]
    encoded = tokenizer(texts, truncation=True, max_length=min(4 * spec.span_words, tokenizer.model_max_length))
    features = [{key: encoded[key][place] for key in encoded} for place in range(len(texts))]
    return SentenceRetrieval(spec.name, rows_sha256(pairs), features, tokenizer)
