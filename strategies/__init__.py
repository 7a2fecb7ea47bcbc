"""Ways to train without forgetting, one a file. This module imports none of them: names are enough for a list."""

from __future__ import annotations

STRATEGIES: tuple[str, ...] = (
    "strategies.naive:Naive",
    "strategies.joint:Joint",
    "strategies.l2_anchor:L2Anchor",
    "strategies.ewc:EWC",
    "strategies.freeze:Freeze",
    "strategies.replay:Replay",
    "strategies.er_ace:ErAce",
    "strategies.derpp:Derpp",
    "strategies.agem:AGem",
    "strategies.gem:Gem",
)
"""Every shipped strategy as ``module:Class``, in the form of an entry point. The module has the strategy's name."""
