"""Migrations with drawn damage on all of their channels, read in one thread: led to states that were not reached before.

A state is the phase, the last micro-step of the channel, and the reason. Damage that leads to a new one is kept, and damaged further.
"""

import gc
import mmap
import random
import re
import resource
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final, NamedTuple

import zstandard

from colofd.conformance.fuzz import NUMBERS, Edit, other_value, size_of
from colofd.conformance.fuzz_in_process import InProcess, Seen
from colofd.conformance.fuzz_oracle import expected, wrong
from colofd.conformance.fuzz_targets import Place, Target, targets
from colofd.model.decode import Item
from colofd.spec.wire import multifd

KINDS: Final = 11
"""Kinds of edits: those of `fuzz`, three of whole items, one of payloads, and one of the vmdescription."""

_PAYLOAD: Final = 9
_DESCRIPTION: Final = 10

_JSON_VALUE: Final = re.compile(rb': *("[^"]*"|[0-9]+)')
_JSON_VALUES: Final = (b"-1", b"1.0", b"true", b"null", b'"device"', b'"1"', b"[]", b"{}", b"1e3", b'"' + b"n" * 300 + b'"', b'"\\u1234"')
_LENGTH_SIZE: Final = 4
_PAYLOAD_SIZE_AT: Final = 20
"""Where a header says how many bytes follow."""
FURTHER: Final = 0.4
"""How often damage that was kept is damaged further."""
MOST_EDITS: Final = 6
REST: Final = 2000
"""After so many inputs it is looked at how much memory is held."""


class State(NamedTuple):
    """Where a migration ended: the phase, the last micro-step of the channel, and the reason; empty if nothing was refused."""

    phase: str
    step: str
    reason: str


@dataclass
class Reached:
    """What a search has come to.

    Attributes:
        states: how often each.
        inputs: how many were tried.
        grown: bytes of memory that are held beside what was held after the first `REST` inputs of the process, at most.
        peak: the most bytes that were ever held.
    """

    states: Counter[State] = field(default_factory=Counter)
    inputs: int = 0
    grown: int = 0
    peak: int = 0

    @property
    def reasons(self) -> int:
        """How many reasons to refuse were reached."""
        return len({state.reason for state in self.states} - {""})

    def add(self, other: "Reached") -> None:
        """Count in what another search has come to."""
        self.states += other.states
        self.inputs += other.inputs
        self.grown = max(self.grown, other.grown)
        self.peak = max(self.peak, other.peak)


@cache
def receivers() -> tuple[InProcess, ...]:
    """Return a receiver for each target."""
    return tuple(InProcess(target) for target in targets())


def damaged(target: Target, edits: list[Edit]) -> dict[str, bytes]:
    """Return the channels of a target with some damage."""
    streams = dict(target.streams)
    for edit in edits:
        places = target.packets if edit.kind == _PAYLOAD else target.descriptions if edit.kind == _DESCRIPTION else target.places
        place = places[edit.at % len(places)]
        streams[place.channel] = _edited(streams[place.channel], place, edit, target)
    return streams


def _edited(data: bytes, place: Place, edit: Edit, target: Target) -> bytes:
    visit = place.visit
    start, size = visit.offsets[visit.field.name], size_of(visit)
    match edit.kind:
        case 0:
            return data[:start] + other_value(visit, edit.number) + data[start + size :]
        case 1:
            at = edit.number % (len(data) + 1)
            return data[:at] + bytes([edit.at % 256]) + data[at + 1 :]
        case 2:
            return data[:start] + data[start + edit.number % 9 :]
        case 3:
            return data[:start] + edit.number.to_bytes(8)[-(edit.number % 8 + 1) :] + data[start:]
        case 4:
            return data[: start + edit.number % (size + 1)]
        case 5:
            return data[: start + size] + data[start : start + size] + data[start + size :]
        case _:
            return _with_item(data, place.item, edit, target)


def _with_item(data: bytes, item: Item, edit: Edit, target: Target) -> bytes:
    """Return a channel with an item that comes again, does not come, comes from elsewhere, or says something else."""
    end = item.offset + item.size
    match edit.kind:
        case 6:
            return data[:end] + data[item.offset : end] + data[end:]
        case 7:
            return data[: item.offset] + data[end:]
        case 8:
            other = target.places[edit.number % len(target.places)]
            copied = target.streams[other.channel][other.item.offset : other.item.offset + other.item.size]
            return data[: item.offset] + copied + data[item.offset :]
        case 9:
            return _with_payload(data, item, edit.number, target)
        case _:
            return _with_description(data, item, edit)


