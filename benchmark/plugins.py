"""Strategies and tasks of other packages: found by entry point, looked at without an import, named where broken.

A package that is installed beside this one declares entry points in the groups below. Its metadata and its source
tell most of what can be wrong, so that nothing of it is imported before somebody asks for it.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from importlib.metadata import Distribution, PackageNotFoundError, distributions, version
from socket import gethostname
from typing import Any

from benchmark.errors import UserError
from benchmark.sources import source_sha256

STRATEGY_GROUP = "retain.strategies"
"""Group of entry points ``NAME = package.module:Class``."""
TASK_GROUP = "retain.tasks"
"""Group of entry points to a `tasks.spec.TaskSpec`, or to a sequence of them."""


@dataclass(frozen=True)
class Plugin:
    """One entry point of a package.

    Attributes:
        name: That it was given.
        target: ``package.module:attribute``, if it is written as it should be.
        package: Name of the distribution.
        version: Of the distribution.
    """

    name: str
    target: str
    package: str
    version: str

    @property
    def module(self) -> str:
        """The module to import."""
        return self.target.partition(":")[0]

    @property
    def attribute(self) -> str:
        """What to take from it."""
        return self.target.partition(":")[2]

    def __str__(self) -> str:
        """The package, as a reader of a list needs it."""
        return f"{self.package} {self.version}"


@dataclass(frozen=True)
class Broken:
    """An entry point that can't be used, and why in a few words."""

    plugin: Plugin
    reason: str

    def __str__(self) -> str:
        """One line."""
        return f"{self.plugin.name} of {self.plugin} can't be used: {self.reason}"


class Unusable(UserError):
    """A plugin that was asked for can't be used."""

    def __init__(self, broken: Broken) -> None:
        """Says which one, and why."""
        super().__init__(str(broken))
        self.broken = broken


@dataclass(frozen=True)
class Origin:
    """What code a plugin is: the same origin computes the same numbers.

    Attributes:
        package: Name of the distribution.
        version: Of the distribution.
        module: That the entry point names.
        sha256: Of the package's sources: a package that is installed to be edited changes without a new version.
    """

    package: str
    version: str
    module: str
    sha256: str


class Required:
    """Plugins that a study needs: where it is unpickled, they are looked for before anything of theirs is imported."""

    def __init__(self, origins: Iterable[Origin]) -> None:
        """Looks for nothing yet."""
        self.origins = tuple(origins)

    def __reduce__(self) -> tuple[Any, ...]:
        """Looks for them on arrival."""
        return require, self.origins


def require(*origins: Origin) -> Required:
    """Makes sure that the same plugins are installed here.

    Raises:
        UserError: one is not, or it is other code.
    """
    for origin in origins:
        where = f"machine {gethostname()}: plugin {origin.package} {origin.version}"
        try:
            here = Origin(origin.package, version(origin.package), origin.module, source_sha256(origin.module))
        except (PackageNotFoundError, ModuleNotFoundError) as error:
            raise UserError(f"{where} is not installed there: install it as it is where the command runs") from error
        if here != origin:
            found = f"version {here.version}" if here.version != origin.version else "that version with other sources"
            raise UserError(f"{where} is needed, but {found} is there; their numbers would differ: make them equal")
    return Required(origins)


def declared(group: str) -> tuple[tuple[Plugin, ...], tuple[Broken, ...]]:
    """The entry points of a group in all installed packages, in the order of their names; and those with flaws.

    Flaws are: a name that can't be typed, or that another entry point has too, and a target that is none.
    """
    return _declared(group, tuple(sys.path))


@cache
def _declared(group: str, path: tuple[str, ...]) -> tuple[tuple[Plugin, ...], tuple[Broken, ...]]:
    entries = [plugin for package in _packages(group) for plugin in _entries(package, group)]
    entries.sort(key=lambda plugin: (plugin.name, plugin.package))
    named = Counter(plugin.name for plugin in entries)
    sound, broken = [], []
    for plugin in entries:
        others = ", ".join(sorted({str(other) for other in entries if other.name == plugin.name} - {str(plugin)}))
        if not plugin.target:
            broken.append(Broken(plugin, "its entry points can't be read"))
        elif not re.fullmatch(r"\w+(\.\w+)*:\w+", plugin.target, re.ASCII):
            broken.append(Broken(plugin, f"its entry point '{plugin.target}' should be package.module:Name"))
        elif not re.fullmatch(r"[\w-]+", plugin.name, re.ASCII):
            broken.append(Broken(plugin, "a name has letters, digits, _ and - only"))
        elif named[plugin.name] > 1:
            broken.append(Broken(plugin, f"{others or 'the same package'} has that name too"))
        else:
            sound.append(plugin)
    return tuple(sound), tuple(broken)


def _packages(group: str) -> Iterator[Distribution]:
    """Installed packages that speak of a group; of those that are there twice, the one that is imported."""
    seen: set[str] = set()
    for package in distributions():
        try:
            text = package.read_text("entry_points.txt") or ""
        except UnicodeDecodeError:
            continue  # no tool that installs packages wrote it
        if group in text:
            name = re.sub("[-_.]+", "-", _told(package)[0]).lower()
            if name not in seen:
                seen.add(name)
                yield package


def _entries(package: Distribution, group: str) -> list[Plugin]:
    name, number = _told(package)
    try:
        entries = [(entry.name, entry.value) for entry in package.entry_points if entry.group == group]
    except Exception:  # importlib raises whatever a line that it does not expect leads to
        entries = [(name, "")]
    # Extras stand behind the target, in brackets.
    return [Plugin(entry, target.partition("[")[0].strip(), name, number) for entry, target in entries]


def _told(package: Distribution) -> tuple[str, str]:
    """Name and version of a package."""
    try:
        return package.metadata["Name"] or "a nameless package", package.version or "without version"
    except Exception:  # which one depends on Python's version
        return "a nameless package", "without version"


def load(plugin: Plugin) -> object:
    """Imports what a plugin's entry point names.

    Raises:
        Unusable: that fails, in whatever way.
    """
    try:
        return getattr(import_module(plugin.module), plugin.attribute)
    except (Exception, SystemExit) as error:  # a plugin's mistake is no reason for a traceback of ours
        said = " ".join(str(error).split())
        raise Unusable(Broken(plugin, f"importing it failed: {type(error).__name__}: {said}")) from error


def origin_of(plugin: Plugin) -> Origin:
    """What code a plugin is."""
    return Origin(plugin.package, plugin.version, plugin.module, source_sha256(plugin.module))


def as_provenance(origins: Iterable[Origin | None]) -> dict[str, dict[str, str]]:
    """Package -> its version and module -> SHA-256, as records have it."""
    found: dict[str, dict[str, str]] = {}
    for origin in origins:
        if origin is not None:
            found.setdefault(origin.package, {"version": origin.version})[origin.module] = origin.sha256
    return {package: dict(sorted(of.items())) for package, of in sorted(found.items())}


def sound_and_broken(group: str, flaw: Callable[[Plugin], str]) -> tuple[Mapping[str, Plugin], tuple[Broken, ...]]:
    """The entry points of a group by name, and those that can't be used: by their declaration, or by a flaw."""
    plugins, broken = declared(group)
    flaws = {plugin: flaw(plugin) for plugin in plugins}
    found = (Broken(plugin, reason) for plugin, reason in flaws.items() if reason)
    return {plugin.name: plugin for plugin in plugins if not flaws[plugin]}, (*broken, *found)
