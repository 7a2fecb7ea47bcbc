"""The head that a body was pretrained with, kept aside and put back on the body as it trains."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoModelForMaskedLM, PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutputWithPastAndCrossAttentions
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES as CAUSAL
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING_NAMES as MASKED

from benchmark.quiet import first_line, quiet_transformers
from tasks.base import Pretraining
from tasks.spec import Objective


class NoHead(Exception):
    """A backbone has no head that it was pretrained with, or none that can be used; the line goes after its name."""


class PretrainedHead(nn.Module):
    """Maps hidden states of the body to logits over the vocabulary, as the model that was pretrained does.

    It is that model, with the body taken out: so whatever its family does between the body and the logits (a further
    layer, scaling, capping) is done. Weights that it shares with the body (mostly the input embeddings) are the very
    parameters of ours: they count once, and move as the body trains.

    Attributes:
        whole: The model of transformers without its body.
        about: What tasks need to know.
    """

    def __init__(self, whole: PreTrainedModel, about: Pretraining) -> None:
        """See `load_pretrained_head`."""
        super().__init__()
        self.whole = whole
        self.about = about

    def forward(self, hidden: Tensor) -> Tensor:
        """(..., V) logits of the last hidden states (..., D)."""
        logits: Tensor = self.whole(inputs_embeds=hidden.reshape(1, -1, hidden.shape[-1])).logits
        return logits.reshape(*hidden.shape[:-1], -1)


class Given(nn.Module):
    """Stands where the body was: its last hidden states are what the model is given as embeddings."""

    def forward(self, *args: Any, inputs_embeds: Tensor, **kwargs: Any) -> BaseModelOutputWithPastAndCrossAttentions:
        """Hands them on."""
        return BaseModelOutputWithPastAndCrossAttentions(last_hidden_state=inputs_embeds)


def objective_of(config: PretrainedConfig) -> Objective | None:
    """What a model of this family is pretrained for: encoders to tell masked tokens, decoders the next one.

    None where it is neither. Encoders have a causal class too, so only what can't be a masked language model is a
    decoder.
    """
    if config.model_type in MASKED:
        return "masked"
    return "causal" if config.model_type in CAUSAL else None


@torch.no_grad()
def load_pretrained_head(folder: Path, body: PreTrainedModel) -> PretrainedHead:
    """Loads the head of a checkpoint and puts it on the body that was loaded from there before.

    Args:
        folder: Of the checkpoint.
        body: As loaded: on the CPU, its weights as they are in the folder.

    Raises:
        NoHead: the family has none, the checkpoint holds none, or it can't be used apart from its body.
    """
    objective = objective_of(body.config)
    if objective is None:
        raise NoHead(f"is of a family ({body.config.model_type}) without a language-modelling head")
    kind = f"{objective} language-modelling head"
    family = {"causal": AutoModelForCausalLM, "masked": AutoModelForMaskedLM}[objective]
    with quiet_transformers():
        try:
            whole, report = cast(
                tuple[PreTrainedModel, dict[str, Any]],
                family.from_pretrained(
                    folder,
                    dtype=torch.float32,
                    use_safetensors=True,
                    local_files_only=True,
                    trust_remote_code=False,
                    output_loading_info=True,
                    ignore_mismatched_sizes=True,  # they are in the report, which is checked below
                ),
            )
        except Exception as error:  # transformers raises many kinds
            raise NoHead(f"has a {kind} that can't be loaded: {first_line(error)}") from error
    whole.eval()
    whole.config.use_cache = False
    random = sorted({*report["missing_keys"], *(str(key[0]) for key in report["mismatched_keys"])})
    if random:
        raise NoHead(f"was published without its {kind}: its weights lack {random[0]}")
    theirs = getattr(whole, whole.base_model_prefix)
    if not _same_weights(theirs, body):
        raise NoHead(f"gets other weights when it is loaded with its {kind}")
    # Words that any vocabulary has; two texts, as padding belongs to the body.
    ids = torch.arange(8).reshape(2, 4) % body.get_input_embeddings().num_embeddings
    expected = whole(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    own = _put_on(whole, theirs, body)
    setattr(whole, whole.base_model_prefix, Given())
    head = PretrainedHead(whole, Pretraining(objective, expected.shape[-1], not own))
    try:
        found = head(body(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state)
    except Exception as error:
        raise NoHead(f"has a {kind} that needs more of the body than its hidden states: {first_line(error)}") from error
    if not torch.allclose(found, expected, rtol=1e-4, atol=1e-4):
        raise NoHead(f"has a {kind} that says something else when it is put on the body again")
    return head


def _same_weights(theirs: nn.Module, body: nn.Module) -> bool:
    """Whether all parameters of the body have the same bits in the other."""
    other = dict(theirs.named_parameters(remove_duplicate=False))
    named = body.named_parameters(remove_duplicate=False)
    return all(name in other and torch.equal(weight, other[name]) for name, weight in named)


def _put_on(whole: nn.Module, theirs: nn.Module, body: nn.Module) -> list[str]:
    """Replaces what the head shares with its body by the parameters of ours; returns the names of all others."""
    ours = dict(body.named_parameters(remove_duplicate=False))
    shared = {weight: ours[name] for name, weight in theirs.named_parameters(remove_duplicate=False) if name in ours}
    inside = set(theirs.modules())
    own: list[str] = []
    for place, module in whole.named_modules():
        if module in inside:
            continue
        for name, weight in list(module.named_parameters(recurse=False)):
            if weight in shared:
                setattr(module, name, shared[weight])
            else:
                own.append(f"{place}.{name}")
    return own
