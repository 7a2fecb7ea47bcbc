"""Where a hyperparameter is looked for: declared beside it, as its type and bounds are. Imports nothing heavy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin, get_type_hints


@dataclass(frozen=True)
class Search:
    """The range that a search of settings takes a number from: ``lam: Annotated[float, Ge(0), Search(0.01, 100)]``.

    Attributes:
        low: Smallest value.
        high: Largest value.
        log: Whether equal ratios, not equal differences, are equally likely; then ``low`` is above 0.
    """

    low: float
    high: float
    log: bool = False

    def __str__(self) -> str:
        """As the command line takes it: ``0.01..100:log``."""
        return f"{self.low:g}..{self.high:g}" + (":log" if self.log else "")


def ranges_of(settings: type) -> dict[str, Search]:
    """Field -> its range, of the fields of a dataclass that declare one, in their order."""
    return dict(_ranges(settings))


def numbers_of(settings: type) -> dict[str, type]:
    """Field -> ``int`` or ``float``, of the fields of a dataclass that hold a number: what can be searched at all."""
    kinds = {name: _bare(hint) for name, hint in get_type_hints(settings, include_extras=True).items()}
    return {name: kind for name, kind in kinds.items() if kind in (int, float)}


def _ranges(settings: type) -> Iterator[tuple[str, Search]]:
    for name, hint in get_type_hints(settings, include_extras=True).items():
        if get_origin(hint) is Annotated:
            for extra in get_args(hint)[1:]:
                if isinstance(extra, Search):
                    yield name, extra


def _bare(hint: Any) -> Any:
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint
