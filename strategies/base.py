"""What every strategy may see and may change: the contract between a method and the training loop."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Protocol

import torch
from annotated_types import Ge, Gt, Le
from torch import Tensor, nn
from torch.func import functional_call

from strategies.search import Search


class Rows(Protocol):
    """N choices among C: ``logits`` (N, C), ``targets`` (N,) and ``owner`` (N,), the example each row came from."""

    @property
    def logits(self) -> Tensor: ...  # noqa: D102
    @property
    def targets(self) -> Tensor: ...  # noqa: D102
    @property
    def owner(self) -> Tensor: ...  # noqa: D102


class Batch(Protocol):
    """Some examples of one task. ``index`` (B,) tells which of the task's features they are."""

    @property
    def index(self) -> Tensor: ...  # noqa: D102
    def __len__(self) -> int: ...  # noqa: D105
    def to(self, device: torch.device, /) -> Batch: ...  # noqa: D102


Example = dict[str, Tensor]
"""One training example as a memory keeps it: what the model reads of it and its labels, without padding, on the CPU."""


class Task(Protocol):
    """A task as strategies see it: what it is called, which output weights it trains, how its batches are made."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def head(self) -> str: ...  # noqa: D102
    @property
    def classes(self) -> int | None:
        """How many classes every row chooses among; None where the choices are places in a text."""

    @property
    def own(self) -> Sequence[int] | None:
        """Of the classes those that this task teaches, where others are other tasks'; None for all."""

    @property
    def own_head(self) -> bool:
        """Whether it has output weights beside the body's; a language model's may be its embeddings."""

    @property
    def rows_each(self) -> int:
        """At most so many rows come of one example."""

    def unlabelled(self, batch: Any, /) -> Batch:
        """What a batch of any task has to read, as a question to this one: its labels are made up."""

    def take_apart(self, batch: Any, /) -> list[Example]:
        """The examples of one of its batches, each by itself."""

    def put_together(self, examples: Sequence[Example], /) -> Batch:
        """A batch, on the CPU, of examples that were taken out of its batches before."""


DECLARATION: dict[str, object] = {"extra": "forbid", "use_attribute_docstrings": True, "allow_inf_nan": False}
"""How pydantic reads dataclasses of settings: unknown names are refused, a field's docstring is its help."""


@dataclass(frozen=True)
class Training:
    """How a stage is trained, the same for every strategy of a suite."""

    __pydantic_config__: ClassVar[dict[str, object]] = DECLARATION

    epochs: Annotated[int, Ge(1)] = 1
    """Passes over a stage's examples."""
    batch_size: Annotated[int, Ge(1)] = 16
    """Examples in one step."""
    learning_rate: Annotated[float, Gt(0), Search(1e-5, 1e-3, log=True)] = 1e-4
    """Peak learning rate of the body."""
    head_learning_rate: Annotated[float, Gt(0)] = 1e-3
    """Peak learning rate of the heads, which start from nothing."""
    weight_decay: Annotated[float, Ge(0)] = 0.0
    """AdamW's decoupled decay. Off by default: it pulls to zero and fights every anchor."""
    warmup: Annotated[float, Ge(0), Le(1)] = 0.1
    """Share of a stage's steps in which the learning rates rise linearly; then they fall linearly to 0."""
    max_grad_norm: Annotated[float, Gt(0)] = 1.0
    """Gradients are scaled down to this norm, after the strategy changed them."""


@dataclass(frozen=True)
class Stage:
    """One stretch of training.

    Attributes:
        index: 0 for the first.
        last: Whether no stage follows, so nothing need be learned for later.
        tasks: Trained together; one for most strategies.
        steps: Optimizer steps that it takes.
        examples: ``examples(task, count, batch_size)`` gives batches of that many of the task's training examples
            (all if it has fewer), chosen by the run's seed, the same at every call.
    """

    index: int
    last: bool
    tasks: Sequence[Task]
    steps: int
    examples: Callable[[Task, int, int], Iterator[Batch]]


