"""How a strategy behaves in a run: what it must change, and what it must leave alone."""

from __future__ import annotations

import math
from collections import Counter

import torch
from torch import Tensor

from benchmark.batching import training_plan
from benchmark.conformance.bench import (
    Bench,
    after_stages,
    distance,
    flat,
    require_same,
    require_same_points,
    tensors,
    where,
)
from benchmark.conformance.core import NotApplicable, Violation, rule
from benchmark.conformance.runs import Pass, Trace, groups_of, rebuilt
from benchmark.seeding import generator
from strategies.base import Learner, Strategy

CUT = 0.02
"""Share of the way that weights moved by which rounding may turn them."""
ROUNDING = 1e-6
"""Relative distance of weights below which a difference is none."""


@rule("zero-weight terms that still turn the last bits, or a strength of 0 that does not switch everything off")
def neutral_changes_nothing(bench: Bench) -> None:
    """With its neutral settings it equals naive, or what it says, bit for bit."""
    found, expected = after_stages(bench.off), after_stages(bench.known(bench.equal))
    if len(found) != len(expected):
        raise Violation(f"neutral: {len(found)} stages instead of the {len(expected)} of {bench.equal.name}")
    for one, other in zip(found, expected, strict=True):
        require_same(one.weights, other.weights, f"neutral and {bench.equal.name} after stage {one.stage + 1}: weights")


@rule("a penalty that never reaches the gradients: SI identical to naive (avalanche#734)")
def defaults_have_an_effect(bench: Bench) -> None:
    """With its default settings it trains other weights than switched off, by more than rounding."""
    if _is_plain(bench):
        raise NotApplicable("it is plain fine-tuning")
    switched_off = bench.naive if type(bench.strategy).neutral is None else bench.off
    weights, others = bench.base.weights, switched_off.weights
    moved = distance(others, bench.base.start)
    far = distance(weights, others) / moved if moved > 0 else distance(weights, others)
    if far < ROUNDING and not bench.strategy.fingerprint_prediction():
        raise Violation(f"its weights at the end are {far:.2g} of the way they moved from those when switched off")


def _is_plain(bench: Bench) -> bool:
    plain = bench.strategy.fingerprint_prediction() == {} and bench.stages_alone
    overridden = [
        hook
        for hook in ("before_stage", "optimizer", "loss", "before_step", "after_step", "after_training", "after_stage")
        if getattr(type(bench.strategy), hook) is not getattr(Strategy, hook)
    ]
    return plain and not overridden


@rule("draws from the global generator or from hash(): no run can be repeated")
def runs_repeat(bench: Bench) -> None:
    """The same run twice gives the same bits, whatever the process drew before."""
    require_same_points(bench.run(noise=777), bench.base, "run again with other global seeds")


@rule("state in module globals or class attributes, shared by every run of a process")
def runs_do_not_mix(bench: Bench) -> None:
    """Another run of the same strategy inside this one changes nothing of it."""

    def meanwhile() -> None:
        bench.run(seed=1, stages=2)

    require_same_points(bench.run(meanwhile=meanwhile), bench.base, "with another run within every stage")


@rule("state in attributes: lost when a run is resumed, mixed up when it is shared")
def attributes_stay(bench: Bench) -> None:
    """A run changes no attribute of the strategy or of its class, and adds none."""
    fresh = rebuilt(bench.strategy)
    before = dict(vars(fresh)), _class_attributes(fresh)
    bench.run(fresh, stages=2)
    for what, old, new in (
        ("attributes", before[0], dict(vars(fresh))),
        ("class attributes", before[1], _class_attributes(fresh)),
    ):
        changed = sorted(name for name in {*old, *new} if name not in old or name not in new or old[name] != new[name])
        if changed:
            raise Violation(f"{len(changed)} of its {what} were changed by a run: {', '.join(changed)}")


def _class_attributes(strategy: Strategy) -> dict[str, object]:
    found: dict[str, object] = {}
    for cls in type(strategy).__mro__:
        plain = {name: value for name, value in vars(cls).items() if isinstance(value, (dict, list, set, int, float))}
        found |= {f"{cls.__name__}.{name}": repr(value) for name, value in plain.items() if not name.startswith("__")}
    return found


@rule("an own order of examples: what was stored by step meets other examples (TRACE)")
def batches_are_the_loops(bench: Bench) -> None:
    """In every step the model is trained on the very batch that the loop gives."""
    own = _own_passes(bench)
    for (stage, step), (task, indices, found) in own.items():
        if found is None:
            read = [p for p in bench.base.passes if (p.stage, p.step) == (stage, step)]
            seen = f"{read[0].task} {list(read[0].indices)}" if read else "nothing"
            raise Violation(
                f"stage {stage + 1}, step {step + 1}: the loop gave {task} {indices}, but the model read {seen} in "
                f"{len(read)} passes"
            )


