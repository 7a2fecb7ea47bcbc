"""Language modelling: how well does the head that a backbone was pretrained with still tell tokens of real text?"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from tasks.base import Task
from tasks.likelihood import nats, right
from tasks.prepare import ranked, rows_sha256
from tasks.probes.base import Probe, Reader, texts_in
from tasks.sources.splitting import normalise
from tasks.spec import CausalLMSpec, MaskedLMSpec, TaskError

BATCH = 4
"""Texts that are read at once: few, since each gives as many numbers as the vocabulary has tokens for every token."""
ALONE = 32
"""Copies of a text, each with another token masked, that are read at once."""


@dataclass(frozen=True)
class Encoded:
    """Documents as tokens, with what the tokenizer adds: ids, and which of them it added."""

    ids: Sequence[Sequence[int]]
    added: Sequence[Sequence[bool]]
    tokenizer: PreTrainedTokenizerBase

    def padded(self, documents: Sequence[int]) -> tuple[dict[str, Tensor], Tensor]:
        """The body's inputs for some documents, (B, L) each, and where a token of the document itself is."""
        padded = self.tokenizer.pad(
            {"input_ids": [list(self.ids[document]) for document in documents]},
            padding_side="right",
            return_tensors="pt",
        )
        inputs = {"input_ids": padded["input_ids"], "attention_mask": padded["attention_mask"]}
        if "token_type_ids" in self.tokenizer.model_input_names:
            inputs["token_type_ids"] = torch.zeros_like(inputs["input_ids"])
        own = torch.zeros_like(inputs["input_ids"], dtype=torch.bool)
        for row, document in enumerate(documents):
            own[row, : len(self.ids[document])] = ~torch.tensor(self.added[document])
        return inputs, own

    def batches(self) -> Iterator[list[int]]:
        """Positions of all documents, those of similar length together."""
        order = sorted(range(len(self.ids)), key=lambda document: len(self.ids[document]))
        for start in range(0, len(order), BATCH):
            yield order[start : start + BATCH]


@dataclass(frozen=True)
class LanguageProbe(Probe):
    """Reads the first words of held-out documents.

    Attributes:
        openings: These words, of each document as many.
        encoded: The same as tokens.
    """

    openings: Sequence[str]
    encoded: Encoded

    def trained_by(self, task: Task) -> float:
        """Of its documents, those with whose words a text begins that a task trains on, whatever is trained of it."""
        words = len(self.openings[0].split())
        trained = {
            " ".join(text.split(" ", words)[:words]) for texts in texts_in(task.train.examples) for text in texts
        }
        return sum(opening in trained for opening in self.openings) / len(self.openings)


@dataclass(frozen=True)
class CausalLM(LanguageProbe):
    """Every token of a document that has one before it is told from those before it, as in pretraining."""

    def measure(self, reader: Reader) -> dict[str, float]:
        """``token_probability``, exp of minus the mean nats a token: 1 / perplexity. ``token_accuracy``. In [0, 1]."""
        lost: list[Tensor] = []
        hit: list[Tensor] = []
        for documents in self.encoded.batches():
            inputs, own = self.encoded.padded(documents)
            told = own[:, 1:]
            places = torch.nn.functional.pad(told, (0, 1))  # what tells a token is the place before it
            logits, targets = reader.predict(inputs, places), inputs["input_ids"][:, 1:][told]
            lost.append(nats(logits, targets.to(logits.device)))
            hit.append(right(logits, targets))
        return _measures(torch.cat(lost), torch.cat(hit))


