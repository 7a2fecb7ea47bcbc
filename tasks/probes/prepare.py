"""From a catalogue entry and its rows to a probe for one backbone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from transformers import PreTrainedTokenizerBase

from tasks.probes.base import Probe
from tasks.probes.retrieval import prepare_retrieval
from tasks.spec import ProbeSpec, RetrievalSpec


def prepare_probe(spec: ProbeSpec, rows: Sequence[Mapping[str, object]], tokenizer: PreTrainedTokenizerBase) -> Probe:
    """The probe that a catalogue entry describes.

    Raises:
        TaskError: the rows don't suffice for it.
    """
    match spec:
        case RetrievalSpec():
            return prepare_retrieval(spec, rows, tokenizer)
        case _:
            raise TypeError(f"{type(spec).__name__} is no kind of probe")
