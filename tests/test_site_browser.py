"""The leaderboard in a real browser: sorting, filters, links, keyboard, themes, widths; nothing runs, nothing leaks."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from results.leaderboard.site import write_site
from results.record import load
from results.report import write_report
from tests.browsers import chromium, visit
from tests.results_fixtures import make_run
from tests.site_runs import HOSTILE, site_runs


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    write_site(site_runs(), folder)
    return folder


def short(site: Path) -> str:
    (path,) = (site / "suites").glob("short-*.html")
    return path.as_uri()


def hostile_run(site: Path) -> str:
    return sorted((site / "runs").glob("script-alert-1-script-*.html"))[0].as_uri()


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The folder on a free port of this machine; gives its address."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def ranking(page: Page, title: str) -> Locator:
    return page.locator("section.ranking", has=page.locator("h2", has_text=title)).first


def names(table: Locator) -> list[str]:
    return [text.split("\n")[0] for text in table.locator("tbody:not(.beside) tr:visible th").all_inner_texts()]


def head(table: Locator, text: str) -> Locator:
    return table.locator("thead th", has_text=re.compile(rf"^\s*{text}"))


def test_every_page_loads_without_an_error_and_names_no_other_place(browser: Browser, site: Path) -> None:
    with visit(browser) as visiting:
        one_each = {path.name[:4]: path for path in sorted((site / "runs").glob("*.html"))}
        for path in [site / "index.html", *(site / "suites").iterdir(), *one_each.values()]:
            visiting.page.goto(path.as_uri())
            expect(visiting.page.locator("h1")).to_have_count(1)
            assert visiting.page.evaluate("getComputedStyle(document.body).margin") == "0px"  # the style was allowed
            assert visiting.page.locator("script").count() == 1


def test_columns_sort_both_ways_the_better_end_first(browser: Browser, site: Path) -> None:
    with visit(browser) as visiting:
        visiting.page.goto(short(site))
        table = ranking(visiting.page, "minilm, no examples kept, untuned").locator("table").first
        by_rank = names(table)
        assert by_rank == ["ewc (lam=1000)", "ewc (lam=10)", HOSTILE, "naive dirty tree"]
        for column, first in (("forgetting", "ascending"), ("final average", "descending")):
            head(table, column).get_by_role("button").click()
            expect(head(table, column)).to_have_attribute("aria-sort", first)
            assert names(table) == by_rank
            head(table, column).get_by_role("button").click()
            assert head(table, column).get_attribute("aria-sort") != first
            assert names(table) == by_rank[::-1]
            assert table.locator("thead [aria-sort]").count() == 1
        head(table, "Strategy").get_by_role("button").click()
        assert names(table) == [HOSTILE, "ewc (lam=10)", "ewc (lam=1000)", "naive dirty tree"]
        assert table.locator("tbody.beside th").inner_text().startswith("joint")  # references stay where they are


def test_sorting_puts_what_has_no_value_last_both_ways(browser: Browser, site: Path) -> None:
    with visit(browser) as visiting:
        visiting.page.goto(short(site))
        table = ranking(visiting.page, "minilm, examples kept, untuned").locator("table").first
        for _ in range(2):
            head(table, "final average").get_by_role("button").click()
            assert names(table)[-1].startswith("agem")


def test_filters_hide_rows_and_rankings_and_say_how_many_are_left(browser: Browser, site: Path) -> None:
    with visit(browser) as visiting:
        page = visiting.page
        page.goto(short(site))
        shown, sections = page.locator("#shown"), page.locator("section.ranking:visible")
        expect(sections).to_have_count(4)
        every = int(shown.inner_text().split(" of ")[1].split()[0])
        page.get_by_role("combobox", name="Replay").select_option("examples kept")
        expect(sections).to_have_count(1)
        expect(sections.locator("h2")).to_contain_text("examples kept")
        page.get_by_role("combobox", name="Replay").select_option("no examples kept")
        expect(sections).to_have_count(3)
        page.get_by_role("combobox", name="Backbone").select_option("bert-tiny")
        expect(sections).to_have_count(1)
        page.get_by_role("button", name="Reset").click()
        expect(sections).to_have_count(4)
        expect(shown).to_have_text(f"{every} of {every} rows")
        page.get_by_role("combobox", name="Tuning").select_option("untuned")
        expect(sections).to_have_count(3)
        page.get_by_role("button", name="Reset").click()
        page.get_by_role("searchbox", name="Strategy").fill("REPLAY")
        expect(sections).to_have_count(1)
        expect(shown).to_have_text(f"1 of {every} rows")
        page.get_by_role("searchbox", name="Strategy").fill("<script>")
        expect(sections.locator("tbody tr:visible")).to_have_count(1)


def test_memory_filters_by_what_a_row_keeps(browser: Browser, tmp_path: Path) -> None:
    light, heavy = make_run("light", retention=0.9), make_run("heavy")
    costs = [cost.model_copy(update={"strategy_bytes": 0}) for cost in light.costs]
    write_site([light.model_copy(update={"costs": costs}), heavy], tmp_path)  # heavy keeps 2 MiB
    with visit(browser) as visiting:
        for path in (next((tmp_path / "suites").iterdir()), tmp_path / "index.html"):
            visiting.page.goto(path.as_uri())
            rows = visiting.page.locator("tr[data-item]:visible")
            everything = rows.count()
            visiting.page.get_by_role("combobox", name="Memory of the strategy").select_option("up to 1 MiB")
            expect(rows).to_have_count(1)
            expect(rows).to_contain_text("light")
            visiting.page.get_by_role("combobox", name="Memory of the strategy").select_option("up to 100 MiB")
            expect(rows).to_have_count(everything)


def test_the_first_page_filters_and_leads_to_a_ranking_and_on_to_a_run(browser: Browser, site: Path) -> None:
    with visit(browser) as visiting:
        page = visiting.page
        page.goto((site / "index.html").as_uri())
        rows = page.locator("tr[data-item]:visible")
        expect(rows).to_have_count(5)
        page.get_by_role("combobox", name="Scenario").select_option("class-incremental")
        expect(rows).to_have_count(1)
        page.get_by_role("button", name="Reset").click()
        page.get_by_role("combobox", name="Replay").select_option("examples kept")
        expect(rows).to_have_count(1)
        rows.get_by_role("link").click()
        assert page.url.startswith(short(site)) and "#" in page.url
        page.get_by_role("link", name="Run of replay, seed 1").click()
        expect(page.locator("h1")).to_contain_text("replay seed 1")
        page.get_by_role("link", name="short", exact=True).click()
        assert page.url == short(site)


def test_a_script_in_a_name_stays_text_everywhere(browser: Browser, site: Path) -> None:
    with visit(browser) as visiting:  # fails if a dialog opens
        page = visiting.page
        page.goto(short(site))
        assert page.locator("tbody th", has_text=HOSTILE).count() >= 1
        assert page.locator("svg text", has_text="<scrip").count() >= 1
        assert page.locator("svg title", has_text=HOSTILE).count() >= 1
        page.get_by_text("1 failed run").click()
        expect(page.get_by_text(f"died of {HOSTILE}")).to_be_visible()
        page.goto(hostile_run(site))
        expect(page.locator("h1")).to_contain_text(HOSTILE)
        assert HOSTILE in page.title()


def test_a_run_s_record_downloads_whole(browser: Browser, site: Path, tmp_path: Path) -> None:
    with served(site) as address, visit(browser, allowed=address) as visiting:  # files of a disk open instead
        visiting.page.goto(f"{address}/{Path(urlsplit(hostile_run(site)).path).relative_to(site)}")
        with visiting.page.expect_download() as download:
            visiting.page.get_by_role("link", name="Download the record").click()
        download.value.save_as(tmp_path / "got.json")
        assert load(tmp_path / "got.json").strategy == HOSTILE
        assert download.value.suggested_filename.startswith("script-alert-1-script-seed0-")


def test_everything_works_from_the_keyboard(browser: Browser, site: Path) -> None:
    with visit(browser) as visiting:
        page = visiting.page
        page.goto(short(site))
        page.keyboard.press("Tab")
        expect(page.locator(".skip")).to_be_focused()
        expect(page.locator(".skip")).to_be_in_viewport()
        page.keyboard.press("Enter")
        expect(page.locator("main")).to_be_focused()
        table = ranking(page, "minilm, examples kept, untuned").locator("table").first
        button = head(table, "Strategy").get_by_role("button")
        button.focus()
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Tab")
        expect(button).to_be_focused()
        assert button.evaluate("one => getComputedStyle(one).outlineStyle") == "solid"
        page.keyboard.press("Enter")
        expect(head(table, "Strategy")).to_have_attribute("aria-sort", "ascending")
        page.keyboard.press("Space")
        expect(head(table, "Strategy")).to_have_attribute("aria-sort", "descending")


@pytest.mark.parametrize("dark", [False, True])
def test_the_theme_follows_the_system_until_it_is_chosen_and_is_kept(browser: Browser, site: Path, dark: bool) -> None:
    def is_dark() -> bool:
        red: int = page.evaluate("Number(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0])")
        return red < 128

    with visit(browser, dark=dark) as visiting:
        page = visiting.page
        page.goto((site / "index.html").as_uri())
        assert is_dark() == dark
        page.get_by_role("button", name=f"Switch to {'light' if dark else 'dark'} colours").click()
        assert is_dark() != dark
        page.goto(short(site))
        assert is_dark() != dark


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_no_page_is_wider_than_the_screen(browser: Browser, site: Path, width: int) -> None:
    with visit(browser, width=width) as visiting:
        for path in [site / "index.html", *(site / "suites").iterdir()]:
            visiting.page.goto(path.as_uri())
            assert visiting.page.evaluate("document.documentElement.scrollWidth") <= width, path
        visiting.page.goto(hostile_run(site))
        assert visiting.page.evaluate("document.documentElement.scrollWidth") <= width


def test_without_scripts_everything_is_there(browser: Browser, site: Path) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(short(site))
    expect(page.locator("section.ranking:visible")).to_have_count(4)
    expect(page.locator("#filters")).to_be_hidden()
    expect(page.locator("#theme")).to_be_hidden()
    context.close()


def test_the_report_is_one_page_that_works_alone(browser: Browser, tmp_path: Path) -> None:
    write_report([make_run(HOSTILE, retention=0.9), make_run("naive", retention=0.2)], tmp_path / "report")
    alone = tmp_path / "report.html"
    (tmp_path / "report/report.html").rename(alone)
    with visit(browser, width=390) as visiting:
        page = visiting.page
        page.goto(alone.as_uri())
        table = page.locator("table").first
        assert sorted(names(table)) == [HOSTILE, "naive"]
        head(table, "forgetting").get_by_role("button").click()
        assert names(table) == [HOSTILE, "naive"]
        head(table, "forgetting").get_by_role("button").click()
        assert names(table) == ["naive", HOSTILE]
        assert page.locator("figure svg").count() >= 4
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