@dataclass(frozen=True)
class MaskedLM(LanguageProbe):
    """Masked tokens are told from all others: some of each document at once, and each alone.

    Attributes:
        masked: For every document the places that are masked at once.
        alone: How many of the documents, the first ones, are read once for each of their tokens, with it masked.
    """

    masked: Sequence[Sequence[int]]
    alone: int

    def measure(self, reader: Reader) -> dict[str, float]:
        """``token_probability`` and ``token_accuracy`` of what is masked at once; ``pseudo_token_probability``.

        The first is exp of minus the mean nats a masked token. The last is exp of minus the mean nats of all tokens,
        each masked alone: 1 / pseudo-perplexity (Salazar et al. 2020, arXiv:1910.14659). All are in [0, 1].
        """
        mask = int(self.encoded.tokenizer.mask_token_id)
        lost: list[Tensor] = []
        hit: list[Tensor] = []
        for documents in self.encoded.batches():
            inputs, _ = self.encoded.padded(documents)
            places = torch.zeros_like(inputs["input_ids"], dtype=torch.bool)
            for row, document in enumerate(documents):
                places[row, list(self.masked[document])] = True
            targets = inputs["input_ids"][places]
            hidden = inputs | {"input_ids": inputs["input_ids"].masked_fill(places, mask)}
            logits = reader.predict(hidden, places)
            lost.append(nats(logits, targets.to(logits.device)))
            hit.append(right(logits, targets))
        alone = torch.cat([part for document in range(self.alone) for part in self._each_alone(reader, document, mask)])
        measures = _measures(torch.cat(lost), torch.cat(hit))
        return measures | {"pseudo_token_probability": math.exp(-float(alone.mean()))}

    def _each_alone(self, reader: Reader, document: int, mask: int) -> Iterator[Tensor]:
        inputs, own = self.encoded.padded([document])
        for places in torch.split(own[0].nonzero()[:, 0], ALONE):
            copies = {name: value.expand(len(places), -1).clone() for name, value in inputs.items()}
            rows = torch.arange(len(places))
            targets = copies["input_ids"][rows, places]
            copies["input_ids"][rows, places] = mask
            where = torch.zeros_like(copies["input_ids"], dtype=torch.bool)
            where[rows, places] = True
            logits = reader.predict(copies, where)
            yield nats(logits, targets.to(logits.device))


def _measures(lost: Tensor, hit: Tensor) -> dict[str, float]:
    return {"token_probability": math.exp(-float(lost.mean())), "token_accuracy": float(hit.double().mean())}


def prepare_causal(
    spec: CausalLMSpec, rows: Sequence[Mapping[str, object]], tokenizer: PreTrainedTokenizerBase
) -> CausalLM:
    """Chooses documents by hash and tokenises their first words.

    Raises:
        TaskError: fewer different documents than asked for are long enough, or they have no two tokens.
    """
    texts = _texts(spec.name, rows, spec.documents, spec.words)
    encoded = _encode(texts, tokenizer)
    if not any(sum(not made_up for made_up in added[1:]) for added in encoded.added):
        raise TaskError(f"{spec.name}: the tokenizer makes no two tokens of any document")
    return CausalLM(spec.name, rows_sha256([{"text": text} for text in texts]), texts, encoded)


def prepare_masked(
    spec: MaskedLMSpec, rows: Sequence[Mapping[str, object]], tokenizer: PreTrainedTokenizerBase
) -> MaskedLM:
    """Chooses documents by hash, tokenises their first words and decides by hash what of them is masked.

    Raises:
        TaskError: fewer different documents than asked for are long enough, or the tokenizer has no token for a mask.
    """
    if tokenizer.mask_token_id is None:
        raise TaskError(f"{spec.name}: the tokenizer has no token for what is masked")
    texts = _texts(spec.name, rows, spec.documents, spec.words)
    encoded = _encode(texts, tokenizer)
    masked = [_masked(text, added, spec.share) for text, added in zip(texts, encoded.added, strict=True)]
    sha256 = rows_sha256([{"text": text} for text in texts])
    return MaskedLM(spec.name, sha256, texts, encoded, masked, spec.alone)


def _texts(name: str, rows: Sequence[Mapping[str, object]], documents: int, words: int) -> list[str]:
    """The first words of so many documents, no two alike; which, is decided by the hash of the words."""
    openings = [str(row["text"]).split()[:words] for row in rows]
    candidates = [{"text": text} for text in dict.fromkeys(" ".join(o) for o in openings if len(o) == words)]
    if len(candidates) < documents:
        raise TaskError(f"{name}: {len(candidates)} different documents are long enough, {documents} are needed")
    return [normalise(candidates[place]["text"]) for place in sorted(ranked(candidates)[:documents])]


def _encode(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> Encoded:
    encoded = tokenizer(
        list(texts), truncation=True, max_length=tokenizer.model_max_length, return_special_tokens_mask=True
    )
    added = [[bool(value) for value in values] for values in encoded["special_tokens_mask"]]
    return Encoded(encoded["input_ids"], added, tokenizer)


def _masked(text: str, added: Sequence[bool], share: float) -> list[int]:
    """The places of a document's tokens with the smallest hashes: the share of them, rounded, but at least one."""

    def rank(place: int) -> bytes:
        return hashlib.sha256(f"{text}\0{place}".encode()).digest()

    own = [place for place, made_up in enumerate(added) if not made_up]
    return sorted(sorted(own, key=rank)[: max(1, round(share * len(own)))])
