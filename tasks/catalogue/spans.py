"""Tasks whose answer is a span of a passage."""

from __future__ import annotations

from typing import Literal

from tasks.sources.archives import SQUAD_FOLDER, SQUAD_SHIFTS
from tasks.sources.squad import Squad
from tasks.sources.squadshifts import SquadShifts
from tasks.spec import TaskSpec

CANARY = "from BIG-bench, whose canary says: never in training corpora of general models"


def _domain(
    name: str,
    about: str,
    file: str,
    by: Literal["article", "passage"],
    counts: tuple[int, int],
    misplaced: int,
    moved: int = 0,
) -> TaskSpec:
    """One domain of SQuADShifts."""
    return TaskSpec(
        name=f"squadshifts_{name}",
        kind="span",
        description=f"question answered by a span of {about}",
        source=SquadShifts(SQUAD_SHIFTS, f"{SQUAD_FOLDER}/{file}", by, misplaced, moved),
        counts={"train": counts[0], "test": counts[1]},
        split=f"own split, 80/20 of the {by}s by hash, each with all its questions; not a published test set",
        licence=f"questions CC BY 4.0, texts (c) their authors; {CANARY}",
        citation="Miller et al. 2020, arXiv:2004.14444",
        metrics=("squad_v1",),
        main="f1",
    )


SPANS: tuple[TaskSpec, ...] = (
    TaskSpec(
        name="squad",
        kind="span",
        description="question answered by a span of a Wikipedia passage; trained on SQuADShifts new_wiki",
        source=Squad(
            SQUAD_SHIFTS, f"{SQUAD_FOLDER}/new_wiki_v1.0.json", f"{SQUAD_FOLDER}/squaddev_v1.1.json", misplaced=23
        ),
        counts={"train": 7936, "test": 10565},
        split="train: SQuADShifts new_wiki; test: SQuAD v1.1 dev, less 5 questions that BIG-bench left out",
        licence=f"CC BY-SA 4.0; {CANARY}",
        citation="Rajpurkar et al. 2016, https://aclanthology.org/D16-1264; Miller et al. 2020, arXiv:2004.14444",
        metrics=("squad_v1",),
        main="f1",
    ),
    _domain("wiki", "a Wikipedia passage", "new_wiki_v1.0.json", "article", (6107, 1829), misplaced=8),
    _domain("nyt", "a New York Times article of 2015", "nyt_v1.0.json", "article", (8061, 1994), misplaced=10),
    _domain("reddit", "a Reddit post", "reddit_v1.0.json", "passage", (7777, 1986), misplaced=22),
    _domain(
        "amazon", "an Amazon review", "amazon_reviews_v1.0.json", "passage", (7906, 1931), misplaced=153, moved=794
    ),
)
