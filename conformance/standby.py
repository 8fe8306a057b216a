"""A standby: receives checkpoints of a COLO primary into a store, and says how it goes."""

import contextlib
import json
import os
import socket
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from colofd.conformance.incoming import Incoming, Source
from colofd.impl import Block, Commit, Deadlines, Destination, Outcome
from colofd.impl.store import Claim, Identity, Kept, StoreFailed, StoreWriter
from colofd.spec.constants import STREAM_MAGIC, TARGET_PAGE_SIZE, Compression, SectionType, Step
from colofd.spec.reasons import Reason, Rejected

_HEADER: Final = 8
"""Bytes of magic and version."""

_LONGEST_NAME: Final = 1024
_SHOWN_EVERY: Final = 0.2
_IDLE_SECONDS: Final = 300.0

ORDINARY_ENDS: Final = frozenset({Reason.CHANNEL_LOST, Reason.TRUNCATED})
"""How a primary goes that dies, or whose connection does."""


@dataclass(frozen=True)
class Wanted:
    """How the primary sends, how many checkpoints are kept, and where the log goes (None: nowhere)."""

    channels: int
    compression: Compression
    keep: int
    log: Path | None
    patience: float


@dataclass(frozen=True)
class Committed:
    """A checkpoint that was answered: what it cost, and for how long the primary stood still for it, as far as can be seen from here."""

    kept: Kept
    pause_seconds: float

    def described(self) -> dict[str, Any]:
        """Return it for the log; nothing of RAM is in it."""
        kept = asdict(self.kept)
        which = kept.pop("id")
        durable = kept.pop("seconds")
        return {
            "event": "commit",
            **which,
            **kept,
            "durable_milliseconds": round(durable * 1000, 3),
            "pause_milliseconds": round(self.pause_seconds * 1000, 3),
        }


@dataclass
class Ended:
    """How it ended: the last checkpoint, or None; and why, in words. `is_ordinary`: the primary was gone, and nothing else was wrong."""

    last: Committed | None
    why: str
    is_ordinary: bool


class Log:
    """JSON lines, one for each commit, in a file that only its owner may read; without a path they go nowhere. A context manager."""

    def __init__(self, path: Path | None) -> None:
        self._descriptor = -1 if path is None else os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)

    def write(self, event: dict[str, Any]) -> None:
        """Add a line."""
        if self._descriptor >= 0:
            os.write(self._descriptor, json.dumps(event).encode() + b"\n")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)


class _Watch:
    """The store as the destination has it, with clocks around. Its methods run in the threads of the destination."""

    def __init__(self, store: StoreWriter, log: Log) -> None:
        self.last: Committed | None = None
        self.failure: StoreFailed | None = None
        self._store = store
        self._log = log
        self._began = 0.0

    def gate(self, step: Step, _channel: str) -> None:
        if step is Step.CHECKPOINT_BEGIN:
            self._began = time.perf_counter()

    def keep(self, index: int, device_state: bytes, dirty: npt.NDArray[np.bool_], ram: npt.NDArray[np.uint8]) -> None:
        try:
            self._store.keep(index, device_state, dirty, ram)
        except StoreFailed as failed:
            self.failure = failed
            raise

    def commit(self, commit: Commit) -> None:
        if self._store.last is not None:
            self.last = Committed(self._store.last, time.perf_counter() - self._began if commit.index else 0.0)
            self._log.write(self.last.described())


def machine_of(source: Source) -> str:
    """Return the machine type that a source names, whose main channel is still unread. Raises Rejected if it names none."""
    magic = STREAM_MAGIC.to_bytes(4, "big")
    for each in source.sockets:
        ahead = each.recv(_HEADER + 5 + _LONGEST_NAME, socket.MSG_PEEK | socket.MSG_DONTWAIT)
        if ahead.startswith(magic) and ahead[_HEADER : _HEADER + 1] == bytes([SectionType.CONFIGURATION]):
            size = int.from_bytes(ahead[_HEADER + 1 : _HEADER + 5], "big")
            if size <= _LONGEST_NAME:
                return ahead[_HEADER + 5 : _HEADER + 5 + size].decode("latin-1")
    raise Rejected(Reason.CONFIGURATION_MISSING, channel="main", offset=_HEADER, read="no machine type", expected="a configuration section")


def stand_by(
    incoming: Incoming,
    source: Source,
    claim: Claim,
    wanted: Wanted,
    show: Callable[[Destination, Committed | None], None] = lambda _destination, _last: None,
) -> Ended:
    """Receive the checkpoints of a source that has connected, until it is gone or something is wrong.

    Args:
        incoming: where the other channels come.
        source: the channels that have come.
        claim: the folder of the store.
        wanted: how, and how much of it.
        show: is called a few times per second.

    Raises what `StoreWriter` does, and Rejected before the first checkpoint.
    """
    blocks = tuple(Block(name, length) for name, length in source.blocks)
    with contextlib.ExitStack() as stack:
        for each in source.sockets:
            # Who is refused shall hear it.
            stack.enter_context(each)
        identity = Identity(machine_of(source), TARGET_PAGE_SIZE, blocks)
        log = stack.enter_context(Log(wanted.log))
        store = stack.enter_context(StoreWriter(claim, identity, keep=wanted.keep))
        watch = _Watch(store, log)
        log.write({"event": "begin", "time": time.time(), **asdict(identity)})
        with Destination(
            blocks,
            wanted.channels,
            colo=True,
            compression=wanted.compression,
            store=watch,
            on_commit=watch.commit,
            gate=watch.gate,
            deadlines=Deadlines(connect=wanted.patience, progress=wanted.patience, idle=max(wanted.patience, _IDLE_SECONDS)),
        ) as destination:
            for each in source.sockets:
                destination.attach(each)
            for _ in range(wanted.channels + 1 - len(source.sockets)):
                destination.attach(incoming.accept(wanted.patience))
            ended = _follow(destination, watch, show)
        log.write({"event": "end", "time": time.time(), "why": ended.why, "is_ordinary": ended.is_ordinary})
        return ended


def _follow(destination: Destination, watch: _Watch, show: Callable[[Destination, Committed | None], None]) -> Ended:
    while True:
        try:
            outcome: Outcome = destination.wait(_SHOWN_EVERY)
        except TimeoutError:
            show(destination, watch.last)
        except Rejected as rejected:
            if watch.failure is not None:
                return Ended(watch.last, str(watch.failure), is_ordinary=False)
            if watch.last is None:
                raise
            return Ended(watch.last, str(rejected), rejected.reason in ORDINARY_ENDS)
        else:
            return Ended(watch.last, f"the destination is {outcome.phase}", is_ordinary=False)
