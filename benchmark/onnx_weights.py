"""BERT weights from an ONNX graph, made into the files that backbones are loaded from."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmark import fetch
from benchmark.backbones import BackboneSpec
from benchmark.convert import WEIGHTS, is_whole, put_in_place
from benchmark.errors import UserError
from benchmark.package_index import sha256_of

FORMAT = "2"
"""Counts up when what is written changes, so that no older folder is taken for a newer one."""
NAMED = re.compile(r"(?:^|\.)((?:embeddings|encoder)\..+)$")
"""A parameter's name in the graph ends with the one it has in a BERT body."""
PRODUCT = re.compile(r"(?:^|/)(encoder/.+)/MatMul$")
"""An exporter folds the transpose into the matrix of a linear map and loses its name; the product keeps the place."""


def converted(spec: BackboneSpec, report: Callable[[str], None]) -> Path:
    """The folder with a backbone's configuration, tokenizer and safetensors weights, made unless it is cached, whole.

    Raises:
        UserError: something can't be fetched, read or written, or the graph is not that of its configuration, or does
            not give the weights that are pinned.
    """
    assert spec.archive is not None and spec.onnx is not None
    graph = fetch.fetch(spec.archive, report=report) / spec.onnx.file
    tokenizer = fetch.fetch(spec.onnx.tokenizer, report=report) / spec.onnx.tokenizer_folder
    parts = [FORMAT, spec.archive.sha256, spec.onnx.tokenizer.sha256, json.dumps(spec.onnx.config, sort_keys=True)]
    key = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    target = fetch.cache_folder() / "converted" / f"{spec.name}-{key}"
    if is_whole(target, spec.onnx.weights, report):
        return target
    report(f"converting {graph.name} to safetensors, once")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".") as name:
            folder = Path(name) / "made"
            shutil.copytree(tokenizer, folder, ignore=lambda _, names: set(names) - set(spec.onnx.tokenizer_files))
            write_bert(graph, folder, spec.onnx.config)
            found = sha256_of(folder / WEIGHTS)
            if found != spec.onnx.weights:
                raise UserError(
                    f"{graph.name}: converting gives weights with SHA-256 {found}, but {spec.onnx.weights} is pinned: "
                    "install the versions of constraints.txt"
                )
            put_in_place(folder, target, spec.onnx.weights)
    except OSError as error:
        raise UserError(
            f"{target.parent}: writing failed ({error.strerror}): free space or set RETAIN_CACHE"
        ) from error
    return target


def write_bert(graph: Path, folder: Path, config: dict[str, Any]) -> None:
    """Writes ``config.json`` and ``model.safetensors`` of the BERT body in a graph.

    Raises:
        UserError: the graph can't be read, or lacks or adds weights to what the configuration asks for.
    """
    from safetensors.numpy import save_file

    weights = bert_weights(graph)
    layers = {int(name.split(".")[2]) for name in weights if name.startswith("encoder.layer.")}
    if layers != set(range(config["num_hidden_layers"])) or len(weights) != 5 + 16 * len(layers):
        raise UserError(
            f"{graph.name}: has {len(weights)} weights of layers {sorted(layers)}, which are not those of a BERT of "
            f"{config['num_hidden_layers']} layers: correct the backbone's entry"
        )
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def bert_weights(graph: Path) -> dict[str, NDArray[np.float32]]:
    """Name in a BERT body -> its 32-bit weights, from the initializers of a graph, sorted by name.

    Raises:
        UserError: the file is no ONNX graph.
    """
    import onnx
    from onnx import numpy_helper

    try:
        found = onnx.load(graph, load_external_data=False).graph
    except Exception as error:  # its parser's own kinds, which it does not re-export
        raise UserError(f"{graph}: is no ONNX graph") from error
    tensors = {entry.name: entry for entry in found.initializer if entry.data_type == onnx.TensorProto.FLOAT}
    weights = {match[1]: numpy_helper.to_array(tensors[name]) for name in tensors if (match := NAMED.search(name))}
    for node in found.node:
        place = PRODUCT.search(node.name)
        for name in node.input:
            if node.op_type == "MatMul" and place and name in tensors:
                weights[f"{place[1].replace('/', '.')}.weight"] = numpy_helper.to_array(tensors[name]).T
    return {name: np.ascontiguousarray(weights[name]) for name in sorted(weights)}
