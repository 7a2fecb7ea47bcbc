"""One command, several backbones: each a study of its own, in one folder."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from benchmark.backbone import load_backbone
from benchmark.errors import UserError
from benchmark.objectives import with_pretrained_head
from benchmark.suite import Overrides, Suite, load_suite, load_suites
from results.record import load
from tasks.spec import MaskedLMSpec
from tests.command import Retain, caller, is_one_line, write_suite
from tests.conftest import document_rows, publish


@pytest.fixture
def retain(capsys: pytest.CaptureFixture[str]) -> Retain:
    return caller(capsys)


@pytest.fixture
def two(family_folders: dict[str, Path]) -> str:
    return f"{family_folders['bert']},{family_folders['gpt2']}"


@pytest.fixture
def suite(offline_catalogue: Path, family_folders: dict[str, Path], tmp_path: Path) -> Path:
    """Of BERT and GPT-2, two strategies."""
    path = write_suite(tmp_path, family_folders["bert"])
    lines = path.read_text().replace("train_examples: 24", "train_examples: 8").splitlines()
    lines = [line for line in lines if not line.startswith(("backbone", "strategies", "stream"))]
    both = f"backbone: [{family_folders['bert']}, {family_folders['gpt2']}]"
    path.write_text("\n".join([*lines, both, "stream: [tiny_sentiment, tiny_tags]", "strategies: {naive: , ewc: }"]))
    return path


def test_a_suite_is_resolved_for_each_of_its_backbones(suite: Path, family_folders: dict[str, Path]) -> None:
    bert, gpt2 = load_suites(str(suite))
    assert (bert.backbone.name, gpt2.backbone.name) == ("bert", "gpt2")
    assert [cell.name for cell in bert.cells] == [cell.name for cell in gpt2.cells]
    assert not {cell.filename for cell in bert.cells} & {cell.filename for cell in gpt2.cells}
    alone = load_suite(str(suite), Overrides(backbone=str(family_folders["gpt2"])))
    assert alone == gpt2  # so its records are the same, whoever else is in the suite
    assert load_suites(str(suite), Overrides(backbone=[str(family_folders["gpt2"])])) == [gpt2]
    with pytest.raises(UserError, match="tiny: has 2 backbones, where one is needed"):
        load_suite(str(suite))


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ("[]", "it should be the name of a backbone, or a list of names"),
        ("[all-MiniLM-L6-v2, 3]", "it should be the name of a backbone, or a list of names"),
        ("{a: b}", "it should be the name of a backbone, or a list of names"),
        ("[gpt2, gpt2]", "gpt2 is in it twice"),
        ("[gpt2, gtp2]", "unknown backbone 'gtp2'"),
    ],
)
def test_what_is_no_backbone_is_refused(suite: Path, value: str, problem: str) -> None:
    with pytest.raises(UserError, match=problem) as caught:
        load_suites(str(suite), Overrides(settings=[f"backbone={value}"]))
    assert "\n" not in str(caught.value)


def test_two_folders_of_one_name_are_refused(suite: Path, family_folders: dict[str, Path], tmp_path: Path) -> None:
    shutil.copytree(family_folders["bert"], tmp_path / "bert")
    with pytest.raises(UserError, match="two backbones are called bert"):
        load_suites(str(suite), Overrides(backbone=[str(family_folders["bert"]), str(tmp_path / "bert")]))


def test_folders_of_one_name_have_records_of_their_own(
    suite: Path, family_folders: dict[str, Path], tmp_path: Path
) -> None:
    def names(folder: Path) -> set[str]:
        cells = load_suite(str(suite), Overrides(backbone=str(folder))).cells
        assert str(folder) not in str([cell.settings for cell in cells])
        return {cell.filename for cell in cells}

    original = family_folders["bert"]
    copy = tmp_path / "other" / "bert"
    shutil.copytree(original, copy)
    first = names(original)
    assert names(copy) == first  # the same backbone, wherever it lies
    seen = [first]
    (pooling := copy / "1_Pooling").mkdir()
    (pooling / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    seen.append(names(copy))
    weights = bytearray((copy / "model.safetensors").read_bytes())
    weights[-1] ^= 1  # trained on: as large as before
    (copy / "model.safetensors").write_bytes(weights)
    seen.append(names(copy))
    (copy / "config.json").write_text((copy / "config.json").read_text().replace("gelu", "relu"))
    seen.append(names(copy))
    (copy / "model.safetensors").unlink()  # is said when it is loaded
    seen.append(names(copy))
    assert len(set.union(*seen)) == len(seen) * len(first)


def test_a_backbone_that_is_shipped_or_on_the_hub_is_recorded_by_its_name(suite: Path) -> None:
    for name in ("all-MiniLM-L6-v2", "org/name@abc"):
        (cell, *_) = load_suite(str(suite), Overrides(backbone=name)).cells
        assert cell.settings["backbone"] == name


def test_a_folder_that_cant_be_read_is_one_line(suite: Path, family_folders: dict[str, Path], tmp_path: Path) -> None:
    broken = Path("/proc/self/mem")  # reading it from the start fails, as a bad disk does, even for root
    if not broken.is_file():
        pytest.skip("there is no such file on this system")
    shutil.copytree(family_folders["bert"], tmp_path / "bert")
    (tmp_path / "bert" / "vocab.json").unlink(missing_ok=True)
    (tmp_path / "bert" / "vocab.json").symlink_to(broken)
    with pytest.raises(UserError, match=r"backbone bert: vocab.json in .* cannot be read \(Input/output error\)$"):
        load_suite(str(suite), Overrides(backbone=str(tmp_path / "bert")))


def test_one_command_plans_runs_reports_and_goes_on(retain: Retain, suite: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    code, planned, _ = retain("run", suite, "--out", out, "--device", "cpu", "--dry-run")
    assert code == 0 and not list(out.glob("*.json"))
    assert [planned.count(line) for line in ("on bert\n", "on gpt2\n", "tiny: 2 runs")] == [1, 1, 2]
    code, printed, said = retain("run", suite, "--out", out, "--device", "cpu")
    assert code == 0
    runs = [load(path) for path in out.glob("*.json")]
    assert sorted((run.backbone, run.strategy) for run in runs) == [
        (backbone, strategy) for backbone in ("bert", "gpt2") for strategy in ("ewc", "naive")
    ]
    assert len({run.provenance.weights_sha256 for run in runs}) == 2
    assert "Backbones, tiny: tiny_sentiment-tiny_tags" in printed
    assert (out / "report" / "backbones_cost.png").exists()
    assert said.index("backbone bert, 1 of 2") < said.index("backbone gpt2, 2 of 2")
    code, standing, _ = retain("status", out)
    assert "4 done" in standing and standing.count(" gpt2 ") == standing.count(" bert ") == 2
    code, _, again = retain("run", suite, "--out", out, "--device", "cpu")
    assert code == 0 and again.count("done before") == 4


def test_a_backbone_that_does_not_work_is_said_before_any_is_trained(
    retain: Retain, suite: Path, two: str, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    code, _, said = retain("run", suite, "--backbone", f"{two},{tmp_path / 'empty'}", "--out", tmp_path / "out")
    assert code == 2 and "no *.safetensors" in said
    assert is_one_line(said)
    assert not list((tmp_path / "out").glob("*.json"))
    assert not list((tmp_path / "out").glob("stages/nodes/*"))


def test_runs_of_backbones_whose_turn_has_not_come_are_known(
    retain: Retain, suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("benchmark.launch.run_suite", interrupted)
    code, _, _ = retain("run", suite, "--out", tmp_path / "out", "--device", "cpu")
    assert code == 130
    _, standing, _ = retain("status", tmp_path / "out")
    assert "4 to do" in standing


def test_all_that_several_backbones_need_is_fetched(retain: Retain, suite: Path, tmp_path: Path) -> None:
    code, printed, _ = retain("fetch", suite)
    assert code == 0 and printed.startswith("tiny: everything is in ")
    code, _, said = retain("fetch", suite, "--backbone", "distilgpt2,gpt2")
    assert code == 2 and "distilgpt2" in said and is_one_line(said)


def test_a_plan_is_printed_as_soon_as_it_is_made(
    retain: Retain, suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(suite: Suite, *_: object) -> str:
        if suite.backbone.name == "gpt2":
            raise UserError("this takes too long")
        return "so many stages"

    monkeypatch.setattr("benchmark.plan.plan_suite", made)
    code, printed, said = retain("run", suite, "--out", tmp_path / "out", "--dry-run")
    assert (code, printed) == (2, "on bert\nso many stages\n") and "this takes too long" in said


def test_only_another_backbone_than_a_suite_was_written_for_counts_as_another(
    suite: Path, family_folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bert, gpt2 = str(family_folders["bert"]), str(family_folders["gpt2"])
    text = suite.read_text()
    suite.write_text(text.replace(f"[{bert}, {gpt2}]", bert))
    monkeypatch.chdir(family_folders["bert"].parent)
    for given in (None, bert, [bert], f"{bert}/", "./bert"):
        assert not load_suite(str(suite), Overrides(backbone=given)).swapped
    assert load_suite(str(suite), Overrides(backbone=gpt2)).swapped
    assert load_suite(str(suite), Overrides(settings=[f"backbone={gpt2}"])).swapped
    assert all(one.swapped for one in load_suites(str(suite), Overrides(backbone=[bert, gpt2])))
    suite.write_text(text.replace(f"[{bert}, {gpt2}]", "./gone"))
    assert load_suite(str(suite), Overrides(backbone=bert)).swapped
    suite.write_text(text)
    assert load_suite(str(suite), Overrides(backbone=bert)).swapped


def test_a_probe_that_is_left_out_is_not_in_the_settings_of_records(
    offline_catalogue: Path, family_folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    news = publish(offline_catalogue, "tiny-news", {"test": document_rows(20, 9)})
    probe = MaskedLMSpec("tiny_masked", "made up", news, "none", 4, 12, 0.2, 1)
    path = write_suite(tmp_path, family_folders["bert"])
    (tiny_retrieval,) = load_suite(str(path)).probes
    monkeypatch.setattr("benchmark.suite.PROBES", (tiny_retrieval, probe))
    asked = path.read_text()
    path.write_text(asked.replace("[tiny_retrieval]", "[tiny_retrieval, tiny_masked]"))
    gpt2 = Overrides(backbone=str(family_folders["gpt2"]))
    said: list[str] = []
    found = load_suite(str(path), gpt2)
    _, left = with_pretrained_head(
        load_backbone(found.backbone, family_folders["gpt2"]), family_folders["gpt2"], found, said.append
    )
    assert len(said) == 1 and [one.name for one in left.probes] == ["tiny_retrieval"]
    path.write_text(asked)
    assert [cell.filename for cell in left.cells] == [cell.filename for cell in load_suite(str(path), gpt2).cells]
    assert all(cell.settings["probes"] == ["tiny_retrieval"] for cell in left.cells)
    path.write_text(asked.replace("[tiny_retrieval]", "[tiny_masked]"))
    own = load_suite(str(path), Overrides(backbone=str(family_folders["bert"])))
    with pytest.raises(UserError, match="^probe tiny_masked needs a masked"):
        with_pretrained_head(
            load_backbone(own.backbone, family_folders["bert"]), family_folders["bert"], own, said.append
        )
