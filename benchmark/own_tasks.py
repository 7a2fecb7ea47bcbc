"""A task of the user's own: a YAML of a few lines over files of theirs, validated, as an entry of the catalogue."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmark.errors import UserError, unknown
from benchmark.own_files import file_hashes, files_of, told
from benchmark.own_task_file import MetricSettings, OwnTaskFile, read_task_file
from tasks.catalogue import PROBES, TASKS
from tasks.sources.archive import HubFiles, LocalFiles
from tasks.sources.base import SourceError
from tasks.sources.own import COLUMNS, OPTIONAL, OwnKind, OwnTable, label_text, labels_of
from tasks.sources.tables import Dialect
from tasks.spec import TaskSpec

SUFFIXES = (".yaml", ".yml")
"""Of the files that define tasks and suites."""
METRICS: dict[OwnKind, tuple[str, ...]] = {
    "sequence": ("accuracy", "macro_f1"),
    "pair": ("accuracy", "macro_f1"),
    "token": ("entity_f1",),
    "span": ("squad_v1",),
}
"""What is measured where a task does not say; the first score of the first is the main one."""


def is_own(name: str) -> bool:
    """Whether a name in a stream is the path of a task's file."""
    return name.lower().endswith(SUFFIXES)


def own_task(path: Path) -> TaskSpec:
    """Reads a task's file and checks all that it says; its labels come from the data where it names none.

    Raises:
        UserError: the file, or what it names, can't be used.
    """
    title = f"task {path.name}"
    file = read_task_file(path, title)
    name = _name(file.name or path.stem, title, "name" if file.name else "file")
    source = _source(file, path.parent.resolve(), title)
    metrics, main = _metrics(file, title)
    labels = _labels(file, source, title)
    if "entity_f1" in metrics and (odd := [label for label in labels if not re.fullmatch("O|[BI]-.+", label)]):
        raise UserError(
            f"{title}: metric entity_f1 needs tags of the BIO scheme (O, B-TYPE, I-TYPE), and '{odd[0]}' is none; "
            f"for other tags take another of {', '.join(_fitting(file.kind))}"
        )
    return TaskSpec(
        name=name,
        kind=file.kind,
        description=file.description,
        source=source,
        counts={},
        split=_split(file),
        licence=file.licence,
        citation=file.citation,
        metrics=metrics,
        main=main,
        labels=labels,
        validation="validation" if file.data.validation else None,
    )


def definition(spec: TaskSpec) -> dict[str, object]:
    """What a record's settings say of a task of the user's own, whose name alone says nothing; nothing of others."""
    if not isinstance(spec.source, OwnTable):
        return {}
    source = spec.source
    described: dict[str, object] = {
        "kind": spec.kind,
        "labels": list(spec.labels),
        "metrics": list(spec.metrics),
        "main": spec.main,
        "columns": dict(source.columns),
        "class_names": dict(source.names),
        "dialect": asdict(source.dialect),
        "missing": "skip" if source.skip_missing else "refuse",
        "test_share": source.test_share,
    }
    names = told(path for paths in source.files.values() for path in paths)
    described["splits"] = {split: [names[path] for path in paths] for split, paths in source.files.items()}
    if isinstance(source.archive, HubFiles):
        described["hub"] = f"{source.archive.repository}@{source.archive.revision}"
    return {"definition": {**described, "files": file_hashes(spec)}}


def adopt(raw: dict[str, Any], folder: Path) -> list[TaskSpec]:
    """The tasks that a suite names by their files; in the suite's keys their names take the files' place.

    Args:
        raw: A suite as read; its stream may be a list of tasks, or a mapping that has one.
        folder: That paths start from.

    Raises:
        UserError: a file can't be used, or two tasks have one name.
    """
    found: dict[str, TaskSpec] = {}

    def named(value: object) -> object:
        if isinstance(value, list):
            return [named(part) for part in value]
        if isinstance(value, Mapping):
            return {key: named(part) for key, part in value.items()}
        if not isinstance(value, str) or not is_own(value):
            return value
        if value not in found:
            path = Path(value)
            with contextlib.suppress(RuntimeError):  # ~somebody who is no user here
                path = path.expanduser()
            spec = own_task(folder / path)
            for other, known in found.items():
                if known.name == spec.name:
                    raise UserError(f"tasks {other} and {value} are both named '{spec.name}': give one a 'name'")
            found[value] = spec
        return found[value].name

    stream = raw.get("stream")
    if isinstance(stream, str) and is_own(stream):
        raise UserError(f"stream {stream} is one task: write a list, as in stream: [{stream}, bbc_news]")
    raw["stream"] = named(stream)
    return list(found.values())


