"""The Trainer of transformers with its defaults, but for the batch size and the rate; it saves and tells nothing."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn
from transformers import Trainer, TrainingArguments

from benchmark.backbone import Model
from benchmark.study import Study
from benchmark.worker import new_learner
from tasks.base import Batch, Task
from tests.bench.job import RATE, Contender, Job, spent
from tests.bench.material import as_for_others, finish, timed


class Wrapped(nn.Module):
    """Our own body and head with the interface that the Trainer expects, so that both train the same model."""

    def __init__(self, model: Model, task: Task) -> None:
        super().__init__()
        self.model = model
        self.task = task

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
        labels: Tensor | None = None,
    ) -> dict[str, Tensor]:
        inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
        if token_type_ids is not None:
            inputs["token_type_ids"] = token_type_ids
        targets = input_ids.new_zeros(len(input_ids)) if labels is None else labels
        places = torch.arange(len(input_ids), device=input_ids.device)
        (rows,) = self.model((self.task, Batch(inputs, targets, None, places)))
        return {"loss": nn.functional.cross_entropy(rows.logits, rows.targets), "logits": rows.logits}


def wrapped(study: Study) -> Wrapped:
    """The model of a fresh learner."""
    model = new_learner(study, 0).model
    assert isinstance(model, Model)
    return Wrapped(model, study.tasks[0])


def training(job: Job, **arguments: Any) -> Contender:
    """One epoch, examples in random order: batches are padded to their longest text, as by default."""
    study = as_for_others(job)
    (task,) = study.tasks
    model = wrapped(study)

    def round() -> dict[str, float]:
        mixed = job.precision == "bf16"
        trainer = _trainer(job, study, model, train_dataset=task.train.features, bf16=mixed, **arguments)
        return spent(trainer.train, lambda: finish(job))

    return Contender(round)


def training_by_length(job: Job) -> Contender:
    """The same with texts of similar length together: what was ``group_by_length`` before transformers 5."""
    return training(job, train_sampling_strategy="group_by_length")


def prediction(job: Job) -> Contender:
    """The test split once."""
    study = as_for_others(job)
    (task,) = study.tasks
    trainer = _trainer(job, study, wrapped(study))  # in 32 bits, as ours: mixed precision is of training
    return timed(job, lambda: trainer.predict(task.test.features))


def _trainer(job: Job, study: Study, model: nn.Module, train_dataset: Any = None, **arguments: Any) -> Any:
    settings = TrainingArguments(
        output_dir=job.folder,
        per_device_train_batch_size=job.batch,
        num_train_epochs=1,
        learning_rate=RATE,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=job.device == "cpu",
        **arguments,
    )
    tokenizer = copy.deepcopy(study.backbone.tokenizer)
    return Trainer(model, settings, train_dataset=train_dataset, processing_class=tokenizer)
