"""Tasks by name: the shipped ones, and those of other packages, which are imported only when they may be meant."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import get_args

from benchmark.errors import unknown
from benchmark.own_tasks import is_own, own_task
from benchmark.plugins import TASK_GROUP, Broken, Plugin, Unusable, declared, load
from tasks.catalogue import PROBES, TASKS
from tasks.spec import Kind, TaskSpec


@dataclass(frozen=True)
class Entry:
    """A task that there is, and the plugin that it comes from; None if it is shipped."""

    spec: TaskSpec
    plugin: Plugin | None = None


def all_tasks() -> list[Entry]:
    """The shipped tasks in the order of their catalogue, then those of other packages. Imports these."""
    return [*map(Entry, TASKS), *_plugins()[0].values()]


def broken_tasks() -> tuple[Broken, ...]:
    """Entry points of other packages that can't be used. Imports them."""
    return _plugins()[1]


def find_task(name: str, shipped: Sequence[TaskSpec] = TASKS) -> Entry:
    """The task of this name, or of this file. Plugins are imported only if it is no shipped one.

    Raises:
        UserError: there is none, its file can't be used, or the plugin of that name is broken.
    """
    if is_own(name):
        return Entry(own_task(Path(name)))
    for spec in shipped:
        if spec.name == name:
            return Entry(spec)
    found, broken = _plugins()
    if name in found:
        return found[name]
    for one in broken:
        if one.plugin.name == name:
            raise Unusable(one)
    raise unknown("task", name, [*(spec.name for spec in shipped), *found])


def _plugins() -> tuple[Mapping[str, Entry], tuple[Broken, ...]]:
    return _found(tuple(sys.path))


@cache
def _found(path: tuple[str, ...]) -> tuple[Mapping[str, Entry], tuple[Broken, ...]]:
    """Tasks of other packages by name, and entry points that can't be used: one flaw makes all of its tasks useless."""
    plugins, broken = declared(TASK_GROUP)
    flaws = list(broken)
    offered: dict[Plugin, list[TaskSpec]] = {}
    for plugin in plugins:
        try:
            offered[plugin] = _specs(plugin, load(plugin))
        except Unusable as error:
            flaws.append(error.broken)
        except ValueError as error:
            flaws.append(Broken(plugin, str(error)))
    named = Counter(spec.name for specs in offered.values() for spec in specs)
    found: dict[str, Entry] = {}
    for plugin, specs in offered.items():
        if twice := [spec.name for spec in specs if named[spec.name] > 1]:
            flaws.append(Broken(plugin, f"another entry point has a task named '{twice[0]}' too"))
        else:
            found |= {spec.name: Entry(spec, plugin) for spec in specs}
    return found, tuple(flaws)


def _specs(plugin: Plugin, found: object) -> list[TaskSpec]:
    """The tasks that an entry point names.

    Raises:
        ValueError: it names something else, or a task that can't be told from others.
    """
    offered = list(found) if isinstance(found, list | tuple) else [found]
    specs = [spec for spec in offered if isinstance(spec, TaskSpec)]
    if len(specs) < len(offered):
        raise ValueError(f"{plugin.attribute} is neither a TaskSpec nor a sequence of them")
    if not isinstance(found, list | tuple) and specs[0].name != plugin.name:
        raise ValueError(f"its task is named '{specs[0].name}': task and entry point must have the same name")
    taken = {*(spec.name for spec in TASKS), *(spec.name for spec in PROBES)}
    for spec in specs:
        if not re.fullmatch(r"[\w-]+", spec.name, re.ASCII):
            raise ValueError(f"task '{spec.name}': a name has letters, digits, _ and - only")
        if spec.name in taken:
            raise ValueError(f"a shipped task or probe is named '{spec.name}'")
        if spec.kind not in get_args(Kind):
            raise ValueError(f"task '{spec.name}' is of no known kind, but '{spec.kind}'")
    return specs
