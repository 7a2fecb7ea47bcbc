from __future__ import annotations

import csv
import io
import random
import statistics
from collections.abc import Sequence
from typing import Any

import pandas as pd
import pytest

from results import render, tables
from results.groups import protocol_groups, variants
from results.record import RecordError, Run
from results.render import TextTable
from tests.results_fixtures import make_run, table_of, text_of

HOSTILE = 'a_b & 50% | $x$ #1 {~^} \\ <b> _c_ "q"'
SCORES = [[0.1, 0.2, 0.3], [0.8, 0.25, 0.2], [0.9, 0.7, 0.5], [0.6, 0.75, 0.9]]


def _shifted(shift: float) -> list[list[float]]:
    return [[value + shift * row for value in values] for row, values in enumerate(SCORES)]


def _parse(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_one_row_per_strategy_with_mean_and_deviation_over_seeds() -> None:
    runs = [make_run("ewc", seed, _shifted(0.01 * seed)) for seed in range(3)]
    (row,) = table_of(runs).to_dict("records")
    finals = [0.75 + 0.03 * seed for seed in range(3)]
    assert (row["strategy"], row["runs"]) == ("ewc", 3)
    assert row["final_average"] == pytest.approx(statistics.mean(finals))
    assert row["final_average_std"] == pytest.approx(statistics.stdev(finals))
    assert row["learning_accuracy"] == pytest.approx(0.8 + 0.02)
    assert row["forgetting"] == pytest.approx(0.125 - 0.01 * 1)
    assert row["backward_transfer"] == pytest.approx(-0.075 + 0.01 * 1.5)
    assert row["retention_news_retrieval"] == pytest.approx(0.5)


def test_costs_are_sums_and_peaks_over_stages() -> None:
    (row,) = table_of([make_run()]).to_dict("records")
    assert row["train_seconds"] == 10.25 + 20.5 + 30.75
    assert row["trainable_parameters"] == 22_600_002
    assert row["strategy_bytes"] == 2 * 1024 * 1024


def test_one_seed_has_no_deviation_and_joint_no_forgetting() -> None:
    (row,) = table_of([make_run("joint", together=True)]).to_dict("records")
    for name in ("final_average_std", "forgetting", "learning_accuracy", "backward_transfer"):
        assert pd.isna(row[name])


def test_the_text_shows_an_interval_only_with_several_seeds_and_a_dash_for_undefined() -> None:
    runs = [make_run("ewc", seed, _shifted(0.01 * seed)) for seed in range(3)]
    text = text_of([*runs, make_run("joint", together=True)], "title")
    ewc, joint = (dict(zip(text.headers, row, strict=True)) for row in text.rows)
    assert ewc["final\naverage ↑"] == "0.780 [0.699, 0.861]"
    assert ewc["backward\ntransfer ↑"] == "−0.060 [−0.100, −0.020]"
    assert ewc["trainable\nparameters ↓"] == "22.6M"
    assert ewc["strategy\nmemory ↓"] == "2.0 MiB"
    assert ewc["training\nseconds ↓"] == "61.5"
    assert joint["forgetting ↓"] == "–"
    assert joint["strategy\nmemory ↓"] == "0 B"


def test_every_column_has_a_note_with_its_direction() -> None:
    text = text_of([make_run()], "title")
    for header in text.headers[2:]:
        assert any(note.startswith(header.replace("\n", " ") + ":") for note in text.notes), header


@pytest.mark.parametrize(
    ("value", "count", "size"),
    [(0, "0", "0 B"), (999, "999", "999 B"), (999_999, "1.0M", "976.6 KiB"), (22_600_000, "22.6M", "21.6 MiB")],
)
def test_human_numbers(value: int, count: str, size: str) -> None:
    cost = make_run(together=True).costs[0]
    run = make_run(
        together=True,
        costs=[cost.model_copy(update={"trainable_parameters": value, "strategy_bytes": value})],
    )
    (row,) = text_of([run], "title").rows
    assert (row[-3], row[-1]) == (count, size)


def test_settings_of_one_strategy_are_rows_named_by_what_differs_in_numeric_order() -> None:
    runs = [
        make_run("ewc", hyperparameters={"lam": lam, "samples": 500, "fisher": "exact"})
        for lam in (1000.0, 20.0, 0.001)
    ]
    assert [variant.label for variant in variants([make_run("naive"), *runs])] == [
        "ewc (lam=0.001)",
        "ewc (lam=20)",
        "ewc (lam=1000)",
        "naive",
    ]


def test_a_setting_that_only_one_run_has_is_told() -> None:
    runs = [make_run("ewc", hyperparameters={"lam": 1.0}), make_run("ewc", hyperparameters={})]
    assert [variant.label for variant in variants(runs)] == ["ewc (lam=1)", "ewc (lam=unset)"]


def test_the_same_cell_twice_is_refused() -> None:
    with pytest.raises(RecordError, match="ewc: several records of seed 1"):
        table_of([make_run("ewc", 1), make_run("ewc", 1)])


def _other(run: Run, **fields: Any) -> Run:
    return run.model_copy(update=fields)


@pytest.mark.parametrize(
    "other",
    [
        make_run("ewc", settings={"train": {"epochs": 9, "lr": 1e-3}}),
        make_run("ewc", settings={"limit": 100}),
        make_run("ewc", suite="long"),
        make_run("ewc", stream="other"),
        make_run("ewc", backbone="bert"),
        make_run("ewc", scenario="class-incremental"),
        make_run("ewc", tasks=("bbc_news", "rotten_tomatoes", "conll2003_ner")),
        _other(make_run("ewc"), provenance=make_run().provenance.model_copy(update={"weights_sha256": "d" * 64})),
        _other(
            make_run("ewc"),
            provenance=make_run().provenance.model_copy(update={"data_sha256": {"bbc_news": {"test": "e" * 64}}}),
        ),
        _other(make_run("ewc"), provenance=make_run().provenance.model_copy(update={"backbone_sha256": "f" * 64})),
    ],
    ids=["epochs", "limit", "suite", "stream", "backbone", "scenario", "order", "weights", "data", "tokenizer"],
)
def test_runs_of_different_protocols_never_share_a_table(other: Run) -> None:
    runs = [make_run("naive"), other]
    assert sorted(run.strategy for group in protocol_groups(runs) for run in group.runs) == ["ewc", "naive"]
    assert [len(group.runs) for group in protocol_groups(runs)] == [1, 1]
    assert len({group.title for group in protocol_groups(runs)}) == 2
    assert len({group.slug for group in protocol_groups(runs)}) == 2
    with pytest.raises(ValueError, match="different protocols"):
        table_of(runs)


def test_strategies_and_seeds_of_one_protocol_share_a_table() -> None:
    assert len(protocol_groups([make_run(), make_run("ewc", 7)])) == 1


def test_the_title_says_what_differs() -> None:
    titles = [
        group.title
        for group in protocol_groups(
            [make_run(), make_run(settings={"train": {"epochs": 9, "lr": 1e-3}, "limit": "all"})]
        )
    ]
    assert sorted(titles, reverse=True) == [
        "short: mixed on minilm (limit=unset, train.epochs=3)",
        "short: mixed on minilm (limit=all, train.epochs=9)",
    ]


def test_the_order_of_the_runs_changes_nothing() -> None:
    runs = [make_run(name, seed) for name in ("naive", "ewc") for seed in range(3)]
    shuffled = random.Random(0).sample(runs, len(runs))
    assert render.csv(table_of(runs)) == render.csv(table_of(shuffled))
    assert render.csv(tables.scores_long(runs)) == render.csv(tables.scores_long(shuffled))


def test_csv_holds_every_number_exactly_and_undefined_as_empty() -> None:
    runs = [make_run("ewc", 0), make_run("ewc", 1), make_run("joint", together=True)]
    table = table_of(runs)
    parsed = _parse(render.csv(table))
    assert [row["strategy"] for row in parsed] == ["ewc", "joint"]
    for read, (_, written) in zip(parsed, table.iterrows(), strict=True):
        for name in table.columns[1:]:
            assert (read[name] == "") == bool(pd.isna(written[name]))
            assert read[name] == "" or float(read[name]) == written[name]
    assert parsed[1]["forgetting"] == ""


def test_long_tables_hold_every_value_exactly() -> None:
    run = make_run("ewc, or not", 3)
    metric = run.metrics[2]["bbc_news"]["accuracy"]
    scores = _parse(render.csv(tables.scores_long([run])))
    assert list(scores[0]) == ["strategy", "seed", "order", "row", "task", "metric", "value"]
    (found,) = (r for r in scores if (r["row"], r["task"], r["metric"]) == ("2", "bbc_news", "accuracy"))
    assert (found["strategy"], found["seed"], float(found["value"])) == ("ewc, or not", "3", metric)
    assert len(scores) == 4 * 3 * 2

    probes = _parse(render.csv(tables.probes_long([run])))
    assert float(probes[-2]["value"]) == run.probes[3]["news_retrieval"]["mrr"]
    drift = _parse(render.csv(tables.drift_long([run])))
    assert [float(line["value"]) for line in drift[-7:]] == list(run.drift[3].values())


def test_score_matrix_names_states_and_tasks() -> None:
    matrix = tables.score_matrix(make_run(scores=SCORES))
    assert list(matrix.index) == [
        "pretrained",
        "after rotten_tomatoes",
        "after bbc_news",
        "after conll2003_ner",
    ]
    assert list(matrix.columns) == ["rotten_tomatoes (accuracy)", "bbc_news (accuracy)", "conll2003_ner (span_f1)"]
    assert matrix.to_numpy().tolist() == SCORES
    together = tables.score_matrix(make_run(together=True))
    assert list(together.index) == ["pretrained", "after 3 tasks together"]


def test_latex_is_escaped_and_closed() -> None:
    table = TextTable(HOSTILE, ["name", "score\nhere ↑"], [[HOSTILE, "0.5 ± 0.1"], ["[x]", "–"]], [HOSTILE])
    text = render.latex(table, "tab:x")
    escaped = (
        r"a\_b \& 50\% \textbar{} \$x\$ \#1 \{\textasciitilde{}\textasciicircum{}\} \textbackslash{} "
        r"\textless{}b\textgreater{} \_c\_ \char34{}q\char34{}"
    )
    assert text.count(escaped) == 3
    assert r"\shortstack[r]{score\\here $\uparrow$}" in text
    assert r" & 0.5 $\pm$ 0.1 \\" in text
    assert "{[}x{]} & -- \\\\" in text
    assert text.isascii()
    for name in ("table", "tabular"):
        assert text.count(rf"\begin{{{name}}}") == text.count(rf"\end{{{name}}}") == 1
    bare = text.replace(r"\{", "").replace(r"\}", "")
    assert bare.count("{") == bare.count("}")
    assert r"\caption{" in text and r"\label{tab:x}" in text


def _cells(line: str) -> Sequence[str]:
    return line.replace(r"\|", "").strip("|").split("|")


def test_markdown_rows_keep_their_cells_and_formatting_is_escaped() -> None:
    table = TextTable("a | b", ["x", "y|z"], [[HOSTILE, "two\nlines"], ["l2_anchor", "*b* `c`"]], ["n*te"])
    lines = render.markdown(table).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) == 4
    assert all(len(_cells(row)) == 2 for row in rows)
    assert lines[0] == r"## a \| b"
    assert r"\<b> \_c\_" in rows[2] and rows[2].endswith("| two lines |")
    assert rows[3] == r"| l2_anchor | \*b\* \`c\` |"
    assert lines[-1] == r"- n\*te"


@pytest.mark.parametrize(("strategies", "probes", "seeds"), [(1, 1, 1), (5, 1, 2), (12, 6, 3)])
def test_the_console_table_fits_and_loses_nothing(strategies: int, probes: int, seeds: int) -> None:
    measured = [{f"probe_number_{n}": {"mrr": 0.5} for n in range(probes)}] * 4
    runs = [
        make_run(f"strategy_{number}" + "_of_a_long_name" * (number % 5), seed, probes=measured)
        for number in range(strategies)
        for seed in range(seeds)
    ]
    table = text_of(runs, "title")
    text = render.console(table)
    assert max(map(len, text.splitlines())) <= 120
    for header in table.headers[1:]:
        assert header.rsplit("\n", 1)[-1] in text
    for row in table.rows:
        assert all(cell in text for cell in row[1:])
