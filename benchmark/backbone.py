"""A pretrained body with named heads of our own."""

from __future__ import annotations

import hashlib
import inspect
import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from benchmark.backbones import POOLING_FILE, SETTINGS_FILES, WEIGHT_FILES, BackboneSpec, Pooling
from benchmark.cutting import Cut
from benchmark.errors import UserError
from benchmark.growing import GrowingHead
from benchmark.pretrained_head import PretrainedHead, objective_of
from benchmark.quiet import first_line, quiet_transformers
from benchmark.seeding import generator
from tasks.base import Batch, Rows, Task
from tasks.spec import PRETRAINING

STATED_POOLING: dict[str, Pooling] = {
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_cls_token": "cls",
    "pooling_mode_lasttoken": "last",
}
"""What sentence-transformers calls the kinds of pooling."""


class Model(nn.Module):
    """Body and heads. Called with tasks' questions about some texts it gives the rows of each.

    Attributes:
        body: The pretrained model without any head.
        heads: Head -> map from the body's width; linear and made when the first task that needs it is added, but for
            the one that the body was pretrained with.
        pooling: How a text's hidden states become one vector.
        used_tokens: All tokens that training texts of the stream have, sorted; empty where that is not known.
    """

    def __init__(self, body: PreTrainedModel, pooling: Pooling, pretrained_head: nn.Module | None = None) -> None:
        """Starts without heads, or with the one that the body was pretrained with."""
        super().__init__()
        self.body = body
        self.heads = nn.ModuleDict({} if pretrained_head is None else {PRETRAINING: pretrained_head})
        self.pooling = pooling
        self.used_tokens = torch.empty(0, dtype=torch.int64)  # no buffer: it is none of the weights' business

    def add_head(self, name: str, outputs: int, seed: int, grows: bool = False) -> None:
        """Adds an untrained head: weights as the body initialises its own, biases 0, decided by seed and name.

        Args:
            name: Of the head.
            outputs: That each state is mapped to.
            seed: Of the run.
            grows: Whether stages open its classes as they are taught.
        """
        width, spread = self.body.config.hidden_size, getattr(self.body.config, "initializer_range", 0.02)
        head = (GrowingHead if grows else nn.Linear)(width, outputs)
        with torch.no_grad():
            head.weight.normal_(0, spread, generator=generator("head", seed, name))
            head.bias.zero_()
        self.heads[name] = head.to(self.body.device)

    def forward(self, *questions: tuple[Task, Batch]) -> list[Rows]:
        """Of each task and batch the rows: logits of the task's head and their targets. The texts are read once.

        Raises:
            ValueError: the batches are not of the same texts.
        """
        (_, texts), *others = questions
        if any(batch.inputs is not texts.inputs for _, batch in others):
            raise ValueError("questions that are asked together must be about the same texts")
        if others:
            texts = replace(texts, frozen=None)  # these may be of pooled states alone
        states = self.read(texts)
        return [task.rows(*states, self.heads[task.head], batch) for task, batch in questions]

    def read(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Last hidden states, (B, L, D), and pooled ones, (B, D); hidden ones of length 0 where only these are known.

        What is known of a batch already is not computed again, if it is this body's and the body is still what it was.
        """
        known = batch.frozen
        cut = None if known is None else known.origin
        if known is None or not isinstance(cut, Cut) or cut.body is not self.body or not cut.holds():
            hidden = self.body(**batch.inputs).last_hidden_state
        elif known.states.dim() == 2:
            return known.states[:, None][:, :0], known.states
        else:
            hidden = cut.above(batch.inputs, known.states)
        return hidden, self.pool(hidden, batch)

    def pool(self, hidden: Tensor, batch: Batch) -> Tensor:
        """One vector a text, (B, D), from the hidden states of a batch."""
        return pool(hidden, batch.inputs["attention_mask"], self.pooling)

    def embed(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """One vector a text, (B, D), from padded inputs."""
        hidden = self.body(**inputs).last_hidden_state
        return pool(hidden, inputs["attention_mask"], self.pooling)

    def predict(self, inputs: Mapping[str, Tensor], places: Tensor) -> Tensor:
        """What the head that the body was pretrained with says at these places, (N, V), of padded inputs.

        Args:
            inputs: (B, L) each.
            places: (B, L) bool, N of them true.
        """
        logits: Tensor = self.heads[PRETRAINING](self.body(**inputs).last_hidden_state[places])
        return logits

    def states(self, inputs: Mapping[str, Tensor]) -> tuple[list[Tensor], Tensor]:
        """What goes into the first layer and comes out of every layer, (B, L, D) each, and what `embed` gives.

        Read by hooks of our own: those that transformers installs for ``output_hidden_states`` see nothing any more in
        a body that was pickled, as it is for other processes.
        """
        layers = self.stack()
        found: list[Tensor] = []

        def before(layer: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
            found.append(given[0] if given else named["hidden_states"])

        def after(layer: nn.Module, given: tuple[Any, ...], out: Any) -> None:
            found.append(out[0] if isinstance(out, tuple) else out)

        hooks = [layer.register_forward_pre_hook(before, with_kwargs=True) for layer in layers[:1]]
        hooks += [layer.register_forward_hook(after) for layer in layers]
        try:
            hidden = self.body(**inputs).last_hidden_state
        finally:
            for hook in hooks:
                hook.remove()
        return found or [hidden], pool(hidden, inputs["attention_mask"], self.pooling)

    def stack(self) -> list[nn.Module]:
        """The body's layers, from the input up; none where they can't be told apart."""
        name = _layer_stack(self.body)
        return [] if name is None else list(self.body.get_submodule(name).children())

    def modules_of(self, layers: Collection[str]) -> list[nn.Module]:
        """All modules in some of `layers`, each by itself.

        ``embeddings`` has all that is beside the layers and their top: what joins them, too, where dropout may hide.
        """
        stack, known = self.stack(), self.layers()
        if len(layers) == len(known):
            return list(self.body.modules())
        layer_of = {module: f"layer {number}" for number, layer in enumerate(stack, 1) for module in layer.modules()}
        top = {name.removeprefix("body.").rpartition(".")[0] for name in known.get("top", [])}
        return [
            module
            for name, module in self.body.named_modules()
            if layer_of.get(module, "top" if name in top else "embeddings") in layers
        ]

    def layers(self) -> dict[str, list[str]]:
        """Layer -> names of the body's parameters in it, from the input up; what follows the layers is ``top``."""
        return layer_names(self.body, prefix="body.")

    def head_names(self) -> dict[str, list[str]]:
        """Head -> names of its parameters, without those that it shares with the body."""
        body = set(self.body.parameters())
        return {
            name: [f"heads.{name}.{part}" for part, weight in head.named_parameters() if weight not in body]
            for name, head in self.heads.items()
        }


@dataclass(frozen=True)
class Backbone:
    """A loaded backbone: the body as pretrained, its tokenizer, how texts are pooled, the hash of its weights."""

    spec: BackboneSpec
    body: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    pooling: Pooling
    weights_sha256: str
    settings_sha256: str
    """Of configuration, tokenizer files and pooling."""
    pretrained_head: PretrainedHead | None = None
    """The head that it was pretrained with, where something asks it; shares the body's weights where it is tied."""

    @property
    def parameters(self) -> int:
        """Weights of the body."""
        return sum(parameter.numel() for parameter in self.body.parameters())


def pool(hidden: Tensor, attention_mask: Tensor, pooling: Pooling) -> Tensor:
    """One vector a text from its hidden states.

    Args:
        hidden: (B, L, D).
        attention_mask: (B, L), 1 where there is a token.
        pooling: ``cls`` takes the first token, ``last`` the last, ``mean`` the mean over all tokens.
    """
    if pooling == "mean":
        mask = attention_mask[..., None].to(hidden.dtype)
        return (hidden * mask).sum(dim=1) / mask.sum(dim=1).clamp(min=1)
    positions = torch.arange(hidden.shape[1], device=hidden.device)
    present = attention_mask.bool()
    places = positions.expand_as(attention_mask)
    if pooling == "cls":
        chosen = places.masked_fill(~present, hidden.shape[1]).argmin(dim=1)
    else:
        chosen = places.masked_fill(~present, -1).argmax(dim=1)
    return hidden[torch.arange(len(hidden), device=hidden.device), chosen]


def layer_names(body: nn.Module, prefix: str = "") -> dict[str, list[str]]:
    """Groups a transformer's parameters: ``embeddings``, ``layer 1`` ... ``layer n``, and ``top`` if anything follows.

    The layers are the longest list of modules in the body, as in every family of transformers. DeBERTa's embeddings of
    relative places, with their norm, belong to ``embeddings``: they come behind the layers, but every layer reads them.
    """
    stack = _layer_stack(body)
    if stack is None:
        return {"all": [prefix + name for name, _ in body.named_parameters()]}
    groups: dict[str, list[str]] = {"embeddings": []}
    top: list[str] = []
    beside = _beside_late_embeddings(body, stack)
    for name, _ in body.named_parameters():
        if name.startswith(f"{stack}."):
            number = int(name[len(stack) + 1 :].split(".", 1)[0]) + 1
            groups.setdefault(f"layer {number}", []).append(prefix + name)
        else:
            # OPT registers its final norm before its layers.
            before = (len(groups) == 1 and "final" not in name) or name.startswith(beside)
            (groups["embeddings"] if before else top).append(prefix + name)
    return groups | ({"top": top} if top else {})


def _beside_late_embeddings(body: nn.Module, stack: str) -> tuple[str, ...]:
    """Beginnings of the names of what is registered behind the layers beside an embedding: input of all layers."""
    names = list(dict(body.named_modules()))
    late = [name for name in names[names.index(stack) :] if isinstance(body.get_submodule(name), nn.Embedding)]
    return tuple(f"{name.rpartition('.')[0] or name}." for name in late)


def _layer_stack(body: nn.Module) -> str | None:
    """Name of the list of layers in the body: the longest, not counting lists inside others (a layer's experts)."""
    lists = {name: module for name, module in body.named_modules() if isinstance(module, nn.ModuleList)}
    outer = {name: len(module) for name, module in lists.items() if not any(name.startswith(f"{o}.") for o in lists)}
    return max(outer, key=lambda name: outer[name], default=None)


def load_backbone(spec: BackboneSpec, folder: Path) -> Backbone:
    """Loads a body and its tokenizer from a folder, and fails unless exactly the body's weights came from there.

    Layers that nothing here reads (a pooler, a pretraining head) are left out, so they are neither counted nor
    trained. The tokenizer is made to fit: a padding token, the inputs and the length that the body takes.

    Args:
        spec: What the backbone is.
        folder: Holds ``config.json``, ``*.safetensors`` and the tokenizer's files.

    Raises:
        UserError: files are missing or unreadable, weights are missing, too many or don't fit, or the body or the
            tokenizer can't be used.
    """
    weights = sorted(folder.glob(WEIGHT_FILES))
    if not weights:
        raise UserError(
            f"backbone {spec.name}: no *.safetensors in {folder}; only safetensors are read, never pickles: "
            "convert the weights first"
        )
    with quiet_transformers():
        try:
            config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            body, report = cast(
                tuple[PreTrainedModel, dict[str, Any]],
                AutoModel.from_pretrained(
                    folder,
                    config=config,
                    dtype=torch.float32,
                    use_safetensors=True,
                    local_files_only=True,
                    trust_remote_code=False,
                    output_loading_info=True,
                    ignore_mismatched_sizes=True,  # they are in the report, which is checked below
                ),
            )
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
            pooling = spec.pooling or _natural_pooling(folder, config)
        except Exception as error:  # transformers raises many kinds for a bad folder: all are the user's to mend
            raise UserError(f"backbone {spec.name}: cannot be loaded from {folder}: {first_line(error)}") from error
    if config.is_encoder_decoder:
        raise UserError(f"backbone {spec.name}: is an encoder with a decoder; only one of the two alone can be used")
    if getattr(body, "pooler", None) is not None:
        body.pooler = None
    problem = _wrong_weights(body, report)
    if problem:
        raise UserError(f"backbone {spec.name}: {problem}: check that config.json in {folder} belongs to the weights")
    problem = _fit_tokenizer(tokenizer, body, folder)
    if problem:
        raise UserError(f"backbone {spec.name}: {problem}: check the tokenizer's files in {folder}")
    body.config.use_cache = False
    return Backbone(spec, body.eval(), tokenizer, pooling, _weights_sha256(weights), _settings_sha256(folder, pooling))


def _wrong_weights(body: PreTrainedModel, report: Mapping[str, Any]) -> str | None:
    """What is wrong with the weights, judged by the report of loading them; None if exactly the body was loaded."""
    own = set(body.state_dict())
    missing = sorted(own & set(report["missing_keys"]))
    if missing:
        return f"{_some(missing)} missing from the weights, and would be random"
    # Entries are (name, shape in the file, shape in the body).
    unfit = sorted(str(key[0]) for key in report["mismatched_keys"] if key[0] in own)
    if unfit:
        return f"{_some(unfit)} of another shape in the weights than in config.json"
    stack = _layer_stack(body)
    layer = re.compile(rf"(?:^|\.){re.escape(stack)}\.(\d+)\." if stack else "(?!)")
    count = len(body.get_submodule(stack)) if stack else 0
    # Heads are left out on purpose, but a layer too many means that the body is not the one that was pretrained.
    more = [key for key in sorted(report["unexpected_keys"]) if (found := layer.search(key)) and int(found[1]) >= count]
    return f"{_some(more)} in the weights, but config.json has {count} layers" if more else None


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:3])
    return f"{shown} is" if len(names) == 1 else f"{shown}{', ...' if len(names) > 3 else ''} ({len(names)}) are"


