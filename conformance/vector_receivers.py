"""The subjects that vectors can be played on, by their names on the command line."""

import contextlib
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from colofd.conformance.black_box import NotObservable
from colofd.conformance.black_box_wire import State
from colofd.conformance.check_black_box import version_of
from colofd.conformance.diagnostic import Diagnostic
from colofd.conformance.exec_subject import ExecReceiver
from colofd.conformance.foreign import FOREIGN, PYTHON, opened
from colofd.conformance.known_deviations import Known
from colofd.conformance.primary import Dialect
from colofd.conformance.subjects import BLOCK, Options
from colofd.conformance.vector_format import Setup, VectorBlock, Verdict
from colofd.conformance.vector_play import SECONDS, CannotHave, OpenSubject, VectorReceiver
from colofd.impl import Block, Deadlines, Destination, Phase
from colofd.spec.reasons import Rejected

PATIENCE: Final = 3.0
"""Seconds that a receiver of somebody else may take for one thing. It needs milliseconds."""

_DEADLINES: Final = Deadlines(connect=5.0, progress=5.0, idle=5.0, lease=5.0)
_IN_COLO: Final = frozenset({Phase.IDLE, Phase.RECEIVING, Phase.RECEIVED, Phase.FLUSHING})


@dataclass(frozen=True)
class SubjectForVectors:
    """What makes receivers of a subject, how many seconds each may take for one thing, and whether recordings are replayed on it."""

    open_subject: OpenSubject
    seconds: float
    replays_recordings: bool = False


@dataclass(frozen=True)
class SetupOptions(Options):
    """The set-up of a vector, for what is made of options: its blocks have any names and lengths."""

    layout: tuple[VectorBlock, ...] = ()

    @property
    def pages_of_blocks(self) -> dict[str, slice]:
        """The numbers of the pages of each RAM block, by its name, in the order of the blocks."""
        found, start = {}, 0
        for block in self.layout:
            end = start + block.length // self.page_size
            found[block.name], start = slice(start, end), end
        return found


def options_of(setup: Setup) -> SetupOptions:
    """Return a set-up as options."""
    return SetupOptions(
        pages=sum(block.length for block in setup.blocks) // setup.page_size,
        blocks=len(setup.blocks),
        channels=setup.channels,
        colo=setup.colo,
        compression=setup.compression,
        page_size=setup.page_size,
        block=setup.blocks[0].name,
        machine=setup.machine,
        uuid=bytes.fromhex(setup.uuid),
        devices=tuple(setup.devices),
        layout=tuple(setup.blocks),
    )


@contextlib.contextmanager
def subject_for_vectors(subject: str, against: str) -> Iterator[SubjectForVectors]:
    """Give what makes receivers of impl, exec:COMMAND, python:MODULE:FUNCTION or qemu:VERSION. Diagnostic if it cannot be spoken to.

    Args:
        subject: its name on the command line.
        against: the profile that says what its version does not have.
    """
    if subject == "impl":
        yield SubjectForVectors(BuiltInForVectors, SECONDS, replays_recordings=True)
    elif subject.startswith(FOREIGN):
        with opened(subject) as (make, _hello):
            wrap = _FromOutside if subject.startswith(PYTHON) else _OfAdapter
            yield SubjectForVectors(lambda setup: _made(make, wrap, setup), PATIENCE)
    else:
        yield SubjectForVectors(_open_qemu(subject, against), PATIENCE)


def _made(make: Callable[[Options], Any], wrap: Callable[[Any], VectorReceiver], setup: Setup) -> VectorReceiver:
    try:
        return wrap(make(options_of(setup)))
    except Diagnostic as trouble:
        if trouble.code == "adapter-refuses":
            raise CannotHave(f"the subject cannot be set up like this: {trouble.cause}") from trouble
        raise


