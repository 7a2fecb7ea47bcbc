"""The workflows in docs/ can run as they stand: valid, pinned, with few rights, and every command of ours is one."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmark.cli import _parser
from benchmark.suite import Overrides, load_suites
from results.compare_text import MARKER

DOCS = Path(__file__).parents[1] / "docs"
WORKFLOWS = sorted((DOCS / "workflows").glob("*.yml"))
PAGE = (DOCS / "regressions.md").read_text(encoding="utf-8")


def read(path: Path) -> dict[Any, Any]:
    found = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert isinstance(found, dict)
    return found


def steps(path: Path) -> list[dict[str, Any]]:
    return [step for job in read(path)["jobs"].values() for step in job["steps"]]


def scripts() -> list[str]:
    return [step["run"] for path in WORKFLOWS for step in steps(path) if "run" in step]


def commands() -> list[str]:
    """Every command line of ours in the workflows and on the page, without what the shell does with its exit code."""
    lines = [line.strip() for script in scripts() for line in script.splitlines()]
    lines += re.findall(r"^    (retain .+)$", PAGE, flags=re.MULTILINE)
    return [line.split(" || ")[0] for line in lines if line.startswith("retain ")]


def test_there_are_two_and_the_page_names_them() -> None:
    assert [path.name for path in WORKFLOWS] == ["retain-comment.yml", "retain-compare.yml"]
    assert all(f"workflows/{path.name}" in PAGE for path in WORKFLOWS)


def test_the_commands_of_every_kind_are_there() -> None:
    assert {command.split()[1] for command in commands()} == {"fetch", "run", "compare", "track", "bisect-step"}


@pytest.mark.parametrize("command", commands())
def test_every_command_line_is_understood(command: str) -> None:
    options = _parser().parse_args(shlex.split(command)[1:])
    if options.command == "run":
        load_suites(options.suite, Overrides(options.strategies, options.seeds, options.settings, limit=options.limit))


def test_base_and_head_run_the_same() -> None:
    base, head = (line for line in commands() if line.startswith("retain run") and "records/" in line)
    assert base.replace("records/base", "records/head") == head
    assert "retain compare records/base records/head" in " ".join(commands())


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_rights_are_few_and_actions_are_pinned_to_a_commit(path: Path) -> None:
    workflow, text = read(path), path.read_text(encoding="utf-8")
    (trigger,) = workflow[True]  # YAML 1.1 reads the key "on" as true
    writes = {right for right, level in workflow["permissions"].items() if level == "write"}
    assert (trigger, writes) in [("pull_request", set()), ("workflow_run", {"pull-requests"})]
    assert all("permissions" not in job for job in workflow["jobs"].values())
    used = re.findall(r"uses: *(\S+)(.*)", text)
    assert used
    for action, remark in used:
        assert re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", action) and re.fullmatch(r"  # v\d+\.\d+\.\d+", remark)
    if writes:  # what may write runs no code of the pull request
        assert "actions/checkout" not in text and "pip install" not in text
    assert "secrets." not in text


@pytest.mark.parametrize("script", scripts())
def test_scripts_are_bash_and_take_nothing_of_others_into_their_text(script: str) -> None:
    assert "${{" not in script  # a branch may be named "$(rm -rf .)"
    subprocess.run(["bash", "-n"], input=script, text=True, check=True)


def test_the_comment_is_found_by_the_first_line_of_the_comparison() -> None:
    assert f'startswith("{MARKER}")' in (DOCS / "workflows" / "retain-comment.yml").read_text(encoding="utf-8")


def test_the_page_links_to_what_is_there() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", PAGE):
        assert (DOCS / target).exists(), target
