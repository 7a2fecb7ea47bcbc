"""The YAML of a task of the user's own: its keys, validated."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from benchmark.errors import UserError, unknown
from benchmark.registry import plain, shown
from benchmark.suite_files import parse_yaml
from tasks.sources.own import OwnKind
from tasks.sources.tables import Format

NEEDED = "description, kind, data"
"""Keys that every task has."""


def _listed(value: object) -> object:
    return [value] if isinstance(value, str) else value


def _text_of(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _settings(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


Paths = Annotated[list[Annotated[str, Field(min_length=1)]], BeforeValidator(_listed), Field(min_length=1)]
Label = str | bool | int | float


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DataSettings(_Strict):
    """Where the rows are, and how their files are written."""

    train: Paths
    """File or files, from the folder of the YAML on; of a hub repository, paths in it, which may have ``*``."""
    hub: str | None = None
    """``org/name`` of a data set on the hub, or ``org/name@revision``; None if the files are local."""
    test: Paths | None = None
    validation: Paths | None = None
    test_share: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Instead of `test`: the share of the train files' rows that becomes the test split."""
    format: Format | None = None
    """Default: what each file's suffix stands for."""
    separator: Annotated[str, Field(min_length=1, max_length=1)] | None = None
    quotes: bool = True
    encoding: str = "utf-8"
    comment: str = ""
    missing: Literal["refuse", "skip"] = "refuse"


class MetricSettings(_Strict):
    """A metric that `evaluate` has with settings."""

    name: str
    average: str | None = None


class OwnTaskFile(_Strict):
    """A task as written in YAML."""

    description: str
    kind: OwnKind
    data: DataSettings
    name: str | None = None
    """Default: the file's name without its suffix."""
    columns: dict[str, Annotated[str, BeforeValidator(_text_of)]] = {}
    labels: list[Label] | dict[str, str] | None = None
    metrics: Annotated[list[Annotated[MetricSettings, BeforeValidator(_settings)]], Field(min_length=1)] | None = None
    main: str | None = None
    licence: str = "not stated"
    citation: str = "not stated"


def read_task_file(path: Path, title: str) -> OwnTaskFile:
    """Reads and validates a task's file.

    Args:
        path: Of the file.
        title: What it is, for errors.

    Raises:
        UserError: it can't be read, is not YAML, or has a key or a value that is none.
    """
    raw = parse_yaml(_text(path, title), title, NEEDED)
    if "strategies" in raw:
        raise UserError(f"{title}: is a suite, not a task; retain run {path.name} --dry-run tells what it would do")
    try:
        return OwnTaskFile.model_validate_json(json.dumps(raw), strict=True)
    except ValidationError as error:
        raise _explain(error, title) from error


def _text(path: Path, title: str) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{title}: cannot be read: {error.strerror} ({path})") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{title}: is not UTF-8: save it in that encoding") from error
    except ValueError as error:  # a NUL, or half of a character
        raise UserError(f"task {ascii(path.name)}: can't be the name of a file") from error


def _explain(error: ValidationError, title: str) -> UserError:
    """The first thing wrong, as one line with the nearest known name where a name is unknown."""
    # A misspelt key is two mistakes, one that is unknown and one that is missing: the first can be mended.
    first = next((one for one in error.errors() if one["type"] == "extra_forbidden"), error.errors()[0])
    path = [str(part) for part in first["loc"] if not re.match(r"(list|dict)\[", str(part))]
    if first["type"] == "extra_forbidden":
        inside_of: dict[str, type[_Strict]] = {"data": DataSettings, "metrics": MetricSettings}
        inner = inside_of.get(path[0] if len(path) > 1 else "", OwnTaskFile)
        inside = f" in {path[0]}" if len(path) > 1 else ""
        return UserError(f"{title}: {unknown(f'key{inside}', path[-1], inner.model_fields)}")
    if first["type"] == "missing":
        return UserError(f"{title}: {'.'.join(path)} is missing; a task needs {NEEDED} (with data.train)")
    return UserError(f"{title}: {'.'.join(path)} is {shown(first['input'])}: {plain(first['msg'])}")
