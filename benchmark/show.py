"""What ``retain list`` and ``retain show`` print: catalogues, one line an entry or everything about one."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from tabulate import tabulate

from benchmark.backbones import BACKBONES, BackboneSpec, resolve_backbone
from benchmark.catalogue import Entry, all_tasks, broken_tasks
from benchmark.errors import UserError, unknown
from benchmark.layout import WIDTH, fill, unquoted
from benchmark.papers import all_papers, broken_papers
from benchmark.plugins import Broken, Unusable
from benchmark.registry import broken_strategies, strategy_names, strategy_plugin, strategy_summary
from benchmark.show_backbone import backbone_rows
from benchmark.show_paper import paper_page
from benchmark.suite_files import parse_suite, suite_names, suite_text
from results.papers import PAPERS
from tasks.catalogue import PROBES, TASKS
from tasks.sources.archive import DataFiles, HubFiles, LocalFiles
from tasks.spec import ProbeSpec, TaskSpec
from tasks.streams import STREAMS, Scenario, Stream

_SCENARIOS: dict[Scenario, str] = {
    "task-incremental": "predicting is told which task a text is of",
    "domain-incremental": "the same labels on other texts; predicting is not told which task a text is of",
    "class-incremental": "every task brings new labels; predicting is not told which task a text is of, and chooses "
    "among the labels of all tasks so far",
}
"""What a scenario asks of predictions."""


def listing(kind: str) -> str:
    """One line for each suite, stream, task, probe, strategy, backbone or paper; below, plugins that can't be used."""
    rows: dict[str, Callable[[], Iterable[tuple[str, str]]]] = {
        "suites": _suite_lines,
        "streams": lambda: map(_stream_line, STREAMS),
        "tasks": lambda: (_task_line(entry) for entry in all_tasks()),
        "probes": lambda: ((probe.name, probe.description) for probe in PROBES),
        "strategies": lambda: (_strategy_line(name, broken) for name in strategy_names()),
        "backbones": lambda: ((backbone.name, backbone.description) for backbone in BACKBONES),
        "papers": lambda: ((paper.name, paper.title) for paper in all_papers()),
    }
    broken = list({"tasks": broken_tasks, "strategies": broken_strategies, "papers": broken_papers}.get(kind, tuple)())
    lines = [(name, text) for name, text in rows[kind]() if name]
    width = max(len(name) for name, _ in lines) + 2
    indent = " " * width
    told = [fill(name.ljust(width) + text, indent=indent) for name, text in lines]
    return "\n".join(
        told + (["", "can't be used:"] if broken else []) + [fill(f"  {one}", indent="    ") for one in broken]
    )


def describe(name: str) -> str:
    """Everything about whatever has this name; if several things share it, about each.

    A folder or a hub id is a backbone's.

    Raises:
        UserError: nothing has this name, or only a plugin that is broken.
    """
    found: list[str] = []
    if name in suite_names():
        found.append(_suite(name))
    found += [_stream(stream) for stream in STREAMS if stream.name == name]
    found += [task_page(Entry(task)) for task in TASKS if task.name == name]
    found += [_probe(probe) for probe in PROBES if probe.name == name]
    found += [_backbone(backbone) for backbone in BACKBONES if backbone.name == name]
    if name in strategy_names():
        from benchmark.show_strategy import strategy_page

        found.append(strategy_page(name))
    found += [paper_page(paper) for paper in PAPERS if paper.name == name]
    if not found:  # plugins' tasks and papers last, since they must be imported
        found = [task_page(entry) for entry in all_tasks() if entry.spec.name == name]
        found += [paper_page(paper) for paper in all_papers() if paper.name == name]
    if not found and ("/" in name or (Path(name) / "config.json").is_file()):
        found = [_backbone(_model(name))]
    if not found:
        for one in (*broken_strategies(), *broken_tasks(), *broken_papers()):
            if one.plugin.name == name:
                raise Unusable(one)
        named = [item.name for group in (STREAMS, PROBES, BACKBONES) for item in group]
        named += [entry.spec.name for entry in all_tasks()]
        named += [paper.name for paper in all_papers()]
        raise unknown("name", name, [*named, *suite_names(), *strategy_names()])
    return "\n\n\n".join(found)


def _model(name: str) -> BackboneSpec:
    spec = resolve_backbone(name)
    if spec.folder and not (Path(spec.folder) / "config.json").is_file():
        raise UserError(f"{name}: is a folder without a config.json, so it holds no backbone")
    return spec


def _task_line(entry: Entry) -> tuple[str, str]:
    mark = "" if entry.plugin is None else f" [{entry.plugin}]"
    return entry.spec.name, f"{entry.spec.description} ({entry.spec.kind}){mark}"


