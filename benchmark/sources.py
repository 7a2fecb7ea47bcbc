"""Source code of modules that are not imported: where it is, what it says, its hash."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path

CODE = (".py", ".pyc", ".so", ".pyd")
"""How files end that Python imports."""


@cache  # once a process, since what was imported does not change with the file
def source_sha256(module: str) -> str:
    """SHA-256 of the sources of the package that a module is in, its other modules included; of it alone if in none.

    Raises:
        ModuleNotFoundError: there is no such module.
    """
    whole = hashlib.sha256()
    top, files = _sources(module)
    for file in files:
        whole.update(f"{file.relative_to(top).as_posix()}\n".encode())
        whole.update(file.read_bytes())
    return whole.hexdigest()


def _sources(module: str) -> tuple[Path, list[Path]]:
    """A folder and the files of code in it that a module may consist of."""
    for spec in _specs(module):
        if spec.origin is not None:  # a namespace has none, and no code
            file = Path(spec.origin)
            if spec.submodule_search_locations is None:
                return file.parent, [file]
            code = (path for path in file.parent.rglob("*") if path.suffix in CODE and path.is_file())
            return file.parent, sorted(path for path in code if path.parent.name != "__pycache__")
    raise ModuleNotFoundError(module)


def find_module(module: str) -> ModuleSpec | None:
    """Where a module is. Imports neither it nor the packages that it is in."""
    return next((spec for spec in _specs(module) if spec.name == module), None)


def _specs(module: str) -> Iterator[ModuleSpec]:
    """The packages that a module is in, from the outermost, and the module, as far as they are there."""
    parts = module.split(".")
    for depth in range(1, len(parts) + 1):
        name = ".".join(parts[:depth])
        if depth == 1:
            spec = _find_top(name)
        elif spec is not None and spec.submodule_search_locations is not None:
            spec = PathFinder.find_spec(name, list(spec.submodule_search_locations))
        else:
            spec = None
        if spec is None:
            return
        yield spec


def _find_top(name: str) -> ModuleSpec | None:
    try:
        return find_spec(name)
    except ValueError:  # a module that was made by hand, such as __main__
        return None


def parsed(file: Path) -> ast.Module:
    """The statements of a file.

    Raises:
        OSError, SyntaxError, ValueError: it can't be read, or is not Python.
    """
    return ast.parse(file.read_bytes())  # bytes, since a file may say how it is encoded


def imported(tree: ast.Module) -> set[str]:
    """Packages without which a module can't be imported: those at its top, neither tried nor for types alone."""
    found = set()
    for node in tree.body:
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add((node.module or "").partition(".")[0])
    return found


def class_in(tree: ast.Module, name: str) -> ast.ClassDef | None:
    """The class statement of this name at the top of a module, if there is one."""
    found = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name]
    return found[-1] if found else None


def name_in(node: ast.ClassDef) -> str | None:
    """What a class statement says that its name is; None if that is not plain to see."""
    for line in node.body:
        if isinstance(line, ast.AnnAssign) and ast.unparse(line.target) == "name" and line.value is not None:
            found = line.value.value if isinstance(line.value, ast.Constant) else None
            return found if isinstance(found, str) else None
    return None
