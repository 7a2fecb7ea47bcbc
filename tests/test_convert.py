"""GGUF files made into folders of safetensors: a tiny one, written here with the weights of a tiny Llama."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gguf import GGUFWriter, TokenType

from benchmark.backbone import load_backbone
from benchmark.backbones import BackboneSpec
from benchmark.convert import HASHES, WEIGHTS, dequantised
from benchmark.errors import UserError
from benchmark.package_index import sha256_of
from benchmark.pretrained_head import load_pretrained_head

LAYERS, WIDTH, INNER, HEADS, KEYS = 2, 32, 64, 4, 2


def save_gguf(path: Path, names: bool = True) -> dict[str, np.ndarray[Any, Any]]:
    """A tied Llama with a vocabulary of bytes and a few merges; returns its tensors."""
    from tokenizers.pre_tokenizers import ByteLevel

    tokens = ["<|endoftext|>", *sorted(ByteLevel.alphabet()), "ba", "lo", "balo"]
    writer = GGUFWriter(path, "llama")
    writer.add_block_count(LAYERS)
    writer.add_context_length(64)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KEYS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(tokens))
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types([TokenType.CONTROL] + [TokenType.NORMAL] * (len(tokens) - 1))
    writer.add_token_merges(["b a", "l o", "ba lo"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    draw = np.random.default_rng(0)
    key = WIDTH * KEYS // HEADS
    shapes = {"token_embd": (len(tokens), WIDTH), "output_norm": (WIDTH,)}
    for layer in range(LAYERS):
        shapes |= {
            f"blk.{layer}.{name}": shape
            for name, shape in {
                "attn_norm": (WIDTH,),
                "attn_q": (WIDTH, WIDTH),
                "attn_k": (key, WIDTH),
                "attn_v": (key, WIDTH),
                "attn_output": (WIDTH, WIDTH),
                "ffn_norm": (WIDTH,),
                "ffn_gate": (INNER, WIDTH),
                "ffn_up": (INNER, WIDTH),
                "ffn_down": (WIDTH, INNER),
            }.items()
        }
    if not names:
        del shapes["blk.1.ffn_down"]
    tensors = {name: draw.normal(0, 0.2, shape).astype(np.float32) for name, shape in shapes.items()}
    for name, values in tensors.items():
        writer.add_tensor(f"{name}.weight", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return tensors


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RETAIN_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def pinned(gguf: Path, said: list[str]) -> str:
    """The hash that the file gives, as the message says it."""
    with pytest.raises(UserError, match="dequantising gives weights with SHA-256") as error:
        dequantised(gguf, "0" * 64, report=said.append)
    return str(error.value).partition("SHA-256 ")[2][:64]


def test_a_gguf_file_becomes_a_backbone_with_its_weights_tokenizer_and_head(tmp_path: Path, cache: Path) -> None:
    gguf, said = tmp_path / "tiny.gguf", list[str]()
    tensors = save_gguf(gguf)
    digest = pinned(gguf, said)
    assert list((cache / "converted").iterdir()) == []  # nothing is left of what is not what was pinned
    folder = dequantised(gguf, digest, report=said.append)
    assert sha256_of(folder / WEIGHTS) == digest
    assert said == ["dequantising tiny.gguf to 32 bits, once"] * 2
    spec = BackboneSpec("tiny", "", "", "last", folder=str(folder))
    backbone = load_backbone(spec, folder)
    assert backbone.weights_sha256 == digest
    head = load_pretrained_head(folder, backbone.body)
    assert head.about.tied and head.about.outputs == len(tensors["token_embd"])
    assert torch.equal(backbone.body.embed_tokens.weight, torch.from_numpy(tensors["token_embd"]))
    down = backbone.body.layers[1].mlp.down_proj.weight
    assert torch.equal(down, torch.from_numpy(tensors["blk.1.ffn_down"]))
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert "quantization_config" not in config and config["tie_word_embeddings"]
    assert backbone.tokenizer.tokenize("balo ba") == ["balo", "Ġ", "ba"]


def test_it_is_made_once_the_same_bytes_every_time_and_again_if_damaged(tmp_path: Path, cache: Path) -> None:
    gguf, said = tmp_path / "tiny.gguf", list[str]()
    save_gguf(gguf)
    digest = pinned(gguf, said)
    folder = dequantised(gguf, digest, report=said.append)
    hashes = (folder / HASHES).read_bytes()
    said.clear()
    assert dequantised(gguf, digest, report=said.append) == folder
    assert said == []
    config = folder / "config.json"
    config.write_bytes(config.read_bytes() + b" ")
    assert dequantised(gguf, digest, report=said.append) == folder
    assert said == [f"{folder} is damaged: making it again", "dequantising tiny.gguf to 32 bits, once"]
    assert (folder / HASHES).read_bytes() == hashes
    assert sha256_of(config) == json.loads(hashes)["config.json"]
    assert [path.name for path in (cache / "converted").iterdir()] == [folder.name]


def test_files_that_are_no_whole_model_are_refused(tmp_path: Path, cache: Path) -> None:
    save_gguf(tmp_path / "part.gguf", names=False)
    with pytest.raises(UserError, match=r"part\.gguf: lacks .*down_proj\.weight, which would be random"):
        dequantised(tmp_path / "part.gguf", "0" * 64, report=list[str]().append)
    (tmp_path / "text.gguf").write_text("no model", encoding="utf-8")
    with pytest.raises(UserError, match=r"text\.gguf: cannot be read as a GGUF model"):
        dequantised(tmp_path / "text.gguf", "0" * 64, report=list[str]().append)
    assert list((cache / "converted").iterdir()) == []
