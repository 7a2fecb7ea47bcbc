"""Ordered tasks, listed. Imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Scenario = Literal["task-incremental", "domain-incremental", "class-incremental"]
"""What differs between tasks, and whether predicting is told the task: see `tasks.scenarios`."""


@dataclass(frozen=True)
class Stream:
    """Tasks in the order in which they are learned.

    Attributes:
        name: Its name in suites and records.
        description: What the order is about.
        tasks: Names in `tasks.catalogue.TASKS`.
        scenario: ``task-incremental``: every task has its own head and is told apart at test time;
            ``domain-incremental``: the same labels on other texts, one head, not told apart; ``class-incremental``:
            other labels, one head that grows, not told apart.
        orders: Further orders of the same tasks. Order 1 is `tasks`, order 2 the first of these.
    """

    name: str
    description: str
    tasks: tuple[str, ...]
    scenario: Scenario = "task-incremental"
    orders: tuple[tuple[str, ...], ...] = ()

    def head_of(self, task: str) -> str:
        """Name of the output weights that a task trains in this stream."""
        return task if self.scenario == "task-incremental" else self.name


NEWSGROUP_TASKS = tuple(f"newsgroups_{number:02}" for number in range(1, 11))

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
        "text6",
        "six classifications of texts, in three orders: topics between others, the same backwards, topics first",
        ("rotten_tomatoes", "bbc_news", "headline_sarcasm", "newsgroups20", "imdb", "reuters_r8"),
        orders=(
            ("reuters_r8", "imdb", "newsgroups20", "headline_sarcasm", "bbc_news", "rotten_tomatoes"),
            ("bbc_news", "newsgroups20", "reuters_r8", "rotten_tomatoes", "headline_sarcasm", "imdb"),
        ),
    ),
    Stream(
        "newsgroups10",
        "the 20 newsgroups in ten pairs, neighbours in the alphabet: which of the two is a post from?",
        NEWSGROUP_TASKS,
    ),
    Stream(
        "newsgroups10-class",
        "the 20 newsgroups, two more with every stage: which of all so far is a post from?",
        NEWSGROUP_TASKS,
        "class-incremental",
    ),
    Stream(
        "ner-incremental",
        "named entities, one more type with every stage: persons, organisations, locations, others",
        ("conll2003_per", "conll2003_org", "conll2003_loc", "conll2003_misc"),
        "class-incremental",
    ),
    Stream(
        "qa-domains",
        "questions about passages of four domains: Wikipedia, New York Times, Reddit, Amazon",
        ("squadshifts_wiki", "squadshifts_nyt", "squadshifts_reddit", "squadshifts_amazon"),
        "domain-incremental",
    ),
    Stream(
        "layers-of-language",
        "three layers of linguistic analysis of the same sentences: parts of speech, phrases, named entities",
        ("conll2003_pos", "conll2003_chunks", "conll2003_ner"),
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
    Stream(
        "causal-lm",
        "a decoder goes on as a language model of two text domains, then sorts news by topic with its last token",
        ("film_reviews_text", "usenet_text", "bbc_news"),
    ),
)
