"""A schedule as data: the moves that were made in a run, so that they can be written to a file and made again."""

from enum import StrEnum
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from colofd.conformance.diagnostic import Diagnostic
from colofd.conformance.subjects import Options
from colofd.spec.constants import Step

FORMAT_VERSION: Final = 1

MOVES: Final = frozenset(
    {
        "answer",
        "begin_checkpoint",
        "begin_flush",
        "check_end",
        "close",
        "commit",
        "cut",
        "drain",
        "end_precopy",
        "end_round",
        "end_round_without",
        "failover",
        "guest_writes",
        "hold",
        "primary_writes",
        "primary_writes_all",
        "receive_checkpoint",
        "send",
        "send_rest",
        "step",
    }
)
"""The moves of `Lockstep` and of `BlackBoxRun`. What a schedule does besides them is not recorded."""


class Seen(StrEnum):
    """How a receiver was looked at."""

    WITHIN = "within"
    """One micro-step at a time, beside the model: `Lockstep`."""
    OUTSIDE = "outside"
    """By guest RAM and replies: `BlackBoxRun`."""


class Move(msgspec.Struct, frozen=True):
    """One call of a move: its name, its arguments by position, and those by name."""

    do: str
    arguments: list[Any] = []
    named: dict[str, Any] = {}


class SavedSchedule(msgspec.Struct, frozen=True):
    """A schedule: the set-up, and the moves up to the violation of `rule`, because of `why`."""

    seen: Seen
    options: Options
    moves: list[Move]
    rule: str
    why: str
    is_main_last: bool = False
    format_version: Literal[1] = FORMAT_VERSION


def make_move(run: Any, move: Move) -> None:
    """Make a recorded move."""
    arguments = [move.arguments[0], Step(move.arguments[1])] if move.do == "hold" else move.arguments
    getattr(run, move.do)(*arguments, **move.named)


def load(path: Path) -> SavedSchedule:
    """Read a schedule from a file. Diagnostic if there is none."""
    hint = "`colofd check SUBJECT --save DIR` writes such files"
    try:
        saved = msgspec.json.decode(path.read_bytes(), type=SavedSchedule)
    except OSError as error:
        raise Diagnostic("schedule-missing", "the schedule cannot be read", str(error), hint) from error
    except msgspec.MsgspecError as error:
        raise Diagnostic("schedule-damaged", "the file is no schedule of this version of colofd", f"{path}: {error}", hint) from error
    if unknown := next((move.do for move in saved.moves if move.do not in MOVES), None):
        raise Diagnostic("schedule-damaged", f"there is no move {unknown!r}", str(path), hint)
    return saved
