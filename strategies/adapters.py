"""Low-rank adapters beside the body's matrices, put in before a stage and merged away after it, through peft.

A matrix W becomes ``W + alpha / rank * B A`` (Hu et al. 2021, arXiv:2106.09685) while a stage trains: only A
(rank, inputs) and B (outputs, rank) move. Attaching changes names, ``x.weight`` to ``x.base_layer.weight``, and
`learner.layers` with them; merging puts both back, so that between stages the model has the parameters that it came
with.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from strategies.base import Learner, Stage

Target = Literal["attention", "all-linear"]

ATTENTION = frozenset(
    ("query", "query_proj", "q_proj", "q_lin", "q")
    + ("value", "value_proj", "v_proj", "v_lin", "v")
    + ("query_key_value", "qkv_proj", "in_proj", "c_attn", "Wqkv")
)
"""What families of transformers call their query and value matrices, and those that hold them together with the key."""

ADAPTER = "default"
"""What peft calls the adapter."""


def matrices(model: nn.Module, parameters: Iterable[str], target: Target) -> dict[str, nn.Module]:
    """The linear maps to adapt, by name: those whose weights are among the named parameters.

    Plain `nn.Linear` and GPT-2's Conv1D. Subclasses are left alone: their owners may read the weights past `forward`.

    Args:
        model: That the names are of.
        parameters: Names of the body's parameters, so that no head is adapted.
        target: ``attention`` for those that `ATTENTION` names, ``all-linear`` for all.
    """
    owned = set(parameters)
    return {
        name: module
        for name, module in model.named_modules()
        if (type(module) is nn.Linear or _is_transposed(module))
        and f"{name}.weight".lstrip(".") in owned
        and (target == "all-linear" or name.rpartition(".")[2] in ATTENTION)
    }


def refuse_without_matrices(
    strategy: str, body: nn.Module, layers: Mapping[str, Sequence[str]], target: Target
) -> None:
    """Refuses a body that has nothing to adapt.

    Raises:
        ValueError: it hasn't.
    """
    if not matrices(body, _names(layers), target):
        also = "; all-linear may find others" if target == "attention" else ""
        raise ValueError(f"{strategy}.target is {target}, but the backbone has no such matrices{also}")


def attach(learner: Learner, stage: Stage, rank: int, alpha: float, dropout: float, target: Target) -> None:
    """Freezes the body and puts a fresh adapter beside each matrix; heads train as they did.

    B is zero, so nothing changes yet; A is uniform in ``+-1 / sqrt(inputs)``, which is how the authors' code and peft
    draw it (the paper says Gaussian), decided by the run's seed, the stage's tasks and the matrix's name. With
    ``alpha = 0`` an adapter would never do anything, so none is put in.
    """
    heads = learner.trainable().keys() - learner.body().keys()
    for parameter in learner.body().values():
        parameter.requires_grad_(False)
    if alpha == 0:
        return
    chosen = matrices(learner.model, learner.body(), target)
    _inject(learner.model, chosen, rank, alpha, dropout)
    learner.layers = {
        layer: [new for name in names for new in _while_attached(name, chosen)]
        for layer, names in learner.layers.items()
    }
    for name, parameter in learner.model.named_parameters():  # peft switched the heads off
        if name in heads:
            parameter.requires_grad_(True)
    tasks = [task.name for task in stage.tasks]
    for name, (a, b) in factors(learner).items():
        with torch.no_grad():
            a.copy_(_fresh(a.shape, f"adapter {learner.seed} {tasks} {name}"))
            b.zero_()


def factors(learner: Learner) -> dict[str, tuple[nn.Parameter, nn.Parameter]]:
    """A and B of every matrix that has an adapter now, by the matrix's name."""
    found = dict(learner.model.named_parameters())
    ends = {part: f".lora_{part}.{ADAPTER}.weight" for part in ("A", "B")}
    names = [name.removesuffix(ends["A"]) for name in found if name.endswith(ends["A"])]
    return {name: (found[name + ends["A"]], found[name + ends["B"]]) for name in names}


def multiply_rate(optimizer: torch.optim.Optimizer, learner: Learner, times: float) -> torch.optim.Optimizer:
    """The optimizer with the learning rate of the adapters multiplied; they have parameter groups of their own."""
    adapters = {id(factor) for pair in factors(learner).values() for factor in pair}
    for group in optimizer.param_groups:
        if adapters.intersection(map(id, group["params"])):
            group["lr"] *= times
    return optimizer


def merge(learner: Learner) -> None:
    """Adds every adapter to its matrix and takes it out: modules and names are what they were before `attach`."""
    adapted = factors(learner)
    with torch.no_grad():
        for name in adapted:
            holder, _, attribute = name.rpartition(".")
            layer = learner.model.get_submodule(name)
            layer.merge()  # type: ignore[operator]  # one of peft's
            setattr(learner.model.get_submodule(holder), attribute, layer.base_layer)
    learner.layers = {
        layer: [old for name in names for old in _when_merged(name, adapted)] for layer, names in learner.layers.items()
    }


def _inject(model: nn.Module, chosen: Mapping[str, nn.Module], rank: int, alpha: float, dropout: float) -> None:
    """Puts peft's layers in; what it draws for them is thrown away, without a trace in the global generator."""
    from peft import LoraConfig, inject_adapter_in_model

    for transposed in (False, True):
        names = [re.escape(name) for name, module in chosen.items() if _is_transposed(module) == transposed]
        if names:
            config = LoraConfig(
                r=rank,
                lora_alpha=alpha,
                lora_dropout=dropout,
                fan_in_fan_out=transposed,
                target_modules="|".join(names),  # a pattern: a list would match the ends of other names too
            )
            with torch.random.fork_rng(devices=[]):
                inject_adapter_in_model(config, model, ADAPTER)
            del model.peft_config


def _is_transposed(module: nn.Module) -> bool:
    """Whether it is the linear map of transformers that keeps its matrix as (inputs, outputs)."""
    return type(module).__name__ == "Conv1D"


def _names(layers: Mapping[str, Sequence[str]]) -> list[str]:
    return [name for names in layers.values() for name in names]


def _while_attached(name: str, adapted: Mapping[str, object]) -> list[str]:
    """What stands in a layer for one of its parameters as long as there are adapters."""
    owner, _, part = name.rpartition(".")
    if owner not in adapted:
        return [name]
    added = [f"{owner}.lora_{factor}.{ADAPTER}.weight" for factor in ("A", "B")] if part == "weight" else []
    return [f"{owner}.base_layer.{part}", *added]


def _when_merged(name: str, adapted: Mapping[str, object]) -> list[str]:
    """The inverse: a parameter of an adapter is gone, one of a matrix has its own name again."""
    inside, _, part = name.rpartition(".")
    owner = inside.removesuffix(".base_layer")
    if owner != inside and owner in adapted:
        return [f"{owner}.{part}"]
    return [] if re.sub(rf"\.lora_[AB]\.{ADAPTER}$", "", inside) in adapted else [name]


def _fresh(shape: torch.Size, key: str) -> Tensor:
    generator = torch.Generator().manual_seed(int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") >> 1)
    return torch.empty(shape).uniform_(-1, 1, generator=generator) / math.sqrt(shape[1])
