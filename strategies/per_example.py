"""Powers of single examples' gradients, added up over examples, out of one backward pass a batch.

A weight is read by few kinds of operation, and for each of them the gradient of one example follows from what the
operation read and from the gradient at its output: of a matrix it is ``sum_t g_t x_t^T`` over the example's tokens. So
a batch of several examples runs forward and backward once, no gradient of a weight is computed on the way, and each
example's is made, raised to its power and added up in a buffer that stays in the cache. Rows of an embedding that an
example does not look up are never touched.

What makes the result trustworthy is looked at, batch by batch:

* every way from a weight to the logits, in autograd's own graph, goes through an operation that was noted;
* what an operation read has not been overwritten since;
* which example a token belongs to follows from the shapes, and is not believed until it was seen: if the examples'
  outputs are scaled by different factors, the gradient at every token is scaled by its example's.

Where one of these fails, examples are differentiated one by one: slower, and always right. It is so for what is not in
`strategies.uses.KNOWN`, as DeBERTa's embeddings of relative places, which are no token's of any example.

Functions are watched, not modules, since a hook sees the output of a module: a head that closes classes, or a weight
that is read from outside, would need a rule each. ``torch.func.vmap`` holds every weight's gradient of every example,
maps neither over padding masks nor over rows that only some tokens have, and was about as fast as single examples
(docs/method.md, Importance). Untested on a GPU, where words that several examples look up are added in no fixed order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from strategies.base import Batch, Rows
from strategies.uses import Evidence, Lookup, Outer, Recorder, Use, Whole

Power = Literal["square", "absolute"]
"""What is taken of every entry of an example's gradient."""

BLOCK = 2**18
"""Entries of a matrix's gradient that are worked on at once: a megabyte, which fits a core's cache."""
CLOSE = 1e-3
"""Relative error of a gradient that should be another one, scaled; examples' factors differ by more."""


@dataclass(frozen=True)
class Layout:
    """Which example each of n tokens belongs to.

    Attributes:
        owner: (n,), the example.
        places: (B, T), the tokens of each example, filled up with n; None if they lie one example after another,
            equally many of each.
    """

    owner: Tensor
    places: Tensor | None

    def arranged(self, tokens: Tensor, count: int) -> Tensor:
        """Tokens (n, ...) as (B, T, ...), 0 where an example has none."""
        if self.places is None:
            return tokens.reshape(count, -1, *tokens.shape[1:])
        return torch.cat([tokens, torch.zeros_like(tokens[:1])])[self.places]


