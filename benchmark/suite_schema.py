"""A suite as it is written in YAML: its keys, their types and defaults."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from benchmark.orders import OrderField, OrderFile, StreamField
from strategies.base import Training

TRAINING = "training."
"""What the names of training's settings begin with, where those of a strategy stand beside them."""
Precision = Literal["no", "bf16"]
Count = Annotated[int, Field(ge=1)]
Length = Annotated[int, Field(ge=16)]


def _distinct(values: list[Any]) -> list[Any]:
    repeated = sorted({value for value in values if values.count(value) > 1})
    if repeated:
        raise ValueError(f"{repeated[0]} is in it twice")
    return values


def _one_or_several(value: object) -> object:
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
        raise ValueError("it should be the name of a backbone, or a list of names")
    return _distinct(names)


Seeds = Annotated[list[Annotated[int, Field(ge=0)]], Field(min_length=1), AfterValidator(_distinct)]


class TaskSettings(BaseModel):
    """What a suite may set for one task alone."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train_examples: Count | None = None
    test_examples: Count | None = None
    max_length: Length | None = None


class TunedSettings(BaseModel):
    """How the settings of one strategy were found."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    trials: Count
    """Settings that each strategy of the search might try."""
    seconds: Annotated[float, Field(ge=0)]
    """What the trials of this one took."""
    tasks: Annotated[list[str], Field(min_length=1)]
    """The tasks that the search saw."""
    sampler: str
    """Chose the trials."""
    seed: Annotated[int, Field(ge=0)]
    """Of the sampler."""
    seeds: Seeds
    """Of the trials' training."""
    searched: dict[str, str] = {}
    """Setting -> the range that it was searched in; empty where there was none to search for."""
    found: dict[str, int | float] = {}
    """Setting -> the value found: of the strategy, or ``training.learning_rate`` and the like."""

    def contradicted(self, settings: Mapping[str, object], training: Mapping[str, object]) -> str:
        """The first setting that has another value than the one found; empty if all have theirs."""
        now = dict(settings) | {f"{TRAINING}{name}": value for name, value in training.items()}
        return next((name for name, value in self.found.items() if now.get(name) != value), "")


class SuiteFile(BaseModel):
    """A suite as written in YAML."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    description: str
    backbone: Annotated[list[str], BeforeValidator(_one_or_several)]
    """Name of a backbone, or a list of names: each is a study of its own."""
    stream: StreamField
    """Name of a stream, task names in order, or ``{tasks: [...], scenario: ..., orders: [...]}``."""
    orders: OrderField = OrderFile()
    """Orders that are run, each with every seed: numbers of the stream's (1 is that of its tasks) or lists of tasks,
    ``{draw: N, seed: S}`` for some drawn at random, or all."""
    probes: Annotated[list[str], AfterValidator(_distinct)] = []
    seeds: Seeds = [0]
    train_examples: Count | None = None
    """At most this many training examples a task; null for all."""
    test_examples: Count | None = None
    """At most this many test examples a task; null for all."""
    max_length: Length = 128
    """Tokens in a window; longer texts are cut (one label a text) or read in several windows (words, spans)."""
    tasks: dict[str, TaskSettings] = {}
    """What is set for single tasks, instead of the three values above."""
    training: Training = Training()
    eval_every: Count | None = None
    """Steps after which earlier tasks are tested inside a stage; null for never."""
    refit: Count | None = None
    """Training examples that a fresh head is fitted on, to tell what heads lost from what the body did; null for no."""
    precision: Precision = "no"
    """Mixed precision of training: no or bf16; evaluation and importance are always computed in 32 bits."""
    strategies: Annotated[dict[str, dict[str, Any] | None], Field(min_length=1)]
    """Strategy -> its hyperparameters; those not named have their defaults. A list of values is swept over."""
    tuning: dict[str, TunedSettings] = {}
    """Strategy -> the search that found its settings, for its runs' records. `retain tune` writes it."""
