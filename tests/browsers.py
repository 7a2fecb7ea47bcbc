"""A real browser for tests of pages: Debian's Chromium, cut off from everything but files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Dialog, Page, Route, sync_playwright

CHROMIUM = shutil.which("chromium") or "/usr/bin/chromium"


@contextmanager
def chromium() -> Iterator[Browser]:
    """Starts it; without one skips the tests that need it, but not in CI, where that would hide them."""
    if not Path(CHROMIUM).exists():
        if "CI" in os.environ:
            pytest.fail(f"no Chromium at {CHROMIUM}: install it (apt-get install chromium)")
        pytest.skip(f"no Chromium at {CHROMIUM}: install it (apt-get install chromium) to test pages")
    with sync_playwright() as playwright:
        # A container's root has no sandbox; pages of tests are our own.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Visit:
    """A page with what went wrong in it.

    Attributes:
        page: Playwright's.
        complaints: Errors and warnings of the console, scripts that failed, dialogs that opened.
        outside: Requests for anything but what is allowed.
    """

    page: Page
    complaints: list[str] = field(default_factory=list)
    outside: list[str] = field(default_factory=list)


@contextmanager
def visit(browser: Browser, width: int = 1280, dark: bool = False, allowed: str = "file://") -> Iterator[Visit]:
    """A fresh profile, at the end of which nothing may have gone wrong nor asked for what does not begin as allowed."""
    context = browser.new_context(
        viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light", accept_downloads=True
    )
    context.set_default_timeout(10_000)
    visiting = Visit(context.new_page())

    def only_allowed(route: Route) -> None:
        if route.request.url.startswith((allowed, "data:")):
            route.continue_()
        else:
            visiting.outside.append(route.request.url)
            route.abort()

    def dismissed(dialog: Dialog) -> None:
        visiting.complaints.append(f"dialog: {dialog.message}")
        dialog.dismiss()

    def noted(message: ConsoleMessage) -> None:
        if message.type != "log":
            visiting.complaints.append(message.text)

    context.route("**/*", only_allowed)
    visiting.page.on("console", noted)
    visiting.page.on("pageerror", lambda error: visiting.complaints.append(str(error)))
    visiting.page.on("dialog", dismissed)
    try:
        yield visiting
        assert visiting.complaints == []
        assert visiting.outside == []
    finally:
        context.close()