class PerExample:
    """Adds up powers of single examples' gradients, batch by batch.

    Attributes:
        total: One tensor a parameter, of its shape.
        examples: How many were added.
        together: False once examples had to be differentiated one by one: then batches of one are the fastest.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], power: Power) -> None:
        """Nothing is added yet."""
        self.parameters = list(parameters)
        self.power = power
        self.total = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.examples = 0
        self.together = True
        self._believed: dict[tuple[int, int], set[str]] = {}

    def add(
        self, rows_of: Callable[[Batch], Rows], batch: Batch, seeds: Callable[[Rows, Batch], Iterable[Tensor]]
    ) -> None:
        """Adds the examples of a batch.

        Args:
            rows_of: Runs the model on a batch; each example's rows must depend on that example alone.
            batch: On the model's device.
            seeds: Gives gradients at the logits, (N, C) each, in 32 bits. Of each, every example's share is taken back
                to the weights by itself.
        """
        with Recorder(self.parameters, len(batch)) as recorder:
            rows = rows_of(batch)
        self.examples += len(batch)
        if rows.logits.grad_fn is None:
            return
        layouts = self._layouts(rows, recorder, len(batch))
        if layouts is None:
            self.together = False
        for seed in seeds(rows, batch):
            if layouts is None:
                self._add_one_by_one(rows, len(batch), seed)
            else:
                self._add_together(rows, len(batch), recorder.uses, layouts, seed)

    def _add_one_by_one(self, rows: Rows, count: int, seed: Tensor) -> None:
        logits = rows.logits.float()
        for example in range(count):
            mine = seed * (rows.owner == example)[:, None]
            if not mine.any():
                continue
            gradients = torch.autograd.grad(logits, self.parameters, mine, retain_graph=True, allow_unused=True)
            for total, gradient in zip(self.total, gradients, strict=True):
                if gradient is not None:
                    _add_power(total, gradient, self.power)

    @torch.no_grad()
    def _add_together(
        self, rows: Rows, count: int, uses: Sequence[Use], layouts: Sequence[Layout], seed: Tensor
    ) -> None:
        evidence: dict[int, list[Evidence]] = {}
        for use, layout, gradient in zip(uses, layouts, _at_outputs(rows, uses, seed), strict=True):
            if gradient is None:
                continue
            kind = self.parameters[use.parts[0][0]].dtype
            read = use.source if use.first is None else use.first(use.source)
            read = layout.arranged(read.to(kind) if read.is_floating_point() else read, count)
            gradient = layout.arranged(gradient.to(kind), count)
            for position, part in use.parts:
                evidence.setdefault(position, []).append(part(read, gradient))
        for position, found in evidence.items():
            _add_evidence(self.total[position], found, self.power)

    def _layouts(self, rows: Rows, recorder: Recorder, count: int) -> list[Layout] | None:
        """Of what each use read; None where that, or a way from the weights to the logits, is not clear."""
        uses = recorder.uses
        if recorder.misses_a_way(rows.logits) or any(use.is_stale() for use in uses):
            return None
        choices = [_possible(len(use.source), rows.owner, count) for use in uses]
        if count == 1:
            return [fit["one after another"] for fit in choices]
        keys = _keys(uses)
        settled = [self._settled(key, fit) for key, fit in zip(keys, choices, strict=True)]
        if None in settled:
            self._look(rows, uses, keys, choices, count)
            settled = [self._settled(key, fit) for key, fit in zip(keys, choices, strict=True)]
        found = [layout for layout in settled if layout is not None]
        return found if len(found) == len(uses) else None

    def _settled(self, key: tuple[int, int], fit: Mapping[str, Layout]) -> Layout | None:
        """The one layout that fits and is believed; None if there is none, or several that differ."""
        found = [layout for name, layout in fit.items() if name in self._believed.get(key, ())]
        return found[0] if found and all(torch.equal(found[0].owner, other.owner) for other in found) else None

    def _look(
        self,
        rows: Rows,
        uses: Sequence[Use],
        keys: Sequence[tuple[int, int]],
        choices: Sequence[Mapping[str, Layout]],
        count: int,
    ) -> None:
        """Scales each example's outputs by a factor of its own, and believes the layouts that explain all gradients."""
        device = rows.owner.device
        factors = 1 + torch.arange(count, device=device, dtype=torch.float32) * 0.6180339887 % 1
        seed = torch.arange(rows.logits.numel(), device=device, dtype=torch.float32).cos().reshape(rows.logits.shape)
        once, scaled = _at_outputs(rows, uses, seed), _at_outputs(rows, uses, seed * factors[rows.owner, None])
        for key, fit, one, other in zip(keys, choices, once, scaled, strict=True):
            explains = set(fit)
            if one is not None and other is not None:
                size = one.float().norm(dim=1)
                allowed = CLOSE * (size + CLOSE * size.max())
                for name, layout in fit.items():
                    off = other.float() - factors[layout.owner, None] * one.float()
                    if (off.norm(dim=1) > allowed).any():
                        explains.discard(name)
            self._believed[key] = explains & self._believed.get(key, explains)


def rank_within(owner: Tensor) -> Tensor:
    """For each of N things, (N,), how many of the same owner come before it."""
    order = owner.argsort(stable=True)
    counts = torch.bincount(owner)
    ranks = torch.empty_like(owner)
    ranks[order] = torch.arange(len(owner), device=owner.device) - (counts.cumsum(0) - counts)[owner[order]]
    return ranks


