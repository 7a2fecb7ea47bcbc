"""Probes of language modelling: values by hand, masks that are fixed, every token told once."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor

from tasks.prepare import Sizes, prepare
from tasks.probes.language import CausalLM, MaskedLM, prepare_causal, prepare_masked
from tasks.sources.base import Row
from tasks.spec import CausalLMSpec, MaskedLMSpec, TaskError
from tests.conftest import document_rows, make_spec
from tests.tiny_models import NOWHERE

ROWS = document_rows(20, 1)
SIZES = Sizes(None, None, 32)


def causal(tokenizer: Any, documents: int = 6, words: int = 9) -> CausalLM:
    return prepare_causal(CausalLMSpec("made_up", "made up", NOWHERE, "none", documents, words), ROWS, tokenizer)


def masked(tokenizer: Any, documents: int = 6, words: int = 9, share: float = 0.3, alone: int = 2) -> MaskedLM:
    spec = MaskedLMSpec("made_up", "made up", NOWHERE, "none", documents, words, share, alone)
    return prepare_masked(spec, ROWS, tokenizer)


class Teller:
    """Gives the right token this probability and the rest to the token 0; keeps what it was asked."""

    def __init__(self, size: int, probability: float, texts: list[list[int]], shift: int) -> None:
        self.size, self.probability, self.texts, self.shift = size, probability, texts, shift
        self.asked: list[tuple[tuple[int, ...], int]] = []
        self.read: list[list[int]] = []

    def embed(self, inputs: Mapping[str, Tensor]) -> Tensor:
        raise AssertionError("nobody should ask")

    def states(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        raise AssertionError("nobody should ask")

    def predict(self, inputs: Mapping[str, Tensor], places: Tensor) -> Tensor:
        rows = []
        for text, place in places.nonzero().tolist():
            ids = inputs["input_ids"][text][inputs["attention_mask"][text].bool()].tolist()
            (whole,) = [known for known in self.texts if _fits(ids, known)]
            self.asked.append((tuple(whole), place + self.shift))
            self.read.append(ids)
            row = torch.full((self.size,), -1e4)
            row[0] = math.log(1 - self.probability)
            row[whole[place + self.shift]] = math.log(self.probability)
            rows.append(row)
        return torch.stack(rows)


MASK = 4


def _fits(ids: list[int], known: list[int]) -> bool:
    return len(ids) == len(known) and all(a in (b, MASK) for a, b in zip(ids, known, strict=True))


def texts(probe: Any) -> list[list[int]]:
    return [list(ids) for ids in probe.encoded.ids]


@pytest.mark.parametrize("probability", [0.25, 0.8])
def test_causal_perplexity_is_the_inverse_of_the_probability_that_every_token_gets(
    tokenizers: dict[str, Any], probability: float
) -> None:
    probe = causal(tokenizers["gpt2"])
    teller = Teller(700, probability, texts(probe), 1)
    assert probe.measure(teller) == {
        "token_probability": pytest.approx(probability, rel=1e-5),
        "token_accuracy": float(probability > 0.5),
    }
    expected = [(tuple(ids), place) for ids in texts(probe) for place in range(1, len(ids))]
    assert sorted(teller.asked) == sorted(expected)


@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_masked_tokens_are_hidden_and_told_and_each_alone_too(tokenizers: dict[str, Any], family: str) -> None:
    probe = masked(tokenizers[family])
    teller = Teller(100, 0.5, texts(probe), 0)
    values = probe.measure(teller)
    assert values["token_probability"] == pytest.approx(0.5, rel=1e-5)
    assert values["pseudo_token_probability"] == pytest.approx(0.5, rel=1e-5)
    at_once = sum(len(places) for places in probe.masked)
    first, rest = teller.asked[:at_once], teller.asked[at_once:]
    assert sorted(first) == sorted(
        (tuple(ids), place) for ids, places in zip(texts(probe), probe.masked, strict=True) for place in places
    )
    assert all(len(places) == round(0.3 * 9) for places in probe.masked)
    assert sorted(rest) == sorted((tuple(ids), place) for ids in texts(probe)[:2] for place in range(1, len(ids) - 1))
    for (whole, place), ids in zip(teller.asked, teller.read, strict=True):
        assert ids[place] == MASK
        hidden = sum(token == MASK for token in ids)
        assert hidden == (1 if (whole, place) in rest and hidden == 1 else 3)


def test_masks_and_documents_are_fixed_whatever_the_order(tokenizers: dict[str, Any]) -> None:
    spec = MaskedLMSpec("made_up", "made up", NOWHERE, "none", 6, 9, 0.3, 2)
    here, there = (prepare_masked(spec, rows, tokenizers["bert"]) for rows in (ROWS, ROWS[::-1]))
    assert dict(zip(map(tuple, texts(here)), here.masked, strict=True)) == dict(
        zip(map(tuple, texts(there)), there.masked, strict=True)
    )
    assert len({tuple(places) for places in here.masked}) > 1


def test_the_hash_is_that_of_the_texts_whatever_the_tokenizer(tokenizers: dict[str, Any]) -> None:
    hashes = {causal(tokenizers[family]).sha256 for family in ("gpt2", "llama", "bert")}
    assert len(hashes) == 1
    assert causal(tokenizers["gpt2"], words=8).sha256 not in hashes


def test_what_can_not_be_prepared_is_refused_in_one_line(tokenizers: dict[str, Any]) -> None:
    with pytest.raises(TaskError, match="^made_up: 20 different documents are long enough, 21 are needed$"):
        causal(tokenizers["gpt2"], documents=21)
    with pytest.raises(TaskError, match="^made_up: the tokenizer has no token for what is masked$"):
        masked(tokenizers["gpt2"])


@pytest.mark.parametrize(("kind", "column"), [("sequence", "text"), ("pair", "text_pair"), ("span", "context")])
def test_documents_that_a_task_trains_are_counted_in_whichever_column_they_stand(
    tokenizers: dict[str, Any], kind: Any, column: str
) -> None:
    def row(number: int, text: str) -> Row:
        other = {"id": f"{number}", "text": f"question {number}", "question": f"question {number}", "label": "good"}
        answer = {"answers": {"text": [text.split()[0]], "answer_start": [text.index(text.split()[0])]}}
        return {**other, **(answer if kind == "span" else {}), column: text}

    labels = () if kind == "span" else ("bad", "good")
    for probe in (masked(tokenizers["bert"]), causal(tokenizers["bert"])):
        held = probe.openings
        texts = [
            f"  {held[0]}",
            held[1].replace(" ", " \n "),
            f"{held[2]} and goes on",
            f"before {held[3]}",
            held[4][:-2],
        ]
        rows = [row(number, text) for number, text in enumerate(texts)]
        task = prepare(make_spec("t", kind, NOWHERE, labels), {"train": rows, "test": rows}, tokenizers["bert"], SIZES)
        assert probe.trained_by(task) == pytest.approx(3 / 6)
        rows = rows[3:]
        task = prepare(make_spec("t", kind, NOWHERE, labels), {"train": rows, "test": rows}, tokenizers["bert"], SIZES)
        assert probe.trained_by(task) == 0
