"""Recorded migrations: load one from its folder, and list those that are shipped.

A capture is a folder with `meta.json` (parameters of the migration, and the RAM digests that its source had), `events.json.xz` (what came
when on which channel) and the bytes of each channel: `NAME.fwd.xz` to the destination, `NAME.rev.xz` back from it.
"""

import hashlib
import lzma
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, NamedTuple

import msgspec

from colofd.model.decode import Context
from colofd.spec.constants import MAIN_CHANNEL, Compression, channel_name

META: Final = "meta.json"
"""The file that makes a folder a capture."""

SHIPPED: Final = Path(__file__).parent / "captures"
"""The folder of the captures that come with colofd."""

TO_DESTINATION: Final = ">"
TO_SOURCE: Final = "<"

LONGEST_EVENT_LIST: Final = 64 * 1024 * 1024
"""Bytes of the longest list of events that is read."""

Direction = Literal[">", "<"]


class CaptureError(Exception):
    """A folder that is no capture, or a capture that is not what was recorded."""


class Event(NamedTuple):
    """Bytes which passed on a channel; a length of 0 says that this direction was closed."""

    time: float
    """Seconds since the recording began."""
    channel: str
    direction: Direction
    length: int


@dataclass(frozen=True)
class Checkpoint:
    """What the primary had when a checkpoint was complete."""

    index: int
    """0 is the end of precopy, where COLO is entered; the first checkpoint of COLO is 1."""
    at: Mapping[str, int]
    """Bytes that each channel had carried to the destination by then."""
    replied: int
    """Bytes that the destination had replied by then."""
    sha256: str
    """Digest of the primary's RAM block."""


@dataclass(frozen=True)
class Capture:
    """A recorded migration."""

    name: str
    qemu: str
    """Version of the QEMU that sent it, as "11.1.3"; no stream says it, so it may be unknown."""
    machine: str
    channels: int
    """Number of multifd channels; the main channel comes on top."""
    compression: Compression
    colo: bool
    capabilities: frozenset[str]
    """QEMU's migration capabilities that were on."""
    page_size: int
    ram_block: str
    """Name of the RAM block whose digests were recorded."""
    ram_bytes: int
    events: tuple[Event, ...]
    streams: Mapping[str, bytes]
    """Bytes to the destination, by channel name: "main", "mfd0", ..."""
    replies: bytes
    """Bytes back from the destination on the main channel."""
    checkpoints: tuple[Checkpoint, ...]
    """In COLO: one for each recorded digest, beginning with index 0. Empty otherwise."""
    final_sha256: str | None
    """Digest of the source's RAM block at the end of a migration without COLO."""

    @property
    def context(self) -> Context:
        """What a decoder of its channels has to know, RAM blocks apart: those are in the main channel."""
        return Context(
            page_size=self.page_size,
            channels=self.channels,
            compression=self.compression,
            capabilities=self.capabilities,
            colo=self.colo,
        )


class _File(msgspec.Struct, frozen=True):
    bytes: int
    channel: str
    direction: Direction
    sha256: str


class _Checkpoint(msgspec.Struct, frozen=True):
    at: dict[str, int]
    primary_ram_sha256: str


class _Parameters(msgspec.Struct, frozen=True):
    channels: int
    compression: Compression = Compression.NONE
    colo: bool = False
    machine: str = "pc"
    caps: tuple[str, ...] = ()


class _Number(msgspec.Struct, frozen=True):
    major: int
    minor: int
    micro: int


class _Version(msgspec.Struct, frozen=True):
    qemu: _Number


class _Meta(msgspec.Struct, frozen=True):
    block: str
    files: dict[str, _File]
    page_size: int
    parameters: _Parameters
    ram_bytes: int
    version: _Version | None = None
    checkpoints: tuple[_Checkpoint, ...] = ()
    ram_sha256: str | None = None


def shipped() -> list[Path]:
    """Return the folders of the captures that come with colofd, in the order of their names."""
    return sorted(folder for folder in SHIPPED.iterdir() if folder.is_dir())


def find(name: str) -> Path:
    """Return the folder of a capture, which is a path or the name of a shipped one. Raise `CaptureError` if there is neither."""
    for folder in (Path(name), SHIPPED / name):
        if (folder / META).is_file():
            return folder
    names = ", ".join(folder.name for folder in shipped())
    raise CaptureError(f"{name} is no capture: it has no meta.json. Give a folder with one, or a name of: {names}")


