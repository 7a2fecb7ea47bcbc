"""Lets a project's tests hold its own strategies to the contract. Imports nothing heavy until a test asks for it.

In ``pyproject.toml``::

    [tool.pytest.ini_options]
    addopts = "-p benchmark.pytest_plugin"
    retain_strategies = ["my_package.my_strategy:MyStrategy"]

and in a test module ``def test_conforms(conformance_check): conformance_check()``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declares which strategies are checked."""
    text = "strategies that conformance_check checks, as package.module:Class"
    parser.addini("retain_strategies", text, type="linelist", default=[])
    help_text = "check strategies on the fast problem only"
    parser.getgroup("retain").addoption("--retain-fast", action="store_true", help=help_text)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Makes a test of every check of every strategy, where a test asks for ``conformance_check``."""
    if "conformance_check" not in metafunc.fixturenames:
        return
    from pytest import UsageError

    from benchmark.conformance.command import find
    from benchmark.conformance.core import PROBLEMS
    from benchmark.conformance.suite import conformance_cases

    names = metafunc.config.getini("retain_strategies")
    if not names:
        raise UsageError("conformance_check checks the strategies in retain_strategies of pytest's settings: name some")
    strategies = [find(name) for name in names]
    problems = PROBLEMS[:1] if metafunc.config.getoption("--retain-fast") else PROBLEMS
    metafunc.parametrize("conformance_check", conformance_cases(strategies, problems))
