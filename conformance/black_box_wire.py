"""Puts wire cases to a receiver that is seen from outside, and says what it does with each: accept, refuse, wait or hang."""

import contextlib
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Protocol

from colofd.conformance.black_box import PROGRESS, Version
from colofd.conformance.black_box_streams import PAGE, PAGES, Conversation, conversations, violations
from colofd.conformance.primary import RoundEnd
from colofd.conformance.rulings import Outcome, Ruling
from colofd.conformance.subjects import Options
from colofd.conformance.violation import Violation
from colofd.spec.constants import MAIN_CHANNEL, ColoMessage
from colofd.spec.wire import CHECKS

REFUSED_IN_PRECOPY: Final = "refused_packet_in_precopy"
"""The name under which a receiver that hangs on bad input before COLO is known, as if it were a schedule."""

SECONDS: Final = 1.5
"""How long a receiver may take for a verdict. A real one needs milliseconds."""

_AFTER_CLOSING: Final = 1.0
"""How long it may take when nothing more comes."""
_POLL_SECONDS: Final = 0.02
_AT_ONCE: Final = 4
"""Receivers at the same time: most of the time is waited."""
_LAST_REPLY: Final = bytes([ColoMessage.VMSTATE_LOADED])


class State(StrEnum):
    """What a receiver says of itself."""

    BUSY = "busy"
    COMPLETED = "completed"
    FAILED = "failed"
    """The migration has failed, or the process has ended with an error."""
    CRASHED = "crashed"
    """The process was ended by a signal."""
    SILENT = "silent"
    """It does not answer."""


class Witness(Protocol):
    """A receiver of which one sees guest RAM, and what it says of itself."""

    def connect(self) -> socket.socket:
        """Return our end of a new channel."""

    def guest(self) -> bytes:
        """Return guest RAM as it is now."""

    def look(self) -> tuple[State, str]:
        """Return its state, and what it has said of an error; empty if it has not."""

    def close(self) -> None:
        """End it by all means."""


MakeWitness = Callable[[Options], Witness]


