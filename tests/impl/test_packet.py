"""Headers of packets: what is read of them all at once is what is read one offset after the other."""

import random
from collections.abc import Sequence
from typing import Final

import numpy as np
import pytest

from colofd.conformance import stream
from colofd.impl import Block
from colofd.impl.memory import Layout
from colofd.impl.packet import PacketReader
from colofd.impl.sockets import Places
from colofd.spec.constants import PACKET_FIXED_SIZE, Compression
from colofd.spec.reasons import Reason, Rejected

PAGE: Final = 4096
FIRST: Final = 16
"""Pages of the block that comes before `ram`."""
PAGES: Final = 300
LAYOUT: Final = Layout([Block("first", FIRST * PAGE), Block("ram", PAGES * PAGE)], PAGE)
KINDS: Final = ("run", "random", "behind", "unaligned", "repeated", "turned", "far")


def offsets_of(kind: str, chosen: random.Random) -> list[int]:
    """Return the offsets of a packet: right, or with one mistake."""
    count = chosen.randrange(4, 129)
    begin = PAGES - count if kind == "behind" else chosen.randrange(PAGES - count)
    pages = chosen.sample(range(PAGES), count) if kind == "random" else list(range(begin, begin + count))
    at = chosen.randrange(1, count - 1)
    if kind == "behind":
        pages = [page + 1 for page in pages]
    elif kind == "repeated":
        pages[at] = pages[at - 1]
    elif kind == "turned":
        pages[at], pages[at - 1] = pages[at - 1], pages[at]
    offsets = [page * PAGE for page in pages]
    if kind == "unaligned":
        offsets = [offset + 512 for offset in offsets]
    elif kind == "far":
        offsets[at] += 1 << 63
    return offsets


def first_wrong(offsets: Sequence[int]) -> tuple[Reason, int] | None:
    """Return why the first wrong offset is wrong, and where it stands."""
    for at, offset in enumerate(offsets):
        if offset % PAGE:
            return Reason.PAGE_ALIGNMENT, at
        if offset + PAGE > PAGES * PAGE:
            return Reason.PAGE_RANGE, at
        if offset in offsets[:at]:
            return Reason.PAGE_REPEATED, at
    return None


def reader_of(offsets: Sequence[int], zero: int) -> PacketReader:
    """Return a reader that has a whole header."""
    reader = PacketReader("mfd0", LAYOUT, Compression.NONE)
    reader.has_synced = True
    normal = len(offsets) - zero
    header = stream.PacketWriter(Compression.NONE, PAGE).header("ram", 0, normal, zero, normal * PAGE, list(offsets))
    reader.header[:] = header
    return reader


@pytest.mark.parametrize("zero", [0, 2])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(5))
def test_offsets_are_read_as_one_after_the_other(kind: str, zero: int, seed: int) -> None:
    """Given offsets in a row, in any order, or with a mistake, when a header is parsed, then it names those pages, or the first mistake."""
    offsets = offsets_of(kind, random.Random(seed))  # noqa: S311  # nothing is secret here
    wrong = first_wrong(offsets)
    assert (wrong is None) == (kind in {"run", "random", "turned"})
    reader = reader_of(offsets, zero)
    if wrong is not None:
        with pytest.raises(Rejected) as caught:
            reader.parse(0)
        assert (caught.value.reason, caught.value.offset) == (wrong[0], PACKET_FIXED_SIZE + 8 * wrong[1])
        return
    packet = reader.parse(0)
    pages = [FIRST + offset // PAGE for offset in offsets]
    normal = len(offsets) - zero
    assert packet.normal.tolist() == pages[:normal]
    assert packet.zero.tolist() == pages[normal:]
    assert np.arange(FIRST + PAGES)[packet.where].tolist() == pages[:normal]
    assert isinstance(packet.where, slice) == (kind == "run" and not zero)
    if not isinstance(packet.where, slice):
        assert packet.starts.tolist() == [page * PAGE for page in pages[:normal]]


def test_what_is_left_of_pages_begins_where_reading_stopped() -> None:
    """Given three pages of which one and a half are read, then the half comes first; and the next packet begins with a whole page again."""
    places = Places(4, 1 << 20, PAGE)
    starts = np.array([5, 9, 2], np.uint64) * np.uint64(PAGE)
    places.of(starts)
    places.after(starts, PAGE + 1000)
    assert places.vectors.tolist() == [[(1 << 20) + 9 * PAGE + 1000, PAGE - 1000], [(1 << 20) + 2 * PAGE, PAGE]]
    places.of(starts)
    assert places.vectors.tolist() == [[(1 << 20) + page * PAGE, PAGE] for page in (5, 9, 2)]
