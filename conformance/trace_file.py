"""A run of a receiver as a file: lines of JSON, which any implementation can write (see docs/trace-file.schema.json).

The first line describes the receiver, the last one says how many events there are. Between them stand the events, in the order in which
their effects could be seen; and what was sent, before the event that prepares it. Contents of pages are given by their digests.
"""

import re
import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import IO, Annotated, Any, Final, Self

import msgspec

from colofd.conformance.captures import Capture
from colofd.conformance.diagnostic import Diagnostic
from colofd.model.contents import Contents, page_digest
from colofd.model.sent import read_recording
from colofd.model.trace import Sent, TraceEvent
from colofd.spec.constants import MAIN_CHANNEL, TARGET_PAGE_SIZE, Step

FORMAT: Final = "colofd-trace/1"
MOST_CELLS: Final = 1 << 27
"""Pages times channels, of a trace that fits into memory."""

_HINT: Final = "docs/trace-file.schema.json says what a trace is; `colofd replay CAPTURE --on impl --trace FILE` writes one"

Pages = tuple[Annotated[int, msgspec.Meta(ge=0)], ...]
Digests = tuple[Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16}$")], ...]


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The first line: how the receiver is set up. Pages are numbered over all RAM blocks; `channels` counts the multifd channels."""

    format: str
    pages: Annotated[int, msgspec.Meta(ge=1)]
    channels: Annotated[int, msgspec.Meta(ge=0, le=255)]
    colo: bool
    is_mirror_deferred: bool = False
    page_size: Annotated[int, msgspec.Meta(ge=1)] = TARGET_PAGE_SIZE


class SentLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The peer sends a packet on channel `sent`, or a page record on the main channel: digests of `pages`, then pages of zeros."""

    sent: str
    pages: Pages = ()
    digests: Digests = ()
    zero_pages: Pages = ()


class WroteLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The secondary's own guest writes pages."""

    wrote: Pages
    digests: Digests


class EventLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A micro-step that has happened: see docs/trace-event.schema.json."""

    step: Step
    channel: str = ""
    pages: tuple[int, ...] = ()
    zero_pages: tuple[int, ...] = ()
    digests: tuple[str, ...] = ()


class EndLine(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The last line: how many events there are. Without it nobody knows that the run was not cut."""

    end: Annotated[int, msgspec.Meta(ge=0)]


LINES: Final = (Header, SentLine, WroteLine, EventLine, EndLine)
"""All kinds of lines, each known by its first field."""

_LINE: Final[dict[str, msgspec.json.Decoder[SentLine | WroteLine | EventLine | EndLine]]] = {
    "step": msgspec.json.Decoder(EventLine),
    "sent": msgspec.json.Decoder(SentLine),
    "wrote": msgspec.json.Decoder(WroteLine),
    "end": msgspec.json.Decoder(EndLine),
}
_KEY: Final = re.compile(rb'"(step|sent|wrote|end)"\s*:')


class KnownByDigest(Contents):
    """Contents of a trace: a sent page is its digest, and nobody has its bytes."""

    def number(self, content: bytes) -> int:
        """Return the number of the content with this digest, or of a whole page."""
        return self.opaque(content.hex()) if len(content) == len(page_digest(b"")) // 2 else super().number(content)


@dataclass
class TraceFile:
    """A whole trace: what happened, in order, and what was sent by channel."""

    header: Header
    happened: list[EventLine | WroteLine] = field(default_factory=list)
    sent: dict[str, deque[Sent]] = field(default_factory=dict)
    events: int = 0


def read_trace(lines: Iterable[bytes]) -> TraceFile:
    """Read a trace. Diagnostic if it is none, cut, empty, of a newer format, or too large."""
    numbered = enumerate(lines, 1)
    _, first = next(numbered, (0, b""))
    if not first.strip():
        raise Diagnostic("trace-empty", "there is no trace", "the input has no lines", _HINT)
    trace = TraceFile(_header(first))
    end: EndLine | None = None
    for number, text in numbered:
        if end is not None:
            raise Diagnostic("trace-line", f"line {number} is one too many", "it stands after the line that ends the trace", _HINT)
        line = _decoded(number, text)
        if isinstance(line, EndLine):
            end = line
        elif isinstance(line, SentLine):
            trace.sent.setdefault(line.sent, deque()).append(_sent(number, line))
        else:
            trace.happened.append(line)
            trace.events += isinstance(line, EventLine)
    _require_whole(trace, end)
    return trace


