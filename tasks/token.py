"""One decision a word: named entities, parts of speech, chunks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase

from tasks.base import IGNORED, Batch, Rows, input_names, label_ids
from tasks.metrics import compute
from tasks.per_token import PerTokenTask
from tasks.spec import TaskError, TaskSpec


class TokenTask(PerTokenTask):
    """Every word of a sentence gets one of C labels, read off its first sub-word.

    A sentence that does not fit is split into consecutive windows, so every word is decided once and none is lost.
    """

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
        """Tokenises sentences; continuing sub-words and special tokens get no label."""
        # Joined by spaces, as in running text: on single words, byte-level tokenizers leave out the space before each.
        encoded = tokenizer(
            [" ".join(words) for words in examples["words"]],
            truncation=True,
            max_length=max_length,
            return_overflowing_tokens=True,
            return_offsets_mapping=True,
        )
        tags = [label_ids(spec, sentence) for sentence in examples["tags"]]
        for sentence, known in zip(examples["words"], tags, strict=True):
            if len(sentence) != len(known):
                raise TaskError(f"{spec.name}: a sentence has {len(sentence)} words but {len(known)} tags")
        word_at = [_words_of_characters(sentence) for sentence in examples["words"]]
        names = input_names(tokenizer)
        features: dict[str, list[Any]] = {name: [] for name in [*names, "labels", "words", "example", "cut"]}
        last_word = dict.fromkeys(range(len(tags)), -1)
        for window, owner in enumerate(encoded["overflow_to_sample_mapping"]):
            labels: list[int] = []
            words: list[int] = []
            for start, end in encoded["offset_mapping"][window]:
                word = next((word for word in word_at[owner][start:end] if word is not None), None)
                # A word that was begun in the window before continues here and was labelled there.
                if word is None or word <= last_word[owner]:
                    labels.append(IGNORED)
                    continue
                labels.append(tags[owner][word])
                words.append(word)
                last_word[owner] = word
            if not words:
                continue
            for name in names:
                features[name].append(encoded[name][window])
            features["labels"].append(labels)
            features["words"].append(words)
            features["example"].append(examples["example"][owner])
            features["cut"].append(False)
        return features

    def decide(self, rows: Rows, batch: Batch) -> list[Any]:
        """For each window the likeliest label of each of its words."""
        best = rows.logits.argmax(dim=-1)
        return [best[rows.owner == example].tolist() for example in range(len(batch))]

    def score(self, decisions: Sequence[Any]) -> dict[str, float]:
        """The spec's metrics over tag sequences, windows of one sentence joined again.

        Where other tasks of the stream have other types (class-incremental), words predicted to be of those count as
        outside: they are marked so here.
        """
        references = self.test.examples["tags"][:]
        # Words of which the tokenizer keeps nothing (control characters) are never decided: they stay outside.
        outside = "O" if "O" in self.spec.labels else self.spec.labels[0]
        own = set(self.spec.own or self.spec.labels)
        told = [label if label in own else outside for label in self.spec.labels]
        predicted = [[outside] * len(tags) for tags in references]
        windows = self.test.features.select_columns(["example", "words"])[:]
        for example, words, labels in zip(windows["example"], windows["words"], decisions, strict=True):
            for word, label in zip(words, labels, strict=True):
                predicted[example][word] = told[label]
        return compute(self.spec.metrics, predicted, references)


def _words_of_characters(words: Sequence[str]) -> list[int | None]:
    """Which word each character of the words, joined by spaces, belongs to; None for the spaces between."""
    places: list[int | None] = []
    for number, word in enumerate(words):
        places += [number] * len(word) + [None]
    return places
