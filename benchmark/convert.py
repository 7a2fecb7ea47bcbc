"""Backbones that are published as GGUF, quantised, made into folders of safetensors once and for all.

The cache holds ``converted/<name>-<first 16 digits of the weights' SHA-256>/`` with configuration, weights in 32 bits
and tokenizer, and ``sha256.json`` with the hashes of all three. A folder gets its name only when it is complete, and
the bits of its weights are pinned in the catalogue: wherever and whenever it is made, it is the same backbone.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from benchmark.errors import UserError
from benchmark.fetch import cache_folder
from benchmark.package_index import sha256_of
from benchmark.quiet import first_line, quiet_transformers

Report = Callable[[str], None]

WEIGHTS = "model.safetensors"
HASHES = "sha256.json"


def dequantised(gguf: Path, weights_sha256: str, *, report: Report) -> Path:
    """The folder with a backbone that was read from a GGUF file, made unless it is in the cache, whole.

    Args:
        gguf: The file, checked.
        weights_sha256: What `WEIGHTS` must have.
        report: Is told that it is made, which takes a minute.

    Raises:
        UserError: the file can't be read, gives other weights, or the cache can't be written.
    """
    target = cache_folder() / "converted" / f"{gguf.stem}-{weights_sha256[:16]}"
    if is_whole(target, weights_sha256, report):
        return target
    report(f"dequantising {gguf.name} to 32 bits, once")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".partial-") as name:
            made = Path(name) / "folder"
            made.mkdir()
            _convert(gguf, made)
            found = sha256_of(made / WEIGHTS)
            if found != weights_sha256:
                raise UserError(
                    f"{gguf.name}: dequantising gives weights with SHA-256 {found}, but {weights_sha256} is pinned: "
                    f"install the versions of constraints.txt (here: gguf {version('gguf')}, transformers "
                    f"{version('transformers')})"
                )
            put_in_place(made, target, weights_sha256)
    except OSError as error:
        raise UserError(
            f"{target}: cannot be made ({error.strerror or error}): set RETAIN_CACHE to a folder you can write to"
        ) from error
    return target


def _convert(gguf: Path, folder: Path) -> None:
    """Writes configuration, weights and tokenizer of a model, the same bytes every time."""
    import torch
    from safetensors.torch import save_file
    from transformers import AutoModelForCausalLM, AutoTokenizer

    with quiet_transformers():
        try:
            model, loading = AutoModelForCausalLM.from_pretrained(
                gguf.parent, gguf_file=gguf.name, dtype=torch.float32, output_loading_info=True, local_files_only=True
            )
            tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name, local_files_only=True)
        except Exception as error:  # transformers and gguf raise many kinds for a bad file
            raise UserError(f"{gguf}: cannot be read as a GGUF model: {first_line(error)}") from error
    missing = sorted(loading["missing_keys"])
    if missing:
        raise UserError(f"{gguf}: lacks {missing[0]}, which would be random: only whole models can be used")
    settings = {
        name: value
        for name, value in model.config.to_diff_dict().items()
        # How it was stored, where it lay and what read it is no part of the model.
        if name not in {"quantization_config", "transformers_version", "_model_name_or_path"}
    }
    settings["architectures"] = [type(model).__name__]
    (folder / "config.json").write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    # Each parameter once: what is tied is tied again when it is loaded.
    weights = {name: value.detach().contiguous() for name, value in model.named_parameters()}
    save_file(weights, folder / WEIGHTS, metadata={"format": "pt"})
    tokenizer.save_pretrained(folder)


def is_whole(folder: Path, weights_sha256: str, report: Report = lambda _: None) -> bool:
    """Whether a folder holds what `put_in_place` put there, with these weights.

    Args:
        folder: That was made, or not yet.
        weights_sha256: What `WEIGHTS` must have.
        report: Is told if it is there and damaged.
    """
    try:
        hashes = json.loads((folder / HASHES).read_text(encoding="utf-8"))
        whole = bool(hashes == {name: sha256_of(folder / name) for name in hashes})
        whole = whole and hashes.get(WEIGHTS) == weights_sha256
    except (OSError, ValueError, TypeError, AttributeError):
        whole = False
    if not whole and folder.exists():
        report(f"{folder} is damaged: making it again")
    return whole


def put_in_place(made: Path, target: Path, weights_sha256: str) -> None:
    """Gives a complete folder its hashes and its name, unless another process has been faster.

    Raises:
        OSError: it can't be written or moved.
    """
    hashes = {path.name: sha256_of(path) for path in sorted(made.iterdir())}
    (made / HASHES).write_text(json.dumps(hashes, indent=2) + "\n", encoding="utf-8")
    for path in made.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    if target.exists() and not is_whole(target, weights_sha256):
        shutil.rmtree(target)
    try:
        made.rename(target)
    except OSError:
        if not is_whole(target, weights_sha256):
            raise
