"""All checks, and what each says of a strategy."""

from __future__ import annotations

import contextlib
import functools
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from typing import Any

import torch

from benchmark.conformance import closer, conduct, declared, edges, kept, looking_back, sharing
from benchmark.conformance.bench import Bench
from benchmark.conformance.core import PROBLEMS, Check, NotApplicable, Verdict, Violation
from benchmark.conformance.points import points
from benchmark.conformance.problem import Problem
from strategies.base import Strategy

CHECKS: tuple[Check, ...] = (
    declared.settings_are_held_to_their_bounds,
    declared.settings_are_documented,
    declared.only_settings_are_stored,
    declared.every_task_has_its_stage,
    declared.fingerprints_are_plain,
    conduct.neutral_changes_nothing,
    conduct.defaults_have_an_effect,
    conduct.runs_repeat,
    conduct.runs_do_not_mix,
    conduct.attributes_stay,
    kept.resumes_within_a_stage,
    kept.resumes_between_stages,
    kept.state_survives_the_disk,
    kept.memory_is_billed,
    kept.memory_does_not_grow_with_steps,
    kept.nothing_is_kept_for_nobody,
    kept.state_is_cut_off,
    conduct.batches_are_the_loops,
    conduct.dropout_is_the_loops,
    conduct.unseen_heads_keep_their_bits,
    conduct.unused_heads_keep_their_bits,
    conduct.frozen_weights_keep_their_bits,
    conduct.untrained_weights_stay,
    conduct.structure_is_restored,
    conduct.prediction_puts_weights_back,
    conduct.parts_of_a_batch_add_up,
    conduct.numbers_are_finite,
    conduct.bf16_is_finite,
    conduct.fp16_is_finite,
    looking_back.importance_is_valid,
    looking_back.batching_does_not_matter,
    looking_back.looks_back_without_dropout,
    looking_back.penalty_is_its_gradient,
    looking_back.learns_from_the_task_alone,
    closer.new_heads_are_free,
    closer.memory_lies_in_tensors,
    closer.only_a_stages_data_is_read,
    closer.teachers_have_no_dropout,
    closer.order_within_a_batch_does_not_matter,
    closer.nothing_is_left_on_the_model,
    sharing.plain_stages_are_naive,
    sharing.equal_fingerprints_equal_bits,
    edges.survives_single_examples,
    edges.survives_few_examples,
    edges.survives_one_class,
    edges.survives_examples_without_rows,
    edges.survives_a_shared_head,
    edges.survives_a_growing_head,
)
"""Every rule, in the order of the table: what is said, what is done in runs, what is kept, what is learned, edges."""


@functools.cache
def problem(name: str) -> Problem:
    """A problem by its name; made once a process."""
    if name == "points":
        return points()
    from benchmark.conformance.texts import texts

    return texts()


def fitted(strategy: Strategy, whole: Problem) -> Problem:
    """The problem without the kinds of task that the strategy refuses; with no task at all if it refuses the model."""
    reason = refusal(strategy, whole)
    if not reason:
        return whole
    refused = {
        kind: why
        for kind in dict.fromkeys(whole.kinds.values())
        if (why := refusal(strategy, whole.keeping(lambda task, kind=kind: whole.kinds[task.name] == kind)))  # type: ignore[misc]
    }
    rest = whole.keeping(lambda task: whole.kinds[task.name] not in refused)
    if not refused or not rest.tasks or refusal(strategy, rest):
        return whole.keeping(lambda _: False, f"refuses {whole.name}: {reason}")
    told = "; ".join(f"refuses {kind}: {why}" for kind, why in refused.items())
    return whole.keeping(lambda task: whole.kinds[task.name] not in refused, told)


