"""From a catalogue entry and its splits to a probe for one backbone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from transformers import PreTrainedTokenizerBase

from tasks.kept import Kept
from tasks.probes.base import Probe
from tasks.probes.language import prepare_causal, prepare_masked
from tasks.probes.linear import prepare_linear
from tasks.probes.retrieval import prepare_retrieval
from tasks.spec import CausalLMSpec, LinearSpec, MaskedLMSpec, ProbeSpec, RetrievalSpec


def prepare_probe(
    spec: ProbeSpec,
    splits: Mapping[str, Sequence[Mapping[str, object]]],
    tokenizer: PreTrainedTokenizerBase,
    kept: Kept | None = None,
) -> Probe:
    """The probe that a catalogue entry describes.

    Args:
        spec: The entry.
        splits: What its source holds; most probes read the test split alone.
        tokenizer: Of the backbone.
        kept: Where features of tasks lie that were encoded before.

    Raises:
        TaskError: the rows don't suffice for it.
    """
    match spec:
        case RetrievalSpec():
            return prepare_retrieval(spec, splits["test"], tokenizer)
        case CausalLMSpec():
            return prepare_causal(spec, splits["test"], tokenizer)
        case MaskedLMSpec():
            return prepare_masked(spec, splits["test"], tokenizer)
        case LinearSpec():
            return prepare_linear(spec, splits, tokenizer, kept)
        case _:
            raise TypeError(f"{type(spec).__name__} is no kind of probe")
