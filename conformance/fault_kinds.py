"""The kinds of faults, when they come, and by which error they must be reported."""

import ctypes
import errno
import mmap
import os
import random
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from enum import StrEnum
from types import FrameType, TracebackType
from typing import Any, Final, Self, TypeVar
from unittest import mock

from colofd.conformance.fault_script import Script
from colofd.impl.threads import JoinableThread
from colofd.impl.trace import Tracer
from colofd.spec.constants import MAIN_CHANNEL, Step, channel_name
from colofd.spec.reasons import Reason, Rejected

Result = TypeVar("Result")


class Kind(StrEnum):
    """What fails."""

    CUT = "a connection is cut"
    STALL = "a connection stalls"
    SILENCE = "the peer falls silent"
    DRIP = "bytes come one by one"
    KILL = "a thread is killed at a micro-step"
    NO_RECEIVE = "no memory to receive into"
    NO_MEMORY = "no memory for the guest"
    NO_CACHE = "no memory for the cache"
    NO_BUFFER = "no memory to read anything"
    NO_THREAD = "no thread to be had"
    INTERRUPT = "the caller is interrupted"


_OF_CONNECTIONS: Final = (Kind.CUT, Kind.STALL, Kind.SILENCE, Kind.DRIP)
SHORTAGES: Final = 0.1
"""How many schedules lack memory or a thread."""
_DRAWN: Final = (*3 * (Kind.CUT, Kind.DRIP, Kind.KILL, Kind.INTERRUPT), Kind.STALL, Kind.SILENCE, Kind.NO_RECEIVE)
_ANY_END: Final = frozenset(
    {Reason.TRUNCATED, Reason.CHANNEL_LOST, Reason.DESCRIPTION_MISSING, Reason.DESCRIPTION_MISMATCH, Reason.CHANNEL_MAGIC}
)
_REASONS: Final[dict[Kind, frozenset[Reason]]] = {
    Kind.CUT: _ANY_END,
    Kind.STALL: frozenset({Reason.DEADLINE, Reason.DESCRIPTION_MISMATCH, Reason.TRUNCATED}),
    Kind.SILENCE: frozenset({Reason.DEADLINE, Reason.DESCRIPTION_MISMATCH, Reason.TRUNCATED}),
    Kind.DRIP: frozenset(),
    Kind.INTERRUPT: frozenset(),
}
_TEXTS: Final = {
    Kind.KILL: "Killed",
    Kind.NO_RECEIVE: f"OSError({errno.ENOMEM}",
    Kind.NO_MEMORY: f"OSError({errno.ENOMEM}",
    Kind.NO_CACHE: f"OSError({errno.ENOMEM}",
    Kind.NO_BUFFER: f"OSError({errno.ENOMEM}",
    Kind.NO_THREAD: "can't start new thread",
}


@dataclass(frozen=True)
class Fault:
    """One fault.

    Attributes:
        channel: whose connection, or thread, fails.
        offset: byte of the channel at which it does.
        count: how many micro-steps (or reads) come before, of that thread (or of any).
    """

    kind: Kind
    channel: str = ""
    offset: int = -1
    count: int = 0

    def explains(self, error: Rejected) -> bool:
        """Return whether this is the error that the fault must be reported by; that the embedder has closed explains itself."""
        if error.reason is Reason.CLOSED:
            return True
        text = _TEXTS.get(self.kind)
        return text in error.read if text else error.reason in _REASONS[self.kind]


def draw_fault(script: Script, chance: random.Random) -> Fault:
    """Return a fault somewhere in a script."""
    kind = chance.choice(_DRAWN)
    channel = chance.choice([MAIN_CHANNEL, *(channel_name(number) for number in range(script.channels))])
    if kind in _OF_CONNECTIONS:
        return Fault(kind, channel, chance.randrange(script.size(channel)))
    return Fault(kind, channel, count=chance.randrange({Kind.KILL: 90, Kind.INTERRUPT: 60}.get(kind, 5)))


def draw_shortage(chance: random.Random) -> Fault | None:
    """Return a lack of something that the system gives, in a few of all schedules."""
    if chance.random() > SHORTAGES:
        return None
    kind = chance.choice((Kind.NO_CACHE, Kind.NO_BUFFER, Kind.NO_BUFFER, Kind.NO_THREAD))
    return Fault(kind, count=1 if kind is Kind.NO_CACHE else chance.randrange({Kind.NO_BUFFER: 40}.get(kind, 6)))


