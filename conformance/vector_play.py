"""Plays a vector on a receiver."""

import contextlib
import hashlib
import socket
import time
from collections.abc import Callable
from typing import Final, Protocol

from colofd.conformance.vector_format import Await, Connect, End, Failover, Ram, Reply, Send, Setup, Vector, Verdict, bytes_of
from colofd.impl import Block, Deadlines, Destination, Phase
from colofd.spec.constants import MAIN_CHANNEL
from colofd.spec.reasons import Rejected

SECONDS: Final = 10.0
"""How long a receiver may take for one thing: only one that hangs gets there."""

_POLL_SECONDS: Final = 0.001
_DEADLINES: Final = Deadlines(connect=5.0, progress=5.0, idle=5.0, lease=5.0)
_IN_COLO: Final = frozenset({Phase.IDLE, Phase.RECEIVING, Phase.RECEIVED, Phase.FLUSHING})


class VectorFailed(Exception):  # noqa: N818  # says what happened
    """A receiver does something else than a vector says."""


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
        """Return what it has refused, if anything."""

    def failover(self) -> None:
        """Take over."""

    def close(self) -> None:
        """End it."""


class BuiltInForVectors:
    """The receiver of `colofd.impl`, as a vector wants it."""

    def __init__(self, setup: Setup) -> None:
        self._blocks = {block.name: block.length for block in setup.blocks}
        self._destination = Destination(
            [Block(name, length) for name, length in self._blocks.items()],
            setup.channels,
            colo=setup.colo,
            compression=setup.compression,
            page_size=setup.page_size,
            machine=setup.machine,
            uuid=None if setup.uuid is None else bytes.fromhex(setup.uuid),
            deadlines=_DEADLINES,
        )

    def connect(self) -> socket.socket:
        """Return our end of a new channel."""
        near, far = socket.socketpair()
        self._destination.attach(far)
        return near

    def guest(self) -> bytes:
        """Return guest RAM; zeros before it is there."""
        try:
            return b"".join(self._destination.guest(block).tobytes() for block in self._blocks)
        except Rejected:
            return bytes(sum(self._blocks.values()))

    def is_in_colo(self) -> bool:
        """Return whether it is in COLO."""
        return self._destination.phase in _IN_COLO

    def is_completed(self) -> bool:
        """Return whether it is complete."""
        return self._destination.phase is Phase.COMPLETED

    def refusal(self) -> Verdict | None:
        """Return the first error."""
        try:
            error = self._destination.wait(0).error
        except Rejected as rejected:
            error = rejected
        except TimeoutError:
            return None
        return None if error is None else Verdict(is_accepted=False, reason=error.reason.value, channel=error.channel, offset=error.offset)

    def failover(self) -> None:
        """Take over."""
        self._destination.failover(SECONDS)

    def close(self) -> None:
        """End it."""
        self._destination.close()


def play(vector: Vector, make: Callable[[Setup], VectorReceiver]) -> None:
    """Play a vector on a new receiver; VectorFailed if it does something else."""
    receiver = make(vector.setup)
    try:
        with contextlib.ExitStack() as ends:
            _Player(vector, receiver, ends).play()
    finally:
        receiver.close()


class _Player:
    def __init__(self, vector: Vector, receiver: VectorReceiver, ends: contextlib.ExitStack) -> None:
        self._vector = vector
        self._receiver = receiver
        self._stack = ends
        self._ends: dict[str, socket.socket] = {}

    def play(self) -> None:
        for act in self._vector.script:
            match act:
                case Connect(channel=channel):
                    self._ends[channel] = self._stack.enter_context(self._receiver.connect())
                    self._ends[channel].settimeout(SECONDS)
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
                    self._receiver.failover()
                case Ram(sha256=digest, rule=rule):
                    if hashlib.sha256(self._receiver.guest()).hexdigest() != digest:
                        raise VectorFailed(f"{self._vector.id}: {rule}: guest RAM is not as it should be")
        self._compare_verdict()

    def _read(self, expected: bytes) -> None:
        said = b""
        with contextlib.suppress(OSError):
            while len(said) < len(expected) and (more := self._ends[MAIN_CHANNEL].recv(len(expected) - len(said))):
                said += more
        if said != expected:
            raise VectorFailed(f"{self._vector.id}: the reply is {said.hex()}, not {expected.hex()}")

    def _wait_for(self, state: str) -> None:
        is_there: dict[str, Callable[[], bool]] = {
            "colo": self._receiver.is_in_colo,
            "not-colo": lambda: not self._receiver.is_in_colo(),
            "completed": self._receiver.is_completed,
            "refused": lambda: self._receiver.refusal() is not None,
        }
        end = time.monotonic() + SECONDS
        while not is_there[state]():
            if time.monotonic() > end or (state == "completed" and self._receiver.refusal()):
                raise VectorFailed(f"{self._vector.id}: it does not come to {state}: {self._receiver.refusal()}")
            time.sleep(_POLL_SECONDS)

    def _compare_verdict(self) -> None:
        wanted, seen = self._vector.verdict, self._receiver.refusal()
        # Where the primary goes away, it depends on the receiver what it notices first.
        if wanted.reason and seen != wanted:
            raise VectorFailed(f"{self._vector.id}: expected {wanted}, got {seen}")
        if wanted.is_accepted and seen is not None:
            raise VectorFailed(f"{self._vector.id}: it refuses what is to be accepted: {seen}")
