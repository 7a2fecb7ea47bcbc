"""Sums of single examples' gradients from batches, against examples differentiated one by one; when that is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from benchmark.growing import GrowingHead
from strategies.base import Batch
from strategies.per_example import PerExample, Power, rank_within
from tasks.base import Rows
from tests.small_problem import Points

WORDS, WIDTH, LENGTH, EXAMPLES = 7, 4, 5, 12
POWERS: list[Power] = ["square", "absolute"]


class Net(nn.Module):
    """Reads tokens (B, L); the mean over a text's states goes through a head."""

    def __init__(self, inner: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.words = nn.Embedding(WORDS, WIDTH, padding_idx=0)
        self.inner = inner()
        self.head = nn.Linear(WIDTH, 3)

    def forward(self, batch: Any) -> Rows:
        states = self.inner(self.words(batch.x))
        return Rows(self.head(states.mean(dim=1)), batch.y, torch.arange(len(batch)))


class EachToken(Net):
    """One row a token that is not word 1: as many as an example has; those of an example stand together."""

    def forward(self, batch: Any) -> Rows:
        states = self.inner(self.words(batch.x))
        asked = batch.x != 1
        return Rows(self.head(states[asked]), batch.y.new_zeros(int(asked.sum())), asked.nonzero()[:, 0])


class LastFirst(Net):
    """Rows in the order of the places, so that those of an example are apart."""

    def forward(self, batch: Any) -> Rows:
        states = self.inner(self.words(batch.x))
        order = torch.arange(len(batch)).repeat(2)
        return Rows(self.head(torch.cat([states[:, -1], states[:, 0]])), batch.y.repeat(2), order)


class Twice(nn.Module):
    """A module that is called two times."""

    def __init__(self) -> None:
        super().__init__()
        self.map, self.norm = nn.Linear(WIDTH, WIDTH), nn.LayerNorm(WIDTH)

    def forward(self, states: Tensor) -> Tensor:
        mapped: Tensor = self.norm(self.map(torch.tanh(self.map(self.norm(states)))))
        return mapped


class Shared(nn.Module):
    """Two modules with the same matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH, bias=False)
        self.other.weight = self.one.weight

    def forward(self, states: Tensor) -> Tensor:
        mapped: Tensor = self.other(torch.tanh(self.one(states)))
        return mapped


class TiedNet(Net):
    """The head's matrix is the table of the words, as in language models."""

    def forward(self, batch: Any) -> Rows:
        states = self.inner(self.words(batch.x))
        logits = nn.functional.linear(states, self.words.weight)
        return Rows(logits.reshape(-1, WORDS), batch.x.flatten(), torch.arange(len(batch)).repeat_interleave(LENGTH))


class Places(nn.Module):
    """One row of places for all examples."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(LENGTH, WIDTH)

    def forward(self, states: Tensor) -> Tensor:
        return torch.tanh(states + self.table(torch.arange(LENGTH)[None]))


class WrittenOut(nn.Module):
    """A norm as transformers writes it."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.linspace(0.5, 2, WIDTH))

    def forward(self, states: Tensor) -> Tensor:
        return self.weight * (states * torch.rsqrt(states.square().mean(-1, keepdim=True) + 1e-6)).to(states.dtype)


class Own(nn.Linear):
    """A linear map with a forward of its own, the parent's inside."""

    def forward(self, states: Tensor) -> Tensor:
        return super().forward(states.flip(1)).clamp(max=0.5)


class Changed(nn.Module):
    """Its output is overwritten in place."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(WIDTH, WIDTH)

    def forward(self, states: Tensor) -> Tensor:
        mapped: Tensor = self.map(states).mul_(2).tanh_()
        return mapped


def growing() -> nn.Module:
    head = GrowingHead(WIDTH, WIDTH)
    head.open[1] = False
    return nn.Sequential(head, nn.Softmax(dim=-1))


class Past(nn.Module):
    """Reads a matrix past any function that is known."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(WIDTH, WIDTH)

    def forward(self, states: Tensor) -> Tensor:
        mapped: Tensor = self.map(states) + states @ self.map.weight
        return mapped


class Shift(nn.Module):
    """Adds a parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.ones(WIDTH))

    def forward(self, states: Tensor) -> Tensor:
        return torch.tanh(states + self.shift)


class Overwritten(nn.Module):
    """What a map read is overwritten; autograd does not mind, since it needs it for a frozen matrix only."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.map = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, WIDTH)
        self.map.weight.requires_grad_(False)

    def forward(self, states: Tensor) -> Tensor:
        read = torch.tanh(states).clone()
        mapped: Tensor = self.map(read)
        read.zero_()
        return mapped


class Across(nn.Module):
    """The places come first: their number may be that of the examples."""

    def __init__(self) -> None:
        super().__init__()
        self.map = nn.Linear(WIDTH, WIDTH)

    def forward(self, states: Tensor) -> Tensor:
        return torch.tanh(self.map(states.transpose(0, 1))).transpose(0, 1)


class Mixed(nn.Module):
    """What an embedding without examples gives is added to all of them."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(LENGTH, WIDTH)

    def forward(self, states: Tensor) -> Tensor:
        return torch.tanh(states * self.table(torch.arange(LENGTH)))


class Recurrent(nn.Module):
    """A module of a kind that is not known."""

    def __init__(self) -> None:
        super().__init__()
        self.cells = nn.GRU(WIDTH, WIDTH, batch_first=True)

    def forward(self, states: Tensor) -> Tensor:
        output: Tensor = self.cells(states)[0]
        return output


def attention() -> nn.Module:
    return nn.TransformerEncoderLayer(WIDTH, 2, 8, dropout=0.0, batch_first=True)


def examples(indices: list[int]) -> Points:
    generator = torch.Generator().manual_seed(3)
    x = torch.randint(WORDS, (EXAMPLES, LENGTH), generator=generator)
    x[:, 0] = 2  # so that every example has a row, and words that come again
    chosen = torch.tensor(indices)
    return Points(x[chosen], chosen % 3, chosen)


def seeds(rows: Any, batch: Batch) -> Iterator[Tensor]:
    logits = rows.logits.detach().float().clamp(min=-1)
    yield logits.cos()
    yield logits.sin()


def sums(model: nn.Module, batches: list[list[int]], power: Power) -> PerExample:
    found = PerExample([value for value in model.parameters() if value.requires_grad], power)
    for indices in batches:
        found.add(model, examples(indices), seeds)
    return found


def one_by_one(model: nn.Module, power: Power) -> list[Tensor]:
    targets = [value for value in model.parameters() if value.requires_grad]
    total = [torch.zeros_like(value) for value in targets]
    for index in range(EXAMPLES):
        batch = examples([index])
        rows = model(batch)
        for seed in seeds(rows, batch):
            gradients = torch.autograd.grad(
                rows.logits, targets, seed, retain_graph=True, allow_unused=True, materialize_grads=True
            )
            for place, gradient in enumerate(gradients):
                total[place] += gradient.square() if power == "square" else gradient.abs()
    return total


def made(net: type[Net], inner: Callable[[], nn.Module]) -> Net:
    torch.manual_seed(4)
    return net(inner).eval()


BATCHES = [[3, 1], [0, 2, 5, 4], [6, 7, 8, 9, 10], [11]]

TOGETHER: dict[str, tuple[type[Net], Callable[[], nn.Module]]] = {
    "linear": (Net, lambda: nn.Linear(WIDTH, WIDTH)),
    "layer norm": (Net, lambda: nn.LayerNorm(WIDTH)),
    "layer norm without bias": (Net, lambda: nn.LayerNorm(WIDTH, bias=False)),
    "rms norm": (Net, lambda: nn.RMSNorm(WIDTH)),
    "norm written out": (Net, WrittenOut),
    "transposed": (Net, lambda: Conv1D(WIDTH, WIDTH)),
    "places": (Net, Places),
    "twice": (Net, Twice),
    "shared": (Net, Shared),
    "own forward": (Net, lambda: Own(WIDTH, WIDTH)),
    "growing": (Net, growing),
    "rows of tokens": (EachToken, lambda: nn.Linear(WIDTH, WIDTH)),
    "rows apart": (LastFirst, Twice),
    "tied": (TiedNet, lambda: nn.Linear(WIDTH, WIDTH)),
    "nothing": (Net, nn.Identity),
}
ONE_BY_ONE: dict[str, tuple[type[Net], Callable[[], nn.Module]]] = {
    "unknown module": (Net, Recurrent),
    "past the function": (Net, Past),
    "a shift": (Net, Shift),
    "overwritten": (Net, Overwritten),
    "in place": (Net, Changed),
    "places first": (Net, Across),
    "an embedding of no example": (Net, Mixed),
    "attention of torch": (Net, attention),
}


@pytest.mark.parametrize("power", POWERS)
@pytest.mark.parametrize("case", [*TOGETHER, *ONE_BY_ONE])
def test_batches_give_what_single_examples_give(case: str, power: Power) -> None:
    model = made(*(TOGETHER | ONE_BY_ONE)[case])
    expected = one_by_one(model, power)
    found = sums(model, BATCHES, power)
    assert found.examples == EXAMPLES
    assert found.together == (case in TOGETHER)
    for one, other in zip(found.total, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("case", [*TOGETHER, *ONE_BY_ONE])
def test_it_does_not_matter_that_there_are_as_many_examples_as_tokens(case: str) -> None:
    model = made(*(TOGETHER | ONE_BY_ONE)[case])
    expected = one_by_one(model, "square")
    for batches in ([[0, 1, 2, 3, 4], [5, 6, 7, 8, 9], [10, 11]], [[11, 10], [9, 8, 7, 6, 5, 4, 3, 2, 1, 0]]):
        for one, other in zip(sums(model, batches, "square").total, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_an_example_alone_and_a_word_that_comes_again_are_one_gradient() -> None:
    """The square of the sum of a word's gradients, not the sum of squares; padding has none."""
    model = made(Net, nn.Identity)
    batch = Points(torch.tensor([[2, 2, 0, 2, 3]]), torch.tensor([0]), torch.tensor([0]))
    found = PerExample(model.words.parameters(), "square")
    found.add(model, batch, lambda rows, _: [torch.ones(1, 3)])
    of_token = model.head.weight.detach().sum(dim=0) / LENGTH
    expected = torch.zeros(WORDS, WIDTH)
    expected[2], expected[3] = (3 * of_token).square(), of_token.square()
    torch.testing.assert_close(found.total[0], expected)


def test_weights_that_are_not_asked_for_may_be_of_any_kind() -> None:
    model = made(Net, Recurrent)
    found = PerExample(model.head.parameters(), "square")
    for indices in BATCHES:
        found.add(model, examples(indices), seeds)
    assert found.together
    for one, other in zip(found.total, one_by_one(model, "square")[-2:], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_frozen_weights_are_passed_by() -> None:
    model = made(Net, Twice)
    model.words.requires_grad_(False)
    model.inner.get_submodule("norm").requires_grad_(False)
    found = sums(model, BATCHES, "absolute")
    assert found.together
    for one, other in zip(found.total, one_by_one(model, "absolute"), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_outputs_that_no_weight_moves_add_nothing() -> None:
    model = made(Net, nn.Identity)
    found = PerExample(model.parameters(), "square")
    found.add(lambda batch: Rows(torch.ones(2, 3), batch.y, torch.arange(2)), examples([0, 1]), seeds)  # type: ignore[attr-defined]
    assert found.examples == 2 and not any(total.any() for total in found.total)


def test_large_matrices_are_worked_on_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    model = made(Net, Twice)
    expected = one_by_one(model, "square")
    monkeypatch.setattr("strategies.per_example.BLOCK", 3 * WIDTH)
    for one, other in zip(sums(model, BATCHES, "square").total, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", [torch.bfloat16, torch.float16])
def test_mixed_precision_gives_what_it_can(kind: torch.dtype) -> None:
    model = made(Net, Twice)
    expected = one_by_one(model, "square")
    with torch.autocast("cpu", kind):
        found = sums(model, BATCHES, "square")
    for one, other in zip(found.total, expected, strict=True):
        assert one.dtype == torch.float32
        assert float((one - other).norm()) < 0.05 * float(other.norm())


def test_rank_within_counts_each_owners_own() -> None:
    assert rank_within(torch.tensor([2, 0, 2, 1, 0, 2])).tolist() == [0, 0, 1, 0, 1, 2]
    assert rank_within(torch.tensor([], dtype=torch.long)).tolist() == []
