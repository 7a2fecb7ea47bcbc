"""Records that the first version of the schema wrote still load, keep their numbers and stand beside new ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmark.cli import main
from results.groups import protocol_groups
from results.record import SCHEMA, RecordError, Run, load, load_all
from tests.results_fixtures import make_run, table_of

OLD = Path(__file__).parent / "records"


def _raw(name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((OLD / f"{name}.json").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize("name", ["naive", "ewc", "joint"])
def test_every_number_of_an_old_record_is_kept(name: str) -> None:
    raw, run = _raw(name), load(OLD / f"{name}.json")
    assert {"order", "failure", "losses", "similarity", "refits", "curves"}.isdisjoint(raw)
    again = json.loads(run.model_dump_json())
    for field, value in raw.items():
        if field not in ("tasks", "costs", "provenance"):
            assert again[field] == value, field
    for field in ("tasks", "costs"):
        assert [new | old for old, new in zip(raw[field], again[field], strict=True)] == again[field]
    assert again["provenance"] | raw["provenance"] == again["provenance"]
    assert (run.order.number, run.failed, run.losses, run.costs[0].flops) == (1, False, [], None)


def test_the_table_of_old_records_says_what_it_always_said() -> None:
    table = table_of(load_all([OLD])).set_index("strategy")
    assert table.loc["naive", "forgetting"] == pytest.approx(_forgetting(_raw("naive")["scores"]))
    assert table.loc["ewc", "forgetting"] == pytest.approx(_forgetting(_raw("ewc")["scores"]))
    last = _raw("joint")["scores"][-1]
    assert table.loc["joint", "final_average"] == pytest.approx(sum(last) / len(last))
    assert "train_flops" not in table.columns


def _forgetting(scores: list[list[float]]) -> float:
    """By hand, for tasks trained one after another."""
    tasks = len(scores[0])
    return sum(max(row[t] for row in scores[t + 1 : -1]) - scores[-1][t] for t in range(tasks - 1)) / (tasks - 1)


def test_a_new_seed_stands_in_one_table_with_old_records(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = _raw("naive") | {"seed": 1, "losses": [[0.5]] * 3, "order": {"number": 1, "tasks": []}}
    new["settings"] = new["settings"] | {"seed": 1}
    run = Run.model_validate(new)
    runs = [*load_all([OLD]), run]
    assert len(protocol_groups(runs)) == 1
    assert table_of(runs).set_index("strategy").loc["naive", "runs"] == 2
    (tmp_path / "one").mkdir()
    for number, saved in enumerate([*runs, make_run()]):
        saved.save(tmp_path / "one" / f"{number}.json")
    assert main(["report", str(tmp_path / "one")]) == 0
    assert "naive" in capsys.readouterr().out


@pytest.mark.parametrize("version", [SCHEMA + 1, 0, -1])
def test_another_schema_is_refused_in_one_line_that_says_what_to_do(tmp_path: Path, version: int) -> None:
    path = tmp_path / "newer.json"
    later = {"schema_version": version, "a_new_field": {"x": 1}}
    path.write_text(json.dumps(_raw("naive") | later), encoding="utf-8")
    with pytest.raises(RecordError, match=f"schema {version}, this version of retain reads 1 to {SCHEMA}") as caught:
        load(path)
    assert str(path) in str(caught.value) and len(str(caught.value).splitlines()) == 1
    path.write_text(json.dumps(_raw("naive") | {"schema_version": version}), encoding="utf-8")
    with pytest.raises(RecordError, match="update it"):
        load(path)