def _own_passes(bench: Bench) -> dict[tuple[int, int], tuple[str, list[int], Pass | None]]:
    """For every step its batch, and the first training pass on it."""
    settings, told = bench.problem.training, {}
    for stage, tasks in enumerate(groups_of(bench.problem, bench.strategy)):
        order = generator("order", 0, [task.name for task in tasks])
        for step, (task, indices) in enumerate(training_plan(tasks, settings.batch_size, settings.epochs, order)):
            told[stage, step] = (task.name, indices)
    passes: dict[tuple[int, int], Pass] = {}
    for made in bench.base.passes:
        key = (made.stage, made.step)
        if key in told and made.training and (made.task, list(made.indices)) == told[key]:
            passes.setdefault(key, made)
    return {key: (task, indices, passes.get(key)) for key, (task, indices) in told.items()}


@rule("draws before the task's own pass shift its dropout masks, so that runs no longer pair by seed")
def dropout_is_the_loops(bench: Bench) -> None:
    """The pass on the task's own batch draws the dropout masks that it draws in naive."""
    if not bench.stages_alone:
        raise NotApplicable("its stages are not those of naive")
    plain = {(made.stage, made.step): made.random for made in bench.naive.passes if made.stage >= 0}
    own = {key: found for key, (_, _, found) in _own_passes(bench).items() if found is not None}
    shifted = [key for key, found in own.items() if found.random != plain[key]]
    if shifted:
        stage, step = shifted[0]
        raise Violation(
            f"other masks in {len(shifted)} of {len(own)} steps, first in stage {stage + 1}, step {step + 1}"
        )


@rule("heads anchored or decayed with the body: tasks that nobody has trained change")
def unseen_heads_keep_their_bits(bench: Bench) -> None:
    """Heads of tasks that were not trained yet keep their bits."""
    heads = {task.name: task.head for task in bench.problem.tasks}
    trained: set[str] = set()
    for point in bench.base.points:
        trained |= {heads[name] for name in point.names}
        unseen = [name for head, names in bench.problem.heads.items() if head not in trained for name in names]
        now, before = ({name: w[name] for name in unseen if name in w} for w in (point.weights, bench.base.start))
        require_same(now, before, f"{where(point)}: heads of later tasks")


@rule("zero instead of no gradient: AdamW decays and drifts old heads that the batch does not use")
def unused_heads_keep_their_bits(bench: Bench) -> None:
    """A head that no pass of a step uses does not move in it, weight decay or not."""
    from dataclasses import replace

    decaying = replace(bench.problem, training=replace(bench.problem.training, weight_decay=0.1))
    trace = bench.run(problem=decaying, record=True)
    used: dict[tuple[int, int], set[str]] = {}
    for made in trace.passes:
        used.setdefault((made.stage, made.step), set()).add(made.head)
    for stage, step, before, after, _ in trace.steps:
        idle = [head for head in bench.problem.heads if head not in used.get((stage, step), set())]
        names = [name for head in idle for name in bench.problem.heads[head] if name in before and name in after]
        now, then = ({name: weights[name] for name in names} for weights in (after, before))
        require_same(now, then, f"stage {stage + 1}, step {step + 1}: heads that the step did not use")


@rule("frozen weights that weight decay, a penalty or a forgotten parameter group still moves")
def frozen_weights_keep_their_bits(bench: Bench) -> None:
    """Weights that take no gradient in a step keep their bits in it."""
    frozen: dict[tuple[int, int], frozenset[str]] = {}
    for made in bench.base.passes:
        if made.training:
            key = (made.stage, made.step)
            frozen[key] = frozen.get(key, made.frozen) & made.frozen
    for stage, step, before, after, _ in bench.base.steps:
        names = [name for name in frozen.get((stage, step), ()) if name in before and name in after]
        now, then = ({name: weights[name] for name in names} for weights in (after, before))
        require_same(now, then, f"stage {stage + 1}, step {step + 1}: frozen weights")


@rule("the weights to start again from are trained along, so that the anchor follows")
def untrained_weights_stay(bench: Bench) -> None:
    """What `learner.untrained` holds is as it was before the first stage."""
    require_same(dict(bench.base.learner.untrained), bench.base.start, "learner.untrained")


@rule("an adapter or a copy left in the model: later stages train it, and others can't read the weights")
def structure_is_restored(bench: Bench) -> None:
    """After every stage the model has the parameters, layers and heads that it came with, in eval mode."""
    learner = bench.problem.learner(0)
    start = bench.base.start
    shapes = [(name, tuple(value.shape)) for name, value in start.items()]
    groups = ({**learner.layers}, {**learner.heads})
    for point in bench.base.points:
        odd = Counter(point.shapes) - Counter(shapes), Counter(shapes) - Counter(point.shapes)
        more, fewer = (sorted(name for name, _ in found) for found in odd)
        if more or fewer:
            raise Violation(
                f"{where(point)}: {len(more)} tensors too many, {len(fewer)} missing, such as {(more or fewer)[0]}"
            )
        if point.groups != groups:
            raise Violation(f"{where(point)}: the {len(groups[0])} layers or {len(groups[1])} heads have other names")
        if not point.eval:
            raise Violation(f"{where(point)}: the model is left in training mode, with 1 module of it or more")


