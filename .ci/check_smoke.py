"""What must be true of the smoke run whatever the machine: it learned, and frozen weights did not move."""

from __future__ import annotations

import sys
from pathlib import Path

from results.record import load_all

runs = {run.strategy: run for run in load_all([Path(sys.argv[1])])}
assert sorted(runs) == ["ewc", "freeze", "naive"], sorted(runs)
topic = 1  # BBC News, five classes
assert runs["naive"].scores[2][topic] > runs["naive"].scores[0][topic] + 0.3, runs["naive"].scores
assert max(runs["freeze"].drift[-1].values()) == 0
assert runs["naive"].drift[-1]["layer 6"] > 0
assert runs["ewc"].costs[0].strategy_bytes > 2 * 4 * runs["ewc"].parameters
sys.stdout.write("smoke: learned, frozen weights held, EWC's memory billed\n")
