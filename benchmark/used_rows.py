"""An optimizer's step that leaves alone the word embeddings of tokens that no training text has."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.backbone import Model
from strategies.base import Learner
from tasks.base import Task

WORTH = 0.5
"""Share of the rows in use from which on all are stepped: gathering them would cost as much."""


def used_tokens(tasks: Sequence[Task]) -> Tensor:
    """The tokens of all training texts, and padding: sorted, each once."""
    used = [np.asarray([task.pad["input_ids"] for task in tasks])]
    for task in tasks:
        used += [np.unique(task.train.column("input_ids").used)]
    return torch.from_numpy(np.unique(np.concatenate(used)).astype(np.int64))


class UsedRows:
    """Steps an optimizer, which sees a table of word embeddings as the rows that are in use.

    A row that no training text of the stream looks up has a gradient of 0 in every step. AdamW without weight decay
    never moves it: both of its moments stay 0. So nothing changes but the time, and the moments' memory, of which the
    vocabularies of multilingual models take most. All rows are stepped where that would not be the same: with weight
    decay, under another optimizer than `torch.optim.AdamW` itself, where a head shares the table, and where a strategy
    has moved other rows, or gives them a gradient in the first step of a stage. (Rows that are in use, but not in this
    step's batch, do move: by momentum.) From the second step on `Learner.in_use` tells strategies.

    Attributes:
        table: The word embeddings, whose place in the optimizer `rows` has taken; None where all are stepped.
        rows: A parameter of the rows in use, filled before a step and put back after it.
    """

    table: nn.Parameter | None = None
    rows: nn.Parameter

    def __init__(self, optimizer: torch.optim.Optimizer, learner: Learner) -> None:
        """Puts the rows into the place of the table, where that is worth it and changes nothing.

        Args:
            optimizer: Over the weights that train, before its first step.
            learner: That trains; its model says which tokens the stream has.
        """
        self.optimizer, self.learner, self.stepped = optimizer, learner, False
        learner.in_use.clear()
        table = _table(learner)
        if table is None or not _leaves_rows_alone(optimizer, table):
            return
        (self.name,) = [name for name, value in learner.model.named_parameters() if value is table]
        self.place = cast(Model, learner.model).used_tokens.to(table.device)
        if len(self.place) < WORTH * len(table) and self._others_are_as_pretrained(table):
            self.table, self.rows = table, nn.Parameter(table.detach()[self.place])
            _exchange(optimizer, table, self.rows)

    def resume(self) -> None:
        """Called after the optimizer's state was read: goes on with all rows if the stage did so before."""
        if self.table is None or not self.optimizer.state[self.rows]:
            return
        self._begin(self.optimizer.state[self.rows]["exp_avg"].shape == self.table.shape)

    @torch.no_grad()
    def step(self) -> None:
        """One step of the optimizer."""
        if not self.stepped:
            self._begin(self._others_have_gradients())
        if self.table is None:
            self.optimizer.step()
            return
        gradient = self.table.grad
        self.rows.copy_(self.table[self.place])
        self.rows.grad = None if gradient is None else gradient[self.place]
        self.optimizer.step()
        self.table.index_copy_(0, self.place, self.rows)

    def zero_grad(self) -> None:
        """Forgets all gradients."""
        self.optimizer.zero_grad()
        if self.table is not None:
            self.table.grad = None

    def end(self) -> None:
        """The stage has taken its last step."""
        self.learner.in_use.clear()

    def _begin(self, all_rows: bool) -> None:
        """Goes on with the rows in use, or with all, until the stage ends."""
        self.stepped = True
        if self.table is None:
            return
        if all_rows:
            _exchange(self.optimizer, self.rows, self.table)
            self.table = None
        else:
            self.learner.in_use[self.name] = self.place

    def _others_have_gradients(self) -> bool:
        if self.table is None or self.table.grad is None:
            return False
        return bool(self.table.grad[self._others(self.table)].any())

    def _others_are_as_pretrained(self, table: nn.Parameter) -> bool:
        others = self._others(table)
        return torch.equal(table.detach()[others], self.learner.untrained[self.name][others])

    def _others(self, table: Tensor) -> Tensor:
        """Of each row whether it is not in use."""
        others = torch.ones(len(table), dtype=torch.bool, device=table.device)
        others[self.place] = False
        return others


def _table(learner: Learner) -> nn.Parameter | None:
    """The word embeddings, if they train and are looked up by tokens of texts only, of which all are known."""
    model = learner.model
    if not isinstance(model, Model) or not len(model.used_tokens):
        return None
    embeddings = model.body.get_input_embeddings()
    if type(embeddings) is not nn.Embedding or not embeddings.weight.requires_grad:
        return None
    table = embeddings.weight
    assert isinstance(table, nn.Parameter)
    of_heads = {id(weight) for task in learner.tasks.values() for weight in model.heads[task.head].parameters()}
    return None if id(table) in of_heads else table


def _leaves_rows_alone(optimizer: torch.optim.Optimizer, table: nn.Parameter) -> bool:
    """Whether a row of this table without gradients would never move."""
    groups = [group for group in optimizer.param_groups if any(weight is table for weight in group["params"])]
    return type(optimizer) is torch.optim.AdamW and len(groups) == 1 and groups[0]["weight_decay"] == 0


def _exchange(optimizer: torch.optim.Optimizer, old: nn.Parameter, new: nn.Parameter) -> None:
    """Puts one parameter into the place of another, with its state if it has any."""
    for group in optimizer.param_groups:
        group["params"] = [new if weight is old else weight for weight in group["params"]]
    state: dict[str, Any] | None = optimizer.state.pop(old, None)
    if state:
        optimizer.state[new] = state
