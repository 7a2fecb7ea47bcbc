"""One run as it lies on disk, finished or failed: raw numbers and where they came from, nothing derived."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NewType

from pydantic import BaseModel, ConfigDict, ValidationError, field_validator, model_validator

SCHEMA = 1


class RecordError(ValueError):
    """A file or folder that should hold run records and does not; the message is one line for the user."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class TaskInfo(_Strict):
    """What a reader of the record needs to know about one task of the stream."""

    name: str
    kind: str
    metric: str
    """Name of the main metric: the one in the score matrix. Every one is in [0, 1], larger is better."""
    head: str
    """Tasks that share a head share their output weights."""
    own_labels: list[str] = []
    """Of the labels of a head that grows (class-incremental) those that this task teaches; empty for all."""
    train_examples: int
    test_examples: int
    truncated_share: float = 0.0
    """Share of test examples of which something was cut to fit the window; 0 where long texts are read in windows."""
    untrained_labels: list[str] = []
    """Labels of the task that no training example has: they can't be learned, and count as wrong where tested."""
    split: str
    """Where the split comes from, in words; scores on a split of our own are not published test scores."""


class Order(_Strict):
    """In which order a run learned the tasks of its stream."""

    number: int = 1
    """1 is the stream's own order, in which the columns of `Run.scores` stand; others are numbered by suite or stream.
    """
    tasks: list[str] = []
    """Their names; empty in records from before there were other orders, for that of the columns."""


class StageCost(_Strict):
    """What one training stage cost."""

    train_seconds: float
    """Training itself, the strategy's work before and after it (its Fisher, say) included."""
    evaluate_seconds: float
    """Evaluating every task and probe after the stage, and what was tested inside it."""
    trained_tokens: int
    """Tokens without padding that training read."""
    steps: int
    strategy_bytes: int
    """Bytes that the strategy keeps between stages, measured after this stage."""
    trainable_parameters: int
    """Weights that the optimizer could move in this stage, heads included."""
    flops: float | None = None
    """Floating-point operations of the forward and backward passes of the stage's own batches, two for each
    multiplication with addition: counted on one example of each task, the others by their tokens. A strategy's further
    passes (a teacher, rehearsed examples, its Fisher) are not in it. None in records from before it was noted."""
    notes: dict[str, float] = {}
    """What the strategy itself measured in the stage, by name: see its documentation."""


class CurvePoint(_Strict):
    """How the tasks of earlier stages stood inside a stage."""

    step: int
    """Optimizer steps of the stage that had been taken."""
    scores: dict[str, float]
    """Task -> its main score."""


class Failure(_Strict):
    """Where and why a run ended before its end."""

    stage: int
    """The stage that failed, counted from 0; -1 if already measuring the untrained model failed."""
    reason: str
    """One line. What is no printable character in it becomes a space: an error message can hold anything."""
    trace: str = ""
    """Python's traceback, for whoever mends it; empty where the reason says it all."""

    @field_validator("reason")
    @classmethod
    def _one_line(cls, reason: str) -> str:
        printable = "".join(character if character.isprintable() else " " for character in reason)
        return " ".join(printable.split()) or "no reason given"

    @field_validator("trace")
    @classmethod
    def _encodable(cls, trace: str) -> str:
        """A lone surrogate, as in the name of a file that is not UTF-8, could not be written."""
        return trace.encode(errors="backslashreplace").decode()


class Tuning(_Strict):
    """What the search of a strategy's settings was given, before the run."""

    trials: int
    """Settings that each strategy of the search might try, as many for all. One that has none to search for tried none,
    and spent 0 seconds."""
    seconds: float
    """What the trials of this strategy took, each as long as it would have taken alone; not part of `Run.seconds`."""
    tasks: list[str]
    """The tasks whose training rows the trials trained on and whose validation rows they were compared by, in order."""


