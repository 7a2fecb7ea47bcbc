"""``retain compare`` as people and programs read it: texts, files, exit codes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from benchmark.gate import FAIL_ON
from results.compare import FailOn, Verdict, compare
from results.compare_text import MARKER, MOST_CHARACTERS, as_console, as_json, as_markdown
from results.record import Run
from tests.command import Retain, caller, is_one_line
from tests.compared_runs import FAST, version
from tests.results_fixtures import make_run

REFERENCE = Path(__file__).parents[1] / "results" / "reference"


@pytest.fixture
def retain(capsys: pytest.CaptureFixture[str]) -> Retain:
    return caller(capsys)


def save(folder: Path, runs: Sequence[Run]) -> Path:
    for number, run in enumerate(runs):
        run.save(folder / f"{number}.json")
    return folder


def markdown_of(base: Sequence[Run], new: Sequence[Run]) -> str:
    return as_markdown(compare(base, new, bootstrap=FAST), "base", "new", FailOn.WORSE)


def test_exit_codes(tmp_path: Path, retain: Retain) -> None:
    base = save(tmp_path / "base", version(0))
    worse = save(tmp_path / "worse", version(1, drop=0.35))
    one, other = save(tmp_path / "one", version(0, (0,))), save(tmp_path / "other", version(0, (0,), drop=0.2))
    more = save(tmp_path / "more", version(0, strategies=["naive", "si"]))
    assert retain("compare", base, base)[0] == 0
    assert retain("compare", base, worse)[0] == 1
    assert retain("compare", worse, base)[0] == 0
    assert retain("compare", base, worse, "--tolerance", "scores=0.5")[0] == 0
    assert retain("compare", base, worse, "--tolerance", "scores=0.5", "--tolerance", "forgetting=0.001")[0] == 1
    assert retain("compare", one, other)[0] == 0
    assert retain("compare", one, other, "--fail-on", "changed")[0] == 1
    assert retain("compare", more, base)[0] == retain("compare", base, more, "--fail-on", "missing")[0] == 0
    assert retain("compare", more, base, "--fail-on", "missing")[0] == 1


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["BASE", "nowhere"], "nowhere: no such file or folder"),
        (["BASE", "EMPTY"], "no run records"),
        (["BASE", "BROKEN"], "not a run record"),
        (["BASE", "NAN"], "not a run record"),
        (["BASE", "OTHER"], "nothing can be compared: the suite differs: suite is short in BASE, long in NEW"),
        (["BASE", "TWICE"], "several records of seed 0"),
        (["BASE", "BASE", "--tolerance", "forgeting=1"], "did you mean forgetting?"),
        (["BASE", "BASE", "--tolerance", "forgetting"], "write MEASURE=AMOUNT"),
        (["BASE", "BASE", "--tolerance", "forgetting=-1"], "'-1' is no tolerance"),
        (["BASE", "BASE", "--tolerance", "scores=1", "--tolerance", "scores=2"], "given twice"),
        (["BASE", "BASE", "--fail-on", "wors"], "did you mean worse"),
        (["BASE", "BASE", "--format", "html"], "known are json, md, text"),
        (["BASE", "BASE", "--out", "x.txt"], "ends in .md or .json"),
        (["BASE"], "required: NEW"),
    ],
)
def test_mistakes_are_one_line_and_write_nothing(
    arguments: list[str], said: str, tmp_path: Path, retain: Retain
) -> None:
    places = {
        "BASE": save(tmp_path / "base", version(0)),
        "OTHER": save(tmp_path / "other", version(0, suite="long")),
        "TWICE": save(tmp_path / "twice", [*version(0), *version(1, (0,))]),
        "EMPTY": tmp_path / "empty",
        "BROKEN": tmp_path / "broken",
        "NAN": tmp_path / "nan",
    }
    for name in ("EMPTY", "BROKEN", "NAN"):
        places[name].mkdir()
    (places["BROKEN"] / "x.json").write_text("{", encoding="utf-8")
    text = version(0)[0].model_dump_json().replace("10.25", "NaN").replace('"seconds":100.5', '"seconds":NaN')
    (places["NAN"] / "x.json").write_text(text, encoding="utf-8")
    before = sorted(tmp_path.rglob("*"))
    code, out, error = retain("compare", *(places.get(text, text) for text in arguments))
    assert (code, out) == (2, "") and is_one_line(error) and said in error
    assert sorted(tmp_path.rglob("*")) == before


def test_files_are_what_the_formats_print(tmp_path: Path, retain: Retain) -> None:
    base, new = save(tmp_path / "base", version(0)), save(tmp_path / "new", version(1, drop=0.2))
    code, text, _ = retain("compare", base, new, "--out", tmp_path / "a.md", "--out", tmp_path / "deep" / "a.json")
    assert code == 1 and text.startswith(f"{new} against {base}: 4 regressions")
    for name, kind in (("a.md", "md"), ("deep/a.json", "json")):
        assert retain("compare", base, new, "--format", kind)[1] == (tmp_path / name).read_text(encoding="utf-8")
    found = json.loads((tmp_path / "deep" / "a.json").read_text(encoding="utf-8"))
    assert found["failed"] and found["regressions"] == 4 and found["tests"] == 10
    worse = [row for row in found["rows"] if row["verdict"] == "worse"]
    assert {row["measure"] for row in worse} == {"final_average", "forgetting", "score_a", "score_b"}
    assert all(row["low"] <= row["difference"] <= row["high"] and row["paired"] and row["runs"] == 3 for row in worse)


def test_a_pull_request_reads_the_verdict_first_and_the_rest_folded() -> None:
    text = markdown_of(version(0), version(1, drop=0.2))
    assert text.startswith(f"{MARKER}\n## ❌ retain: 4 regressions\n")
    open_part, folded = text.split("<details>")
    assert open_part.count("| worse |") == 4 and "no evidence" not in open_part
    assert folded.count("| no evidence |") == 5 and folded.count("| equal |") == 1 and folded.count("</details>") == 1
    assert "paired by seed and order, 3 pairs each; 10 tests, Holm-corrected" in open_part
    assert "## ✅ retain: no regression: all scores are equal to the bit" in markdown_of(version(0), version(0))


def test_names_and_messages_of_others_stay_text() -> None:
    name = "<script>alert(1)</script>|`x`"
    base, new = version(0, strategies=[name]), version(1, strategies=[name], drop=0.2)
    failed = make_run(name, 1, tasks="abc", failed_stage=1, reason="[x](http://evil) <img src=x>")
    text = markdown_of([*base, *version(0)], [new[0], failed, new[2], *version(0)])
    assert "<script" not in text.replace(r"\<script", "") and "<img" not in text.replace(r"\<img", "")
    assert "](http" not in text.replace(r"\](http", "")


def test_the_text_fits_into_a_comment_however_much_there_is() -> None:
    strategies = [f"strategy_with_a_long_name_{number}" for number in range(150)]
    same = markdown_of(version(0, (0,), strategies), version(0, (0,), strategies))
    assert len(same) < MOST_CHARACTERS and "too many for a comment" in same
    changed = markdown_of(version(0, (0,), strategies), version(0, (0,), strategies, drop=0.2))
    assert len(changed) < 65_536 and "Cut here" in changed and changed.startswith(MARKER)


def test_json_has_null_for_what_is_unknown() -> None:
    found = compare(version(0, (0,)), version(1, (0,), made_by={"threads": 9}), bootstrap=FAST)
    rows = {row["measure"]: row for row in json.loads(as_json(found, "a", "b", FailOn.WORSE))["rows"]}
    assert rows["forgetting"]["low"] is rows["forgetting"]["p_holm"] is rows["train_seconds"]["base"] is None
    assert rows["train_seconds"]["verdict"] == "not comparable" and "threads" in rows["train_seconds"]["reason"]


def test_verdict_lines_say_what_matters() -> None:
    def said(base: Sequence[Run], new: Sequence[Run], on: FailOn = FailOn.WORSE) -> str:
        return as_console(compare(base, new, bootstrap=FAST), "a", "b", on).split("\n")[0]

    assert said(version(0), version(1)) == "b against a: no regression shown."
    assert "4 measures better" in said(version(1, drop=0.2), version(0))
    single = said(version(0, (0,)), version(0, (0,), drop=0.2), FailOn.CHANGED)
    assert (
        single
        == "b against a: no regression shown; 4 measures changed in single runs (fails on changed: 4 for the worse)."
    )
    lacking = said(version(0, strategies=["naive", "ewc"]), version(0))
    assert lacking.endswith("1 strategy of BASE not compared.")


def test_the_help_names_what_the_gate_knows() -> None:
    assert tuple(FailOn) == FAIL_ON
    assert [str(verdict) for verdict in Verdict][0] == "worse"


def test_records_of_two_real_commits_are_equal_to_the_bit(retain: Retain) -> None:
    code, out, _ = retain("compare", REFERENCE / "quickstart", REFERENCE / "quickstart-all")
    assert code == 0 and "all scores are equal to the bit" in out
    assert (
        "training seconds of ewc, freeze, joint, l2_anchor, naive: machines differ: threads 2 in BASE, 1 in NEW" in out
    )


def test_a_folder_in_the_place_of_a_file_is_refused_before_anything_is_written(tmp_path: Path, retain: Retain) -> None:
    version(0)[0].save(tmp_path / "runs" / "a.json")
    (tmp_path / "taken.md").mkdir()
    files = ["--out", tmp_path / "first.json", "--out", tmp_path / "taken.md"]
    code, out, error = retain("compare", tmp_path / "runs", tmp_path / "runs", *files)
    assert (code, out) == (2, "") and is_one_line(error) and "taken.md: is a folder; name a file" in error
    assert not (tmp_path / "first.json").exists()