class Verdict(StrEnum):
    """What a receiver did with a conversation."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    WAITED = "waited for more, and gave up at the end of the channels"
    HUNG = "hung"
    CRASHED = "crashed"


@dataclass(frozen=True)
class Seen:
    """A verdict, what the receiver said, and pages of guest RAM that are not as they should be after that verdict."""

    verdict: Verdict
    words: str
    wrong_pages: Sequence[int] = ()

    def __str__(self) -> str:
        words = f" ({self.words})" if self.words else ""
        wrong = f"; RAM is not as it should be at pages {list(self.wrong_pages)}" if self.wrong_pages else ""
        return f"{self.verdict}{words}{wrong}"


@dataclass(frozen=True)
class WireFindings:
    """The rulings on wire checks by id, and where the receiver hung: what it did, as a violation of progress."""

    rulings: Mapping[str, Ruling]
    hangs: Sequence[tuple[str, Violation]]
    played: int


def check_black_box_wire(make: MakeWitness, version: Version, progress: Callable[[str], None]) -> WireFindings:
    """Put every wire case to a receiver of its own. Takes less than a minute, as long as few of them hang."""
    why_not_colo = version.lacks_colo
    has_flush = version.dialect.round_end is RoundEnd.FLUSH
    valid = conversations(has_flush=has_flush, colo=not why_not_colo, multifd_colo=not version.lacks_multifd_with_colo)
    cases = [*valid, *violations(valid)]
    if version.dialect.enables_colo:
        cases = [case.with_enable_colo() for case in cases]
    progress(f"{len(cases)} wire cases")
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        seen = dict(pool.map(lambda case: (case.id, play(make, case)), cases))
    about: dict[str, list[Conversation]] = {}
    for case in cases:
        if case.check_id:
            about.setdefault(case.check_id, []).append(case)
    rulings = {check: ruling_of(its, seen) for check, its in about.items()}
    unseen = {check: Ruling(Outcome.NOT_OBSERVABLE, _why_not(check, why_not_colo)) for check in CHECKS if check not in rulings}
    hangs = [(REFUSED_IN_PRECOPY, _hang(case, seen[case.id])) for case in cases if seen[case.id].verdict is Verdict.HUNG]
    return WireFindings(rulings | unseen, hangs, len(cases))


def _why_not(check: str, why_not_colo: str) -> str:
    """Return why no wire case is about this check."""
    if check.startswith("wire.return-path."):
        return "a destination writes this direction, and does not read it"
    if check.startswith("wire.colo.") and why_not_colo:
        return why_not_colo
    return "it would take a destination with a capability or an id that is not given to it here"


def play(make: MakeWitness, case: Conversation, seconds: float = SECONDS) -> Seen:
    """Put one conversation to a new receiver, and look at what it does and at its RAM."""
    receiver = make(case.options)
    try:
        with ExitStack() as ends:
            channels = {name: ends.enter_context(receiver.connect()) for name in case.channels}
            for name, data in case.channels.items():
                with contextlib.suppress(OSError):
                    channels[name].sendall(data)
            if case.is_cut:
                _end(channels)
            verdict, words = _verdict(receiver, channels, case, seconds)
            return Seen(verdict, words, _wrong_pages(case, verdict, receiver.guest()))
    finally:
        receiver.close()


def _end(channels: Mapping[str, socket.socket]) -> None:
    for channel in channels.values():
        with contextlib.suppress(OSError):
            channel.shutdown(socket.SHUT_WR)


def _verdict(receiver: Witness, channels: Mapping[str, socket.socket], case: Conversation, seconds: float) -> tuple[Verdict, str]:
    main, is_colo = channels[MAIN_CHANNEL], case.options.colo
    main.setblocking(False)
    is_open, replies = True, b""
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError):
            replies += main.recv(case.replies)
        state, words = receiver.look()
        if state is State.CRASHED:
            return Verdict.CRASHED, words
        if state is State.FAILED or (words and state is State.BUSY and is_colo):
            return (Verdict.REFUSED if is_open else Verdict.WAITED), words
        if state is State.COMPLETED or (is_colo and len(replies) >= case.replies and replies[-1:] == _LAST_REPLY):
            return Verdict.ACCEPTED, ""
        if state is State.SILENT or (time.monotonic() > end and not is_open):
            return Verdict.HUNG, words
        if time.monotonic() > end:
            _end(channels)
            is_open, end = False, time.monotonic() + _AFTER_CLOSING
        time.sleep(_POLL_SECONDS)


def _wrong_pages(case: Conversation, verdict: Verdict, guest: bytes) -> list[int]:
    """Return the pages that this verdict does not allow: of what is refused nothing may be in RAM but what came before."""
    zeros = bytes(PAGE)
    final = [case.ram.get(page, zeros) for page in range(PAGES)]
    have = [guest[page * PAGE :][:PAGE] for page in range(PAGES)]
    if verdict is Verdict.ACCEPTED:
        allowed = [{content} for content in final]
    elif case.options.colo:
        allowed = [{case.committed.get(page, zeros)} for page in range(PAGES)]
    else:
        allowed = [{content, zeros} for content in final]
    return [page for page in range(PAGES) if have[page] not in allowed[page]]


def ruling_of(cases: Sequence[Conversation], seen: Mapping[str, Seen]) -> Ruling:
    """Return what some cases of one check say together: the worst of them. A case counts if the receiver accepts its valid twin."""
    telling = [case for case in cases if seen[case.twin].verdict is Verdict.ACCEPTED]
    if not telling:
        return Ruling(Outcome.NOT_OBSERVABLE, f"the same stream without the violation: {seen[cases[0].twin]}")
    texts = [f"{case.id}: {seen[case.id]}" for case in telling]
    bad = [case for case in telling if not _is_as_wanted(seen[case.id])]
    evidence: dict[str, int | list[str]] = {"cases": len(telling), "seen": texts}
    if bad:
        return Ruling(Outcome.VIOLATED, f"{bad[0].id}: {seen[bad[0].id]}", evidence)
    return Ruling(Outcome.HOLDS, texts[0], evidence)


def _is_as_wanted(seen: Seen) -> bool:
    """Return whether input was refused, and left RAM alone. Who complains and hangs has refused it, too: the rest is progress."""
    return (seen.verdict is Verdict.REFUSED or (seen.verdict is Verdict.HUNG and bool(seen.words))) and not seen.wrong_pages


def _hang(case: Conversation, seen: Seen) -> Violation:
    lengths = ", ".join(f"{name}: {len(data)} bytes" for name, data in case.channels.items())
    return Violation(PROGRESS, f"{case.id}: {seen}", [f"options {case.options}", f"put on the wire at once: {lengths}"])