def anchored(stream: object, folder: Path) -> object:
    """A suite's stream with the files of tasks in it named from the root, so that the suite may lie anywhere."""
    if isinstance(stream, list):
        return [anchored(part, folder) for part in stream]
    if isinstance(stream, Mapping):
        return {key: anchored(part, folder) for key, part in stream.items()}
    if not isinstance(stream, str) or not is_own(stream):
        return stream
    path = Path(stream)
    with contextlib.suppress(RuntimeError):  # ~somebody who is no user here
        path = path.expanduser()
    return str((folder / path).resolve())


def _name(name: str, title: str, where: str) -> str:
    if not re.fullmatch(r"[\w-]+", name, re.ASCII):
        raise UserError(
            f"{title}: the {where} '{name}' can't name a task: letters, digits, _ and - only; set another as 'name'"
        )
    if name in {spec.name for group in (TASKS, PROBES) for spec in group}:
        raise UserError(f"{title}: a shipped task or probe is named '{name}': set another as 'name'")
    return name


def _source(file: OwnTaskFile, folder: Path, title: str) -> OwnTable:
    data = file.data
    if (data.test is None) == (data.test_share is None):
        wrong = "both test and test_share are" if data.test else "neither test nor test_share is"
        raise UserError(
            f"{title}: {wrong} given in data: name the file of the test split, or a share such as test_share: 0.2"
        )
    try:
        "".encode(data.encoding)
    except (LookupError, ValueError) as error:
        raise UserError(f"{title}: data.encoding is {data.encoding!a}, which Python does not know") from error
    dialect = Dialect(data.format, data.separator, data.quotes, data.encoding, data.comment)
    splits = {"train": data.train, "test": data.test, "validation": data.validation}
    files = {name: tuple(paths) for name, paths in splits.items() if paths}
    return OwnTable(
        archive=files_of(data.hub, files, folder, title),
        kind=file.kind,
        files=files,
        columns=_columns(file, title),
        dialect=dialect,
        names=_class_names(file, title),
        labels=_given_labels(file, title),
        test_share=data.test_share,
        skip_missing=data.missing == "skip",
    )


def _columns(file: OwnTaskFile, title: str) -> dict[str, str]:
    needed, optional = COLUMNS[file.kind], OPTIONAL[file.kind]
    for role in file.columns:
        if role not in (*needed, *optional):
            raise UserError(f"{title}: {unknown(f'column of a {file.kind} task', role, [*needed, *optional])}")
    given = file.columns
    return {role: given.get(role, role) for role in needed} | {role: given[role] for role in optional if role in given}


def _class_names(file: OwnTaskFile, title: str) -> dict[str, str]:
    """Names of class numbers, where the labels are given as such."""
    names = file.labels if isinstance(file.labels, dict) else {}
    if len(set(names.values())) < len(names):
        raise UserError(f"{title}: labels: two numbers have the same name")
    return dict(names)


def _given_labels(file: OwnTaskFile, title: str) -> tuple[str, ...]:
    if file.labels is None:
        return ()
    if file.kind == "span":
        raise UserError(f"{title}: a span task has no labels: leave them out")
    given = file.labels.values() if isinstance(file.labels, dict) else file.labels
    labels = tuple(label_text(label) for label in given)
    for label in labels:
        if not label or labels.count(label) > 1:
            raise UserError(f"{title}: labels: {f'{label} is in it twice' if label else 'one of them is empty'}")
    return labels