@dataclass
class Learner:
    """What is being trained, and all that a strategy remembers.

    Attributes:
        model: Body and heads; ``model((task, batch), ...)`` gives the rows of each batch, all of the same texts.
        layers: Layer -> names of its parameters, from the input up. The body only.
        heads: Head -> names of its parameters.
        tasks: Name -> task, of the whole stream, in the order in which the run learns them. Their data is none of a
            strategy's business: what it may see of a stage's it gets with the stage, what it needs of earlier ones it
            keeps in `state`.
        training: How stages are trained.
        seed: Of the run; derive generators from it, never use the global one.
        untrained: Name -> parameter or buffer before the first stage, not to be changed. To start again from, as from
            the file it came in; a copy that every step needs belongs in `state`, where it is billed.
        state: What the strategy learned in earlier stages: tensors and plain values, in dicts (with text as keys) and
            lists. Only what lies here is saved, restored and billed as the strategy's memory.
        notes: Name -> number that the strategy wants in the record of a stage, written when its training has ended or
            after it. Emptied before each.
        in_use: Name -> rows (n,) of this parameter that steps may move, where the loop knows that its other rows have
            gradients of 0 and are as pretrained: word embeddings of tokens that no training text has. Only while a
            stage trains. What is 0 for weights that don't move may leave the other rows out.
    """

    model: nn.Module
    layers: Mapping[str, Sequence[str]]
    heads: Mapping[str, Sequence[str]]
    tasks: Mapping[str, Task]
    training: Training
    seed: int
    untrained: Mapping[str, Tensor]
    state: dict[str, Any] = field(default_factory=dict)
    notes: dict[str, float] = field(default_factory=dict)
    in_use: dict[str, Tensor] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return next(self.model.parameters()).device

    def rows(self, task: Task, batch: Batch, weights: Mapping[str, Tensor] | None = None) -> Rows:
        """Runs the model on a batch: gradients flow unless they are switched off.

        Args:
            task: Whose question it is.
            batch: Of that task, on the model's device.
            weights: Name -> what to use in the place of this parameter; gradients flow into it instead.
        """
        (rows,) = self.answers([(task, batch)], weights)
        return rows

    def answers(
        self, questions: Sequence[tuple[Task, Batch]], weights: Mapping[str, Tensor] | None = None
    ) -> Sequence[Rows]:
        """The rows of several tasks' questions about the same texts, which the body reads once.

        Args:
            questions: Each a task and a batch of it, as `Task.unlabelled` makes them of one batch.
            weights: As for `rows`.
        """
        answers: Sequence[Rows] = (
            self.model(*questions) if weights is None else functional_call(self.model, dict(weights), tuple(questions))
        )
        return answers

    def body(self) -> dict[str, nn.Parameter]:
        """The body's parameters by name."""
        named = dict(self.model.named_parameters())
        return {name: named[name] for names in self.layers.values() for name in names}

    def trainable(self) -> dict[str, nn.Parameter]:
        """The parameters that train in this stage, by name: body and heads."""
        return {name: value for name, value in self.model.named_parameters() if value.requires_grad}

    def known_classes(self, task: Task) -> list[int] | None:
        """The classes that were open once a task had been learned, sorted: its own and those of tasks before it.

        Of a head that grows with the stream (class-incremental); None of one that always has all of its classes.
        """
        if task.own is None:
            return None
        known: set[int] = set()
        for other in self.tasks.values():
            if other.head == task.head:
                known |= set(other.own or ())
            if other.name == task.name:
                break
        return sorted(known)

    def state_bytes(self) -> int:
        """Bytes of all tensors in `state`, storage that several of them share counted once."""
        storages = {
            tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in _tensors(self.state)
        }
        return sum(storages.values())


@dataclass(frozen=True)
class Neutral:
    """Settings under which a strategy does the same, bit for bit, as another one.

    Attributes:
        settings: Of the strategy; all others have their defaults.
        equals: Name of the other.
        its_settings: Of the other.
    """

    settings: Mapping[str, Any]
    equals: str = "naive"
    its_settings: Mapping[str, Any] = field(default_factory=dict)


