"""Vectors of single pages: every class of transition that a page can make, over which channels, and what concludes it.

A page comes once, and then again: earlier as content or as zeros, now as content or as zeros, by the main channel or by a multifd one, the
same or another; before COLO, in an earlier checkpoint, or in an earlier round of the same one. A commit takes it over, a failover drops it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum
from itertools import product
from typing import Final

from colofd.conformance.subjects import Options
from colofd.conformance.vector_format import Vector, slug
from colofd.conformance.vector_script import Schedule, ScriptWriter, written
from colofd.spec.constants import MAIN_CHANNEL, Compression, Step

FAMILY: Final = "page"
_PAGE: Final = 3
_CHANNELS: Final = (
    (MAIN_CHANNEL, MAIN_CHANNEL),
    (MAIN_CHANNEL, "mfd0"),
    ("mfd0", MAIN_CHANNEL),
    ("mfd0", "mfd0"),
    ("mfd0", "mfd1"),
)


class Kind(StrEnum):
    """What a page comes as."""

    CONTENT = "content"
    ZEROS = "zeros"
    NOTHING = "nothing"


_ARRIVALS: Final = (Kind.CONTENT, Kind.ZEROS)


class When(StrEnum):
    """When a page has come before."""

    NEVER = "never"
    IN_PRECOPY = "in precopy"
    IN_AN_EARLIER_CHECKPOINT = "in an earlier checkpoint"
    IN_AN_EARLIER_ROUND = "in an earlier round"


class Then(StrEnum):
    """What concludes it."""

    COMPLETE = "complete"
    ENTER_COLO = "enter COLO"
    COMMIT = "commit"
    FAIL_OVER = "fail over before the device state"
    FAIL_OVER_AMID = "fail over before the round ends"
    COMMIT_OVER_OWN = "commit over an own write"
    FAIL_OVER_WITH_OWN = "fail over with an own write"


_DROPPED: Final = {
    Then.FAIL_OVER: "failover comes before the device state",
    Then.FAIL_OVER_AMID: "failover comes before the round ends",
    Then.COMMIT_OVER_OWN: "the secondary's guest has written the page itself",
    Then.FAIL_OVER_WITH_OWN: "the secondary's guest has written the page itself, and failover comes before the device state",
}
"""How what concludes a transition differs from a commit."""


@dataclass(frozen=True)
class Turn:
    """One class of transitions: `now` on `channel`, after `before` on `channel_before`."""

    before: Kind
    channel_before: str
    when: When
    now: Kind
    channel: str
    then: Then
    compression: Compression = Compression.NONE
    channels: int = 2

    def __str__(self) -> str:
        before = "never there" if self.when is When.NEVER else f"{self.before} by {self.channel_before} {self.when}"
        multifd = self.compression if self.channels else "without multifd"
        return f"{before}, {self.now} by {self.channel}, {self.then}, {multifd}"

    @property
    def options(self) -> Options:
        """The set-up."""
        return Options(pages=5, channels=self.channels, colo=self.then is not Then.COMPLETE, compression=self.compression)

    @property
    def rules(self) -> list[str]:
        """The rules that it is about: of the channel that brings the page, and of what concludes it."""
        if self.now is Kind.NOTHING:
            return [str(Step.FLUSH_BEGIN)]
        is_main, is_zero = self.channel == MAIN_CHANNEL, self.now is Kind.ZEROS
        reads = (Step.MAIN_ZERO_PAGE if is_zero else Step.MAIN_READ_PAGE) if is_main else (Step.ZERO_PAGE if is_zero else Step.READ_PAGE)
        return [str(reads), str(Step.MAIN_MIRROR if is_main else Step.MIRROR)]


def page_vectors() -> Iterator[tuple[Vector, list[str]]]:
    """Yield a vector for each class of transitions, with what it covers."""
    for turn in _turns():
        vector = written(FAMILY, _id(turn), turn.options, _schedule(turn), turn.rules)
        if vector is None:
            raise ValueError(f"{turn} cannot be written")
        if turn.then in _DROPPED:
            vector = _with_twin(vector, _id(replace(turn, then=Then.COMMIT)), _DROPPED[turn.then])
        elif turn.then is Then.COMPLETE and turn.channels:
            vector = _with_twin(vector, _id(replace(turn, then=Then.ENTER_COLO)), "it is set up without COLO")
        yield vector, [f"page: {turn}"]


def _with_twin(vector: Vector, twin: str, differs: str) -> Vector:
    return Vector(vector.id, vector.family, vector.rules, vector.setup, vector.verdict, vector.script, twin, differs)


def _id(turn: Turn) -> str:
    return slug(turn.rules[0], str(turn))


def _turns() -> Iterator[Turn]:
    for channels, method in ((2, Compression.NONE), (2, Compression.ZLIB), (2, Compression.ZSTD), (0, Compression.NONE)):
        pairs = _CHANNELS if channels else ((MAIN_CHANNEL, MAIN_CHANNEL),)
        for (channel_before, channel), before, now in product(pairs, _ARRIVALS, _ARRIVALS):
            is_packed = method is Compression.NONE or (channel != MAIN_CHANNEL and now is Kind.CONTENT)
            if is_packed:
                base = Turn(before, channel_before, When.NEVER, now, channel, Then.ENTER_COLO, method, channels)
                yield from _of(base, is_first=before is Kind.CONTENT and channel_before == MAIN_CHANNEL)


def _of(base: Turn, *, is_first: bool) -> Iterator[Turn]:
    """Yield the classes of one pair of arrivals; `is_first`: with the one in which nothing came before."""
    is_plain = base.compression is Compression.NONE
    for when in (When.NEVER, When.IN_AN_EARLIER_ROUND):
        if when is not When.NEVER or is_first:
            yield replace(base, when=when)
            yield replace(base, when=when, then=Then.COMPLETE)
    for when in (When.IN_PRECOPY, When.IN_AN_EARLIER_CHECKPOINT, When.IN_AN_EARLIER_ROUND):
        yield replace(base, when=when, then=Then.COMMIT)
        if is_plain:
            yield from (replace(base, when=when, then=then) for then in (Then.FAIL_OVER, Then.FAIL_OVER_AMID))
    if is_plain and base.now is Kind.CONTENT and base.channel == base.channel_before:
        # The commit takes back what the guest has written, although the primary says nothing of the page.
        for when in (When.IN_PRECOPY, When.IN_AN_EARLIER_CHECKPOINT):
            yield from (replace(base, when=when, now=Kind.NOTHING, then=then) for then in (Then.COMMIT, Then.COMMIT_OVER_OWN))
    if is_plain:
        yield from (replace(base, when=When.IN_PRECOPY, then=then) for then in (Then.COMMIT_OVER_OWN, Then.FAIL_OVER_WITH_OWN))


def _schedule(turn: Turn) -> Schedule:
    if turn.then in (Then.ENTER_COLO, Then.COMPLETE):
        return lambda run: _precopy(run, turn)
    return lambda run: _checkpoint(run, turn)


def _arrive(run: ScriptWriter, kind: Kind, number: int, channel: str) -> None:
    if kind is Kind.NOTHING:
        return
    run.primary_writes(_PAGE, number if kind is Kind.CONTENT else 0)
    run.send(channel, [_PAGE])


def _precopy(run: ScriptWriter, turn: Turn) -> None:
    if turn.when is not When.NEVER:
        _arrive(run, turn.before, 1, turn.channel_before)
        run.end_round()
    _arrive(run, turn.now, 2, turn.channel)
    run.end_precopy()


def _checkpoint(run: ScriptWriter, turn: Turn) -> None:
    run.primary_writes(0, 3)
    if turn.when is When.IN_PRECOPY:
        _arrive(run, turn.before, 1, turn.channel_before)
    run.end_precopy()
    if turn.when is When.IN_AN_EARLIER_CHECKPOINT:
        run.begin_checkpoint()
        _arrive(run, turn.before, 1, turn.channel_before)
        run.receive_checkpoint()
        run.commit()
    if turn.then in (Then.COMMIT_OVER_OWN, Then.FAIL_OVER_WITH_OWN):
        run.guest_writes(_PAGE, 3, is_reported_at_once=True)
    run.begin_checkpoint()
    if turn.when is When.IN_AN_EARLIER_ROUND:
        _arrive(run, turn.before, 1, turn.channel_before)
        run.end_round()
    _arrive(run, turn.now, 2, turn.channel)
    if turn.then is Then.FAIL_OVER_AMID:
        run.failover()
        return
    run.receive_checkpoint()
    if turn.then in (Then.COMMIT, Then.COMMIT_OVER_OWN):
        run.commit()
    else:
        run.failover()