class Provenance(_Strict):
    """Everything needed to say what produced the numbers."""

    version: str
    code_sha256: str = ""
    """SHA-256 of the sources that compute numbers; empty in records from before it was noted."""
    commit: str | None
    dirty: bool | None
    """Whether the code differed from the commit; None where there is no repository."""
    python: str
    platform: str
    device: str
    precision: str
    threads: int
    processes: int = 1
    """Processes that trained one model together, each a share of every batch."""
    accumulation: int = 1
    """Parts that every batch was cut into, one after another."""
    packages: dict[str, str]
    data_sha256: dict[str, dict[str, str]]
    """Task or probe -> split -> SHA-256 of the rows that were used, after any limit."""
    files_sha256: dict[str, dict[str, str]] = {}
    """Task of the user's own -> file, as the task names it -> SHA-256 of its content."""
    weights_sha256: str
    """SHA-256 of the backbone's weight file or files."""
    backbone_sha256: str
    """SHA-256 of what else decides what the backbone computes: its configuration, tokenizer and pooling."""
    hub: dict[str, str] = {}
    """``datasets/`` or ``models/``, repository, ``@`` and the revision asked for -> the commit that it was."""
    plugins: dict[str, dict[str, str]] = {}
    """Package that strategy or tasks came from -> its ``version``, and module -> SHA-256 of the package's sources."""


class Run(_Strict):
    """One strategy trained over one stream, in one order, with one seed.

    Row ``s`` of ``scores``, ``metrics``, ``probes``, ``drift``, ``similarity`` and ``refits`` is the state after ``s``
    stages; row 0 is the pretrained backbone with untrained heads. S is the number of stages, T of tasks. Where a run
    failed, rows and costs end before the stage that failed: its last row is not the end of its stream.
    """

    schema_version: int = SCHEMA
    suite: str
    stream: str
    scenario: str
    backbone: str
    strategy: str
    seed: int
    order: Order = Order()
    tasks: list[TaskInfo]
    stages: list[list[str]]
    """Names of the tasks that each stage trained together, in order; ``joint`` has one stage with all.

    Every stage that was planned, also those that a failed run never reached.
    """
    scores: list[list[float]]
    """Main score of every task after every stage, shape (S + 1, T)."""
    metrics: list[dict[str, dict[str, float]]]
    """Row -> task -> metric -> value: every metric, the main one included."""
    probes: list[dict[str, dict[str, float]]]
    """Row -> probe -> measure -> value: what pretraining could do; larger is better."""
    drift: list[dict[str, float]]
    """Row -> layer, from the input up -> ``||theta - theta0|| / ||theta0||`` (L2); row 0 is all zeros."""
    similarity: list[dict[str, float]] = []
    """Row -> layer, from the input up -> linear CKA of its states with the pretrained body's, on held-out texts.

    In [0, 1], 1 if nothing changed. Empty where no probe has texts, and in records from before it was noted.
    """
    refits: list[dict[str, float]] = []
    """Row -> task -> main score with a fresh head, fitted on frozen features of the task's training examples.

    The row of the stage that trained a task has it, and the last row that of every task that an earlier stage trained.
    Neither has a task whose head is the one that the backbone was pretrained with. Empty if it was not asked for.
    """
    curves: list[list[CurvePoint]] = []
    """One list per finished stage: how tasks of earlier stages stood inside it, in order of steps.

    Neither the state before the stage nor that after it: those are rows of ``scores``. Empty if it was not asked for.
    """
    costs: list[StageCost]
    """One per stage, length S."""
    losses: list[list[float]] = []
    """One list per finished stage: the training loss over the stage's steps, in order.

    At most 200 values, each the mean over an equal stretch of steps. Empty in records from before it was noted.
    """
    failure: Failure | None = None
    """Where and why the run ended before its end; None if it reached it."""
    tuning: Tuning | None = None
    """What the search of its settings was given; None if they were set as they are."""
    parameters: int
    """Weights of the backbone's body, heads not counted."""
    peak_memory_bytes: int
    """Largest resident memory of any step or evaluation of the run, in the process that computed it.

    Where the system can't measure a step alone (not Linux), and in records without `losses`: of that process so far.
    """
    seconds: float
    """Wall time of all steps and evaluations, row 0 included, each as long as it took when it was computed."""
    finished: str
    """Time of the end, ISO 8601 in UTC."""
    settings: dict[str, Any]
    """The resolved cell: every setting with its value, defaults included."""
    keeps_examples: bool | None = None
    """Whether the strategy keeps training examples for later stages; None in records from before it was noted."""
    provenance: Provenance

    @field_validator("schema_version")
    @classmethod
    def _known_schema(cls, version: int) -> int:
        if not 1 <= version <= SCHEMA:
            raise ValueError(f"the record has schema {version}, this version of retain reads 1 to {SCHEMA}: update it")
        return version

    @model_validator(mode="after")
    def _shapes_agree(self) -> Run:
        names = [task.name for task in self.tasks]
        if self.failure is not None and self.failure.stage not in range(-1, len(self.stages)):
            raise ValueError(f"failure.stage is {self.failure.stage}, there are {len(self.stages)} stages")
        rows = 1 + (len(self.stages) if self.failure is None else self.failure.stage)
        stages = max(rows - 1, 0)
        for field in ("scores", "metrics", "probes", "drift"):
            if len(getattr(self, field)) != rows:
                raise ValueError(f"{field} has {len(getattr(self, field))} rows, {rows} expected")
        for field, expected in (("similarity", rows), ("refits", rows), ("curves", stages)):
            if len(getattr(self, field)) not in (0, expected):
                raise ValueError(f"{field} has {len(getattr(self, field))} entries, {expected} or none expected")
        if any(len(row) != len(names) for row in self.scores):
            raise ValueError(f"every row of scores needs {len(names)} values, one a task")
        if len(self.costs) != stages:
            raise ValueError(f"costs has {len(self.costs)} entries, {stages} expected")
        if len(self.losses) not in (0, stages):
            raise ValueError(f"losses has {len(self.losses)} entries, {stages} or none expected")
        if self.order.tasks and sorted(self.order.tasks) != sorted(names):
            raise ValueError("order.tasks and tasks name different tasks")
        unknown = {name for stage in self.stages for name in stage} - set(names)
        if unknown:
            raise ValueError(f"stages name unknown tasks: {', '.join(sorted(unknown))}")
        return self

    @property
    def replicate(self) -> str:
        """What tells a run from others of its strategy and settings, in words: its seed, and an order of its own."""
        return f"seed {self.seed}" + (f", order {self.order.number}" if self.order.number != 1 else "")

    @property
    def learned_in(self) -> list[str]:
        """Names of the tasks in the order in which the run learns them."""
        return self.order.tasks or [task.name for task in self.tasks]

    @property
    def failed(self) -> bool:
        """Whether the run ended before its end."""
        return self.failure is not None

    @property
    def learned_at(self) -> list[int | None]:
        """For each task the row of ``scores`` right after the stage that trains it; None if none does.

        A failed run lacks the rows from the stage that failed on.
        """
        rows = {name: row for row, stage in enumerate(self.stages, start=1) for name in stage}
        return [rows.get(task.name) for task in self.tasks]

    def save(self, path: Path) -> None:
        """Writes the record as JSON: beside its place, flushed, then renamed, so it is whole or absent."""
        write_atomically(path, self.model_dump_json(indent=1) + "\n")


