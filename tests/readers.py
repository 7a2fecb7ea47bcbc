"""Models that probes may read, made for tests."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor


class Silent:
    """A model that nobody should ask anything; a test overrides what may be asked."""

    def embed(self, inputs: Mapping[str, Tensor]) -> Tensor:
        raise AssertionError("nobody should ask")

    def states(self, inputs: Mapping[str, Tensor]) -> list[Tensor]:
        raise AssertionError("nobody should ask")

    def predict(self, inputs: Mapping[str, Tensor], places: Tensor) -> Tensor:
        raise AssertionError("nobody should ask")
