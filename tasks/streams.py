"""Ordered tasks, listed. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Scenario = Literal["task-incremental", "domain-incremental", "class-incremental"]


@dataclass(frozen=True)
class Stream:
    """Tasks in the order in which they are learned.

    Attributes:
        name: Its name in suites and records.
        description: What the order is about.
        tasks: Names in `tasks.catalogue.TASKS`.
        scenario: ``task-incremental``: every task has its own head and is told apart at test time.
        orders: Further orders of the same tasks; `tasks` is the first.
    """

    name: str
    description: str
    tasks: tuple[str, ...]
    scenario: Scenario = "task-incremental"
    orders: tuple[tuple[str, ...], ...] = ()


STREAMS: tuple[Stream, ...] = (
    Stream(
        "sentiment-topic-ner",
        "three kinds of decision over short texts: about a sentence, about an article, about every word",
        ("rotten_tomatoes", "bbc_news", "conll2003_ner"),
    ),
    Stream(
        "applications",
        "four applications of fine-tuned language models: sentiment, topic, named entities, question answering",
        ("rotten_tomatoes", "newsgroups20", "conll2003_ner", "squad"),
    ),
    Stream(
        "standard-cl",
        "four topic and rating tasks in orders 1 to 3 of LFPT5 and O-LoRA; each task has its own head here, where "
        "these generate labels as text and tell no task",
        ("dbpedia14", "amazon_full", "yahoo_answers", "ag_news"),
        orders=(
            ("dbpedia14", "amazon_full", "ag_news", "yahoo_answers"),
            ("yahoo_answers", "amazon_full", "ag_news", "dbpedia14"),
        ),
    ),
    Stream(
        "standard-cl-merged",
        "five topic and rating tasks in orders 4 to 6 of the benchmark of MBPA++ and IDBR: 33 classes, since Amazon "
        "and Yelp share theirs, and no task is told",
        ("ag_news", "yelp_full", "amazon_full", "yahoo_answers", "dbpedia14"),
        "class-incremental",
        orders=(
            ("yelp_full", "yahoo_answers", "amazon_full", "dbpedia14", "ag_news"),
            ("dbpedia14", "yahoo_answers", "ag_news", "amazon_full", "yelp_full"),
        ),
    ),
    Stream(
        "glue-forgetting",
        "four tasks of GLUE: entailment, paraphrase, acceptability, sentiment (the order of arXiv:2603.27707)",
        ("rte", "mrpc", "cola", "sst2"),
    ),
    Stream(
        "super-glue",
        "the five tasks of SuperGLUE that are one decision about two texts",
        ("superglue_boolq", "superglue_cb", "superglue_rte", "superglue_wic", "superglue_wsc"),
    ),
    Stream(
        "clinc150",
        "150 intents, the 15 of one domain with every stage: which of all so far?",
        (
            "clinc_banking",
            "clinc_credit_cards",
            "clinc_kitchen_and_dining",
            "clinc_home",
            "clinc_auto_and_commute",
            "clinc_travel",
            "clinc_utility",
            "clinc_work",
            "clinc_small_talk",
            "clinc_meta",
        ),
        "class-incremental",
    ),
    Stream(
        "banking77",
        "77 intents of one domain, 11 more with every stage: which of all so far?",
        tuple(f"banking77_{number}" for number in range(1, 8)),
        "class-incremental",
    ),
    Stream(
        "wnut",
        "new and rare named entities, two more of six types with every stage",
        ("wnut17_person_location", "wnut17_corporation_group", "wnut17_product_creativework"),
        "class-incremental",
    ),
    Stream(
        "few-nerd",
        "named entities, two more of eight coarse types with every stage",
        (
            "few_nerd_person_location",
            "few_nerd_organization_other",
            "few_nerd_art_building",
            "few_nerd_event_product",
        ),
        "class-incremental",
    ),
)