class Killed(Exception):  # noqa: N818  # says what happened
    """What ends a thread at a micro-step."""


class Trap:
    """Kills a thread just before or after one of its micro-steps, or interrupts the main thread there. A context manager.

    A thread is killed by its trace function, as an exception out of a hook would not be one of the thread's own.
    """

    def __init__(self, fault: Fault) -> None:
        self.is_felt = False
        self._fault = fault
        self._left = fault.count
        self._lock = threading.Lock()
        self._handler: Any = None
        self._is_in_call = False

    def interruptible(self, call: Callable[[], Result]) -> Result:
        """Return what a call returns that the main thread makes; an interruption raises KeyboardInterrupt in it, and nowhere else."""
        self._is_in_call = True
        try:
            return call()
        finally:
            self._is_in_call = False

    def _interrupt(self, _number: int, _frame: FrameType | None) -> None:
        if self._is_in_call:
            self.is_felt = True
            raise KeyboardInterrupt

    def count_down(self) -> bool:
        """Return whether it is time: once."""
        with self._lock:
            self._left -= 1
            is_time = self._left == -1
            self.is_felt = self.is_felt or (is_time and self._fault.kind is not Kind.INTERRUPT)
            return is_time

    def gate(self, step: Step, channel: str) -> None:
        """Be the gate of the receiver."""
        del step, channel
        if self._fault.kind is Kind.INTERRUPT and self.count_down():
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    def _trace(self, frame: FrameType, event: str, _argument: object) -> None:
        is_step = event == "call" and frame.f_code in {Tracer.gate.__code__, Tracer.emit.__code__}
        if is_step and threading.current_thread().name == f"colofd {self._fault.channel}" and self.count_down():
            raise Killed

    def __enter__(self) -> Self:
        if self._fault.kind is Kind.KILL:
            threading.settrace(self._trace)
        if self._fault.kind is Kind.INTERRUPT:
            self._handler = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._fault.kind is Kind.KILL:
            threading.settrace(sys.gettrace())
        if self._fault.kind is Kind.INTERRUPT:
            signal.signal(signal.SIGINT, self._handler)


@contextmanager
def lacking(fault: Fault, trap: Trap) -> Iterator[None]:
    """Let the receiver lack what the fault says, when the trap says so."""
    with ExitStack() as stack:
        if fault.kind is Kind.NO_RECEIVE:
            stack.enter_context(_refusing_memory(trap))
        elif fault.kind is Kind.NO_CACHE:
            stack.enter_context(mock.patch.object(mmap, "mmap", _refusing(mmap.mmap, trap, _no_memory)))
        elif fault.kind is Kind.NO_THREAD:
            start = threading.Thread.start
            stack.enter_context(mock.patch.object(JoinableThread, "start", _refusing(start, trap, _no_thread), create=True))
        elif fault.kind is Kind.NO_BUFFER:
            recv_into = socket.socket.recv_into
            stack.enter_context(mock.patch.object(socket.socket, "recv_into", _refusing(recv_into, trap, _no_memory), create=True))
        yield


def _no_memory() -> OSError:
    return OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))


def _no_thread() -> RuntimeError:
    return RuntimeError("can't start new thread")


def _refusing(call: Callable[..., Result], trap: Trap, error: Callable[[], Exception]) -> Callable[..., Result]:
    """Return a function that calls another one, and raises an error from when the trap says so on, in the thread where it does."""
    lacking_threads: set[int] = set()

    def refusing(*arguments: object, **named: object) -> Result:
        if threading.get_ident() in lacking_threads or trap.count_down():
            lacking_threads.add(threading.get_ident())
            raise error()
        return call(*arguments, **named)

    return refusing


@contextmanager
def _refusing_memory(trap: Trap) -> Iterator[None]:
    """Let a system call that reads pages find no memory, when the trap says so."""
    recvmsg = ctypes.CDLL(None, use_errno=True).recvmsg

    def refusing(*arguments: object) -> int:
        if trap.count_down():
            ctypes.set_errno(errno.ENOMEM)
            return -1
        return int(recvmsg(*arguments))

    with mock.patch("colofd.impl.sockets._recvmsg", refusing):
        yield
