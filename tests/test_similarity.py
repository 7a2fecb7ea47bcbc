"""Linear CKA: values worked out by hand, what may not change it, and which states are compared."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from benchmark.measuring import measure_similarity, reader_of
from strategies.naive import Naive
from tasks.probes import similarity
from tasks.probes.similarity import layer_similarity, linear_cka, token_states
from tests.lab import OpenStudy, run_all, train, untrained
from tests.readers import Silent


def states(seed: int, rows: int = 12, width: int = 4) -> Tensor:
    return torch.randn(rows, width, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_a_hand_worked_example() -> None:
    x = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    y = torch.tensor([[1.0], [-1.0], [0.0], [0.0]])
    # Both centred: X'X = 2 I, of norm sqrt 8; Y'Y = 2; Y'X = (2, 0). So 4 / (2 sqrt 8).
    assert linear_cka(x, y) == pytest.approx(4 / (2 * 8**0.5))
    assert linear_cka(x + 5, y - 3) == pytest.approx(4 / (2 * 8**0.5))


@pytest.mark.parametrize("seed", range(3))
def test_it_is_the_normalised_hsic_of_the_two_kernels(seed: int) -> None:
    x, y = states(seed), states(seed + 10, width=6)
    centre = torch.eye(12, dtype=torch.float64) - 1 / 12
    one, two = (centre @ z @ z.T @ centre for z in (x, y))
    expected = (one * two).sum() / ((one * one).sum() * (two * two).sum()).sqrt()
    assert linear_cka(x, y) == pytest.approx(float(expected))


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_anything_is_exactly_as_it_is_itself(scale: float) -> None:
    x = states(0).float() * scale
    assert linear_cka(x, x.clone()) == 1.0


@settings(deadline=None, max_examples=50)
@given(seed=st.integers(0, 2**31), scale=st.floats(1e-3, 1e3), shift=st.floats(-100, 100))
def test_rotations_scales_and_places_do_not_matter_and_order_of_rows_does(
    seed: int, scale: float, shift: float
) -> None:
    x, y = states(seed), states(seed + 1, width=5)
    rotation, _ = torch.linalg.qr(states(seed + 2, 4, 4))
    found = linear_cka(x, y)
    assert 0 <= found < 1
    assert linear_cka(x @ rotation * scale + shift, y) == pytest.approx(found, rel=1e-6)
    assert linear_cka(y, x) == pytest.approx(found)
    assert linear_cka(x.flip(0), y) != pytest.approx(found)


def test_stretching_one_direction_matters() -> None:
    x = states(0)
    stretched = x * torch.tensor([10.0, 1, 1, 1])
    assert linear_cka(stretched, x) < 0.8


@pytest.mark.parametrize("constant", [0.0, 3.0])
def test_what_does_not_vary_is_like_nothing(constant: float) -> None:
    assert linear_cka(torch.full((5, 3), constant), states(0, 5)) == 0.0


def test_what_is_not_a_number_stays_none() -> None:
    broken = states(0)
    broken[0, 0] = float("nan")
    assert not 0 <= linear_cka(broken, states(1)) <= 1


def test_independent_states_have_the_similarity_that_is_documented() -> None:
    rows, width = 400, 100
    assert linear_cka(states(0, rows, width), states(1, rows, width)) == pytest.approx(width / (rows + width), rel=0.05)


def test_layers_are_named_from_the_input_up() -> None:
    before = [states(0), states(1), states(2)]
    found = layer_similarity([states(0), states(1) * 2, states(3)], before)
    assert list(found) == ["embeddings", "layer 1", "layer 2"]
    assert found["embeddings"] == 1.0 and found["layer 1"] == pytest.approx(1) and found["layer 2"] < 0.9


class Places(Silent):
    """States that tell which text and which token they belong to; padding has its own."""

    def states(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        ids = inputs["input_ids"].float()
        return [torch.stack([ids, layer * torch.ones_like(ids)], dim=2) for layer in range(3)]


def batches(lengths: list[list[int]]) -> list[dict[str, Tensor]]:
    """Token k of text t is 100 t + k; padding is -1."""
    made, text = [], 0
    for batch in lengths:
        ids = torch.full((len(batch), max(batch)), -1)
        for row, length in enumerate(batch):
            ids[row, :length] = 100 * text + torch.arange(length)
            text += 1
        made.append({"input_ids": ids, "attention_mask": (ids >= 0).long()})
    return made


def test_padding_and_the_first_token_of_a_text_are_left_out() -> None:
    texts = batches([[3, 1], [4]])
    found = token_states(Places(), texts)
    assert [torch.unique(layer[:, 1]).tolist() for layer in found] == [[0.0], [1.0], [2.0]]
    assert found[0][:, 0].tolist() == [1, 2, 201, 202, 203]
    assert [batch["attention_mask"][0, 0] for batch in texts] == [1, 1]  # what was given is as it was


def test_of_many_tokens_as_many_are_taken_from_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(similarity, "MOST_ROWS", 4)
    found = token_states(Places(), batches([[5, 5], [5], [5]]))
    assert found[0][:, 0].tolist() == [1, 101, 201, 301]


def test_nothing_to_read_gives_nothing() -> None:
    assert token_states(Places(), []) == []


def test_a_study_compares_with_the_pretrained_body(open_tiny: OpenStudy, tmp_path: Path) -> None:
    study = open_tiny(["naive", "freeze"], ["training.epochs=1"])
    runs = run_all(study, tmp_path / "runs")
    for run in runs.values():
        assert len(run.similarity) == 5
        assert run.similarity[0] == {"embeddings": 1.0, "layer 1": 1.0, "layer 2": 1.0}
    assert runs["freeze"].similarity[4]["layer 1"] == 1.0  # what is frozen
    assert runs["freeze"].similarity[4]["layer 2"] < 1
    assert all(value < 0.999 for value in runs["naive"].similarity[4].values())


def test_the_pretrained_states_stay_those_of_the_pretrained_body_whatever_is_trained(open_tiny: OpenStudy) -> None:
    study = open_tiny(["naive"])
    learner, _ = train(study, Naive(), stages=1)
    late = measure_similarity(study, reader_of(study, learner))  # read for the first time, after training
    assert late["layer 2"] < 1
    unmoved = measure_similarity(study, reader_of(study, untrained(study)))
    assert unmoved == {"embeddings": 1.0, "layer 1": 1.0, "layer 2": 1.0}


def test_without_a_probe_nothing_is_compared(open_tiny: OpenStudy, tmp_path: Path) -> None:
    study = open_tiny(["naive"], ["training.epochs=1", "probes=[]"])
    assert measure_similarity(study, reader_of(study, untrained(study))) == {}
