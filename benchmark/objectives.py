"""What a suite asks of the head that its backbone was pretrained with, and whether it has it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmark.backbone import Backbone
from benchmark.errors import UserError
from benchmark.pretrained_head import NoHead, load_pretrained_head
from benchmark.suite import Suite
from tasks.prepare import KINDS
from tasks.spec import PRETRAINING, Objective

Say = Callable[[str], None]


def with_pretrained_head(backbone: Backbone, folder: Path, suite: Suite, say: Say) -> tuple[Backbone, Suite]:
    """The backbone with its head if a task or a probe asks it, and the suite with the probes that apply.

    A probe that does not is refused; but where the backbone is not the one that the suite was written for, it is left
    out, also of what records say was asked.

    Raises:
        UserError: a task or a probe needs a head that the backbone has not.
    """
    tasks = [(f"task {plan.spec.name}", KINDS[plan.spec.kind].objective) for plan in suite.tasks]
    probes = {probe.name: probe.objective for probe in suite.probes}
    for plan in suite.tasks:
        if plan.spec.head_name == PRETRAINING and KINDS[plan.spec.kind].objective is None:
            raise UserError(
                f"task {plan.spec.name}: '{PRETRAINING}' is the name of the backbone's own head; name it otherwise"
            )
    if not any([*(objective for _, objective in tasks), *probes.values()]):
        return backbone, suite
    has: Objective | None = None
    reason = ""
    try:
        head = load_pretrained_head(folder, backbone.body)
        backbone, has = replace(backbone, pretrained_head=head), head.about.objective
        reason = f"was pretrained with a {has} one"
    except NoHead as error:
        reason = str(error)

    def problem(who: str, needs: Objective) -> str:
        return f"{who} needs a {needs} language-modelling head, but backbone {backbone.spec.name} {reason}"

    for who, needs in tasks:
        if needs not in (None, has):
            raise UserError(problem(who, needs))
    left = []
    for probe in suite.probes:
        if probe.objective in (None, has):
            left.append(probe)
        elif suite.swapped:
            say(f"{problem(f'probe {probe.name}', probe.objective)}; it is left out")
        else:
            raise UserError(problem(f"probe {probe.name}", probe.objective))
    if len(left) == len(suite.probes):
        return backbone, suite
    names = [probe.name for probe in left]
    cells = [replace(cell, settings={**cell.settings, "probes": names}) for cell in suite.cells]
    return backbone, replace(suite, probes=tuple(left), cells=tuple(cells))
