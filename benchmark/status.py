"""How a folder of runs stands, and how to free what it no longer needs. Imports nothing heavy."""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from tabulate import tabulate

from benchmark.errors import UserError
from benchmark.output import writing
from benchmark.shelf import Say, Shelf
from results.record import RecordError, Run, load

State = Literal["done", "running", "failed", "to do"]
STATES: tuple[State, ...] = ("done", "running", "failed", "to do")


@dataclass(frozen=True)
class Planned:
    """A run as the last command that wanted it left it in the folder.

    Attributes:
        name: For people.
        file: Name of its record.
        stages: Names of the tasks of each stage.
        steps: Keys of each stage's steps, in order.
        backbone: Its name; empty where an earlier version left no word of it.
    """

    name: str
    file: str
    stages: list[list[str]]
    steps: list[list[str]]
    backbone: str = ""


@dataclass(frozen=True)
class Standing:
    """How one run stands.

    Attributes:
        name: For people.
        state: See `State`.
        trained: Stages that are finished.
        stages: Stages in all; 0 where no command said what it planned.
        remark: Why it failed, or what is running.
        backbone: Its name; empty if that is not known.
    """

    name: str
    state: State
    trained: int
    stages: int
    remark: str = ""
    backbone: str = ""


def note_plan(shelf: Shelf, planned: Sequence[Planned]) -> None:
    """Leaves what a command wants in its folder, for `standings`.

    Raises:
        UserError: it can't be written.
    """
    key = hashlib.sha256(json.dumps([run.file for run in planned]).encode()).hexdigest()
    shelf.write("plans", key, {"time": time.time(), "runs": [vars(run) for run in planned]})


def standings(folder: Path, say: Say) -> list[Standing]:
    """How every run stands that a command wanted here, or that has a record here.

    Raises:
        UserError: there are no runs here.
    """
    shelf = _shelf(folder, say)
    plans = [plan for key in shelf.keys("plans") if (plan := shelf.read("plans", key)) is not None]
    planned: dict[str, Planned] = {}
    for plan in sorted(plans, key=lambda plan: float(plan["time"])):
        planned |= {run["file"]: Planned(**run) for run in plan["runs"]}
    found = [replace(_standing(shelf, folder, run), backbone=run.backbone) for run in planned.values()]
    for path in sorted(folder.glob("*.json")):
        if path.name not in planned and (record := _record(path)) is not None:
            found.append(_recorded(path.stem, record))
    return found


def status(folder: Path, say: Say) -> str:
    """The same for readers: counts, then a line for each run.

    Raises:
        UserError: there are no runs here.
    """
    found = standings(folder, say)
    shelf = Shelf(folder / "stages", say)
    counts = Counter(run.state for run in found)
    size, files = _weights(shelf)
    commands = len(shelf.commands())
    head = (
        f"{folder}: {', '.join(f'{counts[state]} {state}' for state in STATES)}; "
        f"{files} files of weights, {size / 2**20:.1f} MiB; {commands or 'no'} command{'s' * (commands != 1)} at work"
    )
    several = len({run.backbone for run in found}) > 1
    rows = [
        [run.name, *([run.backbone] * several), run.state, f"{run.trained}/{run.stages}" * bool(run.stages), run.remark]
        for run in found
    ]
    headers = ["run", *(["backbone"] * several), "state", "stages", ""]
    return f"{head}\n\n{tabulate(rows, headers, disable_numparse=True)}"


def clean(folder: Path, records: bool, say: Say) -> str:
    """Frees weights and checkpoints; what steps cost and gave stays. Records are deleted only if that is asked for.

    Raises:
        UserError: there are no runs here, a command works here, or something can't be deleted.
    """
    shelf = _shelf(folder, say)
    with shelf.command():
        others = len(shelf.commands()) - 1
        if others:
            raise UserError(f"{folder}: {others} command{'s' * (others > 1)} at work here; stop it or wait for its end")
        size, files = _weights(shelf)
        shelf.drop([path.stem for path in (shelf.folder / "tensors").glob("*.safetensors")])
        for key in shelf.keys("checkpoints"):
            shelf.delete("checkpoints", key)
        deleted = 0
        if records:
            for path in sorted(folder.glob("*.json")):
                if _record(path) is not None:
                    with writing(path):
                        path.unlink()
                    deleted += 1
            for kind in ("nodes", "rows", "plans"):
                for key in shelf.keys(kind):
                    shelf.delete(kind, key)
    return f"{folder}: {size / 2**20:.1f} MiB freed, {files} files of weights" + (
        f", and {deleted} records deleted" if records else "; records stay"
    )


def _shelf(folder: Path, say: Say) -> Shelf:
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    if not (folder / "stages").is_dir() and not any(_record(path) for path in sorted(folder.glob("*.json"))):
        raise UserError(f"{folder}: no runs in this folder; name the --out of a retain run")
    return Shelf(folder / "stages", say)


def _standing(shelf: Shelf, folder: Path, planned: Planned) -> Standing:
    record = _record(folder / planned.file)
    if record is not None and record.failure is None:
        return _recorded(planned.name, record)
    running = [
        "+".join(tasks)
        for tasks, keys in zip(planned.stages, planned.steps, strict=True)
        if any(shelf.held(key) for key in keys)
    ]
    trained = sum(all(shelf.read("nodes", key) is not None for key in keys) for keys in planned.steps)
    if running:
        return Standing(planned.name, "running", trained, len(planned.stages), running[0])
    if record is not None:
        return _recorded(planned.name, record)
    return Standing(planned.name, "to do", trained, len(planned.stages))


def _recorded(name: str, record: Run) -> Standing:
    count = len(record.stages)
    if record.failure is None:
        return Standing(name, "done", count, count, backbone=record.backbone)
    stage = record.failure.stage
    where = "+".join(record.stages[stage]) if stage >= 0 else "the untrained model"
    return Standing(name, "failed", max(stage, 0), count, f"{where}: {record.failure.reason}", record.backbone)


def _record(path: Path) -> Run | None:
    try:
        return load(path)
    except RecordError:
        return None


def _weights(shelf: Shelf) -> tuple[int, int]:
    """Bytes and number of the files of weights."""
    sizes = [path.stat().st_size for path in (shelf.folder / "tensors").glob("*.safetensors")]
    return sum(sizes), len(sizes)