def _with_description(data: bytes, item: Item, edit: Edit) -> bytes:
    """Return a main channel with another value in its vmdescription."""
    start, size = int(str(item.fields["payload_offset"])), int(str(item.fields["payload_size"]))
    values = list(_JSON_VALUE.finditer(data, start, start + size))
    if not values:
        return data
    value = values[edit.at % len(values)]
    others = [*(str(number).encode() for number in NUMBERS), *_JSON_VALUES]
    text = data[start : value.start(1)] + others[edit.number % len(others)] + data[value.end(1) : start + size]
    return data[: start - _LENGTH_SIZE] + len(text).to_bytes(_LENGTH_SIZE) + text + data[start + size :]


def _with_payload(data: bytes, item: Item, number: int, target: Target) -> bytes:
    """Return a multifd channel with the payload of a packet compressed in another way."""
    fields = item.fields
    if item.name != multifd.PACKET.name or not fields["normal_pages"]:
        return data
    start, size = int(str(fields["payload_offset"])), int(str(fields["payload_size"]))
    content = bytes(int(str(fields["normal_pages"])) * target.context.page_size)
    payloads = _payloads(content)
    payload = payloads[number % len(payloads)]
    at = item.offset + _PAYLOAD_SIZE_AT
    return data[:at] + len(payload).to_bytes(4) + data[at + 4 : start] + payload + data[start + size :]


@cache
def _payloads(content: bytes) -> tuple[bytes, ...]:
    """Return zeros, compressed: streams that end, that go on behind their end, that bring nothing or more, or ask for much memory."""
    ended = zlib.compress(content)
    going_on = zlib.compressobj()
    flushed = going_on.compress(content) + going_on.flush(zlib.Z_SYNC_FLUSH)
    frame = zstandard.ZstdCompressor(level=1).compress(content)
    twice = zstandard.ZstdCompressor(level=1).compress(content + content)
    wide = zstandard.ZstdCompressionParameters(window_log=27, enable_ldm=True)
    writer = zstandard.ZstdCompressor(compression_params=wide).compressobj()
    asking = writer.compress(content) + writer.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    skipped = b"\x50\x2a\x4d\x18\1\0\0\0x"
    of_zlib = (ended, ended + ended, flushed, flushed + flushed[:-4], b"\x78\x9c")
    return *of_zlib, frame, frame + frame, twice, asking, frame[:-3], skipped, skipped + frame


def try_one(number: int, edits: list[Edit], *, is_watched: bool) -> tuple[State, str]:
    """Damage target `number`; return the state that the receiver comes to, and what is wrong about that, empty if nothing is."""
    target = targets()[number]
    streams = damaged(target, edits)
    try:
        seen = receivers()[number].receive(streams, is_watched=is_watched)
    except Exception as error:  # noqa: BLE001  # whatever a receiver raises beside Rejected is a finding
        return State("", "", type(error).__name__), f"the receiver raised {error!r}"
    return state_of(seen), wrong(target, expected(target, streams), seen)


def state_of(seen: Seen) -> State:
    """Return the state in which a receiver has ended."""
    return State(str(seen.phase), seen.step, str(seen.refused[0]) if seen.refused else "")


def _held() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * mmap.PAGESIZE


@cache
def _held_at_first() -> int:
    return _held()


class Search:
    """Draws damage. The same seed draws the same, whatever the receiver does with it, as long as it comes to the same states."""

    def __init__(self, seed: int, found: Callable[[str], None]) -> None:
        self.reached = Reached()
        self.kept: list[tuple[int, list[Edit]]] = []
        self._chance = random.Random(seed)  # noqa: S311  # a choice of inputs, not a secret
        self._found = found

    def run(self, count: int) -> None:
        """Try so many more inputs."""
        for _ in range(count):
            self._try(*self._draw())

    def _draw(self) -> tuple[int, list[Edit]]:
        chance = self._chance
        if self.kept and chance.random() < FURTHER:
            number, edits = chance.choice(self.kept)
            if len(edits) < MOST_EDITS:
                return number, [*edits, self._edit()]
        return chance.randrange(len(targets())), [self._edit() for _ in range(chance.choice((1, 1, 2, 3)))]

    def _edit(self) -> Edit:
        return Edit(self._chance.randrange(KINDS), self._chance.randrange(1 << 16), self._chance.randrange(1 << 16))

    def _try(self, number: int, edits: list[Edit]) -> None:
        reached = self.reached
        is_watched = bool(reached.inputs % 2)
        state, why = try_one(number, edits, is_watched=is_watched)
        reached.inputs += 1
        if state not in reached.states:
            self.kept.append((number, edits))
        reached.states[state] += 1
        if why:
            self._found(f"{why}, after {edits} of {targets()[number].id}, {'watched' if is_watched else 'not watched'}")
        if reached.inputs % REST == 0:
            self._note_memory()

    def _note_memory(self) -> None:
        gc.collect()
        first = _held_at_first()
        self.reached.grown = max(self.reached.grown, _held() - first)
        self.reached.peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