def load(folder: Path) -> Capture:
    """Read a capture and verify it against the sizes and digests that it records.

    Raises `CaptureError` if anything is missing, malformed, or not what was recorded.
    """
    try:
        meta = msgspec.json.decode((folder / META).read_bytes(), type=_Meta)
        events = msgspec.json.decode(_decompress(folder / "events.json.xz", LONGEST_EVENT_LIST), type=tuple[Event, ...])
    except (OSError, msgspec.MsgspecError) as error:
        raise CaptureError(f"{folder} cannot be read as a capture: {error}") from error
    files = {(file.channel, file.direction): _verified(folder, name, file) for name, file in meta.files.items()}
    streams = {channel: content for (channel, direction), content in files.items() if direction == TO_DESTINATION}
    replies = files.get((MAIN_CHANNEL, TO_SOURCE), b"")
    _check_channels(folder, meta.parameters.channels, streams)
    _check_events(folder, events, files)
    return Capture(
        name=folder.name,
        qemu=_number(meta.version),
        machine=meta.parameters.machine,
        channels=meta.parameters.channels,
        compression=meta.parameters.compression,
        colo=meta.parameters.colo,
        capabilities=_capabilities(meta.parameters),
        page_size=meta.page_size,
        ram_block=meta.block,
        ram_bytes=meta.ram_bytes,
        events=events,
        streams=streams,
        replies=replies,
        checkpoints=tuple(_checkpoint(index, recorded, streams) for index, recorded in enumerate(meta.checkpoints)),
        final_sha256=meta.ram_sha256,
    )


def _number(version: _Version | None) -> str:
    return "unknown" if version is None else f"{version.qemu.major}.{version.qemu.minor}.{version.qemu.micro}"


def _capabilities(parameters: _Parameters) -> frozenset[str]:
    multifd = {"multifd"} if parameters.channels else set()
    colo = {"x-colo", "return-path"} if parameters.colo else set()
    return frozenset(multifd | colo | set(parameters.caps))


def _checkpoint(index: int, recorded: _Checkpoint, streams: Mapping[str, bytes]) -> Checkpoint:
    return Checkpoint(
        index=index,
        at={channel: recorded.at.get(channel + TO_DESTINATION, 0) for channel in streams},
        replied=recorded.at.get(MAIN_CHANNEL + TO_SOURCE, 0),
        sha256=recorded.primary_ram_sha256,
    )


def _decompress(path: Path, limit: int) -> bytes:
    """Return the content of an .xz file, which must be whole and at most `limit` bytes."""
    decompressor = lzma.LZMADecompressor(format=lzma.FORMAT_XZ)
    try:
        content = decompressor.decompress(path.read_bytes(), max_length=limit + 1)
    except (OSError, lzma.LZMAError) as error:
        raise CaptureError(f"{path} cannot be read: {error}") from error
    if len(content) > limit or not decompressor.eof or decompressor.unused_data:
        raise CaptureError(f"{path} is damaged: it is cut short, or longer than the {limit} bytes that it may have")
    return content


def _verified(folder: Path, name: str, file: _File) -> bytes:
    if Path(name).name != name:
        raise CaptureError(f"{folder}/meta.json lists {name!r}, which is not a file of this folder")
    content = _decompress(folder / name, file.bytes)
    digest = hashlib.sha256(content).hexdigest()
    if len(content) != file.bytes or digest != file.sha256:
        raise CaptureError(
            f"{folder / name} is not what was recorded: {len(content)} bytes with SHA-256 {digest}, "
            f"recorded were {file.bytes} bytes with SHA-256 {file.sha256}"
        )
    return content


def _check_channels(folder: Path, channels: int, streams: Mapping[str, bytes]) -> None:
    expected = {MAIN_CHANNEL, *map(channel_name, range(channels))}
    if streams.keys() != expected:
        raise CaptureError(f"{folder} holds the channels {sorted(streams)}, but its parameters call for {sorted(expected)}")


def _check_events(folder: Path, events: tuple[Event, ...], files: Mapping[tuple[str, Direction], bytes]) -> None:
    """Check that the events say when each byte of each channel came, once, and that the source opens each channel."""
    seen: Counter[tuple[str, Direction]] = Counter()
    for event in events:
        opens = event.direction == TO_DESTINATION and event.length > 0
        if event.length < 0 or not (opens or seen[event.channel, TO_DESTINATION]):
            raise CaptureError(f"{folder}/events.json.xz has an event of negative length, or before its channel opened: {event}")
        seen[event.channel, event.direction] += event.length
    recorded = {key: len(content) for key, content in files.items() if content}
    if {key: count for key, count in seen.items() if count} != recorded:
        raise CaptureError(f"{folder}/events.json.xz accounts for other bytes than its channels have")
