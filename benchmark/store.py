"""Finished steps on disk: what a run has learned so far, checked when it is read, whole or absent.

    <folder>/nodes/<key>.json         what the step cost, where its tensors are, plain values
    <folder>/tensors/<sha256>.safetensors   weights or state, named by their content
    <folder>/rows/<key>.json          results of evaluating some weights

JSON files are kept for good. Tensors are kept as long as somebody may go on from them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import load, save
from torch import Tensor

from benchmark.errors import UserError
from benchmark.output import writing
from results.record import write_atomically

Say = Callable[[str], None]


@dataclass(frozen=True)
class Saved:
    """A finished step.

    Attributes:
        weights: SHA-256 of the file with the weights that differ from the start.
        state: SHA-256 of the file with the tensors of the strategy's state.
        plain: The state with each tensor replaced by its name in that file.
        trainable: Names of the weights that trained.
        cost: What the step cost, as the engine counts it.
    """

    weights: str
    state: str
    plain: Any
    trainable: list[str]
    cost: dict[str, float]


@dataclass(frozen=True)
class Store:
    """The finished steps of one folder."""

    folder: Path
    say: Say

    def node(self, key: str) -> Saved | None:
        """What is known of a step; None if it is not finished or its file is damaged."""
        found = self._json("nodes", key)
        try:
            return None if found is None else Saved(**found)
        except TypeError:  # from another version
            return None

    def row(self, key: str) -> dict[str, Any] | None:
        """Results of an evaluation, None if there are none."""
        return self._json("rows", key)

    def save_row(self, key: str, row: Mapping[str, Any]) -> None:
        """Keeps the results of an evaluation.

        Raises:
            UserError: they can't be written.
        """
        self._save_json("rows", key, row)

    def save_node(
        self,
        key: str,
        weights: Mapping[str, Tensor],
        state: Mapping[str, Any],
        trainable: list[str],
        cost: dict[str, float],
    ) -> Saved:
        """Keeps a finished step: the tensors first, then the file that names them.

        Raises:
            UserError: something can't be written.
        """
        tensors: dict[str, Tensor] = {}
        plain = _flatten(state, "state", tensors)
        saved = Saved(self._save_tensors(weights), self._save_tensors(tensors), plain, trainable, cost)
        self._save_json("nodes", key, vars(saved))
        return saved

    def load(self, saved: Saved) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
        """Weights and state after a step; None if a file was dropped or is damaged."""
        weights, tensors = self._load_tensors(saved.weights), self._load_tensors(saved.state)
        return None if weights is None or tensors is None else (weights, _unflatten(saved.plain, tensors))

    def has(self, saved: Saved) -> bool:
        """Whether the step's tensors are there; reading them may still find them damaged."""
        return self._tensors(saved.weights).exists() and self._tensors(saved.state).exists()

    def keep_only(self, wanted: set[str]) -> None:
        """Drops all tensors but these."""
        for file in sorted((self.folder / "tensors").glob("*.safetensors")):
            if file.stem not in wanted:
                with writing(file):
                    file.unlink(missing_ok=True)

    def _tensors(self, digest: str) -> Path:
        return self.folder / "tensors" / f"{digest}.safetensors"

    def _save_tensors(self, tensors: Mapping[str, Tensor]) -> str:
        content = save({name: value.detach().cpu().contiguous() for name, value in tensors.items()})
        digest = hashlib.sha256(content).hexdigest()
        path = self._tensors(digest)
        if not path.exists():
            with writing(path):
                write_atomically(path, content)
        return digest

    def _load_tensors(self, digest: str) -> dict[str, Tensor] | None:
        path = self._tensors(digest)
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror}") from error
        if hashlib.sha256(content).hexdigest() != digest:
            self.say(f"{path}: damaged; it is computed again")
            with writing(path):
                path.unlink(missing_ok=True)
            return None
        return load(content)

    def _save_json(self, kind: str, key: str, value: Mapping[str, Any]) -> None:
        body = json.dumps(value)  # in the order it has: a state may be summed over
        checked = json.dumps({"sha256": hashlib.sha256(body.encode()).hexdigest(), "value": json.loads(body)})
        path = self.folder / kind / f"{key}.json"
        with writing(path):
            write_atomically(path, checked + "\n")

    def _json(self, kind: str, key: str) -> dict[str, Any] | None:
        path = self.folder / kind / f"{key}.json"
        try:
            checked = json.loads(path.read_text(encoding="utf-8"))
            value = checked["value"]
            whole = hashlib.sha256(json.dumps(value).encode()).hexdigest() == checked["sha256"]
        except FileNotFoundError:
            return None
        except OSError as error:
            raise UserError(f"{path}: cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError):
            whole = False
        if not whole:
            self.say(f"{path}: damaged; it is computed again")
            return None
        found: dict[str, Any] = value
        return found


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
