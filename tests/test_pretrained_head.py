"""The head that a body was pretrained with: what it says is what the whole model of transformers says."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel

from benchmark.backbone import Model
from benchmark.pretrained_head import NoHead, PretrainedHead, load_pretrained_head
from tests.language_models import DECODERS, ENCODERS, HEADS, electra_discriminator, save_language_model

TIED_WHOLLY = {"gpt2", "llama-tied"}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Any]]:
    """Folder and whole model of each family."""
    root = tmp_path_factory.mktemp("heads")
    return {family: (root / family, save_language_model(family, root / family)) for family in HEADS}


def load(folder: Path) -> tuple[Any, PretrainedHead]:
    body = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    if getattr(body, "pooler", None) is not None:
        body.pooler = None  # as `load_backbone` does
    return body, load_pretrained_head(folder, body)


def texts(whole: Any) -> dict[str, torch.Tensor]:
    ids = torch.randint(5, whole.config.vocab_size, (3, 7), generator=torch.Generator().manual_seed(0))
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def move(whole: Any, body: Any, head: PretrainedHead) -> None:
    """Adds the same noise to every weight of the whole model and to its counterpart of ours."""
    ours = {f"{whole.base_model_prefix}.{name}": weight for name, weight in body.named_parameters()}
    ours |= dict(head.whole.named_parameters())
    with torch.no_grad():
        for name, weight in whole.named_parameters():
            if name in ours:  # a pooler is not
                noise = 0.05 * torch.randn_like(weight)
                weight.add_(noise)
                ours[name].add_(noise)


@pytest.mark.parametrize("family", HEADS)
def test_logits_are_those_of_the_whole_model_also_after_the_weights_moved(
    saved: dict[str, tuple[Path, Any]], family: str
) -> None:
    folder, whole = saved[family]
    whole = copy.deepcopy(whole)
    body, head = load(folder)
    body, head = copy.deepcopy((body, head))
    inputs = texts(whole)
    for _ in range(2):
        with torch.no_grad():
            expected = whole(**inputs).logits
            torch.testing.assert_close(head(body(**inputs).last_hidden_state), expected, rtol=0, atol=1e-6)
        move(whole, body, head)
    assert head.about.outputs == expected.shape[-1]
    assert head.about.objective == ("causal" if family in DECODERS else "masked")


@pytest.mark.parametrize("family", HEADS)
def test_gradients_are_those_of_the_whole_model(saved: dict[str, tuple[Path, Any]], family: str) -> None:
    folder, whole = saved[family]
    whole = copy.deepcopy(whole)
    body, head = load(folder)
    inputs = texts(whole)
    whole(**inputs).logits.square().mean().backward()
    head(body(**inputs).last_hidden_state).square().mean().backward()
    theirs = {name: weight.grad for name, weight in whole.named_parameters() if weight.grad is not None}
    ours = {f"{whole.base_model_prefix}.{name}": weight.grad for name, weight in body.named_parameters()}
    for name, weight in head.whole.named_parameters():
        ours.setdefault(name, weight.grad)
    for name, gradient in theirs.items():
        torch.testing.assert_close(ours[name], gradient, rtol=1e-4, atol=1e-7, msg=name)


@pytest.mark.parametrize("family", HEADS)
def test_shared_weights_are_the_bodys_and_count_once(saved: dict[str, tuple[Path, Any]], family: str) -> None:
    folder, whole = saved[family]
    body, head = load(folder)
    assert head.about.tied == (family in TIED_WHOLLY)
    model = Model(body, "last", head)
    count = sum(weight.numel() for weight in model.parameters())
    assert count == sum(weight.numel() for weight in whole.parameters())
    own = model.head_names()["pretraining"]
    assert (own == []) == (family in TIED_WHOLLY)
    assert set(own) <= dict(model.named_parameters()).keys()
    assert not any(name.startswith("body.") for name in own)


@pytest.mark.parametrize("family", ["llama-tied", "gpt2", "bert"])
def test_weights_put_in_the_place_of_the_bodys_reach_the_tied_head(
    saved: dict[str, tuple[Path, Any]], family: str
) -> None:
    folder, whole = saved[family]
    body, head = load(folder)
    model = Model(body, "last", head)
    (name,) = [name for name, weight in model.named_parameters() if weight is body.get_input_embeddings().weight]
    inputs, places = texts(whole), torch.ones(3, 7, dtype=torch.bool)
    other = body.get_input_embeddings().weight.detach() * 1.5

    class Asked(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self) -> torch.Tensor:
            return self.model.predict(inputs, places)

    with torch.no_grad():
        found = torch.func.functional_call(Asked(), {f"model.{name}": other}, ())
        body.get_input_embeddings().weight.copy_(other)
        torch.testing.assert_close(found, model.predict(inputs, places))


@pytest.mark.parametrize("family", ["llama", "gpt2", "bert"])
def test_a_body_with_adapters_is_read_as_it_stands(saved: dict[str, tuple[Path, Any]], family: str) -> None:
    from peft import LoraConfig, inject_adapter_in_model

    folder, whole = saved[family]
    body, head = load(folder)
    model = Model(body, "last", head)
    inputs, places = texts(whole), torch.ones(3, 7, dtype=torch.bool)
    before = model.predict(inputs, places)
    target = {"llama": "q_proj", "gpt2": "c_attn", "bert": "query"}[family]
    config = LoraConfig(r=2, target_modules=[target], fan_in_fan_out=family == "gpt2")
    inject_adapter_in_model(config, model.body, "default")
    torch.testing.assert_close(model.predict(inputs, places), before)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                weight.fill_(0.3)
    changed = model.predict(inputs, places)
    assert not torch.allclose(changed, before, atol=1e-3)
    with torch.no_grad():
        hidden = model.body(**inputs).last_hidden_state
    torch.testing.assert_close(changed, head(hidden[places]))


def drop(name: str) -> Any:
    """Saves a model without its head: the body alone, as many checkpoints are."""

    def make(size: int) -> Any:
        return HEADS[name][1](size).base_model

    return make


@pytest.mark.parametrize(
    ("family", "make", "message"),
    [
        ("bert", drop("bert"), r"was published without its masked language-modelling head: its weights lack cls\."),
        ("llama", drop("llama"), "was published without its causal language-modelling head: its weights lack lm_head"),
        ("pythia", drop("pythia"), "was published without its causal language-modelling head"),
        ("electra", electra_discriminator, "was published without its masked language-modelling head"),
    ],
)
def test_a_checkpoint_without_its_head_is_refused_and_nothing_is_random(
    tmp_path: Path, family: str, make: Any, message: str
) -> None:
    save_language_model(family, tmp_path, make=make)
    with pytest.raises(NoHead, match=f"^{message}"):
        load(tmp_path)


def test_a_body_that_is_not_the_one_in_the_folder_is_refused(saved: dict[str, tuple[Path, Any]]) -> None:
    folder, _ = saved["llama"]
    body = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    with torch.no_grad():
        body.norm.weight[0] += 1e-4
    with pytest.raises(NoHead, match="gets other weights when it is loaded with its causal language-modelling head"):
        load_pretrained_head(folder, body)


def test_families_with_another_pretraining_are_refused(tmp_path: Path) -> None:
    from transformers import T5Config, T5EncoderModel

    T5EncoderModel(T5Config(vocab_size=99, d_model=32, d_ff=64, num_layers=2, num_heads=2, d_kv=16)).save_pretrained(
        tmp_path
    )
    body = T5EncoderModel.from_pretrained(tmp_path)
    with pytest.raises(NoHead, match=r"^is of a family \(t5\) without a language-modelling head$"):
        load_pretrained_head(tmp_path, body)


def test_encoders_and_decoders_are_all_there() -> None:
    assert len(ENCODERS) == 6 and len(DECODERS) == 4
