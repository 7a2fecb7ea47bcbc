"""Finished steps and checkpoints inside steps: what a run has learned so far, whole or absent.

    nodes/<key>          what a finished step cost, where its tensors are, plain values
    checkpoints/<key>    the same for a step that is not finished, with its optimizer
    rows/<key>           results of evaluating some weights

Finished steps and rows are kept for good. Tensors are kept as long as somebody may go on from them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from benchmark.shelf import DROPPED, Say, Shelf


@dataclass(frozen=True)
class Saved:
    """A finished step.

    Attributes:
        weights: SHA-256 of the file with the weights that differ from the start.
        state: SHA-256 of the file with the tensors of the strategy's state.
        plain: The state with each tensor replaced by its name in that file.
        trainable: Names of the weights that trained.
        cost: What the step cost, as the engine counts it.
        losses: The training loss over the step, thinned out.
        notes: What the strategy wants in the record.
        curve: How earlier tasks fared inside the step: see `benchmark.curves`.
    """

    weights: str
    state: str
    plain: Any
    trainable: list[str]
    cost: dict[str, float]
    losses: list[float]
    notes: dict[str, float]
    curve: list[dict[str, Any]] = field(default_factory=list)


@dataclass(frozen=True)
class Checkpoint:
    """A step of a run on its way.

    Attributes:
        position: Optimizer steps done.
        weights: The weights that train.
        state: What the strategy remembers.
        optimizer: The optimizer's state, as it states it.
        losses: Of every step done.
        seconds: That training took so far.
        curve: How earlier tasks fared so far.
    """

    position: int
    weights: Mapping[str, Tensor]
    state: dict[str, Any]
    optimizer: dict[str, Any]
    losses: list[float]
    seconds: float
    curve: list[dict[str, Any]] = field(default_factory=list)


class Store:
    """The steps of one folder."""

    def __init__(self, folder: Path, say: Say) -> None:
        """Makes nothing until something is kept."""
        self.shelf = Shelf(folder, say)

    def node(self, key: str) -> Saved | None:
        """What is known of a step; None if it is not finished or its file is damaged."""
        found = self.shelf.read("nodes", key)
        try:
            return None if found is None else Saved(**{name: found[name] for name in found if name != DROPPED})
        except TypeError:  # from another version
            return None

    def row(self, key: str) -> dict[str, Any] | None:
        """Results of an evaluation, None if there are none."""
        return self.shelf.read("rows", key)

    def save_row(self, key: str, row: Mapping[str, Any]) -> None:
        """Keeps the results of an evaluation.

        Raises:
            UserError: they can't be written.
        """
        self.shelf.write("rows", key, row)

    def save_node(
        self,
        key: str,
        weights: Mapping[str, Tensor],
        state: Mapping[str, Any],
        trainable: list[str],
        cost: dict[str, float],
        losses: Sequence[float] = (),
        notes: Mapping[str, float] = MappingProxyType({}),
        curve: Sequence[dict[str, Any]] = (),
    ) -> Saved:
        """Keeps a finished step: the tensors first, then the file that names them.

        Raises:
            UserError: something can't be written.
        """
        tensors: dict[str, Tensor] = {}
        plain = _flatten(state, "state", tensors)
        contents = {"weights": _content(weights), "state": _content(tensors)}
        named = {"plain": plain, "trainable": trainable, "cost": cost, "losses": list(losses), "notes": dict(notes)}
        named["curve"] = list(curve)
        digests = self.shelf.keep("nodes", key, contents, named)
        self.drop_checkpoint(key)
        found = digests["weights"], digests["state"], plain, trainable, cost, list(losses), dict(notes), list(curve)
        return Saved(*found)

    def load(self, saved: Saved) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Weights and state after a step; None if a file was dropped or is damaged."""
        weights, tensors = self._get(saved.weights), self._get(saved.state)
        return None if weights is None or tensors is None else (weights, _unflatten(saved.plain, tensors))

    def has(self, saved: Saved) -> bool:
        """Whether the step's tensors are there; reading them may still find them damaged."""
        return self.shelf.place(saved.weights).exists() and self.shelf.place(saved.state).exists()

    def save_checkpoint(self, key: str, checkpoint: Checkpoint) -> None:
        """Keeps a step on its way instead of what was kept of it before.

        Raises:
            UserError: it can't be written.
        """
        before = self.shelf.digests([key], "checkpoints")
        tensors: dict[str, Tensor] = {}
        named = {
            "position": checkpoint.position,
            "losses": checkpoint.losses,
            "seconds": checkpoint.seconds,
            "curve": checkpoint.curve,
            "plain": _flatten(checkpoint.state, "state", tensors),
            "optimizer": _flatten(checkpoint.optimizer, "optimizer", tensors),
        }
        contents = {"weights": _content(checkpoint.weights), "state": _content(tensors)}
        self.shelf.keep("checkpoints", key, contents, named)
        self.shelf.release(before)

    def checkpoint(self, key: str) -> Checkpoint | None:
        """How far a step had come; None if it was not begun or what was kept is damaged."""
        found = self.shelf.read("checkpoints", key)
        weights, tensors = (None, None) if found is None else (self._get(found["weights"]), self._get(found["state"]))
        if found is None or weights is None or tensors is None:
            return None
        state, optimizer = _unflatten(found["plain"], tensors), _unflatten(found["optimizer"], tensors)
        known = found["losses"], found["seconds"], found["curve"]
        return Checkpoint(found["position"], weights, state, optimizer, *known)

    def drop_checkpoint(self, key: str) -> None:
        """Forgets how far a step had come."""
        digests = self.shelf.digests([key], "checkpoints")
        self.shelf.delete("checkpoints", key)
        self.shelf.release(digests)

    def _get(self, digest: str) -> dict[str, Tensor] | None:
        content = self.shelf.get(digest)
        if content is None:
            return None
        found = load(content)
        # Copied to where torch puts tensors: the last bits of a product may depend on how its factors are aligned.
        return {name: found.pop(name).clone() for name in list(found)}


def _content(tensors: Mapping[str, Tensor]) -> bytes:
    return save({name: value.detach().cpu().contiguous() for name, value in tensors.items()})


def _flatten(value: Any, name: str, tensors: dict[str, Tensor]) -> Any:
    """The value with its tensors moved out into ``tensors``, each replaced by its name there and its device.

    A tensor that occurs twice is kept once, and is one tensor again when it is read.
    """
    if isinstance(value, Tensor):
        name = next((known for known, tensor in tensors.items() if tensor is value), name)
        tensors[name] = value
        return {"tensor": name, "device": value.device.type}
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError(f"learner.{name}: keys of dicts must be text, or they can't be saved")
        return {"items": {key: _flatten(inner, f"{name}/{key}", tensors) for key, inner in value.items()}}
    if isinstance(value, (list, tuple)):
        return [_flatten(inner, f"{name}/{place}", tensors) for place, inner in enumerate(value)]
    return value


def _unflatten(plain: Any, tensors: dict[str, Tensor]) -> Any:
    if isinstance(plain, list):
        return [_unflatten(inner, tensors) for inner in plain]
    if isinstance(plain, dict):
        if "tensor" in plain:
            tensors[plain["tensor"]] = tensors[plain["tensor"]].to(plain["device"])
            return tensors[plain["tensor"]]
        return {key: _unflatten(inner, tensors) for key, inner in plain["items"].items()}
    return plain
