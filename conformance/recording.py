"""Records the moves of a run while they are made."""

from collections.abc import Callable
from enum import StrEnum
from functools import partial
from typing import Any, TypeVar, cast

import numpy as np

from colofd.conformance.saved_schedule import MOVES, Move, SavedSchedule, Seen
from colofd.conformance.violation import Violation

R = TypeVar("R")


class _Recording:
    """Stands for a run, and writes down its moves; a violation takes them with it."""

    def __init__(self, run: Any, seen: Seen, *, is_main_last: bool) -> None:
        self._run = run
        self._saved = partial(SavedSchedule, seen, run.options, is_main_last=is_main_last)
        self._moves: list[Move] = []

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._run, name)
        return partial(self._make, name, found) if name in MOVES else found

    def _make(self, name: str, move: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
        self._moves.append(Move(name, _plain(arguments), {key: _plain(value) for key, value in named.items()}))
        try:
            return move(*arguments, **named)
        except Violation as violation:
            violation.recorded = self._saved(self._moves.copy(), violation.rule, violation.why)
            raise


def recording(run: R, seen: Seen, *, is_main_last: bool = False) -> R:
    """Return what stands for a run, and records the moves that a violation needs."""
    return cast("R", _Recording(run, seen, is_main_last=is_main_last))


def _plain(value: Any) -> Any:
    """Return an argument as JSON has it."""
    if isinstance(value, StrEnum):
        return value.value
    if value is None or isinstance(value, str | int | float):
        return value
    return value.item() if isinstance(value, np.generic) else [_plain(each) for each in value]