def refusal(strategy: Strategy, asked: Problem) -> str:
    """Why the strategy can't work on a problem, in one line; empty if it can."""
    body, layers = asked.body()
    try:
        strategy.check(body, layers, asked.tasks)
    except ValueError as error:
        return " ".join(str(error).split())
    except Exception as error:  # it should be able to say no to any model
        return f"its check() raises {type(error).__name__}: {' '.join(str(error).split())}"
    return ""


def examine(
    strategy: Strategy, problems: Sequence[str] = PROBLEMS, checks: Collection[str] | None = None
) -> list[Verdict]:
    """What the checks say of a strategy with these settings.

    Args:
        strategy: To be checked.
        problems: Names of `PROBLEMS`.
        checks: Names of the checks to make; None for all.

    Returns:
        One verdict for every check and problem, in the order of `CHECKS`. Who refuses all problems fails.
    """
    chosen = [check for check in CHECKS if checks is None or check.name in checks]
    with one_thread():
        benches = {name: Bench(strategy, fitted(strategy, problem(name))) for name in problems}
        told = [judge(check, benches[name], name) for check in chosen for name in problems if name in check.problems]
    if any(fitted(strategy, problem(name)).tasks for name in dict.fromkeys((*problems, *PROBLEMS))):
        return told
    return [
        replace(
            verdict, outcome="failed", message=f"can't be tried on any of {len(PROBLEMS)} problems: {verdict.message}"
        )
        if verdict.message == benches[verdict.problem].problem.refused
        else verdict
        for verdict in told
    ]


def judge(check: Check, bench: Bench, name: str) -> Verdict:
    """What one check says."""
    if not bench.problem.tasks and not check.trains:
        bench = Bench(bench.strategy, problem(name))
    if not bench.problem.tasks:
        return Verdict(check.name, name, "not applicable", bench.problem.refused)
    try:
        check.body(bench)
    except Violation as violation:
        return Verdict(check.name, name, "failed", str(violation))
    except NotApplicable as reason:
        return Verdict(check.name, name, "not applicable", str(reason))
    except Exception as error:  # whatever a strategy raises is a rule that it breaks, and ends no other check
        message = " ".join(str(error).split())
        return Verdict(check.name, name, "failed", f"{type(error).__name__}: {message}")
    return Verdict(check.name, name, "passed")


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Small tensors are faster with one; the global generators are as before afterwards."""
    threads, state = torch.get_num_threads(), torch.get_rng_state()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.set_rng_state(state)


def conformance_checks(
    *strategies: Strategy, problems: Sequence[str] = PROBLEMS
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Parametrises a test over all checks of some strategies: the test takes ``check`` and calls it.

    A call raises `Violation` where the rule is broken, and skips the test where the rule says nothing.

    Args:
        strategies: With the settings to check them with.
        problems: Names of `PROBLEMS`.
    """
    import pytest

    return pytest.mark.parametrize("check", conformance_cases(strategies, problems))


def conformance_cases(strategies: Sequence[Strategy], problems: Sequence[str]) -> list[Any]:
    """One pytest parameter for every strategy, check and problem: a function that makes the check."""
    import pytest

    benches: dict[tuple[int, str], Bench] = {}

    def case(number: int, check: Check, name: str) -> Callable[[], None]:
        def make() -> None:
            with one_thread():
                if (number, name) not in benches:
                    benches[number, name] = Bench(strategies[number], fitted(strategies[number], problem(name)))
                verdict = judge(check, benches[number, name], name)
            if verdict.outcome == "failed":
                raise Violation(f"{check.name}: {verdict.message}")
            if verdict.outcome == "not applicable":
                pytest.skip(verdict.message)

        return make

    named = Counter(strategy.name for strategy in strategies)
    labels = [
        f"{strategy.name}{number + 1}" if named[strategy.name] > 1 else strategy.name
        for number, strategy in enumerate(strategies)
    ]
    return [
        pytest.param(case(number, check, name), id=f"{labels[number]}-{name}-{check.name}")
        for number in range(len(strategies))
        for check in CHECKS
        for name in problems
        if name in check.problems
    ]
