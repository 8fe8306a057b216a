"""Records a migration on its way into a receiver: every byte of every channel, both ways, in the order in which it came."""

import contextlib
import hashlib
import json
import lzma
import socket
import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

from colofd.conformance.captures import META, TO_DESTINATION, TO_SOURCE, CaptureError, Direction, Event
from colofd.model.decode import Context, decode_main, decode_reverse
from colofd.spec.constants import MAIN_CHANNEL, MULTIFD_MAGIC, STREAM_MAGIC, ColoMessage, Compression, channel_name
from colofd.spec.reasons import Rejected
from colofd.spec.wire.colo import MESSAGE
from colofd.spec.wire.main_channel import CONFIGURATION

_CHUNK: Final = 1 << 18
_ID_AT: Final = 24
"""Where the first packet of a multifd channel has its id."""
_SUFFIX: Final = {TO_DESTINATION: "fwd", TO_SOURCE: "rev"}
_TOLD: Final = (ColoMessage.CHECKPOINT_READY, ColoMessage.VMSTATE_LOADED)
"""The replies by which the primary learns of a commit."""
_JOIN_SECONDS: Final = 10.0


@dataclass(frozen=True)
class Described:
    """What a capture says of its migration beside the bytes; `block` is the RAM block whose digests it has."""

    channels: int
    compression: Compression
    colo: bool
    page_size: int
    block: str
    ram_bytes: int


