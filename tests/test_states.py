"""Hidden states of many texts come back as they were, from memory and from a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.errors import UserError
from benchmark.states import States


@pytest.fixture(params=[True, False], ids=["memory", "file"])
def states(request: pytest.FixtureRequest) -> States:
    """Of texts of 2, 3 and 1 tokens, each state its text's number and its place."""
    made = States(np.array([2, 3, 1]), request.param)
    whole = torch.tensor([[[text, place] for place in range(3)] for text in range(3)], dtype=torch.bfloat16)
    made.add([1, 0], whole[[1, 0]])
    made.add([2], whole[2:, :1])
    made.finish()
    return made


def test_states_come_back_padded_with_zero(states: States) -> None:
    assert states.padded([2, 0]).tolist() == [[[2, 0], [0, 0]], [[0, 0], [0, 1]]]
    assert states.padded([1]).tolist() == [[[1, 0], [1, 1], [1, 2]]]
    assert states.padded([1]).dtype == torch.bfloat16


def test_without_room_for_states_it_says_so_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match=r"can't be kept in .*nowhere \(No such file or directory\): make room") as said:
        States(np.array([1]), in_memory=False).add([0], torch.zeros(1, 1, 4))
    assert "\n" not in str(said.value)