def _labels(file: OwnTaskFile, source: OwnTable, title: str) -> tuple[str, ...]:
    """The labels given, or else all that the data has, sorted."""
    labels = source.labels
    if not labels and file.kind != "span":
        if not isinstance(source.archive, LocalFiles):
            raise UserError(
                f"{title}: labels is missing: those of data on the hub must be listed, as in labels: [a, b]"
            )
        try:
            splits = source.read(Path(source.archive.folder))
        except SourceError as error:
            raise UserError(f"{title}: {error}") from error
        labels = sorted_labels({label for rows in splits.values() for row in rows for label in labels_of(row)})
    if file.kind != "span" and len(labels) < 2:
        raise UserError(f"{title}: has one label only ('{labels[0]}'): there is nothing to decide")
    return labels


def sorted_labels(labels: set[str]) -> tuple[str, ...]:
    """Labels in an order that does not depend on the rows': numbers by value, tags by type, O first, else as texts."""
    if all(re.fullmatch(r"-?\d+(\.\d+)?", label, re.ASCII) for label in labels):
        return tuple(sorted(labels, key=float))
    if all(re.fullmatch("O|[BI]-.+", label) for label in labels):
        return tuple(sorted(labels, key=lambda tag: (tag[2:], tag)))
    return tuple(sorted(labels))


def _metrics(file: OwnTaskFile, title: str) -> tuple[tuple[str, ...], str]:
    """Names of the metrics here, and of the main score.

    Raises:
        UserError: one is unknown, does not fit the kind, or gives no such score.
    """
    from tasks.metrics import METRICS as KNOWN  # imported late: it takes seconds

    wanted = file.metrics or [MetricSettings(name=name) for name in METRICS[file.kind]]
    names = [_metric(metric.name, metric.average, file.kind, title) for metric in wanted]
    if len(set(names)) < len(names):
        raise UserError(f"{title}: metrics: one is in it twice")
    scores = [score for name in names for score in KNOWN[name].scores]
    signed = {score for name in names for score in KNOWN[name].signed}
    main = file.main or scores[0]
    if main not in scores:
        raise UserError(f"{title}: {unknown('main score', main, [score for score in scores if score not in signed])}")
    if main in signed:
        raise UserError(f"{title}: main score {main} can be below 0, and must be in [0, 1]: take {scores[0]}")
    return tuple(names), main


def _metric(name: str, average: str | None, kind: OwnKind, title: str) -> str:
    """The name here of a metric that `evaluate` has, with what it sets."""
    from tasks.metrics import AVERAGED, SAME

    fitting = _fitting(kind)
    if name in AVERAGED and kind in ("sequence", "pair"):
        if average not in AVERAGED[name]:
            known = ", ".join(AVERAGED[name])
            raise UserError(
                f"{title}: metric {name} needs an average, as in metrics: [{{name: {name}, average: macro}}]; "
                f"there is {known}"
            )
        return AVERAGED[name][average]
    if average is not None:
        raise UserError(f"{title}: metric {name} has no average; those that have are {', '.join(AVERAGED)}")
    found = SAME.get(name, name)
    if found not in fitting:
        raise UserError(
            f"{title}: {unknown(f'metric of a {kind} task', name, [*fitting, *AVERAGED])} "
            "Only metrics that come with retain are computed: the others of evaluate are programs on the hub"
        )
    return found


def _fitting(kind: OwnKind) -> list[str]:
    from tasks.metrics import fitting

    return fitting(kind)


def _split(file: OwnTaskFile) -> str:
    data = file.data
    if data.test_share is not None:
        kept = "passages kept together" if file.kind == "span" else "by hash of the text"
        apart = ", stratified" if file.kind in ("sequence", "pair") else ""
        return f"own split, test share {data.test_share:g}, {kept}{apart}, after removing duplicates"
    names = {"train": data.train, "test": data.test or []}
    shown = told(path for paths in (data.train, data.test or [], data.validation or []) for path in paths)
    return f"{f'files of {data.hub}' if data.hub else 'own files'}: " + ", ".join(
        f"{split} {' + '.join(shown[path] for path in paths)}" for split, paths in names.items()
    )