def _at_outputs(rows: Rows, uses: Sequence[Use], seed: Tensor) -> list[Tensor | None]:
    """The gradient at the output of each use, (n, D); None where the logits don't depend on it."""
    with torch.enable_grad():
        logits = rows.logits.float()
    found = torch.autograd.grad(logits, [use.edge for use in uses], seed, retain_graph=True, allow_unused=True)
    return [None if gradient is None else gradient.reshape(-1, gradient.shape[-1]) for gradient in found]


def _keys(uses: Sequence[Use]) -> list[tuple[int, int]]:
    """What tells a use from others, from batch to batch: its first weight, and how often that was read before."""
    before: dict[int, int] = {}
    keys = []
    for use in uses:
        first = use.parts[0][0]
        keys.append((first, before.get(first, 0)))
        before[first] = keys[-1][1] + 1
    return keys


def _possible(tokens: int, of_rows: Tensor, count: int) -> dict[str, Layout]:
    """How so many tokens may belong to the examples, judged by their number."""
    fit = {}
    if tokens % count == 0:
        each = max(1, tokens // count)
        fit["one after another"] = Layout(torch.arange(tokens, device=of_rows.device) // each, None)
    if tokens == len(of_rows) and count > 1:
        ranks = rank_within(of_rows)
        places = torch.full((count, int(ranks.max()) + 1 if tokens else 0), tokens, device=of_rows.device)
        places[of_rows, ranks] = torch.arange(tokens, device=of_rows.device)
        fit["one a row"] = Layout(of_rows, places)
    return fit


def _add_evidence(total: Tensor, found: Sequence[Evidence], power: Power) -> None:
    """Adds what a parameter's uses say; those of one example belong to one gradient."""
    outers = [one for one in found if isinstance(one, Outer)]
    lookups = [one for one in found if isinstance(one, Lookup)]
    wholes = [one for one in found if isinstance(one, Whole)]
    if len(outers) == len(found):
        _add_outer(total, _joined([one.left for one in outers]), _joined([one.right for one in outers]), power)
    elif len(lookups) == len(found):
        _add_lookup(total, _joined([one.rows for one in lookups]), _joined([one.values for one in lookups]), power)
    elif len(wholes) == len(found):
        values = torch.stack([one.values for one in wholes]).sum(dim=0)
        total += (values.square() if power == "square" else values.abs()).sum(dim=0)
    else:
        for example in range(len(found[0])):
            gradient = torch.zeros_like(total)
            for one in found:
                one.add_to(gradient, example)
            _add_power(total, gradient, power)


def _joined(tokens: list[Tensor]) -> Tensor:
    """The tokens of several uses, (B, T, ...) each, as those of one."""
    return tokens[0] if len(tokens) == 1 else torch.cat(tokens, dim=1)


def _add_outer(total: Tensor, left: Tensor, right: Tensor, power: Power) -> None:
    count, tokens, height = left.shape
    if tokens == 1:  # the power of a product is the product of the powers
        of_each = torch.square if power == "square" else torch.abs
        total.addmm_(of_each(left[:, 0]).T, of_each(right[:, 0]))
        return
    step = min(height, max(1, BLOCK // right.shape[2]))
    buffer = total.new_empty(step, right.shape[2])
    for start in range(0, height, step):
        part = total[start : start + step]
        gradient = buffer[: len(part)]
        for example in range(count):
            torch.mm(left[example, :, start : start + step].T, right[example], out=gradient)
            _add_power(part, gradient, power)


def _add_lookup(total: Tensor, rows: Tensor, values: Tensor, power: Power) -> None:
    """An example's tokens of one row are added up first."""
    looked_up = rows >= 0
    owned = torch.arange(len(rows), device=rows.device)[:, None] * len(total) + rows
    each, place = torch.unique(owned[looked_up], return_inverse=True)
    gradients = values.new_zeros(len(each), values.shape[2]).index_add_(0, place, values[looked_up])
    total.index_add_(0, each % len(total), gradients.square_() if power == "square" else gradients.abs_())


def _add_power(total: Tensor, gradient: Tensor, power: Power) -> None:
    if power == "square":
        total.addcmul_(gradient, gradient)
    else:
        total += gradient.abs()
