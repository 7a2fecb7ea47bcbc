"""Everything that the cells of a suite share, made ready once: data, backbone, probes, device."""

from __future__ import annotations

import copy
import os
import socket
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import InitProcessGroupKwargs
from torch import Tensor

from benchmark import provenance
from benchmark.allocator import keep_freed_memory
from benchmark.backbone import Backbone, Model, layer_names, load_backbone
from benchmark.errors import UserError
from benchmark.fetch import cache_folder
from benchmark.needs import backbone_folder, hub_commits, locate, needed_archives
from benchmark.objectives import with_pretrained_head
from benchmark.own_files import file_hashes
from benchmark.plugins import Origin, Required, as_provenance
from benchmark.reader import ModelReader
from benchmark.suite import Cell, Suite
from benchmark.team import Team
from benchmark.used_rows import used_tokens
from results.record import Provenance, TaskInfo
from strategies.base import Training
from tasks.base import Task
from tasks.kept import Kept
from tasks.prepare import Sizes, prepare, untrained_labels
from tasks.probes.base import Probe
from tasks.probes.prepare import prepare_probe
from tasks.probes.similarity import token_states
from tasks.sources.archive import DataFiles
from tasks.sources.base import LazySplits, Source, SourceError
from tasks.spec import TaskError

Say = Callable[[str], None]

PATIENCE = timedelta(days=1)
"""For which processes wait for each other. Long: one may download, or wait for another command's stage."""


@dataclass(frozen=True)
class Study:
    """A suite with its data read and encoded and its backbone loaded; nothing in it changes while cells run."""

    suite: Suite
    backbone: Backbone
    tasks: list[Task]
    probes: list[Probe]
    team: Team
    provenance: Provenance

    def __reduce__(self) -> tuple[Any, ...]:
        """Travels to other processes and machines as it is: they read no data and load no backbone."""
        made = (self.suite, self.backbone, self.tasks, self.probes, self.device.type, self.provenance)
        return _arrive, (Required(_origins(self.suite)), *made)  # what comes later can't be unpickled without the first

    @property
    def device(self) -> torch.device:
        """Where training runs."""
        return self.team.device

    @property
    def backbone_sha256(self) -> list[str]:
        """What tells this backbone from all others: hashes of its weights and of everything else about it."""
        return [self.backbone.weights_sha256, self.backbone.settings_sha256]

    def made(self, cell: Cell) -> Provenance:
        """Where the numbers of a run come from: plugins of other runs have no part in them."""
        tasks = [plan.origin for plan in self.suite.tasks]
        return self.provenance.model_copy(update={"plugins": as_provenance([cell.origin, *tasks])})

    @cached_property
    def texts(self) -> Sequence[Mapping[str, Tensor]]:
        """Held-out texts that layers are compared on: those of the first probe that has any."""
        return next((texts for probe in self.probes if (texts := probe.texts())), [])

    @cached_property
    def used_tokens(self) -> Tensor:
        """All tokens that training texts have, sorted."""
        return used_tokens(self.tasks)

    @cached_property
    def pretrained_states(self) -> Sequence[Tensor]:
        """What the pretrained body makes of these texts, (N, D) a layer; read once a process, when it is needed."""
        model = Model(copy.deepcopy(self.backbone.body), self.backbone.pooling).to(self.device).eval()
        return token_states(ModelReader(model, self.device), self.texts)

    @cached_property
    def measured(self) -> dict[Hashable, Any]:
        """What this process has measured, by the weights that it was measured of: see `benchmark.measuring`."""
        return {}

    def task(self, name: str) -> Task:
        """The task of this name."""
        (found,) = [task for task in self.tasks if task.name == name]
        return found

    def in_order(self, cell: Cell) -> list[Task]:
        """The tasks in the order in which a run learns them; elsewhere they stand in the stream's."""
        return [self.task(name) for name in cell.order.tasks]

    def refusal(self, cell: Cell) -> str:
        """Why the strategy of a run, with its settings, can't work here; empty if it can."""
        return _refusal(cell, self.backbone, self.in_order(cell), self.team)

    def running(self, cells: Sequence[Cell], training: Training) -> Study:
        """The same study with other runs, trained in another way."""
        return replace(self, suite=replace(self.suite, cells=tuple(cells), training=training))

    def task_infos(self) -> list[TaskInfo]:
        """What records say of the tasks."""
        return [
            TaskInfo(
                name=task.name,
                kind=task.spec.kind,
                metric=task.spec.main,
                head=task.head,
                own_labels=list(task.spec.own),
                train_examples=len(task.train.examples),
                test_examples=len(task.test.examples),
                truncated_share=task.test.truncated,
                untrained_labels=untrained_labels(task),
                split=task.spec.split,
            )
            for task in self.tasks
        ]


