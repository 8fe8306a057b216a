"""Vectors: what to say to a receiver, and what must come of it, as lines of JSON that need nothing of colofd to be played.

A folder of vectors has one file for each family, with one vector a line, and index.json. Bytes are given as pieces: hex digits,
runs of one byte, and pages of noise, which are SHAKE-128 of a number.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec

from colofd.conformance.diagnostic import Diagnostic
from colofd.conformance.peer import page_content
from colofd.conformance.schedules import CONTENTS
from colofd.spec.constants import Compression

FORMAT_VERSION: Final = 1
INDEX: Final = "index.json"

_RUN: Final = re.compile(rb"(.)\1{15,}", re.DOTALL)
"""What is written as a run."""
_LEAST_NOISE: Final = 4096
_LONGEST_NOISE: Final = 1 << 16
"""The noise of a page begins as that of a larger one does."""
_HINT: Final = "`colofd fill DIR` writes them anew; schema.json and format.md beside them say what they are"

Sha256 = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{64}$")]


class Hex(msgspec.Struct, frozen=True, tag="hex", tag_field="kind"):
    """Bytes as hex digits."""

    bytes: str


class Run(msgspec.Struct, frozen=True, tag="run", tag_field="kind"):
    """One byte, many times."""

    byte: int
    count: int


class Noise(msgspec.Struct, frozen=True, tag="noise", tag_field="kind"):
    """The first `count` bytes of SHAKE-128 of `number`, which is 4 bytes big-endian."""

    number: int
    count: int


Piece = Hex | Run | Noise


class Connect(msgspec.Struct, frozen=True, tag="connect", tag_field="do"):
    """Connect a channel, which is named for this vector alone."""

    channel: str


class Send(msgspec.Struct, frozen=True, tag="send", tag_field="do"):
    """Send bytes on a channel; the receiver may have hung up."""

    channel: str
    data: list[Piece]


class End(msgspec.Struct, frozen=True, tag="end", tag_field="do"):
    """Close our side of a channel: it is at its end behind what was sent."""

    channel: str


class Reply(msgspec.Struct, frozen=True, tag="reply", tag_field="do"):
    """The receiver says exactly these bytes (hex) next on the main channel."""

    bytes: str


class Await(msgspec.Struct, frozen=True, tag="await", tag_field="do"):
    """The receiver comes into this state; `refused`: it has given up, or, in COLO, has found an error and waits for a failover."""

    state: Literal["colo", "not-colo", "completed", "refused"]


class Failover(msgspec.Struct, frozen=True, tag="failover", tag_field="do"):
    """Make the receiver take over; it completes."""


class GuestWrites(msgspec.Struct, frozen=True, tag="guest-writes", tag_field="do"):
    """The secondary's guest itself writes a page, which its dirty log sees; pages are numbered over all blocks in order."""

    page: int
    data: list[Piece]


class Ram(msgspec.Struct, frozen=True, tag="ram", tag_field="do"):
    """Guest RAM, all blocks in order, is this, of which `sha256` is the SHA-256; `rule` is the id of what is broken if it is not."""

    sha256: Sha256
    rule: str
    data: list[Piece]


Act = Connect | Send | End | Reply | Await | Failover | GuestWrites | Ram


class VectorBlock(msgspec.Struct, frozen=True):
    """A RAM block: its name, and its length in bytes."""

    name: str
    length: int


class Setup(msgspec.Struct, frozen=True):
    """How the receiver is set up. `channels`: number of multifd channels; `uuid`: 32 hex digits; `devices`: which have FULL sections.

    The state of a device is opaque. Without devices, device state is the EOF byte alone.
    """

    blocks: list[VectorBlock]
    channels: int
    colo: bool
    compression: Compression
    page_size: int
    machine: str
    uuid: str
    devices: list[str]


class Verdict(msgspec.Struct, frozen=True):
    """Whether all is accepted; if not, the reason, the channel and the offset of what is refused.

    An empty reason: whatever is noticed first, as where the primary goes away. An empty channel: nobody knows which one it is.
    """

    is_accepted: bool
    reason: str = ""
    channel: str = ""
    offset: int = -1


class CaptureFile(msgspec.Struct, frozen=True):
    """A file of a recording that is shipped with colofd."""

    name: str
    sha256: Sha256


class Vector(msgspec.Struct, frozen=True):
    """One vector. `id` is an address in the spec: the rule or check that it is about first, a slash, and a name; it never changes.

    `rules` are the ids of all that it is about. `twin` is the vector that differs from it by one fact, which `differs` says.
    A vector of the family `capture` has files instead of a script: the recording is `conformance/captures/` and its name.
    """

    id: str
    family: str
    rules: list[str]
    setup: Setup
    verdict: Verdict
    script: list[Act]
    twin: str = ""
    differs: str = ""
    files: list[CaptureFile] = []
    format_version: int = FORMAT_VERSION


class Entry(msgspec.Struct, frozen=True):
    """A vector in the index. `covers` is what no other vector covers; `sha256` that of its line in `file`, without the newline."""

    id: str
    rules: list[str]
    covers: list[str]
    file: str
    sha256: Sha256


class Index(msgspec.Struct, frozen=True):
    """index.json."""

    format_version: int
    spec_sha256: str
    vectors: list[Entry]


def slug(address: str, name: str) -> str:
    """Return the id of a vector: the id of a rule or check, a slash, and a name of small letters, digits, dots and dashes."""
    return f"{address}/{re.sub(r'[^a-z0-9.]+', '-', name.lower()).strip('-')}"