class Strategy:
    """A way to train on one task after another. Subclasses are frozen dataclasses; their fields are hyperparameters.

    Every method here does what plain sequential fine-tuning does: a method overrides the hooks that it needs.
    """

    name: ClassVar[str]
    """What it is called on the command line."""
    __pydantic_config__: ClassVar[dict[str, object]] = DECLARATION

    divisible: ClassVar[bool] = True
    """Whether the loss of a batch is that of its parts together, so that several processes, or several passes one after
    another, may share it. A strategy of which it is not true is refused there."""
    keeps_examples: ClassVar[bool] = False
    """Whether it keeps training examples of a stage for later ones. Records note it: strategies that may look back and
    those that may not are ranked apart."""
    neutral: ClassVar[Neutral | None] = None
    """Settings that switch it off, if there are any; `retain check` holds it to them."""

    def check(self, body: nn.Module, layers: Mapping[str, Sequence[str]], tasks: Sequence[Task]) -> None:
        """Refuses a backbone or tasks that it can't work on, before any training.

        Args:
            body: As pretrained, without heads.
            layers: Layer -> names of its parameters in the body, from the input up.
            tasks: Of the stream, in order.

        Raises:
            ValueError: it can't; the message says why, in one line.
        """

    def stages(self, tasks: Sequence[Task]) -> list[list[Task]]:
        """Which tasks are trained together, in order: one a stage here."""
        return [[task] for task in tasks]

    def fingerprint(self, stage: Stage) -> dict[str, object]:
        """What of this strategy acts while a stage trains, as plain values.

        Runs whose histories are equal and whose fingerprints are equal train the stage once and share the result. So
        it must hold all that can change a bit of the stage's outcome; the default, name, every setting
        and whether the stage is the last, does. Leave out what only acts elsewhere; an empty one means that the stage
        trains as plain fine-tuning does.
        """
        return {"strategy": self.name, "last": stage.last, "settings": dict(vars(self))}

    def fingerprint_after(self, stage: Stage) -> dict[str, object]:
        """The same for `after_stage`; an empty one means that nothing is done after this stage."""
        return {} if type(self).after_stage is Strategy.after_stage else self.fingerprint(stage)

    def fingerprint_prediction(self) -> dict[str, object]:
        """The same for `predicting`; an empty one means that tasks are predicted with the weights as they are.

        It holds from the end of the first stage on: the untrained model is measured as it is, for all strategies once.
        """
        plain = type(self).predicting is Strategy.predicting
        return {} if plain else {"strategy": self.name, "settings": dict(vars(self))}

    def before_stage(self, learner: Learner, stage: Stage) -> None:
        """May freeze weights, or add some. The body and the stage's heads are trainable, all other heads are not.

        A stage that was interrupted begins with it again, as it did the first time, and goes on from what was kept of
        weights and state.
        """

    def without_dropout(self, learner: Learner, stage: Stage) -> Collection[str]:
        """Names of those of the learner's layers that run as in evaluation while a stage trains: none here.

        Asked after `before_stage`. What leading layers make of a text never changes where none of their weights trains
        and they run without dropout: it is computed once then, not in every step.
        """
        return ()

    def optimizer(self, learner: Learner) -> torch.optim.Optimizer:
        """AdamW over the weights that train, with one learning rate for the body and one for heads."""
        body = learner.body().keys()
        trainable = learner.trainable()
        groups = [
            {"params": [value for name, value in trainable.items() if (name in body) == in_body], "lr": rate}
            for in_body, rate in (
                (True, learner.training.learning_rate),
                (False, learner.training.head_learning_rate),
            )
        ]
        return torch.optim.AdamW(
            [group for group in groups if group["params"]],
            weight_decay=learner.training.weight_decay,
            fused=True,
        )

    def loss(self, learner: Learner, task: Task, batch: Batch) -> Tensor:
        """The scalar to minimise: cross-entropy, averaged over the batch's rows."""
        rows = learner.rows(task, batch)
        return nn.functional.cross_entropy(rows.logits.float(), rows.targets)

    def before_step(self, learner: Learner) -> None:
        """May change the gradients: they are unscaled and not yet clipped; the weights have not moved."""

    def after_step(self, learner: Learner) -> None:
        """The weights have moved; the gradients are still there."""

    def after_training(self, learner: Learner, stage: Stage) -> None:
        """The last step was taken: may put in place the weights that stay. The model is in eval mode.

        What `before_stage` added to the model must go here: between stages it has the parameters that it came with.
        """

    def after_stage(self, learner: Learner, stage: Stage) -> None:
        """May learn something for later stages. The model is in eval mode; the stage is not yet evaluated.

        Runs that differ only in this share the training before it, so what can wait until here belongs here.
        """

    def predicting(self, learner: Learner, task: Task) -> AbstractContextManager[None]:
        """As long as it lasts, the model predicts this task: may put other weights in place, and those back after.

        Where the scenario hides which task a text is of (domain- and class-incremental streams), the task that is given
        here and to `Learner.rows` is the same for all: it has the head's name, and none of the learner's tasks is it.
        """
        return nullcontext()

    def penalty(self, learner: Learner) -> Tensor | None:
        """The formula whose gradient `before_step` adds, as a scalar to differentiate; None if it adds none.

        Training does without it: `retain check` compares the two.
        """
        return None


def snapshot(parameters: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A copy of the parameters, cut off from training."""
    return {name: value.detach().clone() for name, value in parameters.items()}


def refuse_without_own_heads(what: str, tasks: Sequence[Task]) -> None:
    """Refuses tasks whose output weights are all the body's, for what freezes the body.

    Args:
        what: Freezes it, in words.
        tasks: Of the stream.

    Raises:
        ValueError: there is one; nothing of it would train.
    """
    for task in tasks:
        if not task.own_head:
            raise ValueError(
                f"{what}, but the output weights of task {task.name} are the backbone's: nothing would train"
            )


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _tensors(inner)
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from _tensors(inner)
