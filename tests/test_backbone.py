"""Loading backbones: exactly the body or an error, tokenizers made to fit, heads, layers and pooling."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from benchmark import hub
from benchmark.backbone import Backbone, Model, layer_names, load_backbone, pool
from benchmark.backbones import BACKBONES, Pooling, resolve_backbone
from benchmark.errors import UserError
from tasks.sources.base import Row
from tasks.spec import Kind
from tests.conftest import sequence_rows, span_rows, token_rows
from tests.tiny_models import DECODERS, FAMILIES, build

ROWS: dict[Kind, list[Row]] = {
    "sequence": [*sequence_rows(5, 1), {"text": "", "label": "bad"}],
    "pair": sequence_rows(6, 1, pair=True),
    "token": token_rows(6, 1),
    "span": span_rows(6, 1),
}
Weights = dict[str, Tensor]


def load(folder: Path) -> Backbone:
    return load_backbone(resolve_backbone(str(folder)), folder)


@pytest.fixture(scope="module")
def backbones(family_folders: dict[str, Path]) -> dict[str, Backbone]:
    return {name: load(folder) for name, folder in family_folders.items()}


@pytest.fixture
def copy(family_folders: dict[str, Path], tmp_path: Path) -> Callable[..., Path]:
    """``copy(family, change weights, **changed settings of config.json)`` gives a changed copy of a backbone."""

    def make(family: str, change: Callable[[Weights], Weights] | None = None, **config: object) -> Path:
        folder = tmp_path / family
        shutil.copytree(family_folders[family], folder)
        if change is not None:
            weights = change(load_file(folder / "model.safetensors"))
            save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        if config:
            edit(folder / "config.json", **config)
        return folder

    return make


def edit(file: Path, **changes: object) -> None:
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


def refused(folder: Path) -> str:
    with pytest.raises(UserError) as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"backbone {folder.name}: ")
    return str(caught.value)


TOPS = {
    "modernbert": ["final_norm.weight"],
    "gpt2": ["ln_f.weight", "ln_f.bias"],
    "neox": ["final_layer_norm.weight", "final_layer_norm.bias"],
    "llama": ["norm.weight"],
}
"""What follows the layers."""
WEIGHT = "encoder.layer.0.output.dense.weight"


def test_the_weights_are_those_of_the_file(family_folders: dict[str, Path], backbones: dict[str, Backbone]) -> None:
    stored = load_file(family_folders["bert"] / "model.safetensors")
    body = backbones["bert"].body.state_dict()
    assert body.keys() == {name for name in stored if not name.startswith("pooler.")}
    assert all(torch.equal(value, stored[name]) for name, value in body.items())
    assert not backbones["bert"].body.training


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_the_pooler_is_left_out(backbones: dict[str, Backbone], family: str) -> None:
    backbone = backbones[family]
    names = [name for name, _ in backbone.body.named_parameters()]
    assert names and not [name for name in names if "pooler" in name]
    assert backbone.parameters == sum(value.numel() for value in backbone.body.parameters())


def test_a_missing_tensor_is_refused(copy: Callable[..., Path]) -> None:
    folder = copy("bert", lambda weights: {name: value for name, value in weights.items() if name != WEIGHT})
    assert f"{WEIGHT} is missing from the weights" in refused(folder)


def test_a_missing_pooler_is_fine(copy: Callable[..., Path]) -> None:
    folder = copy("bert", lambda weights: {k: v for k, v in weights.items() if not k.startswith("pooler.")})
    assert load(folder).parameters > 0


def test_a_tensor_of_another_shape_is_refused(copy: Callable[..., Path]) -> None:
    folder = copy("bert", lambda weights: weights | {WEIGHT: torch.zeros(3, 3)})
    assert f"{WEIGHT} is of another shape in the weights than in config.json" in refused(folder)


@pytest.mark.parametrize(
    "setting, problem",
    [
        ({"num_hidden_layers": 3}, r"\(16\) are missing from the weights"),
        ({"num_hidden_layers": 1}, r"\(16\) are in the weights, but config.json has 1 layers"),
        ({"hidden_size": 64}, "are of another shape"),
        ({"vocab_size": 200}, "embeddings.word_embeddings.weight is of another shape"),
    ],
)
def test_a_configuration_of_another_size_is_refused(
    copy: Callable[..., Path], setting: dict[str, int], problem: str
) -> None:
    assert re.search(problem, refused(copy("bert", **setting)))


def test_weights_with_a_pretraining_head_give_the_same_body(
    copy: Callable[..., Path], backbones: dict[str, Backbone]
) -> None:
    def with_head(weights: Weights) -> Weights:
        return {f"bert.{name}": value for name, value in weights.items()} | {"cls.predictions.bias": torch.zeros(87)}

    loaded = load(copy("bert", with_head)).body.state_dict()
    assert all(torch.equal(value, loaded[name]) for name, value in backbones["bert"].body.state_dict().items())


def test_layers_too_many_are_seen_behind_a_prefix(copy: Callable[..., Path]) -> None:
    folder = copy("bert", lambda w: {f"bert.{name}": value for name, value in w.items()}, num_hidden_layers=1)
    assert "config.json has 1 layers" in refused(folder)


def test_pickles_are_refused(copy: Callable[..., Path]) -> None:
    folder = copy("bert")
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert "only safetensors are read, never pickles" in refused(folder)


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"])
def test_a_damaged_file_is_refused(copy: Callable[..., Path], file: str) -> None:
    folder = copy("bert")
    (folder / file).write_bytes(b"no such thing")
    assert "cannot be loaded" in refused(folder)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_missing_tokenizer_is_refused(copy: Callable[..., Path], family: str) -> None:
    folder = copy(family)
    for file in folder.iterdir():
        if file.name not in ("config.json", "model.safetensors"):
            file.unlink()
    message = refused(folder)
    assert "tokenizer" in message or "cannot be loaded" in message


def test_a_tokenizer_with_more_tokens_than_embeddings_is_refused(copy: Callable[..., Path]) -> None:
    def fewer(weights: Weights) -> Weights:
        key = "embeddings.word_embeddings.weight"
        return weights | {key: weights[key][:80].clone()}

    assert "its tokenizer has 87 tokens, but the body knows 80" in refused(copy("bert", fewer, vocab_size=80))


def test_an_encoder_with_a_decoder_is_refused(copy: Callable[..., Path]) -> None:
    assert "encoder with a decoder" in refused(copy("bert", is_encoder_decoder=True))


def test_the_hash_follows_the_weights(copy: Callable[..., Path], backbones: dict[str, Backbone]) -> None:
    folder = copy("bert")
    assert load(folder).weights_sha256 == backbones["bert"].weights_sha256
    weights = load_file(folder / "model.safetensors")
    save_file(weights | {WEIGHT: weights[WEIGHT] + 1}, folder / "model.safetensors", metadata={"format": "pt"})
    assert load(folder).weights_sha256 != backbones["bert"].weights_sha256


@pytest.mark.parametrize("family", FAMILIES)
def test_the_tokenizer_fits_the_body(backbones: dict[str, Backbone], family: str) -> None:
    tokenizer = backbones[family].tokenizer
    assert ("token_type_ids" in tokenizer.model_input_names) == (family in ("bert", "tinybert", "electra", "deberta"))
    assert tokenizer.pad_token_id is not None
    assert tokenizer.model_max_length == 64  # as many as there are positions; RoBERTa leaves two of 66 unused
    assert tokenizer.padding_side == tokenizer.truncation_side == "right"


@pytest.mark.parametrize("kind", ROWS)
@pytest.mark.parametrize("family", FAMILIES)
def test_what_is_computed_for_an_example_does_not_depend_on_its_batch(
    backbones: dict[str, Backbone], family: str, kind: Kind
) -> None:
    backbone = backbones[family]
    task = build(kind, ROWS[kind], backbone.tokenizer)
    model = Model(backbone.body, backbone.pooling)
    model.add_head(task.head, task.outputs, seed=0)
    everything = list(range(len(task.test.features)))
    with torch.inference_mode():
        batch = task.collate(task.test, everything)
        (together,) = model((task, batch))
        assert together.logits.isfinite().all()
        assert len(task.decide(together, batch)) == len(everything)
        for example in everything:
            (alone,) = model((task, task.collate(task.test, [example])))
            mine = together.logits[together.owner == example]
            torch.testing.assert_close(mine[:, : alone.logits.shape[1]], alone.logits, atol=1e-5, rtol=1e-5)
            # A span's choices are places; those that only the batch has are shut.
            assert (mine[:, alone.logits.shape[1] :] == torch.finfo(torch.float32).min).all()


@pytest.mark.parametrize("family", FAMILIES)
def test_the_longest_text_that_fits_can_be_read(backbones: dict[str, Backbone], family: str) -> None:
    backbone = backbones[family]
    task = build("sequence", [{"text": "balo " * 200, "label": "bad"}], backbone.tokenizer, max_length=64)
    batch = task.collate(task.test, [0])
    assert batch.inputs["input_ids"].shape == (1, 64)
    with torch.inference_mode():
        assert Model(backbone.body, "mean").embed(batch.inputs).isfinite().all()


@pytest.mark.parametrize("family", FAMILIES)
def test_every_parameter_of_the_body_is_in_one_layer_in_order(backbones: dict[str, Backbone], family: str) -> None:
    body = backbones[family].body
    layers = layer_names(body)
    names = [name for group in layers.values() for name in group]
    assert sorted(names) == sorted(name for name, _ in body.named_parameters())
    assert list(layers) == ["embeddings", "layer 1", "layer 2", *(["top"] if family in TOPS else [])]
    assert layers.get("top", []) == TOPS.get(family, [])
    assert all(re.search("emb|wte|wpe|^encoder.LayerNorm", name) for name in layers["embeddings"])
    first = [name.replace(".0.", ".1.") for name in layers["layer 1"]]
    # ModernBERT's first layer takes what the embeddings' norm gives as it is.
    assert first == [name for name in layers["layer 2"] if name in first or "attn_norm" not in name]
    model = Model(body, "mean")
    assert set(sum(model.layers().values(), [])) == {name for name, _ in model.named_parameters()}


def test_embeddings_that_every_layer_reads_are_no_top(backbones: dict[str, Backbone]) -> None:
    layers = layer_names(backbones["deberta"].body)
    late = ["encoder.rel_embeddings.weight", "encoder.LayerNorm.weight", "encoder.LayerNorm.bias"]
    assert layers["embeddings"][-3:] == late
    stack = nn.ModuleList([nn.Linear(1, 1, bias=False)])
    shared = nn.ModuleDict({"layers": stack, "places": nn.Embedding(2, 1), "norm": nn.LayerNorm(1, bias=False)})
    assert layer_names(shared) == {
        "embeddings": ["places.weight"],
        "layer 1": ["layers.0.weight"],
        "top": ["norm.weight"],
    }


def test_a_layers_experts_are_not_taken_for_layers() -> None:
    layers = [nn.ModuleDict({"experts": nn.ModuleList([nn.Linear(1, 1) for _ in range(8)])}) for _ in range(2)]
    body = nn.ModuleDict({"layers": nn.ModuleList(layers)})
    assert [len(names) for names in layer_names(body).values()] == [0, 16, 16]


def test_a_body_without_layers_is_one_group() -> None:
    assert layer_names(nn.Linear(1, 1), "body.") == {"all": ["body.weight", "body.bias"]}


def test_a_head_depends_on_seed_and_name_only(backbones: dict[str, Backbone]) -> None:
    def heads(names: list[str], seed: int) -> dict[str, Tensor]:
        model = Model(backbones["bert"].body, "mean")
        for name in names:
            torch.rand(1)  # the global generator must not matter
            model.add_head(name, 400, seed)
        return {name: head.weight for name, head in model.heads.items()}  # type: ignore[misc]  # all are linear

    one, other = heads(["a", "b"], 1), heads(["b", "c", "a"], 1)
    assert torch.equal(one["a"], other["a"]) and torch.equal(one["b"], other["b"])
    assert not torch.equal(one["a"], one["b"])
    assert not torch.equal(one["a"], heads(["a"], 2)["a"])
    assert one["a"].std().item() == pytest.approx(0.02, rel=0.05)


def test_heads_start_without_bias_and_know_their_parameters(backbones: dict[str, Backbone]) -> None:
    model = Model(backbones["gpt2"].body, "last")
    model.add_head("a", 3, seed=0)
    assert model.head_names() == {"a": ["heads.a.weight", "heads.a.bias"]}
    assert model.get_parameter("heads.a.weight").shape == (3, 32)
    assert not model.get_parameter("heads.a.bias").any()


@pytest.mark.parametrize("pooling, expected", [("cls", [1.0, 4.0]), ("mean", [2.0, 4.5]), ("last", [3.0, 5.0])])
@pytest.mark.parametrize("side", ["right", "left"])
def test_pooling_leaves_padding_out_on_either_side(pooling: Pooling, expected: list[float], side: str) -> None:
    rows = [[1.0, 2, 3], [4.0, 5]]
    hidden, mask = torch.full((2, 5, 1), 99.0), torch.zeros(2, 5, dtype=torch.long)
    for number, row in enumerate(rows):
        place = slice(0, len(row)) if side == "right" else slice(5 - len(row), 5)
        hidden[number, place, 0], mask[number, place] = torch.tensor(row), 1
    assert pool(hidden, mask, pooling)[:, 0].tolist() == expected


@pytest.mark.parametrize("family", FAMILIES)
def test_decoders_are_pooled_at_the_last_token_others_at_the_first(backbones: dict[str, Backbone], family: str) -> None:
    assert backbones[family].pooling == ("last" if family in DECODERS else "cls")


@pytest.mark.parametrize(
    "key, pooling", [("mean_tokens", "mean"), ("lasttoken", "last"), ("cls_token", "cls"), ("max_tokens", "cls")]
)
def test_the_folder_may_state_the_pooling(copy: Callable[..., Path], key: str, pooling: str) -> None:
    folder = copy("bert")
    (folder / "1_Pooling").mkdir()
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({f"pooling_mode_{key}": True}))
    assert load(folder).pooling == pooling


def test_loading_prints_nothing(copy: Callable[..., Path], capfd: pytest.CaptureFixture[str]) -> None:
    load(copy("bert", lambda weights: weights | {"cls.predictions.bias": torch.zeros(87)}))
    load(copy("gpt2"))
    assert capfd.readouterr() == ("", "")


def test_a_name_of_the_catalogue_is_found() -> None:
    assert resolve_backbone("all-MiniLM-L6-v2") is BACKBONES[0]


def test_a_folder_is_found(backbone_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = resolve_backbone(str(backbone_folder))
    assert (spec.name, spec.folder, spec.hub) == ("tiny-bert", str(backbone_folder), "")
    monkeypatch.setenv("HOME", str(backbone_folder.parent))
    assert resolve_backbone("~/tiny-bert").folder == str(backbone_folder)


@pytest.mark.parametrize(
    "name, repository, revision",
    [("org/name", "org/name", ""), ("org/na.me-1@refs/pr/1", "org/na.me-1", "refs/pr/1"), ("a_b/c@v1", "a_b/c", "v1")],
)
def test_a_hub_id_is_taken_apart(name: str, repository: str, revision: str) -> None:
    spec = resolve_backbone(name)
    assert (spec.name, spec.hub, spec.revision, spec.folder) == (name, repository, revision, "")


@pytest.mark.parametrize("name", ["./no-such", "/no/such", "~/no-such", "~nobody-here/x", "no/such/", "../no-such"])
def test_a_folder_that_is_not_there_is_said(name: str) -> None:
    with pytest.raises(UserError, match="no such folder"):
        resolve_backbone(name)


@pytest.mark.parametrize("name", ["", "nonsense", "a/b/c", "org/na me", "org/@v1", "org/näme"])
def test_nonsense_is_refused(name: str) -> None:
    with pytest.raises(
        UserError, match="unknown backbone.*A hub id has the form org/name, without .* a folder must exist"
    ):
        resolve_backbone(name)


def test_a_misspelt_name_gets_the_nearest() -> None:
    with pytest.raises(UserError, match=r"did you mean all-MiniLM-L6-v2 or "):
        resolve_backbone("all-minilm-l6-v2")


def test_the_hub_is_not_asked_when_offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RETAIN_OFFLINE", "1")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(
        UserError, match="^backbone org/name at revision v1: RETAIN_OFFLINE is set and the model is not"
    ):
        hub.fetch_from_hub("org/name", "v1")


@pytest.mark.parametrize("error", [ValueError("bad id\nmore"), OSError("disk full"), RuntimeError("proxy")])
def test_whatever_the_hubs_client_raises_becomes_one_line(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def fail(*args: object, **settings: object) -> str:
        raise error

    monkeypatch.setattr("huggingface_hub.snapshot_download", fail)
    with pytest.raises(UserError) as caught:
        hub.fetch_from_hub("org/name", "")
    assert str(caught.value) == f"backbone org/name: download failed: {str(error).splitlines()[0]}"