def open_study(suite: Suite, device: str, say: Say, threads: int | None = None, accumulation: int = 1) -> Study:
    """Fetches what is not cached, reads and encodes it, and loads the backbone.

    Args:
        suite: What to study.
        device: ``auto``, ``cpu``, ``cuda`` or ``mps``.
        say: Is told what goes on.
        threads: That a stage trains with; None leaves it to torch.
        accumulation: Parts that every batch is cut into, one after another, for models that fill the memory.

    Raises:
        UserError: something can't be fetched, read or loaded, there is no such device, or a strategy can't work here.
    """
    team = Team(_accelerator(device, suite.precision, accumulation))
    keep_freed_memory()
    if team.count == 1 and os.environ.get("ACCELERATE_USE_CPU") == "True" and "MASTER_ADDR" in os.environ:
        say("one process trains: of accelerate launch, --cpu starts several through MPI only; use --multi_gpu instead")
    if threads is not None:
        torch.set_num_threads(threads)  # here, since accelerate may have set it too
    with team.main_first():
        located = locate(needed_archives(suite), say)
        folder = backbone_folder(suite.backbone, say)
    backbone, suite = with_pretrained_head(load_backbone(suite.backbone, folder), folder, suite, say)
    pretraining = None if backbone.pretrained_head is None else backbone.pretrained_head.about
    kept = Kept(cache_folder() / "encoded", backbone.settings_sha256, say, writes=team.main)
    try:
        tasks = []
        for plan in suite.tasks:
            sizes = Sizes(plan.train_examples, plan.test_examples, plan.max_length)
            splits = _read(plan.spec.source, located)
            tasks.append(prepare(plan.spec, splits, backbone.tokenizer, sizes, pretraining, kept))
        probes = [prepare_probe(spec, _read(spec.source, located), backbone.tokenizer, kept) for spec in suite.probes]
    except (SourceError, TaskError) as error:
        raise UserError(str(error)) from error
    _refuse_trained(probes, tasks)
    for task in tasks:
        if missing := untrained_labels(task):
            share = f"{len(missing)} of {len(task.spec.own or task.spec.labels)} labels"
            say(f"{task.name}: no training example of {share}: {', '.join(missing)}")
    suite = _checked(suite, backbone, tasks, team, say)
    made_by = _provenance(suite, backbone, tasks, probes, team)
    made_by = made_by.model_copy(update={"hub": hub_commits(located, suite.backbone, folder)})
    (_, leading), *others = team.gather([(socket.gethostname(), made_by)])
    for host, following in others:
        _check_alike(host, following, leading, COMPUTED)
    return Study(suite, backbone, tasks, probes, team, made_by)


ENVIRONMENT = {"code_sha256", "python", "platform", "device", "threads", "processes", "accumulation", "packages"}
"""What of a record's provenance can change a bit and is no data: code, versions and machine."""
COMPUTED = ENVIRONMENT | {"precision", "data_sha256", "weights_sha256", "backbone_sha256", "plugins"}
"""What must be the same in all processes that train one model."""


MOST_TRAINED = 0.01
"""Share of a probe's held-out texts that may stand in training data by chance: texts are posted twice."""


def _refuse_trained(probes: Sequence[Probe], tasks: Sequence[Task]) -> None:
    """Refuses a probe whose held-out texts are trained, under whatever name.

    Raises:
        UserError: they are.
    """
    for probe in probes:
        for task in tasks:
            share = probe.trained_by(task)
            if share > MOST_TRAINED:
                raise UserError(
                    f"probe {probe.name} measures what is never trained, but {task.name} trains {share:.0%} of its "
                    "texts: take another probe"
                )


def _checked(suite: Suite, backbone: Backbone, tasks: list[Task], team: Team, say: Say) -> Suite:
    """The suite with the strategies that can work here: of all that there are, others are left out.

    Raises:
        UserError: a strategy that was named can't, or none of all can.
    """
    refused: list[str] = []
    left: list[Cell] = []
    named = {task.name: task for task in tasks}
    for cell in suite.cells:
        if reason := _refusal(cell, backbone, [named[name] for name in cell.order.tasks], team):
            refused.append(f"strategy {cell.strategy.name}: {reason}")
        else:
            left.append(cell)
    if refused and not (left and suite.every):
        raise UserError(refused[0])
    for reason in dict.fromkeys(refused):
        say(f"{reason}; it is left out")
    return replace(suite, cells=tuple(left))


