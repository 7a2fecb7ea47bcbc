"""A memory of training examples, for the strategies that rehearse: what is put into it, and what is drawn from it.

It is filled when a stage has ended, so a stage's own examples are not replayed within it, as they are with the online
memories of the papers: the first stage trains as plain fine-tuning does, and what is remembered depends neither on
the order of the batches nor on how many processes train. It lies in ``learner.state["memory"]``: task -> keys,
examples and what else is to be kept beside each example, as few tensors.
"""

from __future__ import annotations

import hashlib
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter, itemgetter
from typing import Any, Literal

import torch
from torch import Tensor, nn

from strategies.base import Batch, Example, Learner, Stage, Task

Policy = Literal["reservoir", "balanced"]
"""Which examples stay. Every example has a random key, decided by the run's seed, its task and its place there.

``reservoir`` keeps the smallest keys of all examples seen so far, so each of them has the same chance to be there:
what algorithm R does (Vitter 1985), but in any order. ``balanced`` shares the room evenly between the tasks, and
where every example has one class that of a task evenly between its classes; which of a class stay the keys decide.
What does not divide goes to the tasks seen first, and to the classes with the smallest keys; what a task or class is
too small to use, to the others.
"""

Ragged = dict[str, Tensor]
"""Tensors of one type and number of dimensions: ``values``, all in a row, and ``shapes``, one row for each."""

PASS_BATCH = 64
"""Examples in a batch when all of a stage's are looked at, or run: it changes time alone."""


@dataclass(frozen=True)
class Drawn:
    """Examples of one task that were drawn from memory.

    Attributes:
        task: Theirs.
        batch: On the model's device.
        share: Of all that was drawn at once, in (0, 1].
        beside: Name -> what was kept beside each example, on the CPU; see `put_beside`.
    """

    task: Task
    batch: Batch
    share: float
    beside: dict[str, list[Tensor]]


@dataclass(frozen=True)
class _Candidate:
    key: int
    group: int
    example: Example


def filling(stage: Stage, size: int, policy: Policy) -> dict[str, object]:
    """Fingerprint of `fill`: equal memories are filled once, whoever uses them. Nothing follows the last stage."""
    return {} if stage.last or size == 0 else {"memory": size, "policy": policy}


def fill(learner: Learner, stage: Stage, size: int, policy: Policy) -> None:
    """Puts examples of a stage that has ended into memory and drops what has no room any more.

    Args:
        learner: Remembers.
        stage: Has ended.
        size: Examples that there is room for, of all tasks together.
        policy: Which stay; the same in all stages.
    """
    memory = learner.state.setdefault("memory", {})
    for task in stage.tasks:
        kept = _candidates(learner, stage, task, size, policy)
        memory[task.name] = {
            "keys": torch.tensor([one.key for one in kept], dtype=torch.int64),
            "examples": _pack_all([one.example for one in kept]),
        }
    counts = {name: len(held["keys"]) for name, held in memory.items()}
    if policy == "balanced":
        room = even_shares(list(counts.values()), size)
    else:
        keys = torch.cat([held["keys"] for held in memory.values()])
        last = keys.sort().values[:size][-1:]
        room = [int((held["keys"] <= last).sum()) for held in memory.values()]
    for (name, count), share in zip(counts.items(), room, strict=True):
        if share == 0:
            del memory[name]
        elif share < count:
            memory[name] = _first(memory[name], share)


def even_shares(counts: Sequence[int], total: int) -> list[int]:
    """Splits ``total`` between groups: as evenly as their sizes allow, what does not divide to the first ones."""
    turns = sorted((turn, place) for place, count in enumerate(counts) for turn in range(count))
    shares = Counter(place for _, place in turns[:total])
    return [shares[place] for place in range(len(counts))]


def remembered(learner: Learner) -> list[str]:
    """Names of the tasks that have examples in memory, in the order they were learned."""
    return list(learner.state.get("memory", {}))


def draw(learner: Learner, count: int, purpose: str, names: Collection[str] | None = None) -> list[Drawn]:
    """Draws examples from memory, each with the same chance and none twice; all of them if there are no more.

    What is drawn depends on the run's seed, the purpose, the tasks and the steps counted by `count_step`: all parts of
    a step draw the same, and strategies with the same memory do, too.

    Args:
        learner: Remembers.
        count: How many, >= 1.
        purpose: Draws for other purposes are independent.
        names: From the examples of these tasks; of all if None.

    Returns:
        One batch for each task that was drawn.
    """
    memory = learner.state.get("memory", {})
    chosen = [name for name in memory if names is None or name in names]
    owners = [(name, place) for name in chosen for place in range(len(memory[name]["keys"]))]
    generator = torch.Generator().manual_seed(_number(learner.seed, purpose, *chosen, learner.state.get("steps", 0)))
    places: dict[str, list[int]] = {}
    for number in sorted(torch.randperm(len(owners), generator=generator)[:count].tolist()):
        name, place = owners[number]
        places.setdefault(name, []).append(place)
    total = sum(map(len, places.values()))
    return [_drawn(learner, name, mine, len(mine) / total) for name, mine in places.items()]


def held_batches(learner: Learner, name: str) -> Iterator[Drawn]:
    """All that is remembered of a task, in the order of the memory."""
    count = len(learner.state["memory"][name]["keys"])
    for start in range(0, count, PASS_BATCH):
        places = range(start, min(start + PASS_BATCH, count))
        yield _drawn(learner, name, places, len(places) / count)


def put_beside(learner: Learner, name: str, what: str, tensors: Sequence[Tensor]) -> None:
    """Keeps a tensor beside each example of a task, in the order of `held_batches`, as long as the example stays."""
    learner.state["memory"][name].setdefault("beside", {})[what] = pack(tensors)