def _strategy_line(name: str, broken: list[Broken]) -> tuple[str, str]:
    """Name and summary; nothing of a strategy that turns out to be broken, which is noted."""
    plugin = strategy_plugin(name)
    try:
        mark = "" if plugin is None else f" [{plugin}]"
        return name, unquoted(strategy_summary(name)) + mark
    except Unusable as error:
        broken.append(error.broken)
        return "", ""


def _suite_lines() -> Iterable[tuple[str, str]]:
    return ((name, parse_suite(suite_text(name), name)["description"]) for name in suite_names())


def _table(title: str, rows: Iterable[tuple[str, object]]) -> str:
    width = WIDTH - 16
    body = tabulate([(key, _lines(str(value), width)) for key, value in rows if value], tablefmt="plain")
    return f"{title}\n\n{body}"


def _lines(text: str, width: int) -> str:
    return "\n".join(fill(line, width) for line in text.split("\n"))


def _suite(name: str) -> str:
    """Its YAML as it is, to be copied into one's own, but for the length of lines, which means nothing in YAML."""
    lines = [fill(line, indent="  ") if len(line) > WIDTH else line for line in suite_text(name).splitlines()]
    return "\n".join([f"suite {name}", "", *lines])


def _stream_line(stream: Stream) -> tuple[str, str]:
    orders = f", {len(stream.orders) + 1} orders" if stream.orders else ""
    return stream.name, f"{' -> '.join(stream.tasks)} ({stream.scenario}{orders})"


def _stream(stream: Stream) -> str:
    heads = dict.fromkeys(stream.head_of(task) for task in stream.tasks)
    return _table(
        f"stream {stream.name}",
        [
            ("about", stream.description),
            ("order" if not stream.orders else "order 1", " -> ".join(stream.tasks)),
            *((f"order {number}", " -> ".join(order)) for number, order in enumerate(stream.orders, start=2)),
            ("scenario", f"{stream.scenario}: {_SCENARIOS[stream.scenario]}"),
            ("heads" if len(heads) > 1 else "head", ", ".join(heads)),
        ],
    )


def task_page(entry: Entry) -> str:
    """Everything about a task but its rows."""
    task = entry.spec
    return _table(
        f"task {task.name}",
        [
            ("plugin", entry.plugin),
            ("decides", task.description),
            ("kind", task.kind),
            ("examples", _examples(task)),
            ("labels", ", ".join(task.labels)),
            ("metrics", ", ".join(task.metrics)),
            ("main score", f"{task.main}, 0 to 1, larger is better"),
            ("head", task.head_name),
            ("split", task.split),
            ("licence", task.licence),
            ("citation", task.citation),
            *_archive(task.source.archive),
        ],
    )


def _probe(probe: ProbeSpec) -> str:
    return _table(
        f"probe {probe.name}",
        [
            ("measures", probe.description),
            *probe.facts,
            ("licence", probe.licence),
            *_archive(probe.source.archive),
        ],
    )


def _backbone(backbone: BackboneSpec) -> str:
    archives = [row for archive in backbone.archives for row in _archive(archive)]
    return _table(f"backbone {backbone.name}", [*backbone_rows(backbone), *archives])


def _examples(task: TaskSpec) -> str:
    stated = ", ".join(f"{split} {count:,}" for split, count in task.counts.items())
    return (
        f"{stated} (as published; compared when they are read)" if isinstance(task.source.archive, HubFiles) else stated
    )


def _revision(revision: str) -> str:
    if re.fullmatch("[0-9a-f]{40}", revision):
        return revision
    return f"{revision or 'main'}: unpinned, its files may change; records name the commit that it was"


def _archive(archive: DataFiles) -> list[tuple[str, str]]:
    if isinstance(archive, HubFiles):
        return [
            ("from", f"{archive.repo_type}s/{archive.repository} on the model hub (read as data, no code is run)"),
            ("revision", _revision(archive.revision)),
            ("files", "\n".join(archive.files)),
        ]
    if isinstance(archive, LocalFiles):
        return [("files", "\n".join(f"{member.path} (sha256 {member.sha256})" for member in archive.members))]
    if not archive.members:
        return [("from", "its code: nothing is fetched")]
    shared = posixpath.commonpath([posixpath.dirname(member.path) for member in archive.members])
    files = [posixpath.relpath(member.path, shared or ".") for member in archive.members]
    return [
        ("from", f"{archive.filename} on the package index ({archive.size / 1e6:.0f} MB, read as data)"),
        ("sha256", archive.sha256),
        ("folder", shared),
        ("files", "\n".join(files)),
    ]