def _refusal(cell: Cell, backbone: Backbone, tasks: Sequence[Task], team: Team) -> str:
    """Why a strategy can't work here; empty if it can."""
    try:
        cell.strategy.check(backbone.body, layer_names(backbone.body), tasks)
    except ValueError as error:
        return str(error)
    except Exception as error:  # whatever a plugin does wrong
        return f"its check() raises {type(error).__name__}: {' '.join(str(error).split())}"
    if team.parts > 1 and not cell.strategy.divisible:
        return "it needs whole batches: it can't train on several processes or with --accumulate"
    return ""


def _arrive(
    required: Required,
    suite: Suite,
    backbone: Backbone,
    tasks: list[Task],
    probes: list[Probe],
    device: str,
    made_by: Provenance,
) -> Study:
    """A study that was opened by another process.

    Raises:
        UserError: this process has other code, versions or hardware than that one.
    """
    torch.set_num_threads(made_by.threads)
    team = Team(_accelerator(device, suite.precision, made_by.accumulation))
    keep_freed_memory()
    here = _provenance(suite, backbone, tasks, probes, team)
    _check_alike(socket.gethostname(), here, made_by, ENVIRONMENT)
    return Study(suite, backbone, tasks, probes, team, made_by)


def _check_alike(host: str, here: Provenance, main: Provenance, names: Collection[str]) -> None:
    """Compares what a process computes with and on to what the main one does.

    Raises:
        UserError: it is not the same.
    """
    for name in sorted(names):
        ours, theirs = getattr(here, name), getattr(main, name)
        if ours != theirs:
            raise UserError(
                f"machine {host}: {name} is {ours}, but where the command runs it is {theirs}; "
                "their numbers would differ: make the machines equal"
            )


def _read(source: Source, located: Mapping[DataFiles, Path]) -> LazySplits:
    return source.read(located[source.archive])


def _accelerator(device: str, precision: str, accumulation: int) -> Accelerator:
    """The device to train on.

    Raises:
        UserError: it is not there.
    """
    present = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if device != "auto" and not present[device]:
        there = ", ".join(name for name, found in present.items() if found)
        raise UserError(f"--device {device}: there is no such device here; there is {there}")
    chosen = device if device != "auto" else next(name for name in ("cuda", "mps", "cpu") if present[name])
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # without it cuBLAS can't be deterministic
    torch.use_deterministic_algorithms(True, warn_only=True)
    # What is about to be written need not be filled before.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # the module is a class
    # Cutting batches is left to the loop: accelerate's own way of it weighs parts of unequal size alike.
    accelerator = Accelerator(
        cpu=chosen == "cpu",
        mixed_precision=precision,
        kwargs_handlers=[InitProcessGroupKwargs(timeout=PATIENCE)],
    )
    if accumulation > 1 or accelerator.gradient_accumulation_steps < 1:  # what launchers say stands behind --accumulate
        accelerator.gradient_accumulation_steps = accumulation
    if accelerator.num_processes == 1 < int(os.environ.get("WORLD_SIZE", "1")):
        raise UserError(f"--device {chosen}: several processes can't train together on it; use --device cpu, or one")
    return accelerator


def _device_name(device: torch.device) -> str:
    """Kind of device and, of a GPU, its model: kernels differ between models, and so may the last bits."""
    return f"{device.type} ({torch.cuda.get_device_name(device)})" if device.type == "cuda" else device.type


def _provenance(
    suite: Suite,
    backbone: Backbone,
    tasks: list[Task],
    probes: list[Probe],
    team: Team,
) -> Provenance:
    commit, dirty = provenance.commit()
    hashes = {task.name: {"train": task.train.sha256, task.spec.scored: task.test.sha256} for task in tasks}
    return Provenance(
        version=provenance.code_version(),
        code_sha256=provenance.code_sha256(),
        commit=commit,
        dirty=dirty,
        python=provenance.python_version(),
        platform=provenance.machine(),
        device=_device_name(team.device),
        precision=suite.precision,
        threads=torch.get_num_threads(),
        processes=team.count,
        accumulation=team.accumulation,
        packages=provenance.packages(),
        data_sha256=hashes | {probe.name: {"test": probe.sha256} for probe in probes},
        files_sha256={task.name: files for task in tasks if (files := file_hashes(task.spec))},
        weights_sha256=backbone.weights_sha256,
        backbone_sha256=backbone.settings_sha256,
        plugins=as_provenance(_origins(suite)),
    )


def _origins(suite: Suite) -> list[Origin]:
    """The plugins that a suite needs."""
    origins = [*(cell.origin for cell in suite.cells), *(plan.origin for plan in suite.tasks)]
    return list(dict.fromkeys(origin for origin in origins if origin is not None))
