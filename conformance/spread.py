"""How the pieces of a check are run: one after the other here, or many at once elsewhere; what comes of them is in their order."""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

P = TypeVar("P")
F = TypeVar("F")


class Spread(Protocol):
    """Runs a function on each piece, anywhere."""

    def __call__(self, function: Callable[[P], F], pieces: Sequence[P], /) -> Iterable[F]:
        """Yield what the function returns for each piece, in their order."""


def alone(function: Callable[[P], F], pieces: Sequence[P], /) -> Iterable[F]:
    """Run the pieces here, each when what comes of it is asked for."""
    return map(function, pieces)
