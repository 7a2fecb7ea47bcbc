"""What ``retain show`` prints of a backbone: from its files where they are at hand, else from the catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmark.backbone_facts import Facts, facts_of
from benchmark.backbones import BackboneSpec, Pooling
from tasks.catalogue import PROBES

POOLED: dict[Pooling | None, str] = {
    "cls": "cls: the first token",
    "mean": "mean: over all tokens",
    "last": "last: the last token",
    None: "what its folder says, else the last token of a decoder and the first of others",
}
BEHIND_PADDING = {"roberta": 2, "xlm-roberta": 2, "camembert": 2}
"""Places that families leave unused, since they count from behind the padding's."""


def backbone_rows(spec: BackboneSpec) -> Iterator[tuple[str, object]]:
    """Title and text of each line; empty texts are for whoever prints them to leave out."""
    folder = _at_hand(spec)
    facts = spec.facts if folder is None else facts_of(folder).over(spec.facts)
    yield "about", spec.description
    yield "family", facts.family
    yield "parameters", _parameters(facts)
    yield "layers", facts.layers
    yield "width", facts.width
    yield "vocabulary", f"{facts.vocabulary:,} tokens" if facts.vocabulary else None
    yield "longest text", _longest(facts)
    yield "pretrained as", spec.objective or "not known here"
    yield "pooling", POOLED[spec.pooling]
    yield "probes", ", ".join(probe.name for probe in PROBES if probe.objective in (None, facts.head))
    yield "licence", spec.licence
    yield "note", spec.note
    yield "hub", spec.hub and f"https://huggingface.co/{spec.hub}"
    yield "revision", spec.hub and (spec.revision or "not pinned: what is fetched may change")
    yield "read from", folder


def _at_hand(spec: BackboneSpec) -> Path | None:
    """The folder with its files, if they are here; nothing is fetched."""
    if spec.folder:
        return Path(spec.folder)
    if not spec.hub:
        return None
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(spec.hub, "config.json", revision=spec.revision or None)
    return Path(found).parent if isinstance(found, str) else None


def _parameters(facts: Facts) -> str:
    if facts.parameters is not None:
        return f"{facts.parameters:,}, without a pooler or a pretraining head"
    return f"{facts.stored:,} in its files, with a pooler and heads if they hold any" if facts.stored else ""


def _longest(facts: Facts) -> str:
    if facts.positions is None:
        return ""
    return f"{facts.positions - BEHIND_PADDING.get(facts.family or '', 0):,} tokens"
