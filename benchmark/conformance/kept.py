"""What a strategy remembers: that it is saved, restored and billed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from torch import Tensor

from benchmark.checkpoints import tensors_of
from benchmark.conformance.bench import Bench, differences, flat, require_same_points, tensors, where
from benchmark.conformance.core import NotApplicable, Violation, rule
from benchmark.conformance.runs import copied
from benchmark.store import Store
from strategies.base import Learner


@rule("resume loses the regulariser: Fisher in attributes, so EWC goes on as naive (Mammoth)")
def resumes_within_a_stage(bench: Bench) -> None:
    """Killed in the middle of every stage and resumed by another process, it ends in the same bits."""
    require_same_points(bench.run(kill=True), bench.base, "killed in mid-stage and resumed")


@rule("what was learned in earlier stages is lost between stages, or restored as something else")
def resumes_between_stages(bench: Bench) -> None:
    """With every step of the run done by another process, it ends in the same bits."""
    require_same_points(bench.run(reload=True), bench.base, "each step by another process")


@rule("state that can't be saved, or comes back with other types or bits")
def state_survives_the_disk(bench: Bench) -> None:
    """State is tensors and plain values in dicts and lists, and is the same after saving and loading."""
    for point in bench.base.points:
        if not point.state:
            continue
        back, _ = _saved(point.state, where(point))
        told = differences(flat(back), flat(point.state))
        if told:
            name, by = next(iter(told.items()))
            raise Violation(f"{where(point)}: {len(told)} values change on disk, such as {name}, which {by}")


def _saved(state: dict[str, Any], place: str) -> tuple[dict[str, Any], int]:
    """The state after saving and loading, and what it is billed then."""
    with TemporaryDirectory(prefix="retain-check-") as folder:
        store = Store(Path(folder), lambda _: None)
        try:
            saved = store.save_node("state", {}, state, [], {})
            loaded = store.load(saved)
            json.dumps(saved.plain)
        except (TypeError, ValueError) as error:
            raise Violation(f"{place}: {len(state)} entries can't be saved: {error}") from error
    assert loaded is not None
    return loaded[1], sum(value.nbytes for value in tensors(loaded[1]).values())


@rule("memory counted wrong: views of larger tensors, tensors where the bill does not look")
def memory_is_billed(bench: Bench) -> None:
    """The bill is the bytes of the tensors that the state holds, before and after it was on disk."""
    learner = bench.base.learner
    held = {id(value): value.nbytes for value in _all_tensors(learner.state)}
    billed = learner.state_bytes()
    if sum(held.values()) != billed:
        raise Violation(f"at the end {billed} bytes are billed, but its tensors hold {sum(held.values())}")
    if learner.state:
        fresh = bench.problem.learner(0)
        fresh.state = _saved(copied(learner.state), "at the end")[0]
        if fresh.state_bytes() != billed:
            raise Violation(f"{billed} bytes are billed before it is on disk, and {fresh.state_bytes()} after")
    _require_no_tensors_elsewhere(bench, learner)


def _require_no_tensors_elsewhere(bench: Bench, learner: Learner) -> None:
    hidden = list(_all_tensors(dict(vars(bench.strategy))))
    parameters = set(tensors_of(learner.model))
    for name, module in learner.model.named_modules():
        own = {key: value for key, value in vars(module).items() if not key.startswith("_")}
        named = {key: value for key, value in own.items() if isinstance(value, Tensor)}
        hidden += [value for key, value in named.items() if f"{name}.{key}" not in parameters]
    if hidden:
        raise Violation(f"{sum(value.nbytes for value in hidden)} bytes in {len(hidden)} tensors lie outside the state")


def _all_tensors(value: Any) -> Iterator[Tensor]:
    """Every tensor that can be reached, wherever it hides."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, dict):
        for inner in [*value.keys(), *value.values()]:
            yield from _all_tensors(inner)
    elif isinstance(value, (list, tuple, set, frozenset)):
        for inner in value:
            yield from _all_tensors(inner)
    elif type(value).__module__ not in ("builtins", "torch") and getattr(value, "__dict__", None):
        yield from _all_tensors(vars(value))


@rule("a list that grows by a tensor a step: no bill predicts what a long stage takes")
def memory_does_not_grow_with_steps(bench: Bench) -> None:
    """Within a stage the state does not grow from step to step."""
    for stage in {stage for stage, *_ in bench.base.steps}:
        sizes = [size for at, _, _, _, size in bench.base.steps if at == stage][1:]
        growing = sum(after > before for before, after in zip(sizes, sizes[1:], strict=False))
        if len(sizes) > 1 and growing > (len(sizes) - 1) / 2:
            raise Violation(
                f"stage {stage + 1}: the state grew in {growing} of {len(sizes) - 1} steps, "
                f"from {sizes[0]} to {sizes[-1]} bytes"
            )


@rule("a Fisher of the last task, measured at full cost for nobody")
def nothing_is_kept_for_nobody(bench: Bench) -> None:
    """After the last stage it learns nothing more, unless that changes what is evaluated."""
    points = bench.base.points
    last = points[-1]
    if last.step == "train":
        return
    before = points[-2]
    if bench.strategy.fingerprint_prediction() or differences(last.weights, before.weights):
        raise NotApplicable("what it does after the last stage changes what is evaluated")
    told = differences(flat(last.state), flat(before.state))
    if told:
        raise Violation(
            f"after the last stage {len(told)} values of the state change for nobody, such as {next(iter(told))}; "
            f"it had {before.bytes} bytes and has {last.bytes}"
        )


@rule("an anchor that is the weight itself and not a copy: it moves along, and never pulls")
def state_is_cut_off(bench: Bench) -> None:
    """No tensor of the state shares its memory with the model or hangs on a graph."""
    learner = bench.base.learner
    own = {value.untyped_storage().data_ptr() for value in tensors_of(learner.model).values() if value.numel()}
    own |= {value.untyped_storage().data_ptr() for value in learner.untrained.values() if value.numel()}
    held = tensors(learner.state)
    shared = [name for name, value in held.items() if value.numel() and value.untyped_storage().data_ptr() in own]
    if shared:
        raise Violation(f"{len(shared)} of {len(held)} tensors share the model's memory, such as {shared[0]}")
    hanging = [name for name, value in held.items() if value.requires_grad]
    if hanging:
        raise Violation(f"{len(hanging)} of {len(held)} tensors take gradients, such as {hanging[0]}")
