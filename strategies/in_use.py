"""Tensors of which a step touches some rows only: word embeddings, of which a text has few."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor


def rows_of(tensors: Mapping[str, Tensor], in_use: Mapping[str, Tensor], names: Iterable[str]) -> list[Tensor]:
    """The named tensors; of those that are in use in part, a copy of the rows that are.

    Args:
        tensors: Name -> tensor.
        in_use: Name -> rows (n,), each once; a tensor that is not among them is in use as a whole.
        names: Of the tensors that are wanted.
    """
    return [tensors[name][in_use[name]] if name in in_use else tensors[name] for name in names]


def put_rows(
    tensors: Mapping[str, Tensor], in_use: Mapping[str, Tensor], names: Iterable[str], rows: Iterable[Tensor]
) -> None:
    """Puts rows that `rows_of` copied back, after they were changed; whole tensors were changed themselves."""
    for name, changed in zip(names, rows, strict=True):
        if name in in_use:
            tensors[name].index_copy_(0, in_use[name], changed)
