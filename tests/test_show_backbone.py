"""What is shown of a backbone comes from its files, and without them from the catalogue."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest
from huggingface_hub.utils._validators import validate_repo_id

from benchmark.backbone import load_backbone
from benchmark.backbone_facts import Facts, facts_of
from benchmark.backbones import BACKBONES, BackboneSpec, resolve_backbone
from benchmark.errors import UserError
from benchmark.hub_models import HUB_MODELS
from benchmark.show import describe
from tasks.catalogue import PROBES
from tests.tiny_models import FAMILIES


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.mark.parametrize("family", FAMILIES)
def test_a_folder_tells_the_size_of_its_body(family_folders: dict[str, Path], family: str) -> None:
    folder = family_folders[family]
    backbone = load_backbone(resolve_backbone(str(folder)), folder)
    facts = facts_of(folder)
    assert facts.layers == 2
    assert facts.width == backbone.body.config.hidden_size
    assert facts.vocabulary == backbone.body.get_input_embeddings().num_embeddings
    assert facts.positions == (66 if family == "roberta" else 64)
    assert facts.family == backbone.body.config.model_type
    assert facts.stored is not None and facts.stored >= backbone.parameters > 0.8 * facts.stored
    shown = words(describe(str(folder)))
    assert "longest text 64 tokens" in shown and f"{facts.stored:,} in its files" in shown


@pytest.mark.parametrize("damage", ["config.json", "model.safetensors"])
def test_a_damaged_file_is_as_good_as_none(family_folders: dict[str, Path], tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(family_folders["bert"], folder)
    (folder / damage).write_bytes(b"\xff\xff\xff\xff\xff\xff\xff\xff[")
    facts = facts_of(folder)
    assert (facts.layers is None) == (damage == "config.json")
    assert (facts.stored is None) == (damage == "model.safetensors")
    assert describe(str(folder)).startswith("backbone damaged\n")


def test_what_one_lacks_the_other_tells() -> None:
    assert Facts("bert", layers=2).over(Facts("gpt2", 7, 3, 4)) == Facts("bert", 7, 2, 4)


@pytest.mark.parametrize("spec", BACKBONES, ids=lambda spec: spec.name)
def test_the_catalogue_says_all_that_a_choice_needs(spec: BackboneSpec) -> None:
    shown = words(describe(spec.name))
    for title in ("licence", "pooling", "probes", "pretrained as", "about"):
        assert f"{title} " in shown
    assert spec.licence in shown and words(spec.note) in shown
    assert bool(spec.archive) != bool(spec.hub)


@pytest.mark.parametrize("model", HUB_MODELS, ids=lambda model: model.name)
def test_a_hub_model_is_pinned_to_a_whole_commit_or_says_that_it_is_not(model: object) -> None:
    from benchmark.hub_models import HubModel

    assert isinstance(model, HubModel)
    spec = resolve_backbone(model.name)
    assert (spec.hub, spec.revision) == (model.repository, model.revision)
    shown = words(describe(model.name))
    if model.revision:
        assert re.fullmatch("[0-9a-f]{40}", model.revision)
        assert model.revision in shown
    else:
        assert "not pinned" in model.note and "not pinned" in shown
    facts = model.facts
    assert None not in (facts.family, facts.parameters, facts.layers, facts.width, facts.vocabulary, facts.positions)


def test_a_cached_hub_model_is_read_from_its_files(
    family_folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = tmp_path / "models--org--name" / "snapshots" / ("c" * 40)
    snapshot.parent.mkdir(parents=True)
    shutil.copytree(family_folders["neox"], snapshot)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    shown = words(describe(f"org/name@{'c' * 40}"))
    assert "family gpt_neox" in shown and "layers 2" in shown and str(snapshot) in shown


def test_a_hub_id_that_is_not_cached_says_what_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    shown = words(describe("org/name"))
    assert "hub https://huggingface.co/org/name" in shown and "revision not pinned" in shown
    assert "layers" not in shown


def test_a_folder_that_is_not_there_is_said() -> None:
    with pytest.raises(UserError, match="no such folder"):
        describe("./no-such")


def probes_of(name: str) -> set[str]:
    (line,) = re.findall(r"\nprobes +(.*?)\n(?=\S)", describe(name) + "\nend", flags=re.DOTALL)
    return set(re.findall(r"\w+", line))


ANY = {probe.name for probe in PROBES if probe.objective is None}
MASKED = {"news_masked_lm", "wikipedia_masked_lm"}
CAUSAL = {"news_causal_lm", "wikipedia_causal_lm"}


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("all-MiniLM-L6-v2", set()),
        ("SmolLM2-135M-Instruct", CAUSAL),
        ("bert-base-uncased", MASKED),
        ("electra-small-discriminator", set()),
        ("deberta-v3-base", set()),
        ("pythia-160m", CAUSAL),
    ],
)
def test_the_probes_of_a_known_backbone_are_those_that_its_head_can_answer(name: str, more: set[str]) -> None:
    assert "linear_bbc_news" in ANY
    assert probes_of(name) == ANY | more


@pytest.mark.parametrize(
    ("architectures", "more"),
    [
        (["BertForMaskedLM"], MASKED),
        (["BertForPreTraining"], MASKED),
        (["GPT2LMHeadModel"], CAUSAL),
        (["LlamaForCausalLM"], CAUSAL),
        (["ElectraForPreTraining"], set()),
        (["BertModel"], set()),
        ("BertForMaskedLM", set()),
        ([7], set()),
        (None, set()),
    ],
)
def test_a_folder_says_what_its_head_can_answer(tmp_path: Path, architectures: object, more: set[str]) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text(json.dumps({"model_type": "bert", "architectures": architectures}))
    assert probes_of(str(tmp_path / "model")) == ANY | more


@pytest.mark.parametrize(
    "name", ["a--b/c", "org/na..me", "org/name.git", "org/name-", "org./name", f"org/{'n' * 97}", "org/name.git@main"]
)
def test_an_id_that_the_hub_does_not_allow_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(UserError, match=f"unknown backbone '{re.escape(name)}'.*without '--'") as caught:
        describe(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["o/n", "a-b_c.d/e-f_g.h", f"org/{'n' * 96}", "org/a.gitb"])
def test_an_id_that_the_hub_allows_is_one(name: str) -> None:
    validate_repo_id(name)
    assert resolve_backbone(name).hub == name


def test_a_folder_without_a_configuration_is_no_backbone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tasks").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="^unknown name 'tasks'"):
        describe("tasks")
    with pytest.raises(UserError, match=r"^./tasks: is a folder without a config.json, so it holds no backbone$"):
        describe("./tasks")
    (tmp_path / "tasks/config.json").write_text("{}")
    assert describe("tasks").startswith("backbone tasks\n")
