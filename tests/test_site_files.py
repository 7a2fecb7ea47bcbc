"""The leaderboard as files: links resolve, names stay text, nothing foreign is touched, no page is half written."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from results.leaderboard import site
from results.leaderboard.board import leaderboard
from results.leaderboard.pages import POLICY, index_html
from results.leaderboard.site import MARK, check_folder, write_site
from results.record import RecordError, Run, load
from tests.command import Retain, caller, is_one_line
from tests.results_fixtures import make_run
from tests.site_runs import HOSTILE, QUOTES, site_runs


class Page(HTMLParser):
    """What a browser would make of a page: elements with their attributes, ids, links and text."""

    def __init__(self, path: Path) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def values(self, attribute: str) -> list[str]:
        return [value for _, found in self.elements if (value := found.get(attribute)) is not None]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    write_site(site_runs(), folder)
    return folder


@pytest.fixture(scope="module")
def pages(built: Path) -> dict[Path, Page]:
    return {path: Page(path) for path in sorted(built.rglob("*.html"))}


@pytest.fixture
def retain(capsys: pytest.CaptureFixture[str]) -> Retain:
    return caller(capsys)


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


def links(pages: dict[Path, Page]) -> Iterator[tuple[Path, str]]:
    for path, page in pages.items():
        yield from ((path, link) for name in ("href", "src") for link in page.values(name))


def test_every_run_has_a_page_and_a_record_that_loads_to_the_same(built: Path) -> None:
    records = [load(path) for path in (built / "runs").glob("*.json")]
    assert sorted(run.model_dump_json() for run in records) == sorted(run.model_dump_json() for run in site_runs())
    assert {path.stem for path in (built / "runs").glob("*.html")} == {
        path.stem for path in (built / "runs").glob("*.json")
    }


def test_every_link_leads_to_a_file_of_the_site_and_every_anchor_exists(built: Path, pages: dict[Path, Page]) -> None:
    seen = set()
    for path, link in links(pages):
        parts = urlsplit(link)
        if parts.scheme == "data":
            assert link == "data:,"
            continue
        assert not parts.scheme and not parts.netloc and not parts.query
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        assert target.is_file() and target.is_relative_to(built.resolve()), (path, link)
        if parts.fragment:
            assert parts.fragment in pages[target].values("id"), (path, link)
        seen.add(target)
    assert seen == {path.resolve() for path in built.rglob("*") if path.is_file() and path.name != MARK}


def test_no_id_stands_twice_in_a_page_and_every_reference_by_id_has_one(pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        ids = page.values("id")
        assert len(ids) == len(set(ids)), path
        named = [*page.values("aria-labelledby"), *page.values("for")]
        drawn = [match for value in page.values("clip-path") for match in re.findall(r"url\(#([^)]+)\)", value)]
        assert set(named) | set(drawn) <= set(ids), path


def test_pages_forbid_all_that_is_not_beside_them_and_need_nothing_else(pages: dict[Path, Page]) -> None:
    for page in pages.values():
        (policy,) = [found["content"] for tag, found in page.elements if found.get("http-equiv")]
        assert policy == POLICY and "unsafe" not in POLICY
        names = {name for _, found in page.elements for name in found}
        assert "style" not in names and not [name for name in names if name.startswith("on")]
        assert [found.get("src") for tag, found in page.elements if tag == "script"] in (
            ["assets/board.js"],
            ["../assets/board.js"],
        )
        assert "style" not in [tag for tag, _ in page.elements]


@pytest.mark.parametrize("name", [HOSTILE, QUOTES])
def test_a_hostile_name_is_text_wherever_it_stands(name: str, pages: dict[Path, Page], built: Path) -> None:
    holding = [
        path for path, page in pages.items() if name in "".join(page.text) or name in page.values("data-strategy")
    ]
    assert {path.parent.name for path in holding} >= {"suites", "runs"}
    assert all(HOSTILE not in path.read_text(encoding="utf-8") for path in pages)
    assert not [file for file in contents(built) if re.search(r"[^a-z0-9./-]", file)]


def test_tables_have_captions_and_every_head_says_what_it_is_of(pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        tags = [tag for tag, _ in page.elements]
        assert tags.count("table") == tags.count("caption"), path
        assert all(found.get("scope") in ("col", "row") for tag, found in page.elements if tag == "th"), path
        assert tags.count("h1") == tags.count("main") == 1
        assert ("a", {"class": "skip", "href": "#content"}) in page.elements


def test_the_same_records_give_the_same_bytes(built: Path, tmp_path: Path) -> None:
    write_site(site_runs()[::-1], tmp_path)
    assert contents(tmp_path) == contents(built)


def test_pages_of_runs_that_are_gone_go_and_files_of_others_stay(tmp_path: Path) -> None:
    runs = [make_run("naive"), make_run("ewc")]
    write_site(runs, tmp_path)
    (tmp_path / "CNAME").write_text("board.example", encoding="utf-8")
    (tmp_path / "runs/notes.html").write_text("mine", encoding="utf-8")
    write_site(runs[:1], tmp_path)
    left = {name for name in contents(tmp_path) if name.startswith("runs/")}
    assert len(left) == 3 and "runs/notes.html" in left
    assert (tmp_path / "CNAME").read_text(encoding="utf-8") == "board.example"
    assert Page(tmp_path / "index.html").text


@pytest.mark.parametrize("inside", ["notes.txt", ".git/config"])
def test_a_folder_that_holds_something_else_is_refused_in_one_line(inside: str, retain: Retain, tmp_path: Path) -> None:
    record, out = tmp_path / "run.json", tmp_path / "out"
    make_run().save(record)
    (out / inside).parent.mkdir(parents=True)
    (out / inside).write_text("mine", encoding="utf-8")
    before = contents(tmp_path)
    code, printed, said = retain("leaderboard", record, "--out", out)
    assert (code, printed) == (2, "") and is_one_line(said)
    assert "holds files, but no leaderboard" in said
    assert contents(tmp_path) == before


@pytest.mark.parametrize("damage", ["{", "[]", '{"made_by": "x"}', "\x00"])
def test_a_damaged_list_of_files_is_refused(damage: str, tmp_path: Path) -> None:
    (tmp_path / MARK).write_text(damage, encoding="utf-8")
    with pytest.raises(RecordError, match="is damaged"):
        check_folder(tmp_path)


def test_a_list_that_names_files_elsewhere_deletes_none_of_them(tmp_path: Path) -> None:
    out, other = tmp_path / "out", tmp_path / "precious.json"
    other.write_text("mine", encoding="utf-8")
    write_site([make_run()], out)
    listed = json.loads((out / MARK).read_text(encoding="utf-8"))
    listed["files"] += ["../precious.json", str(other), "runs/../../precious.json", 7, "runs/../MARK.json"]
    (out / MARK).write_text(json.dumps(listed), encoding="utf-8")
    write_site([make_run()], out)
    assert other.read_text(encoding="utf-8") == "mine"


@pytest.mark.parametrize("name", ["runs", "suites", "assets"])
def test_a_folder_that_leads_elsewhere_is_refused(name: str, tmp_path: Path) -> None:
    out, other = tmp_path / "out", tmp_path / "other"
    write_site([make_run()], out)
    other.mkdir()
    (out / name).rename(tmp_path / "moved")
    (out / name).symlink_to(other)
    with pytest.raises(RecordError, match=f"{name} in it is no folder of its own"):
        write_site([make_run("ewc")], out)
    assert not any(other.iterdir())


def test_an_interrupted_leaderboard_is_whole_pages_and_is_taken_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, left = site._put, 9

    def stumbling(path: Path, content: str) -> None:
        nonlocal left
        left -= 1
        if left == 0:
            raise KeyboardInterrupt
        put(path, content)

    monkeypatch.setattr(site, "_put", stumbling)
    runs = [make_run(name) for name in "abcd"]
    with pytest.raises(KeyboardInterrupt):
        write_site(runs, tmp_path)
    monkeypatch.undo()
    partly = contents(tmp_path)
    assert "index.html" not in partly and len(partly) == 8
    write_site(runs, tmp_path)
    whole = contents(tmp_path)
    assert all(whole[name] == content for name, content in partly.items() if name != MARK)


def test_the_first_page_comes_last_and_no_page_before_those_it_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, order = site._put, list[str]()

    def noted(path: Path, content: str) -> None:
        order.append(path.name)
        put(path, content)

    monkeypatch.setattr(site, "_put", noted)
    write_site([make_run("naive"), make_run("ewc")], tmp_path)
    pages = [name for name in order if name != MARK]
    assert pages[-1] == "index.html"
    assert max(n for n, name in enumerate(pages) if re.match(r"(naive|ewc)-", name)) < max(
        n for n, name in enumerate(pages) if name.startswith("short-")
    )


def test_the_first_page_of_a_thousand_rankings_is_below_a_megabyte() -> None:
    named = "a strategy with quite a long name"
    runs = [make_run(named, settings={"training": {"batch_size": size}}) for size in range(1, 41)]
    suites = leaderboard(runs)
    (one,) = suites
    assert len(one.rankings) == 40
    assert len(index_html(suites)) * 1000 / 40 < 1_000_000


def test_the_command_says_where_to_look(retain: Retain, tmp_path: Path) -> None:
    record, out = tmp_path / "run.json", tmp_path / "out"
    make_run().save(record)
    code, printed, said = retain("leaderboard", record, "--out", out)
    assert (code, said) == (0, "")
    assert printed == f"3 pages of 1 runs: open {out / 'index.html'}\n"


@pytest.mark.parametrize("made", ["missing", "twice", "file"])
def test_mistakes_are_one_line_and_write_nothing(made: str, retain: Retain, tmp_path: Path) -> None:
    record, out = tmp_path / "run.json", tmp_path / "out"
    if made != "missing":
        make_run().save(record)
    if made == "file":
        out.write_text("mine", encoding="utf-8")
    before = contents(tmp_path)
    code, printed, said = retain("leaderboard", *([record, record] if made == "twice" else [record]), "--out", out)
    assert (code, printed) == (2, "") and is_one_line(said)
    assert contents(tmp_path) == before


def test_odd_letters_and_extreme_values_are_written(tmp_path: Path) -> None:
    worst = make_run("a\x07日b" * 30, scores=[[0.0] * 3, [1.0, 0.0, 1e-300], [1.0] * 3, [0.0, 1.0, 1.0]], drift=0.0)
    nothing = make_run("nothing", failed_stage=-1)
    bare = make_run("bare", settings={"training": {"epochs": [1, {"deep": None}]}}, probe="p")
    empty = bare.model_copy(update={"probes": [{} for _ in bare.probes], "drift": [{} for _ in bare.drift]})
    write_site([worst, nothing, empty], tmp_path)
    assert len(list((tmp_path / "runs").glob("*.html"))) == 3


def _with_tasks(count: int) -> Run:
    return make_run(tasks=tuple(f"task_{number:02}" for number in range(count)))


@pytest.mark.parametrize("count", [1, 2, 25])
def test_streams_of_any_length_have_pages(count: int, tmp_path: Path) -> None:
    write_site([_with_tasks(count)], tmp_path)
    (page,) = (tmp_path / "runs").glob("*.html")
    cells = [found for tag, found in Page(page).elements if tag == "td" and " learned" in (found.get("class") or "")]
    assert len(cells) == count
