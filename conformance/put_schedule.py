"""Puts a saved schedule to a receiver again."""

from collections.abc import Callable

from colofd.conformance.black_box import Version
from colofd.conformance.black_box_schedules import Make, run_schedule
from colofd.conformance.lockstep import Lockstep
from colofd.conformance.recording import recording
from colofd.conformance.saved_schedule import Move, SavedSchedule, Seen, make_move
from colofd.conformance.subjects import Factory
from colofd.conformance.violation import Violation

STALL_SECONDS = 2.0
"""How long a thread may take to get to its next micro-step: only one that is stuck takes as long."""
SECONDS = 3.0
"""How long a receiver that is seen from outside may take for one thing."""


class CannotMake(Exception):  # noqa: N818  # says what is the case
    """A move cannot be made where the schedule makes it."""


def put_within(factory: Factory, schedule: SavedSchedule, *, is_watched: bool = False) -> Violation | None:
    """Put a schedule to a receiver, one micro-step at a time; return what is found. CannotMake at a move that cannot be made.

    `is_watched`: every clause is checked after every micro-step.
    """
    return moved(Lockstep(factory, schedule.options, STALL_SECONDS, is_watched=is_watched), schedule)


def moved(lockstep: Lockstep, schedule: SavedSchedule) -> Violation | None:
    """Make the moves of a schedule in a run that has just begun, and end it; return what is found. CannotMake as above."""
    run = recording(lockstep, Seen.WITHIN)
    try:
        for move in schedule.moves:
            _require_work(run, move)
            make_move(run, move)
        run.close()
    except Violation as violation:
        run.abandon()
        return violation
    except BaseException:
        run.abandon()
        raise
    return None


def _require_work(run: Lockstep, move: Move) -> None:
    """Waiting for a thread that has nothing to do would look as if it were stuck."""
    if move.do in ("step", "hold") and not run.owed[move.arguments[0]]:
        raise CannotMake(f"{move.arguments[0]} has nothing to do")


def put_outside(make: Make, schedule: SavedSchedule, version: Version | None = None) -> Violation | None:
    """Put a schedule to a receiver that is seen from outside; return what is found. NotObservable at a move that cannot be made."""

    def moves(run: object) -> None:
        for move in schedule.moves:
            if move.do != "check_end":
                make_move(run, move)

    try:
        run_schedule(make, schedule.options, moves, SECONDS, version, is_main_last=schedule.is_main_last)
    except Violation as violation:
        return violation
    return None


def tried(put: Callable[[SavedSchedule], Violation | None]) -> Callable[[SavedSchedule], Violation | None]:
    """Return what puts a schedule and finds nothing where it cannot be made at all, or the subject breaks down."""

    def action(schedule: SavedSchedule) -> Violation | None:
        try:
            return put(schedule)
        except Exception:  # noqa: BLE001  # a candidate that cannot be run shows nothing
            return None

    return action