FinishedRun = NewType("FinishedRun", Run)
"""A run that reached its end, so that its last row is the end. Whatever reads a last row asks for this type."""


def finished_runs(runs: Iterable[Run]) -> list[FinishedRun]:
    """Those that reached their end, in order."""
    return [FinishedRun(run) for run in runs if not run.failed]


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes ``content`` to ``path`` so that a reader sees the old file or the whole new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    beside = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        beside.chmod(0o644)
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def load(path: Path) -> Run:
    """Reads one record.

    Raises:
        RecordError: the file can't be read, is not JSON, or is not a record of this schema.
    """
    try:
        return Run.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise RecordError(f"{path}: cannot be read: {error}") from error
    except ValidationError as error:
        errors = error.errors()
        # That of the schema says why there are others: a newer version may have any field.
        first = next((one for one in errors if one["loc"] == ("schema_version",)), errors[0])
        where = ".".join(str(part) for part in first["loc"]) or "the file"
        raise RecordError(f"{path}: not a run record: {where}: {first['msg']}") from error


def load_all(paths: Iterable[Path]) -> list[Run]:
    """Reads every record named: files as they are, folders by the ``*.json`` directly in them.

    Raises:
        RecordError: a path does not exist, a folder holds no record, or a record can't be read.
    """
    runs: list[Run] = []
    for path in paths:
        if path.is_dir():
            files = sorted(path.glob("*.json"))
            if not files:
                raise RecordError(f"{path}: no run records (*.json) in this folder")
            runs.extend(load(file) for file in files)
        elif path.exists():
            runs.append(load(path))
        else:
            raise RecordError(f"{path}: no such file or folder")
    return runs