def count_step(learner: Learner) -> None:
    """To be called after every step, so that the next one draws anew. Does nothing before there is a memory."""
    if learner.state.get("memory"):
        learner.state["steps"] = learner.state.get("steps", 0) + 1


def replay_loss(learner: Learner, drawn: Sequence[Drawn]) -> Tensor:
    """Mean over drawn examples of the loss of their task: cross-entropy, averaged over the rows of a task's batch."""
    losses = []
    for part in drawn:
        rows = learner.rows(part.task, part.batch)
        losses.append(part.share * nn.functional.cross_entropy(rows.logits.float(), rows.targets))
    return torch.stack(losses).sum()


def reference_gradient(
    learner: Learner, drawn: Sequence[Drawn], weights: Sequence[nn.Parameter]
) -> list[Tensor | None]:
    """Gradient of the `replay_loss`; None for weights that these examples do not use.

    Dropout is off: so it is the same in all processes, and needs no random numbers.
    """
    learner.model.eval()
    try:
        gradient = torch.autograd.grad(replay_loss(learner, drawn), weights, allow_unused=True)
    finally:
        learner.model.train()
    return list(gradient)


def inner(left: Sequence[Tensor | None], right: Sequence[Tensor | None]) -> float:
    """Inner product of two gradients, over the weights that both have."""
    products = [
        torch.dot(a.flatten(), b.flatten()) for a, b in zip(left, right, strict=True) if a is not None and b is not None
    ]
    return float(torch.stack(products).cpu().double().sum()) if products else 0.0


def add_shared(gradient: Sequence[Tensor | None], other: Sequence[Tensor | None], factor: float) -> None:
    """Adds a multiple of another gradient to one, in place, over the weights that both have."""
    pairs = [(a, b) for a, b in zip(gradient, other, strict=True) if a is not None and b is not None]
    if pairs:
        torch._foreach_add_([a for a, _ in pairs], [b for _, b in pairs], alpha=factor)


def train_heads(learner: Learner) -> None:
    """Makes the heads of remembered tasks trainable. They move in the steps that draw such a task, and in no other."""
    parameters = dict(learner.model.named_parameters())
    for name in remembered(learner):
        for weight in learner.heads[learner.tasks[name].head]:
            parameters[weight].requires_grad_(True)


def pack(tensors: Sequence[Tensor]) -> Ragged:
    """Several tensors as two; `unpack` gives them back."""
    shapes = torch.tensor([list(tensor.shape) for tensor in tensors], dtype=torch.int64)
    return {"values": torch.cat([tensor.flatten() for tensor in tensors]), "shapes": shapes}


def unpack(packed: Ragged, places: Sequence[int]) -> list[Tensor]:
    """The tensors at these places."""
    sizes = packed["shapes"].prod(dim=1)
    ends = sizes.cumsum(0)
    return [
        packed["values"][ends[place] - sizes[place] : ends[place]].reshape(packed["shapes"][place].tolist())
        for place in places
    ]


def _candidates(learner: Learner, stage: Stage, task: Task, size: int, policy: Policy) -> list[_Candidate]:
    """The examples of a task that would stay if there were no other task, the first to go last."""
    kept: list[_Candidate] = []
    grouped = policy == "balanced" and task.classes is not None
    for batch in stage.examples(task, sys.maxsize, PASS_BATCH):
        keys = [_number(learner.seed, "memory", task.name, index) for index in batch.index.tolist()]
        if len(kept) == size and not grouped and min(keys) > kept[-1].key:
            continue
        found = zip(keys, task.take_apart(batch.to(torch.device("cpu"))), strict=True)
        new = [_Candidate(key, _group(example) if grouped else 0, example) for key, example in found]
        kept = _in_turn([*kept, *new])[:size]
    return kept


def _group(example: Example) -> int:
    """The class of an example that has one label; 0 for others."""
    labels = example.get("labels")
    return int(labels) if labels is not None and labels.ndim == 0 else 0


def _in_turn(candidates: Sequence[_Candidate]) -> list[_Candidate]:
    """The smallest keys of all groups first, then their second smallest, and so on: any beginning is balanced."""
    before: Counter[int] = Counter()
    turns = []
    for one in sorted(candidates, key=attrgetter("key")):
        turns.append(((before[one.group], one.key), one))
        before[one.group] += 1
    return [one for _, one in sorted(turns, key=itemgetter(0))]


def _number(*parts: object) -> int:
    """A random number in [0, 2**63) decided by these parts."""
    digest = hashlib.sha256(" ".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _drawn(learner: Learner, name: str, places: Sequence[int], share: float) -> Drawn:
    held, task = learner.state["memory"][name], learner.tasks[name]
    columns = {field: unpack(packed, places) for field, packed in held["examples"].items()}
    examples = [{field: column[number] for field, column in columns.items()} for number in range(len(places))]
    beside = {what: unpack(packed, places) for what, packed in held.get("beside", {}).items()}
    return Drawn(task, task.put_together(examples).to(learner.device), share, beside)


def _pack_all(examples: Sequence[Example]) -> dict[str, Ragged]:
    return {field: pack([example[field] for example in examples]) for field in examples[0]}


def _first(held: dict[str, Any], count: int) -> dict[str, Any]:
    """The first examples alone, without the bytes of the others."""
    cut: dict[str, Any] = {"keys": held["keys"][:count].clone()}
    for part in held.keys() - cut.keys():
        cut[part] = {}
        for name, packed in held[part].items():
            shapes = packed["shapes"][:count].clone()
            cut[part][name] = {"values": packed["values"][: int(shapes.prod(dim=1).sum())].clone(), "shapes": shapes}
    return cut