@rule("a model a task: the weights of one answer are left in place and trained on", "points", "texts")
def prediction_puts_weights_back(bench: Bench) -> None:
    """Predicting leaves weights and state as they were, even if it fails."""
    from benchmark.checkpoints import tensors_of
    from benchmark.conformance.bench import copied_learner
    from benchmark.conformance.runs import Alone
    from benchmark.loop import evaluate

    learner = copied_learner(bench.base.learner)
    before, remembered = {n: v.detach().clone() for n, v in tensors_of(learner.model).items()}, flat(learner.state)
    remembered = {n: v.clone() if isinstance(v, Tensor) else v for n, v in remembered.items()}
    for task in bench.problem.tasks:
        for name, score in evaluate(learner, bench.strategy, task, Alone()).items():
            if not math.isfinite(score):
                raise Violation(f"predicting {task.name}: {name} is {score}")
        try:
            with bench.strategy.predicting(learner, task):
                raise _Broken
        except _Broken:
            pass
        require_same(dict(tensors_of(learner.model)), before, f"after predicting {task.name}: weights")
        require_same(flat(learner.state), remembered, f"after predicting {task.name}: state")


class _Broken(Exception):
    """Something goes wrong while a task is predicted."""


@rule("counters that advance with every call of loss, so that accumulation changes the method")
def parts_of_a_batch_add_up(bench: Bench) -> None:
    """Cutting every batch into two parts changes the weights by rounding only, without dropout."""
    if not bench.strategy.divisible:
        raise NotApplicable("it says that it needs whole batches")
    chosen = _damped(bench.strategy)
    whole = bench.run(chosen, dropout=False, accumulation=1, stages=2)
    parts = bench.run(chosen, dropout=False, accumulation=2, stages=2)
    moved = distance(whole.weights, bench.base.start)
    far = distance(parts.weights, whole.weights) / moved if moved > 0 else distance(parts.weights, whole.weights)
    if far > CUT:
        raise Violation(f"in two parts the weights end {far:.3g} of the way they moved from those of whole batches")
    steps = [_plain_numbers(run.points[-1].state) for run in (whole, parts)]
    require_same(steps[1], steps[0], "in two parts: counters")


def _damped(strategy: Strategy) -> Strategy:
    """The same with an optimizer that takes no steps of full length along gradients that are rounding."""
    cls = type(strategy)

    def optimizer(self: Strategy, learner: Learner) -> torch.optim.Optimizer:
        made = cls.optimizer(self, learner)
        for group in made.param_groups:
            if "eps" in group:
                group["eps"] = 1e-3
        return made

    twin: Strategy = object.__new__(type(cls.__name__, (cls,), {"optimizer": optimizer, "__module__": cls.__module__}))
    vars(twin).update(vars(strategy))
    return twin


def _plain_numbers(state: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in flat(state).items() if isinstance(value, int)}


@rule("a value that is not a number spreads through weights and records unnoticed")
def numbers_are_finite(bench: Bench) -> None:
    """Weights, state and notes are finite numbers after every step, and so is the penalty."""
    for point in bench.base.points:
        require_finite({**point.weights, **tensors(point.state)}, where(point))
        for name, value in point.notes.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
                raise Violation(f"{where(point)}: note {name} is {value!r}, no finite number")
    if len(groups_of(bench.problem, bench.strategy)) > 1:
        learner, strategy, _ = bench.at_second_stage()  # a penalty is only asked for while a stage trains
        penalty = strategy.penalty(learner)
        if penalty is not None and not math.isfinite(value := penalty.item()):
            raise Violation(f"at the beginning of stage 2 its penalty is {value}")


def require_finite(found: dict[str, Tensor], place: str) -> None:
    """No value is infinite or not a number.

    Raises:
        Violation: one is.
    """
    for name, value in found.items():
        wrong = int((~value.isfinite()).sum())
        if wrong:
            raise Violation(f"{place}: {wrong} of {value.numel()} values of {name} are not finite")


@rule("losses in 16 bits: overflow, or shut places of spans that become open")
def bf16_is_finite(bench: Bench) -> None:
    """In mixed precision every weight and all state stays finite."""
    _require_finite_run(bench.run(half=torch.bfloat16), "bf16")


@rule("losses in fp16, whose largest number is 65,504: squares, sums over rows and masks overflow")
def fp16_is_finite(bench: Bench) -> None:
    """In fp16, without a scaler of the loss, every loss, every weight and all state stays finite.

    A gradient that is not finite ends the run: the loop raises `Diverged`.
    """
    _require_finite_run(bench.run(half=torch.float16), "fp16")


def _require_finite_run(trace: Trace, precision: str) -> None:
    for point in trace.points:
        losses = {"the losses": torch.tensor(point.losses)}
        require_finite({**losses, **point.weights, **tensors(point.state)}, f"{precision}, {where(point)}")
