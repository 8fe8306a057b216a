"""Plays a vector on a receiver, and says what comes of it: the face of the vectors for whoever has a receiver to play them on."""

import contextlib
import hashlib
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Protocol

from colofd.conformance.rulings import Outcome, Ruling
from colofd.conformance.vector_format import (
    Act,
    Await,
    Connect,
    End,
    Failover,
    GuestWrites,
    Ram,
    Reply,
    Send,
    Setup,
    Vector,
    Verdict,
    bytes_of,
    read_vectors,
)
from colofd.spec.constants import MAIN_CHANNEL

SECONDS: Final = 10.0
"""How long a receiver may take for one thing: only one that hangs gets there."""

PROGRESS: Final = "progress"
"""What is broken when a receiver does not get on."""

_POLL_SECONDS: Final = 0.001
_LONGEST_POLL_SECONDS: Final = 0.02
_SHOWN: Final = 4
"""How many pages that differ are listed."""


class CannotHave(Exception):  # noqa: N818  # says what is the case
    """A subject cannot be set up like this, or cannot do an act, and says so."""


class VectorReceiver(Protocol):
    """A receiver that vectors are played on."""

    def connect(self) -> socket.socket:
        """Return our end of a new channel."""

    def guest(self) -> bytes:
        """Return guest RAM, all blocks in order; zeros if it has none yet."""

    def is_in_colo(self) -> bool:
        """Return whether it is a secondary, in or between checkpoints."""

    def is_completed(self) -> bool:
        """Return whether a migration without COLO is complete."""

    def refusal(self) -> Verdict | None:
        """Return what it has refused, if anything: what it does not say of reason, channel and offset stays as in `Verdict`."""

    def write_guest(self, page: int, content: bytes) -> None:
        """Let its guest write a page; CannotHave if it has none that can."""

    def failover(self) -> None:
        """Take over; TimeoutError if it does not, or cannot."""

    def close(self) -> None:
        """End it by all means."""


OpenSubject = Callable[[Setup], VectorReceiver]
"""Makes a receiver that waits for a migration; CannotHave if it cannot be set up like this."""


class _Differs(Exception):  # noqa: N818  # says what happened
    """A receiver does something else than a vector says."""

    def __init__(self, rule: str, *what: str) -> None:
        super().__init__(f"{rule}: {what[0]}")
        self.rule = rule
        self.what = what


def vectors_in(folder: Path) -> Iterator[Vector]:
    """Yield the vectors of a folder, one at a time. Diagnostic if one is missing, damaged, or of another format."""
    return read_vectors(folder)


def generated() -> Iterator[Vector]:
    """Yield the vectors that `colofd fill` writes, made anew and not played before: those of the built-in specification."""
    from colofd.conformance.vector_families import needed_vectors  # noqa: PLC0415  # it plays vectors, too

    return iter(needed_vectors().vectors)


def play(vector: Vector, open_subject: OpenSubject, seconds: float = SECONDS) -> Ruling:
    """Play a vector with a script on a new receiver of a subject.

    holds: it does what the vector says, as far as it tells. violated: `why` begins with the id of the rule, evidence `differs` says which
    byte, page or reason is another one. skipped: it cannot be set up like this. not-observable: it cannot be made to do an act.
    errored: it crashed, or failed in another way.

    Args:
        vector: any but one of the family `capture`.
        open_subject: makes the receiver.
        seconds: how long the receiver may take for one thing.
    """
    try:
        receiver = open_subject(vector.setup)
    except CannotHave as reason:
        return Ruling(Outcome.SKIPPED, str(reason))
    except Exception as error:  # noqa: BLE001  # a subject may fail in any way, and the next vector is still played
        return Ruling(Outcome.ERRORED, f"it does not start: {type(error).__name__}: {error}")
    try:
        with contextlib.ExitStack() as ends:
            said = _Player(vector, receiver, ends, seconds).play()
    except CannotHave as reason:
        return Ruling(Outcome.NOT_OBSERVABLE, str(reason))
    except _Differs as differs:
        return Ruling(Outcome.VIOLATED, str(differs), {"differs": list(differs.what)})
    except Exception as error:  # noqa: BLE001  # a subject may fail in any way, and the next vector is still played
        return Ruling(Outcome.ERRORED, f"{type(error).__name__}: {error}")
    finally:
        with contextlib.suppress(Exception):
            receiver.close()
    return Ruling(Outcome.HOLDS, said)