class Recorder:
    """Stands between the channels of a source and a receiver, and keeps what passes in files of a folder until it is saved.

    Raises CaptureError if the folder holds a capture already, OSError if it cannot be written to.
    """

    def __init__(self, folder: Path) -> None:
        if (folder / META).exists():
            raise CaptureError(f"{folder} holds a capture: give another folder to record into")
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._began = time.monotonic()
        self._lock = threading.Lock()
        self._events: list[Event] = []
        self._counts: Counter[tuple[str, Direction]] = Counter()
        self._files: dict[tuple[str, Direction], BinaryIO] = {}
        self._commits: list[tuple[str, dict[str, int]]] = []
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []

    def through(self, source: socket.socket) -> socket.socket:
        """Take over a channel of the source; return the socket that the receiver is to have in its place."""
        ours, theirs = socket.socketpair()
        self._sockets += [source, ours]
        self._start(source, ours)
        return theirs

    def note_commit(self, sha256: str) -> None:
        """Note a commit with the digest of the RAM block. The primary must be waiting for its answer: what has come belongs to it."""
        with self._lock:
            at = {channel: count for (channel, way), count in self._counts.items() if way == TO_DESTINATION}
            self._commits.append((sha256, at))

    def save(self, described: Described, final_sha256: str | None) -> None:
        """End the recording and write the capture. With COLO it ends with the last commit: what came after has no digest to be compared.

        Raises CaptureError if a COLO migration never got to a commit.
        """
        self._end()
        replied = self._replied()
        # A failover may come before the last commit was told.
        del self._commits[len(replied) :]
        if described.colo and not self._commits:
            raise CaptureError("nothing was committed, so there is nothing to compare a replay with: no capture was written")
        limits = self._limits(replied) if described.colo else dict(self._counts)
        files = {f"{channel}.{_SUFFIX[way]}.xz": _compressed(self._raw(channel, way), limit) for (channel, way), limit in limits.items()}
        listed = {
            name: {"channel": channel, "direction": way, **files[name]}
            for channel, way in limits
            if files[name := f"{channel}.{_SUFFIX[way]}.xz"]["bytes"]
        }
        events = [list(event) for event in _within(self._events, limits, is_cut=described.colo)]
        with lzma.open(self.folder / "events.json.xz", "wt", preset=1) as file:
            json.dump(events, file, separators=(",", ":"))
        text = json.dumps(self._meta(described, final_sha256, replied) | {"files": listed}, indent=1, sort_keys=True)
        (self.folder / META).write_text(text + "\n")
        for key in self._files:
            self._raw(*key).unlink()

    def discard(self) -> None:
        """End the recording without a capture; what it has written is removed. Does nothing once it is saved."""
        self._end()
        for key in self._files:
            self._raw(*key).unlink(missing_ok=True)

    def _end(self) -> None:
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(_JOIN_SECONDS)
        for each in self._sockets:
            each.close()
        for file in self._files.values():
            file.close()

    def _start(self, source: socket.socket, receiver: socket.socket) -> None:
        def forward() -> None:
            name = _channel_of(source)
            back = threading.Thread(target=self._pump, args=(name, TO_SOURCE, receiver, source), daemon=True)
            with self._lock:
                self._threads.append(back)
            back.start()
            self._pump(name, TO_DESTINATION, source, receiver)

        thread = threading.Thread(target=forward, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _pump(self, channel: str, way: Direction, begin: socket.socket, end: socket.socket) -> None:
        try:
            while chunk := begin.recv(_CHUNK):
                self._note(channel, way, chunk)
                end.sendall(chunk)
        except OSError:
            pass
        self._note(channel, way, b"")
        with contextlib.suppress(OSError):
            # A receiver that has closed its end reads nothing any more: the source must not wait for it.
            end.shutdown(socket.SHUT_WR if way == TO_DESTINATION else socket.SHUT_RDWR)

    def _note(self, channel: str, way: Direction, chunk: bytes) -> None:
        with self._lock:
            self._events.append(Event(round(time.monotonic() - self._began, 6), channel, way, len(chunk)))
            if chunk:
                if (channel, way) not in self._files:
                    self._files[channel, way] = self._raw(channel, way).open("wb")
                self._files[channel, way].write(chunk)
                self._counts[channel, way] += len(chunk)

    def _raw(self, channel: str, way: Direction) -> Path:
        return self.folder / f"{channel}.{_SUFFIX[way]}"

    def _limits(self, replied: Sequence[int]) -> dict[tuple[str, Direction], int]:
        """Return how much of each channel belongs to commits: all up to the last one, and the replies up to its VMSTATE_LOADED."""
        _, at = self._commits[-1]
        limits: dict[tuple[str, Direction], int] = {(channel, TO_DESTINATION): count for channel, count in at.items()}
        limits[MAIN_CHANNEL, TO_SOURCE] = replied[-1]
        return limits

    def _replied(self) -> Sequence[int]:
        """Return how much had been replied once each commit was told to the primary: by CHECKPOINT_READY, then by VMSTATE_LOADED."""
        told: list[int] = []
        if (MAIN_CHANNEL, TO_SOURCE) in self._files:
            with contextlib.suppress(Rejected):
                replies = decode_reverse(self._raw(MAIN_CHANNEL, TO_SOURCE).read_bytes())
                told.extend(each.offset + each.size for each in replies if each.name == MESSAGE.name and each.fields["message"] in _TOLD)
        return told

    def _machine(self) -> str:
        with contextlib.suppress(Rejected), self._raw(MAIN_CHANNEL, TO_DESTINATION).open("rb") as main:
            for item in decode_main(main.read(_CHUNK), Context()):
                if item.name == CONFIGURATION.name:
                    return str(item.fields["machine"])
        return "unknown"

    def _meta(self, described: Described, final_sha256: str | None, replied: Sequence[int]) -> dict[str, object]:
        meta: dict[str, object] = {
            "block": described.block,
            "page_size": described.page_size,
            "ram_bytes": described.ram_bytes,
            "digests": "of the receiver's RAM, at each commit or at the end",
            "parameters": {
                "channels": described.channels,
                "colo": described.colo,
                "compression": described.compression.value,
                "machine": self._machine(),
            },
        }
        if described.colo:
            meta["checkpoints"] = [
                {
                    "primary_ram_sha256": sha256,
                    "at": {channel + TO_DESTINATION: count for channel, count in at.items()} | {MAIN_CHANNEL + TO_SOURCE: replied[index]},
                }
                for index, (sha256, at) in enumerate(self._commits)
            ]
        elif final_sha256 is not None:
            meta["ram_sha256"] = final_sha256
        return meta


def _channel_of(source: socket.socket) -> str:
    """Return which channel the first bytes say it is; they stay unread."""
    try:
        first = source.recv(_ID_AT + 1, socket.MSG_PEEK | socket.MSG_WAITALL)
    except OSError:
        return "unknown"
    if first[:4] == STREAM_MAGIC.to_bytes(4, "big"):
        return MAIN_CHANNEL
    if first[:4] == MULTIFD_MAGIC.to_bytes(4, "big") and len(first) > _ID_AT:
        return channel_name(first[_ID_AT])
    return "unknown"


def _within(events: Sequence[Event], limits: dict[tuple[str, Direction], int], *, is_cut: bool) -> Sequence[Event]:
    """Return the events of the first bytes of each channel, as many as `limits` says; the ends of channels that were cut are none."""
    left = Counter(limits)
    kept = []
    for event in events:
        length = min(event.length, left[event.channel, event.direction])
        left[event.channel, event.direction] -= length
        if length or (not event.length and not is_cut):
            kept.append(event._replace(length=length))
    return kept


def _compressed(raw: Path, limit: int) -> dict[str, int | str]:
    """Write the first `limit` bytes of a file beside it, compressed; return how many there are, and their digest."""
    digest = hashlib.sha256()
    with raw.open("r+b") as file, lzma.open(f"{raw}.xz", "wb", preset=1) as packed:
        file.truncate(limit)
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
            packed.write(chunk)
    return {"bytes": limit, "sha256": digest.hexdigest()}