def _require_whole(trace: TraceFile, end: EndLine | None) -> None:
    if end is None:
        raise Diagnostic("trace-cut", f"the trace is cut after {trace.events} events", "no last line says how many there are", _HINT)
    if end.end != trace.events:
        cause = f"its last line says {end.end} events, and there are {trace.events}"
        raise Diagnostic("trace-cut", "the trace is not whole", cause, _HINT)
    if not trace.events:
        raise Diagnostic("trace-empty", "the trace has no events", "nothing was checked, and that is no pass", _HINT)


def _header(text: bytes) -> Header:
    try:
        raw = msgspec.json.decode(text)
        if isinstance(raw, dict) and raw.get("format", FORMAT) != FORMAT:
            cause = f"it has format {raw['format']!r}, and this colofd reads {FORMAT}"
            raise Diagnostic("trace-format", "the trace is of another format", cause, "a newer colofd may read it")
        header = msgspec.convert(raw, Header)
    except msgspec.MsgspecError as error:
        raise Diagnostic("trace-header", "the first line is no header of a trace", str(error), _HINT) from error
    if header.pages * (header.channels + 1) > MOST_CELLS:
        cause = f"{header.pages} pages and {header.channels} channels do not fit into memory"
        raise Diagnostic("trace-header", "the trace is too large", cause, "trace a smaller guest")
    return header


def _decoded(number: int, text: bytes) -> SentLine | WroteLine | EventLine | EndLine:
    key = _KEY.search(text)
    try:
        if key is None:
            raise msgspec.ValidationError("it has none of the keys step, sent, wrote and end")
        return _LINE[key[1].decode()].decode(text)
    except msgspec.MsgspecError as error:
        if not text.endswith(b"\n"):
            raise Diagnostic("trace-cut", f"the trace is cut in the middle of line {number}", str(error), _HINT) from error
        raise Diagnostic("trace-line", f"line {number} is not one of a trace", str(error), _HINT) from error


def _sent(number: int, line: SentLine) -> Sent:
    if len(line.digests) != len(line.pages):
        cause = f"{len(line.digests)} digests for {len(line.pages)} pages"
        raise Diagnostic("trace-line", f"line {number} is not one of a trace", cause, _HINT)
    return Sent(line.pages, tuple(bytes.fromhex(digest) for digest in line.digests), line.zero_pages)


class TraceWriter:
    """Writes a trace; `note` is a hook that a destination calls after each micro-step, from any thread. A context manager."""

    def __init__(self, file: IO[bytes], header: Header, sent: Iterable[tuple[str, Sent]] = ()) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._events = 0
        self._write(header)
        for channel, packet in sent:
            self.note_sent(channel, packet)

    def note(self, event: TraceEvent) -> None:
        """Write an event."""
        line = EventLine(event.step, event.channel, event.pages, event.zero_pages, event.digests)
        with self._lock:
            self._write(line)
            self._events += 1

    def note_sent(self, channel: str, sent: Sent) -> None:
        """Write what is sent, before it is received."""
        with self._lock:
            self._write(SentLine(channel, sent.pages, tuple(map(page_digest, sent.contents)), sent.zero_pages))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if kind is None:
            self._write(EndLine(self._events))

    def _write(self, line: object) -> None:
        self._file.write(msgspec.json.encode(line) + b"\n")


def writer_for(capture: Capture, file: IO[bytes]) -> TraceWriter:
    """Return a writer that has written what the source of a capture sends."""
    recording = read_recording(
        capture.streams, channels=capture.channels, compression=capture.compression, colo=capture.colo, page_size=capture.page_size
    )
    sent = [(name, packet) for name, rounds in recording.rounds.items() for packets in rounds for packet in packets]
    sent += [(MAIN_CHANNEL, record) for record in recording.records.values()]
    header = Header(FORMAT, recording.layout.pages, capture.channels, capture.colo, page_size=capture.page_size)
    return TraceWriter(file, header, sent)


def schema() -> dict[str, Any]:
    """Return the JSON Schema of a line; the first one is a `Header`, the last one an `EndLine`."""
    kinds, definitions = msgspec.json.schema_components(LINES, ref_template="#/$defs/{name}")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": FORMAT, "anyOf": list(kinds), "$defs": definitions}