def pieces_of(data: bytes) -> list[Piece]:
    """Return bytes as pieces."""
    found: list[Piece] = []
    at = 0
    for place, number in sorted((place, number) for number, noise in _noises().items() for place in _places(data, noise[:_LEAST_NOISE])):
        if place >= at:
            count = _LEAST_NOISE
            while count < _LONGEST_NOISE and data[place : place + count + _LEAST_NOISE] == _noises()[number][: count + _LEAST_NOISE]:
                count += _LEAST_NOISE
            found += [*_plain(data[at:place]), Noise(number, count)]
            at = place + count
    return [*found, *_plain(data[at:])]


def bytes_of(pieces: Sequence[Piece]) -> bytes:
    """Return what pieces stand for."""
    return b"".join(_bytes(piece) for piece in pieces)


def _bytes(piece: Piece) -> bytes:
    match piece:
        case Hex(bytes=digits):
            return bytes.fromhex(digits)
        case Run(byte=byte, count=count):
            return bytes([byte]) * count
        case Noise(number=number, count=count):
            return hashlib.shake_128(number.to_bytes(4, "big")).digest(count)


@cache
def _noises() -> dict[int, bytes]:
    return {number: page_content(number, _LONGEST_NOISE) for number in range(1, CONTENTS)}


def _places(data: bytes, noise: bytes) -> Iterator[int]:
    at = data.find(noise)
    while at >= 0:
        yield at
        at = data.find(noise, at + len(noise))


def _plain(data: bytes) -> Iterator[Piece]:
    at = 0
    for run in _RUN.finditer(data):
        if run.start() > at:
            yield Hex(data[at : run.start()].hex())
        yield Run(data[run.start()], run.end() - run.start())
        at = run.end()
    if data[at:]:
        yield Hex(data[at:].hex())


def write_vectors(folder: Path, vectors: Sequence[Vector], covers: dict[str, list[str]], spec_sha256: str) -> None:
    """Write vectors and index into a folder, which is made. What is there already of the same name is overwritten."""
    folder.mkdir(parents=True, exist_ok=True)
    lines: dict[str, list[bytes]] = {}
    entries = []
    for vector in vectors:
        file, line = f"{vector.family}.ndjson", msgspec.json.encode(vector, order="deterministic")
        lines.setdefault(file, []).append(line)
        entries.append(Entry(vector.id, vector.rules, covers[vector.id], file, hashlib.sha256(line).hexdigest()))
    for file, its in lines.items():
        (folder / file).write_bytes(b"\n".join(its) + b"\n")
    index = msgspec.to_builtins(Index(FORMAT_VERSION, spec_sha256, entries))
    (folder / INDEX).write_text(json.dumps(index, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def read_vectors(folder: Path) -> Iterator[Vector]:
    """Yield the vectors of a folder, one at a time. Diagnostic if one is missing, damaged, or of another format."""
    index = index_of(folder)
    wanted = {entry.id: entry for entry in index.vectors}
    for name in dict.fromkeys(entry.file for entry in index.vectors):
        with _opened(folder, name) as lines:
            for number, line in enumerate(lines, 1):
                vector = _vector(f"{name}, line {number}", line.rstrip(b"\n"))
                entry = wanted.pop(vector.id, None)
                if entry is None or hashlib.sha256(line.rstrip(b"\n")).hexdigest() != entry.sha256:
                    raise Diagnostic("vectors-damaged", f"{name}, line {number} is not as in the index", vector.id, _HINT)
                yield vector
    if wanted:
        raise Diagnostic("vectors-missing", f"{len(wanted)} vectors are missing", ", ".join(list(wanted)[:3]), _HINT)


def _opened(folder: Path, name: str) -> Any:
    if Path(name).name != name:
        raise Diagnostic("vectors-damaged", "the index names a file elsewhere", name, _HINT)
    try:
        return (folder / name).open("rb")
    except OSError as error:
        raise Diagnostic("vectors-missing", f"there is no {name} that can be read", str(error), _HINT) from error


def index_of(folder: Path) -> Index:
    """Return the index of a folder. Diagnostic if it is missing, damaged, or of another format."""
    with _opened(folder, INDEX) as file:
        text = file.read()
    try:
        raw = msgspec.json.decode(text, type=dict[str, Any])
        _require_format("the index", raw)
        return msgspec.convert(raw, Index)
    except msgspec.MsgspecError as error:
        raise Diagnostic("vectors-damaged", f"{INDEX} is no index of vectors", str(error), _HINT) from error


def _vector(where: str, line: bytes) -> Vector:
    try:
        raw = msgspec.json.decode(line, type=dict[str, Any])
        _require_format(where, raw)
        return msgspec.convert(raw, Vector)
    except msgspec.MsgspecError as error:
        raise Diagnostic("vectors-damaged", f"{where} is no vector", str(error), _HINT) from error


def _require_format(what: str, raw: dict[str, Any]) -> None:
    if raw.get("format_version") != FORMAT_VERSION:
        cause = f"{what} has format_version {raw.get('format_version')!r}, and this colofd reads {FORMAT_VERSION}"
        raise Diagnostic("vectors-format", "the vectors are of another format", cause, "a newer colofd may read them")


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a line, and of the index."""
    kinds, definitions = msgspec.json.schema_components((Vector, Index), ref_template="#/$defs/{name}")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "anyOf": list(kinds), "$defs": definitions}