class _Player:
    def __init__(self, vector: Vector, receiver: VectorReceiver, ends: contextlib.ExitStack, seconds: float) -> None:
        self._vector = vector
        self._receiver = receiver
        self._stack = ends
        self._seconds = seconds
        self._ends: dict[str, socket.socket] = {}

    def play(self) -> str:
        """Go through the script; return what it came to. _Differs at the first thing that is not as the vector says."""
        for number, act in enumerate(self._vector.script):
            try:
                self._act(act)
            except _Differs as differs:
                raise _Differs(differs.rule, *differs.what, f"at act {number} of the script, {type(act).__name__.lower()}") from differs
        return self._compare_verdict()

    def _act(self, act: Act) -> None:
        match act:
            case Connect(channel=channel):
                self._ends[channel] = self._stack.enter_context(self._receiver.connect())
                self._ends[channel].settimeout(self._seconds)
            case Send(channel=channel, data=data):
                with contextlib.suppress(OSError):
                    self._ends[channel].sendall(bytes_of(data))
            case End(channel=channel):
                with contextlib.suppress(OSError):
                    self._ends[channel].shutdown(socket.SHUT_WR)
            case Reply(bytes=digits):
                self._read(bytes.fromhex(digits))
            case Await(state=state):
                self._wait_for(state)
            case Failover():
                self._fail_over()
            case GuestWrites(page=page, data=data):
                self._receiver.write_guest(page, bytes_of(data))
            case Ram():
                self._compare_ram(act)

    def _read(self, expected: bytes) -> None:
        said = b""
        with contextlib.suppress(OSError):
            while len(said) < len(expected) and (more := self._ends[MAIN_CHANNEL].recv(len(expected) - len(said))):
                said += more
        if said != expected:
            refusal = self._receiver.refusal()
            words = f"; it refuses {_told(refusal)}" if refusal else ""
            raise _Differs(PROGRESS, f"the reply is {said.hex() or 'nothing'}, not {expected.hex()}{words}")

    def _wait_for(self, state: str) -> None:
        is_there: dict[str, Callable[[], bool]] = {
            "colo": self._receiver.is_in_colo,
            "not-colo": lambda: not self._receiver.is_in_colo(),
            "completed": self._receiver.is_completed,
            "refused": lambda: self._receiver.refusal() is not None,
        }
        end, pause = time.monotonic() + self._seconds, _POLL_SECONDS
        while not is_there[state]():
            refusal = self._receiver.refusal() if state == "completed" else None
            if refusal:
                raise _Differs(self._vector.rules[0], f"it refuses what is to be accepted: {_told(refusal)}")
            if time.monotonic() > end:
                rule = self._vector.rules[0] if state == "refused" else PROGRESS
                raise _Differs(rule, f"it does not come to {state} within {self._seconds} s")
            time.sleep(pause)
            pause = min(2 * pause, _LONGEST_POLL_SECONDS)

    def _fail_over(self) -> None:
        try:
            self._receiver.failover()
        except TimeoutError as late:
            raise _Differs(PROGRESS, f"failover does not complete: {late}") from late

    def _compare_ram(self, act: Ram) -> None:
        ram, expected = self._receiver.guest(), bytes_of(act.data)
        if hashlib.sha256(ram).hexdigest() == act.sha256:
            return
        if hashlib.sha256(expected).hexdigest() != act.sha256:
            raise ValueError("the RAM of the vector is not that of its SHA-256")
        raise _Differs(act.rule, *_pages_that_differ(self._vector.setup, ram, expected))

    def _compare_verdict(self) -> str:
        wanted, seen = self._vector.verdict, self._receiver.refusal()
        if wanted.is_accepted:
            if seen is not None:
                raise _Differs(self._vector.rules[0], f"it refuses what is to be accepted: {_told(seen)}")
            return "as it should be"
        # Where the primary goes away, it depends on the receiver what it notices first.
        if not wanted.reason:
            return "as it should be"
        if seen is None:
            raise _Differs(self._vector.rules[0], f"it refuses nothing, and {_told(wanted)} is to be refused")
        is_elsewhere = wanted.offset >= 0 and seen.offset >= 0 and seen != wanted
        if seen.reason and (seen.reason != wanted.reason or is_elsewhere):
            raise _Differs(self._vector.rules[0], f"it refuses {_told(seen)}, not {_told(wanted)}")
        return "refused, as it should be" + ("" if seen.reason else "; the reason is not told")


def _told(verdict: Verdict) -> str:
    place = f" on {verdict.channel or 'an unknown channel'} at byte {verdict.offset}" if verdict.offset >= 0 else ""
    return f"{verdict.reason or 'for a reason that is not told'}{place}"


def _pages_that_differ(setup: Setup, ram: bytes, expected: bytes) -> list[str]:
    """Return, beginning with how many, which pages of which block differ, and where."""
    if len(ram) != len(expected):
        return [f"guest RAM has {len(ram)} bytes, not {len(expected)}"]
    found, start, size = [], 0, setup.page_size
    for block in setup.blocks:
        for at in range(start, start + block.length, size):
            is_, wanted = ram[at : at + size], expected[at : at + size]
            if is_ != wanted:
                byte = next(number for number, (one, other) in enumerate(zip(is_, wanted, strict=True)) if one != other)
                found.append(f"page {(at - start) // size} of {block.name}: byte {byte} is {is_[byte]:02x}, not {wanted[byte]:02x}")
        start += block.length
    more = [f"and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
    return [f"{len(found)} pages of guest RAM are not as they should be", *found[:_SHOWN], *more]
