"""Ways to train without forgetting, one a file. This module imports none of them: names are enough for a list."""

from __future__ import annotations

STRATEGIES: tuple[str, ...] = (
    "strategies.naive:Naive",
    "strategies.joint:Joint",
    "strategies.independent:Independent",
    "strategies.l2_anchor:L2Anchor",
    "strategies.ewc:EWC",
    "strategies.online_ewc:OnlineEWC",
    "strategies.si:SI",
    "strategies.mas:MAS",
    "strategies.rwalk:RWalk",
    "strategies.recadam:RecAdam",
    "strategies.mixout:Mixout",
    "strategies.lwf:LwF",
    "strategies.replay:Replay",
    "strategies.er_ace:ErAce",
    "strategies.derpp:Derpp",
    "strategies.agem:AGem",
    "strategies.gem:Gem",
    "strategies.freeze:Freeze",
    "strategies.bitfit:BitFit",
    "strategies.lora:LoRA",
    "strategies.o_lora:OLoRA",
    "strategies.warm_head:WarmHead",
    "strategies.gradual_unfreezing:GradualUnfreezing",
    "strategies.layerwise_lr:LayerwiseLR",
    "strategies.wise_ft:WiSEFT",
    "strategies.ema:EMA",
    "strategies.task_arithmetic:TaskArithmetic",
    "strategies.ties:Ties",
)
"""Every shipped strategy as ``module:Class``, in the form of an entry point. The module has the strategy's name.

References, penalties on weights, distillation, memories, parts of the weights, rates, merged weights.
"""
