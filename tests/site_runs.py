"""Records for tests of the leaderboard: two suites, rankings apart by replay, tuning and backbone, hostile names."""

from __future__ import annotations

from typing import Any

from results.record import Run
from tests.results_fixtures import make_run

HOSTILE = "<script>alert(1)</script>"
QUOTES = "\"'`onmouseover=alert(1) x=../../escaped {{ 7*7 }} &lt;b&gt;"
TUNED = {"trials": 8, "seconds": 90.0, "tasks": ["rotten_tomatoes"]}
SEEDS = 3


def seeds(strategy: str, retention: float, count: int = SEEDS, **fields: Any) -> list[Run]:
    """Runs of one row."""
    return [make_run(strategy, seed, retention=retention, **fields) for seed in range(count)]


def on(run: Run, backbone: str) -> Run:
    """The same run on another backbone."""
    made = run.provenance.model_copy(update={"weights_sha256": backbone.encode().hex().ljust(64, "0")})
    return run.model_copy(update={"backbone": backbone, "provenance": made})


def site_runs() -> list[Run]:
    """32 runs: suite ``short`` with four rankings, suite ``hidden`` with one."""
    forgetful = {"keeps_examples": False}
    short = [
        *seeds("naive", 0.4, **forgetful),
        *seeds("ewc", 0.7, hyperparameters={"lam": 10.0}, **forgetful),
        *seeds("ewc", 0.72, hyperparameters={"lam": 1000.0}, **forgetful),
        *seeds(HOSTILE, 0.5, **forgetful),
        *seeds("replay", 0.9, keeps_examples=True),
        *seeds("er_ace", 0.8, keeps_examples=True),
        *seeds("joint", 0.8, together=True, **forgetful),
        *seeds("ewc", 0.75, hyperparameters={"lam": 77.0}, tuning=TUNED, **forgetful),
        make_run("agem", 0, failed_stage=1, reason=f"died of {HOSTILE}", keeps_examples=True),
    ]
    dirty = short[0].provenance.model_copy(update={"dirty": True, "commit": "f" * 40})
    short[0] = short[0].model_copy(update={"provenance": dirty})
    other = [on(run, "bert-tiny") for run in seeds("naive", 0.3, **forgetful)]
    hidden = [
        run.model_copy(update={"suite": "hidden", "scenario": "class-incremental"})
        for run in [*seeds(QUOTES, 0.6, count=2), *seeds("naive", 0.4, count=2)]
    ]
    return [*short, *other, *hidden]
