"""Published figures as typed data, one file a paper. What imports this imports nothing heavy."""

from __future__ import annotations

from results.papers.base import Paper
from results.papers.bert_forgetting import BERT_FORGETTING
from results.papers.ewc_fisher import EWC_FISHER
from results.papers.ner_class_incremental import NER_CLASS_INCREMENTAL
from results.papers.pycontinual import PYCONTINUAL
from results.papers.standard_cl_t5 import STANDARD_CL_T5
from results.papers.text_streams import TEXT_STREAMS

PAPERS: tuple[Paper, ...] = (
    BERT_FORGETTING,
    PYCONTINUAL,
    NER_CLASS_INCREMENTAL,
    STANDARD_CL_T5,
    TEXT_STREAMS,
    EWC_FISHER,
)
"""In the order in which lists have them."""
