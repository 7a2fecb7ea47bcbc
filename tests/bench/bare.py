"""The loop that somebody writes who needs nothing else, on the batches that ours trains on.

The same weights in the same steps: pooling, a linear head, AdamW in one operation, clipped gradients, a rate that
rises and falls. It has our setting of the allocator, and no deterministic algorithms, so it is held back by nothing.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from benchmark.backbone import Model, pool
from benchmark.batching import training_plan
from benchmark.loop import rate_factor
from benchmark.seeding import generator
from benchmark.worker import new_learner
from tests.bench.job import Contender, Job
from tests.bench.material import as_for_others, timed


def training(job: Job) -> Contender:
    """One epoch."""
    study = as_for_others(job)
    (task,) = study.tasks
    learner = new_learner(study, 0)
    settings, model = learner.training, learner.model
    assert isinstance(model, Model)
    body, head = model.body, model.heads[task.head]
    ids = [torch.tensor(row) for row in task.train.features["input_ids"]]
    labels = torch.tensor(task.train.features["labels"][:])
    (padding,) = [value for name, value in task.pad.items() if name == "input_ids"]

    def epoch() -> None:
        plan = training_plan([task], settings.batch_size, settings.epochs, generator("order", 0, [task.name]))
        weights = list(model.parameters())
        groups = [{"params": list(body.parameters()), "lr": settings.learning_rate}]
        groups += [{"params": list(head.parameters()), "lr": settings.head_learning_rate}]
        optimizer = torch.optim.AdamW(groups, weight_decay=settings.weight_decay, fused=True)
        peaks = [group["lr"] for group in optimizer.param_groups]
        losses: list[Tensor] = []
        model.train()
        for number, (_, indices) in enumerate(plan):
            for group, peak in zip(optimizer.param_groups, peaks, strict=True):
                group["lr"] = peak * rate_factor(number, len(plan), settings.warmup)
            texts = [ids[place] for place in indices]
            lengths = torch.tensor([len(text) for text in texts])
            given = pad_sequence(texts, batch_first=True, padding_value=padding)
            present = (torch.arange(given.shape[1]) < lengths[:, None]).long()
            if job.device == "cuda":  # from pinned memory, so that nobody waits
                given, present, wanted = (
                    one.pin_memory().to(study.device, non_blocking=True) for one in (given, present, labels[indices])
                )
            else:
                wanted = labels[indices]
            with torch.autocast(job.device, torch.bfloat16, enabled=job.precision == "bf16"):
                hidden = body(input_ids=given, attention_mask=present).last_hidden_state
                loss = nn.functional.cross_entropy(head(pool(hidden, present, model.pooling)), wanted)
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(weights, settings.max_grad_norm)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(loss.detach())
        torch.stack(losses).tolist()

    return timed(job, epoch)
