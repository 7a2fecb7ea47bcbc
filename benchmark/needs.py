"""The files that a suite needs, and the folders that hold them: fetched, converted, or the user's own."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from benchmark import fetch, hub
from benchmark.backbones import BackboneSpec
from benchmark.convert import dequantised
from benchmark.onnx_weights import converted
from benchmark.own_files import check_unchanged
from benchmark.suite import Suite
from tasks.sources.archive import Archive, DataFiles, HubFiles, LocalFiles

Say = Callable[[str], None]


def needed_archives(suite: Suite) -> list[DataFiles]:
    """All files that the suite reads, but for those of a backbone that is no archive."""
    files = [plan.spec.source.archive for plan in suite.tasks] + [probe.source.archive for probe in suite.probes]
    return files + list(suite.backbone.archives)


def fetch_needed(suite: Suite, say: Say) -> list[Path]:
    """Fetches everything that the suite needs; the folders that it is kept in.

    Raises:
        UserError: some of it can't be had.
    """
    located = locate(needed_archives(suite), say)
    folder = backbone_folder(suite.backbone, say)
    kept = [fetch.cache_folder()] if any(isinstance(files, Archive) for files in located) else []
    if suite.backbone.folder:
        kept.append(folder)
    return kept + ([hub.cache_folder()] if hub_commits(located, suite.backbone, folder) else [])


def locate(needed: Collection[DataFiles], say: Say) -> dict[DataFiles, Path]:
    """The folders that hold these files, fetched unless they are cached.

    Raises:
        UserError: some can't be had.
    """
    archives = [files for files in needed if isinstance(files, Archive)]
    located: dict[DataFiles, Path] = dict(zip(archives, fetch.fetch_all(archives, report=say), strict=True))
    return located | {files: folder_of(files, say) for files in needed if files not in located}


def folder_of(files: DataFiles, say: Say) -> Path:
    """The folder that holds the files at their paths; their type decides how they are had.

    Raises:
        UserError: they can't be fetched, or files of the user's own are gone or have changed.
    """
    match files:
        case Archive():
            return fetch.fetch(files, report=say)
        case HubFiles():
            return hub.fetch_files(files, report=say)
        case LocalFiles():
            return check_unchanged(files)


def hub_commits(located: Mapping[DataFiles, Path], backbone: BackboneSpec, folder: Path) -> dict[str, str]:
    """What was asked of the hub -> the commit that it was: see `results.record.Provenance.hub`."""
    asked = {
        f"{files.repo_type}s/{files.repository}@{files.revision}": hub.commit_of(at)
        for files, at in located.items()
        if isinstance(files, HubFiles)
    }
    if backbone.hub:
        asked[f"models/{backbone.hub}@{backbone.revision or 'main'}"] = hub.commit_of(folder)
    return dict(sorted(asked.items()))


def backbone_folder(spec: BackboneSpec, say: Say) -> Path:
    """Folder with the backbone's files, fetched unless it is there."""
    if spec.onnx is not None:
        return converted(spec, say)
    if spec.archive is not None:
        folder = fetch.fetch(spec.archive, report=say) / spec.archive_folder
        return dequantised(folder / spec.gguf, spec.gguf_weights, report=say) if spec.gguf else folder
    return hub.fetch_from_hub(spec.hub, spec.revision, report=say) if spec.hub else Path(spec.folder)