def _fit_tokenizer(tokenizer: PreTrainedTokenizerBase, body: PreTrainedModel, folder: Path) -> str | None:
    """Makes the tokenizer fit the body; returns what is wrong if it can't.

    * What it makes is what the body takes: not every body knows ``token_type_ids``.
    * Its longest text is what the body has positions for: what tokenizers state is often missing or advice.
    * It has a padding token. Any does where none was trained, since padding is masked.
    """
    if not tokenizer.is_fast:
        return "it needs a fast tokenizer (tokenizer.json)"
    # Where there is no file, transformers makes one up.
    if not any((folder / name).is_file() for name in tokenizer.vocab_files_names.values()):
        return "its tokenizer has no vocabulary"
    known = body.get_input_embeddings().num_embeddings
    if len(tokenizer) > known:
        return f"its tokenizer has {len(tokenizer)} tokens, but the body knows {known}"
    takes = inspect.signature(body.forward).parameters
    tokenizer.model_input_names = [name for name in tokenizer.model_input_names if name in takes]
    tokenizer.model_max_length = _positions(body)
    tokenizer.padding_side = tokenizer.truncation_side = "right"
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.convert_ids_to_tokens(0)
    return None


def _positions(body: PreTrainedModel) -> int:
    """Tokens in the longest text that the body can read; a huge number where nothing limits it."""
    stated = getattr(body.config, "max_position_embeddings", None)
    limits = [stated] if isinstance(stated, int) and stated > 0 else []
    for name, module in body.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding) and module.padding_idx is not None:
            limits.append(module.num_embeddings - module.padding_idx - 1)  # RoBERTa counts from behind the padding
    return min(limits, default=2**31)


def _natural_pooling(folder: Path, config: PretrainedConfig) -> Pooling:
    """What the model was trained with if its folder says so, else the last token for decoders, the first for others."""
    stated = folder / POOLING_FILE
    if stated.is_file():
        settings = json.loads(stated.read_text(encoding="utf-8"))
        for key, pooling in STATED_POOLING.items():
            if settings.get(key):
                return pooling
    return "last" if objective_of(config) == "causal" else "cls"


def _settings_sha256(folder: Path, pooling: Pooling) -> str:
    """SHA-256 over the pooling and the names and bytes of all small files that loading may read."""
    whole = hashlib.sha256(pooling.encode())
    for file in sorted(path for pattern in SETTINGS_FILES for path in folder.glob(pattern)):
        whole.update(f"\n{file.name}\n".encode())
        whole.update(file.read_bytes())
    return whole.hexdigest()


def _weights_sha256(files: list[Path]) -> str:
    """SHA-256 of the weight file; of several, of their hashes in order of their names."""
    digests = []
    for file in files:
        with file.open("rb") as stream:
            digests.append(hashlib.file_digest(stream, "sha256").hexdigest())
    return digests[0] if len(digests) == 1 else hashlib.sha256("\n".join(digests).encode()).hexdigest()
