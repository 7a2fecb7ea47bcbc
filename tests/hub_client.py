"""A process that fetches from the hub what it is told to on its standard input, one JSON object a line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.hub_server import ROOT, environment


class Client:
    """The other end of such a process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def __call__(self, name: str, *files: str, revision: str = "", **settings: str) -> Any:
        """What came of fetching files of ``models/ID`` or ``datasets/ID``: folder or error, and what was said."""
        assert self.process.stdin is not None and self.process.stdout is not None
        order = {"name": name, "files": files, "revision": revision, "settings": settings}
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        answer = json.loads(self.process.stdout.readline())
        assert "\n" not in answer.get("error", "") and not any("\n" in line for line in answer["said"])
        return answer


@contextmanager
def client(url: str, cache: Path, **settings: str) -> Iterator[Client]:
    """Runs such a process; in the end it must have said nothing on its own, nor asked anything of another machine."""
    command = [sys.executable, "-m", "tests.hub_client"]
    process = subprocess.Popen(
        command,
        env=environment(url, cache, **settings),
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        yield Client(process)
    finally:
        _, said = process.communicate(timeout=60)
    assert process.returncode == 0 and not said, said


def fetch(name: str, files: list[str], revision: str) -> dict[str, Any]:
    from benchmark import hub
    from benchmark.errors import UserError
    from tasks.sources.archive import HubFiles

    kind, _, repository = name.partition("/")
    said: list[str] = []
    try:
        if kind == "models":
            folder = hub.fetch_from_hub(repository, revision, report=said.append)
        else:
            folder = hub.fetch_files(HubFiles(repository, revision, tuple(files)), report=said.append)
    except UserError as error:
        return {"error": str(error), "said": said}
    return {"folder": str(folder), "commit": hub.commit_of(folder), "said": said}


if __name__ == "__main__":
    for line in sys.stdin:
        order = json.loads(line)
        os.environ.update(order["settings"])
        sys.stdout.write(json.dumps(fetch(order["name"], order["files"], order["revision"])) + "\n")
        sys.stdout.flush()
        for setting in order["settings"]:
            del os.environ[setting]
