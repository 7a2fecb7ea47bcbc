"""Every task and probe, listed, in rooms by what is decided. Imports nothing heavy."""

from __future__ import annotations

from tasks.catalogue.classification import CLASSIFICATION, NEWSGROUP_PAIRS
from tasks.catalogue.hub import HUB_TASKS
from tasks.catalogue.language import LANGUAGE_PROBES, LANGUAGE_TASKS
from tasks.catalogue.probes import LINEAR, RETRIEVAL
from tasks.catalogue.spans import SPANS
from tasks.catalogue.tokens import TOKENS
from tasks.spec import ProbeSpec, TaskSpec

__all__ = ["PROBES", "TASKS"]

TASKS: tuple[TaskSpec, ...] = (*CLASSIFICATION, *TOKENS, *SPANS, *NEWSGROUP_PAIRS, *LANGUAGE_TASKS, *HUB_TASKS)

PROBES: tuple[ProbeSpec, ...] = (*RETRIEVAL, *LANGUAGE_PROBES, *LINEAR)
