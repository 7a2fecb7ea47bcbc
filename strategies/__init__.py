"""Ways to train without forgetting, one a file. This module imports none of them: names are enough for a list."""

from __future__ import annotations

STRATEGIES: tuple[str, ...] = (
    "strategies.naive:Naive",
    "strategies.joint:Joint",
    "strategies.l2_anchor:L2Anchor",
    "strategies.ewc:EWC",
    "strategies.freeze:Freeze",
    "strategies.online_ewc:OnlineEWC",
    "strategies.si:SI",
    "strategies.mas:MAS",
    "strategies.rwalk:RWalk",
    "strategies.lora:LoRA",
    "strategies.o_lora:OLoRA",
    "strategies.independent:Independent",
    "strategies.task_arithmetic:TaskArithmetic",
    "strategies.ties:Ties",
    "strategies.lwf:LwF",
    "strategies.recadam:RecAdam",
    "strategies.mixout:Mixout",
    "strategies.wise_ft:WiSEFT",
    "strategies.ema:EMA",
    "strategies.layerwise_lr:LayerwiseLR",
    "strategies.gradual_unfreezing:GradualUnfreezing",
    "strategies.warm_head:WarmHead",
    "strategies.bitfit:BitFit",
    "strategies.replay:Replay",
    "strategies.er_ace:ErAce",
    "strategies.derpp:Derpp",
    "strategies.agem:AGem",
    "strategies.gem:Gem",
)
"""Every shipped strategy as ``module:Class``, in the form of an entry point. The module has the strategy's name."""
