"""What the importance of weights costs: several examples at once, one by one, and mapped over by torch.

    python -m tests.benchmarks.importance [--task NAME] [--examples N] [--repeats N] [--ways WAY ...]

On the pretrained backbone of the suite quickstart, with labels drawn from the model. Each way takes its turn, as often
as there are repeats; printed are the medians of processor seconds with one thread, how they compare with the first
way's, the largest relative error of a tensor of importances against the first way (of tensors whose gradients are 0 but
for rounding, relative to the others), and by how much the most memory ever held grew when the way ran first: to be
compared, each has to run alone (``--ways``).
"""

from __future__ import annotations

import argparse
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from benchmark.console import say
from benchmark.loop import make_stage, select_trainable
from benchmark.study import open_study
from benchmark.suite import Overrides, load_suite
from benchmark.worker import new_learner
from strategies.base import Example, Learner, Stage, Task
from strategies.importance import stage_fisher
from tasks.base import IGNORED, Batch, Rows
from tests.single_examples import drawn, fisher_of_singles

Importance = Mapping[str, Tensor]
VMAP_BATCH = 4
"""Examples whose gradients lie in memory at once, all weights of each."""
FLOOR = 1e-4
"""Of the largest importance of a tensor: an error is judged by no less."""


def several(learner: Learner, stage: Stage, examples: int) -> Importance:
    """As strategies measure it."""
    return next(stage_fisher(learner, stage, examples, "sampled"))


def single(learner: Learner, stage: Stage, examples: int) -> Importance:
    """One forward and one backward pass an example."""
    task = stage.tasks[0]
    batches = stage.examples(task, examples, 1)
    return fisher_of_singles(partial(learner.rows, task), batches, learner.trainable(), "sampled", learner.seed)


@dataclass(frozen=True)
class Everywhere:
    """In the place of a task: asks at every token, as which of them have labels can't be mapped over."""

    head: str

    def rows(self, hidden: Tensor, pooled: Tensor, head: nn.Module, batch: Batch) -> Rows:
        """(C,) logits of one text, or (L, C) of its tokens."""
        logits: Tensor = head(hidden if batch.labels.dim() else pooled)[0]
        return Rows(logits, batch.labels, batch.index)


def mapped(learner: Learner, stage: Stage, examples: int) -> Importance:
    """``torch.func``, over texts of one length: models look into the padding mask, which can't be mapped over."""
    task = stage.tasks[0]
    weights = {name: value.detach() for name, value in learner.trainable().items()}
    total = {name: torch.zeros_like(value) for name, value in weights.items()}
    alone = [part for batch in stage.examples(task, examples, 64) for part in task.take_apart(batch)]
    by_length: dict[int, list[Example]] = {}
    for part in alone:
        by_length.setdefault(len(part["input_ids"]), []).append(part)
    for group in by_length.values():
        for start in range(0, len(group), VMAP_BATCH):
            batch = task.put_together(group[start : start + VMAP_BATCH])
            assert isinstance(batch, Batch)
            for name, gradients in _mapped_gradients(learner, task, weights, batch).items():
                total[name] += gradients.square().sum(dim=0)
    return {name: value / len(alone) for name, value in total.items()}


def _mapped_gradients(learner: Learner, task: Task, weights: dict[str, Tensor], batch: Batch) -> dict[str, Tensor]:
    with torch.no_grad():
        rows = learner.rows(task, batch)
        log_p = rows.logits.log_softmax(dim=1)
        places = enumerate(batch.index.tolist())
        chosen = torch.cat([drawn(log_p[rows.owner == place], index, learner.seed) for place, index in places])
    labels = batch.labels.masked_scatter(batch.labels != IGNORED, chosen)
    mapped_over = {name: value for name, value in batch.inputs.items() if name != "attention_mask"}
    mask = {"attention_mask": batch.inputs["attention_mask"][:1]}

    def log_likelihood(values: dict[str, Tensor], inputs: dict[str, Tensor], labels: Tensor) -> Tensor:
        one = Batch({name: value[None] for name, value in inputs.items()} | mask, labels, None, batch.index[:1])
        (rows,) = functional_call(learner.model, values, ((Everywhere(task.head), one),))
        log_p = rows.logits.log_softmax(dim=-1)
        of_tokens: Tensor = log_p.gather(-1, labels.clamp(min=0)[..., None])[..., 0]
        return (of_tokens * (labels != IGNORED)).sum()

    found: dict[str, Tensor] = vmap(grad(log_likelihood), in_dims=(None, 0, 0))(weights, mapped_over, labels)
    return found


WAYS: dict[str, Callable[[Learner, Stage, int], Importance]] = {
    "singles": single,
    "several": several,
    "vmap": mapped,
}


def learner_and_stage(task: str) -> tuple[Learner, Stage]:
    """The untrained learner of the suite quickstart, and a stage of one of its tasks."""
    study = open_study(load_suite("quickstart", Overrides(["naive"])), "cpu", say, threads=1)
    learner = new_learner(study, study.suite.cells[0].seed)
    chosen = study.task(task)
    select_trainable(learner, {chosen.head})
    learner.model.eval()
    return learner, make_stage(learner.seed, 0, 2, [chosen], study.suite.training, study.device)


def worst(found: Importance, expected: Importance) -> float:
    """The largest relative error of a tensor."""
    largest = max(float(value.norm()) for value in expected.values())
    return max(
        float((found[name] - value).norm() / (value.norm() + FLOOR * largest)) for name, value in expected.items()
    )


def main() -> None:
    """Prints a line for each way."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--task", default="rotten_tomatoes")
    parser.add_argument("--examples", type=int, default=512)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    options = parser.parse_args()
    learner, stage = learner_and_stage(options.task)
    seconds: dict[str, list[float]] = {name: [] for name in options.ways}
    errors, grew = dict.fromkeys(options.ways, 0.0), dict.fromkeys(options.ways, 0.0)
    for repeat in range(options.repeats):
        expected: Importance = {}
        for name in options.ways:
            before, since = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
            found = WAYS[name](learner, stage, options.examples)
            seconds[name].append(time.process_time() - since)
            if repeat == 0:
                grew[name] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
            expected = expected or found
            errors[name] = max(errors[name], worst(found, expected))
    first = statistics.median(seconds[options.ways[0]])
    for name, taken in seconds.items():
        median = statistics.median(taken)
        sys.stdout.write(
            f"{name:8} {median:7.2f} s  {first / median:5.2f} times as fast  error {errors[name]:.1e}  "
            f"{grew[name]:.0f} MiB more at the peak\n"
        )


if __name__ == "__main__":
    main()
