"""From a catalogue entry and its rows to a probe for one backbone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from transformers import PreTrainedTokenizerBase

from tasks.probes.base import Probe
from tasks.probes.language import prepare_causal, prepare_masked
from tasks.probes.retrieval import prepare_retrieval
from tasks.spec import CausalLMSpec, MaskedLMSpec, ProbeSpec, RetrievalSpec


def prepare_probe(spec: ProbeSpec, rows: Sequence[Mapping[str, object]], tokenizer: PreTrainedTokenizerBase) -> Probe:
    """The probe that a catalogue entry describes.

    Raises:
        TaskError: the rows don't suffice for it.
    """
    match spec:
        case RetrievalSpec():
            return prepare_retrieval(spec, rows, tokenizer)
        case CausalLMSpec():
            return prepare_causal(spec, rows, tokenizer)
        case MaskedLMSpec():
            return prepare_masked(spec, rows, tokenizer)
        case _:
            raise TypeError(f"{type(spec).__name__} is no kind of probe")