def _open_qemu(subject: str, against: str) -> OpenSubject:
    # Only here, for the package qemu.qmp is an extra.
    from colofd.conformance.qemu.provision import VERSIONS, at_path, get  # noqa: PLC0415
    from colofd.conformance.qemu.subject import QemuReceiver  # noqa: PLC0415

    name = subject.partition(":")[2]
    qemu = get(name, lambda _what: None) if name in VERSIONS else at_path(Path(name))
    version = version_of(Known(against))

    def open_subject(setup: Setup) -> VectorReceiver:
        options = options_of(setup)
        if [block.name for block in setup.blocks] != [BLOCK] or setup.devices or any(options.uuid):
            raise CannotHave("this machine has one RAM block, no device and no uuid")
        if setup.colo and (why := version.why_not_colo(options)):
            raise CannotHave(why)
        if setup.channels and version.dialect != Dialect():
            raise CannotHave("its version ends rounds, or sends zero pages, in another way than the vectors")
        return _FromOutside(QemuReceiver(qemu, options))

    return open_subject


class BuiltInForVectors:
    """The receiver of `colofd.impl`, as a vector wants it."""

    def __init__(self, setup: Setup) -> None:
        self._blocks = {block.name: block.length for block in setup.blocks}
        self._page_size = setup.page_size
        self._destination = Destination(
            [Block(name, length) for name, length in self._blocks.items()],
            setup.channels,
            colo=setup.colo,
            compression=setup.compression,
            page_size=setup.page_size,
            machine=setup.machine,
            uuid=bytes.fromhex(setup.uuid),
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

    def write_guest(self, page: int, content: bytes) -> None:
        """Let the guest write a page, and say so."""
        for block, length in self._blocks.items():
            pages = length // self._page_size
            if page < pages:
                at = page * self._page_size
                self._destination.guest(block)[at : at + self._page_size] = np.frombuffer(content, np.uint8)
                self._destination.guest_wrote(block, np.arange(pages) == page)
                return
            page -= pages

    def failover(self) -> None:
        """Take over."""
        self._destination.failover(SECONDS)

    def close(self) -> None:
        """End it."""
        self._destination.close()


class _Wrapped:
    """Whatever has the methods of a black box."""

    def __init__(self, receiver: Any) -> None:
        self._receiver = receiver

    def connect(self) -> socket.socket:
        """Return our end of a new channel."""
        near: socket.socket = self._receiver.connect()
        return near

    def guest(self) -> bytes:
        """Return guest RAM."""
        return bytes(self._receiver.guest())

    def is_in_colo(self) -> bool:
        """Return whether it is in COLO."""
        return bool(self._receiver.is_in_colo())

    def is_completed(self) -> bool:
        """Return whether it is complete."""
        return bool(self._receiver.is_completed())

    def write_guest(self, page: int, content: bytes) -> None:
        """Let its guest write a page, if it has one that can."""
        try:
            self._receiver.write_guest(page, content)
        except (AttributeError, NotObservable) as reason:
            raise CannotHave(str(reason)) from reason

    def failover(self) -> None:
        """Take over."""
        self._receiver.failover()

    def close(self) -> None:
        """End it."""
        self._receiver.close()


class _OfAdapter(_Wrapped):
    """A receiver behind an adapter: it may say reason, channel and offset."""

    def __init__(self, receiver: ExecReceiver) -> None:
        super().__init__(receiver)

    def refusal(self) -> Verdict | None:
        """Return what it says that it has refused."""
        status = self._receiver.status()
        if status.state != "failed" and not status.reason and not status.error:
            return None
        return Verdict(is_accepted=False, reason=status.reason, channel=status.channel, offset=status.offset)


class _FromOutside(_Wrapped):
    """A receiver that says that it has refused something, and not what: a real QEMU, or one of Python."""

    def refusal(self) -> Verdict | None:
        """Return whether it has refused something."""
        state, words = self._receiver.look()
        if state is State.CRASHED:
            raise RuntimeError(f"it was ended by a signal: {words}")
        return Verdict(is_accepted=False) if state is State.FAILED or (words and state is State.BUSY) else None
