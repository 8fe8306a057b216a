"""Makes a schedule that shows a violation short: fewer moves, then fewer switches between threads, then simpler values.

Each candidate is put to the subject itself. One counts if a peer may do so, and the subject breaks the same rule.
"""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from colofd.conformance.saved_schedule import Move, SavedSchedule
from colofd.conformance.violation import Violation
from colofd.spec.constants import Compression

Put = Callable[[SavedSchedule], Violation | None]
"""Puts a schedule to the subject; what it finds."""

TRIES: Final = 400
SECONDS: Final = 60.0
_BELIEVED_AFTER: Final = 5
"""A violation that does not come again in so many runs comes and goes."""

_PRECOPY, _IDLE, _RECEIVING, _RECEIVED, _ANSWERED, _FLUSHING, _OVER = range(7)
_IN_COLO: Final = frozenset({_IDLE, _RECEIVING, _RECEIVED, _ANSWERED, _FLUSHING})
_SENDING: Final = frozenset({_PRECOPY, _RECEIVING})

_NEXT: Final[dict[str, tuple[frozenset[int], int]]] = {
    "end_precopy": (frozenset({_PRECOPY}), _IDLE),
    "begin_checkpoint": (frozenset({_IDLE}), _RECEIVING),
    "receive_checkpoint": (frozenset({_RECEIVING}), _RECEIVED),
    "answer": (frozenset({_RECEIVED}), _ANSWERED),
    "begin_flush": (frozenset({_RECEIVED, _ANSWERED}), _FLUSHING),
    "commit": (frozenset({_RECEIVED, _ANSWERED, _FLUSHING}), _IDLE),
    "cut": (_SENDING, _OVER),
    "failover": (_IN_COLO | {_OVER}, _OVER),
}
"""Where a primary may make these moves, and where the migration is then."""
_ONLY: Final = {
    "send": _SENDING,
    "end_round": _SENDING,
    "end_round_without": _SENDING,
    "send_rest": _SENDING,
    "guest_writes": _IN_COLO | {_OVER},
}
"""Where a primary, or the secondary's guest, may make these moves, which do not change where the migration is."""
_OF_THREADS: Final = frozenset({"step", "hold"})
"""The moves that let one thread go on."""


@dataclass(frozen=True)
class Shrunk:
    """What came of it: the schedule, how many moves it had before, and how many runs that took.

    Not `is_steady`: the violation comes and goes, and the schedule is as it was found.
    """

    schedule: SavedSchedule
    before: int
    tries: int
    is_steady: bool


def shrink(found: SavedSchedule, put: Put, progress: Callable[[str], None], seconds: float = SECONDS) -> Shrunk:
    """Return the shortest schedule that is found from this one, within so many seconds: if there was time, no move can be left out."""
    search = _Search(found, put, progress, time.monotonic() + seconds)
    if not any(search.is_shown(found) for _ in range(_BELIEVED_AFTER)):
        return Shrunk(found, len(found.moves), search.tries, is_steady=False)
    while any(search.improve(candidates) for candidates in (_shorter, _calmer, _simpler)):
        pass
    return Shrunk(search.best, len(found.moves), search.tries, is_steady=True)


@dataclass
class _Search:
    best: SavedSchedule
    put: Put
    progress: Callable[[str], None]
    end: float
    tries: int = 0

    def improve(self, candidates: Callable[[SavedSchedule], Iterator[SavedSchedule]]) -> bool:
        """Go on with the first candidate that shows the violation, until none does; return whether one did."""
        is_better = False
        while (better := next(filter(self.is_shown, candidates(self.best)), None)) is not None:
            self.best = better
            is_better = True
        return is_better

    def is_shown(self, candidate: SavedSchedule) -> bool:
        """Return whether a peer may do so, and the subject breaks the same rule."""
        if self.tries >= TRIES or time.monotonic() > self.end or not is_allowed(candidate.moves, colo=candidate.options.colo):
            return False
        self.tries += 1
        self.progress(f"{self.best.rule}: {len(self.best.moves)} moves, try {self.tries}")
        violation = self.put(candidate)
        return violation is not None and violation.rule == self.best.rule


def is_allowed(moves: Sequence[Move], *, colo: bool) -> bool:
    """Return whether a primary may do this, in this order, with or without COLO."""
    at = _PRECOPY
    for move in moves:
        if move.do in _ONLY and at not in _ONLY[move.do]:
            return False
        if move.do in _NEXT:
            allowed, after = _NEXT[move.do]
            if at not in allowed or (not colo and after not in (_IDLE, _OVER)):
                return False
            at = after if colo else _OVER
    return True


def _shorter(schedule: SavedSchedule) -> Iterator[SavedSchedule]:
    """Yield the schedule without some moves that follow one another: many at first, then one."""
    size = len(schedule.moves) // 2
    while size:
        for start in range(len(schedule.moves) - size, -1, -1):
            yield _with(schedule, [*schedule.moves[:start], *schedule.moves[start + size :]])
        size //= 2


def _calmer(schedule: SavedSchedule) -> Iterator[SavedSchedule]:
    """Yield the schedule with a step of a thread right behind the one before of the same thread, where that makes fewer switches."""
    moves, now = schedule.moves, switches(schedule.moves)
    last: dict[str, int] = {}
    for number, move in enumerate(moves):
        if move.do not in _OF_THREADS:
            continue
        before = last.get(move.arguments[0], number)
        last[move.arguments[0]] = number
        changed = [*moves[: before + 1], move, *moves[before + 1 : number], *moves[number + 1 :]]
        if before != number and switches(changed) < now:
            yield _with(schedule, changed)


def switches(moves: Sequence[Move]) -> int:
    """Return how often a step of one thread follows a step of another."""
    threads = [move.arguments[0] for move in moves if move.do in _OF_THREADS]
    return sum(one != other for one, other in itertools.pairwise(threads))


def _simpler(schedule: SavedSchedule) -> Iterator[SavedSchedule]:
    """Yield the schedule with one simpler value: no compression, fewer pages in a packet, a lower page, content 1."""
    if schedule.options.compression is not Compression.NONE:
        yield msgspec.structs.replace(schedule, options=replace(schedule.options, compression=Compression.NONE))
    for number, move in enumerate(schedule.moves):
        for arguments in _simpler_arguments(move):
            changed = msgspec.structs.replace(move, arguments=arguments)
            yield _with(schedule, [*schedule.moves[:number], changed, *schedule.moves[number + 1 :]])


def _simpler_arguments(move: Move) -> Iterator[list[Any]]:
    match move.do, move.arguments:
        case "primary_writes" | "guest_writes", [page, content]:
            yield from ([lower, content] for lower in range(page))
            yield from ([page, 1] for _ in range(content > 1))
        case "send", [channel, pages]:
            yield from ([channel, fewer] for fewer in _fewer(pages))
        case "cut", [channel, pages, keep]:
            yield from ([channel, fewer, keep] for fewer in _fewer(pages))


def _fewer(pages: Sequence[int]) -> Iterator[list[int]]:
    for number in range(len(pages) if len(pages) > 1 else 0):
        yield [*pages[:number], *pages[number + 1 :]]


def _with(schedule: SavedSchedule, moves: list[Move]) -> SavedSchedule:
    return msgspec.structs.replace(schedule, moves=moves)
