"""Memory: what is trusted to be zero, what is copied, and what may not be asked for."""

import mmap
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import zstandard

from colofd.conformance import stream
from colofd.impl import Block, Destination, Event
from colofd.impl.colo import copy_pages
from colofd.impl.memory import Region
from colofd.impl.payload import ZlibInflater, ZstdInflater
from colofd.spec.constants import Compression, Step
from colofd.spec.reasons import Reason, Rejected
from tests.impl.source import BLOCK, BLOCKS, PAGE, SECONDS, Hold, Source, content


def resident() -> int:
    """Return the bytes of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * mmap.PAGESIZE


def test_memory_is_taken_when_it_is_written() -> None:
    """Given a guest of 8 GiB, when a page at each end is written, then the process holds little more; and all that is written (control)."""
    before = resident()
    region = Region(2 << 20, PAGE)
    region.rows[[0, -1]] = 1
    assert resident() - before < 16 << 20
    region.rows[: (64 << 20) // PAGE] = 1
    assert resident() - before >= 60 << 20
    assert not region.release()


@pytest.mark.parametrize("two_threads", [False, True])
def test_a_flush_copies_what_is_dirty_and_no_more(two_threads: bool) -> None:
    """Given a dirty bitmap, when pages are copied by one thread or two, then exactly those that are dirty are copied."""
    guest, cache = Region(101, PAGE), Region(101, PAGE)
    cache.rows[:] = np.arange(101, dtype=np.uint8)[:, np.newaxis]
    dirty = np.arange(101) % 3 == 1
    copy_pages(guest, cache, dirty, two_threads=two_threads)
    assert content(guest.rows) == [number if number % 3 == 1 else 0 for number in range(101)]
    assert not guest.release()


def test_the_first_zero_page_of_a_channel_is_elided_and_later_ones_are_not() -> None:
    """Given pages that are not zero, when zero pages come, then a page that never arrived is left alone, and one that has is cleared."""
    hold = Hold(Step.ZERO_PAGE, "mfd0")
    with Destination(BLOCKS, 1, gate=hold) as destination:
        source = Source(destination, 1)
        source.begin()
        source.put("mfd0", source.pages("mfd0", {0: 1}), source.pages("mfd0", {}, (0, 1)))
        hold.wait()
        destination.guest(BLOCK).reshape(-1, PAGE)[1] = 9
        hold.go.set()
        source.end_precopy()
        destination.wait(SECONDS)
        assert content(destination.guest(BLOCK))[:2] == [0, 9]
        source.close()


def test_a_zero_record_of_the_main_channel_is_never_elided() -> None:
    """Given a page that never arrived and is not zero, when a zero record names it, then it is cleared."""
    hold = Hold(Step.MAIN_ZERO_PAGE, "main")
    with Destination(BLOCKS, 0, gate=hold) as destination:
        source = Source(destination, 0)
        source.begin()
        source.main(stream.zero_record(BLOCK, PAGE))
        hold.wait()
        destination.guest(BLOCK).reshape(-1, PAGE)[1] = 9
        hold.go.set()
        source.end_precopy()
        destination.wait(SECONDS)
        assert content(destination.guest(BLOCK))[1] == 0
        source.close()


def test_pages_are_numbered_over_all_blocks() -> None:
    """Given two blocks, when pages of the second come on both paths, then events number them after those of the first."""
    events: list[Event] = []
    blocks = [Block("first", 3 * PAGE), Block("second", 2 * PAGE)]
    with Destination(blocks, 0, trace=events.append) as destination:
        source = Source(destination, 0)
        source.main(stream.stream_header("none"), stream.ram_start([(block.name, block.length) for block in blocks]))
        source.main(stream.page_record("second", PAGE, b"\7" * PAGE), stream.zero_record("first", 2 * PAGE))
        source.end_precopy_without_round()
        destination.wait(SECONDS)
        assert content(destination.guest("second")) == [0, 7]
        source.close()
    pages = [(event.pages, event.zero_pages) for event in events if event.step is Step.MAIN_PREPARE]
    assert pages == [((4,), ()), ((), (2,))]
    assert all(len(event.digests) == 1 for event in events if event.step is Step.MAIN_MIRROR)


@pytest.mark.parametrize(("window_log", "is_read"), [(25, True), (26, False)])
def test_a_window_may_be_as_large_as_a_source_needs(window_log: int, is_read: bool) -> None:
    """Given a frame that asks for a window, when it is as large as level 20 makes it, then it is read, and when larger, refused."""
    parameters = zstandard.ZstdCompressionParameters(window_log=window_log, strategy=zstandard.STRATEGY_FAST)
    stream_of_pages = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    payload = stream_of_pages.compress(b"\1" * PAGE) + stream_of_pages.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    if is_read:
        assert bytes(ZstdInflater().inflate(payload, PAGE)) == b"\1" * PAGE
        return
    with pytest.raises(Rejected) as caught:
        ZstdInflater().inflate(payload, PAGE)
    assert caught.value.reason is Reason.PAYLOAD_CORRUPT


@pytest.mark.parametrize("inflater", [ZlibInflater, ZstdInflater])
def test_a_bomb_is_not_inflated(inflater: Callable[[], ZlibInflater | ZstdInflater]) -> None:
    """Given a payload that would inflate to 64 MiB, when one page is expected, then it is refused by its length."""
    compression = Compression.ZLIB if inflater is ZlibInflater else Compression.ZSTD
    writer = stream.PacketWriter(compression, PAGE)
    payload = writer.pages(BLOCK, [(0, bytes(64 << 20))], [])[1344:]
    with pytest.raises(Rejected) as caught:
        inflater().inflate(payload, PAGE)
    assert caught.value.reason is Reason.PAYLOAD_LENGTH
    assert caught.value.read == "more bytes"


@pytest.mark.parametrize(
    ("blocks", "channels", "page_size"),
    [
        ([], 1, PAGE),
        ([Block("ram", PAGE), Block("ram", PAGE)], 1, PAGE),
        ([Block("ram", PAGE + 1)], 1, PAGE),
        ([Block("ram", 0)], 1, PAGE),
        ([Block("ram", PAGE)], 256, PAGE),
        ([Block("ram", PAGE)], -1, PAGE),
        ([Block("ram", PAGE)], 1, 3000),
        ([Block("ram", PAGE)], 1, 512),
    ],
)
def test_a_destination_that_cannot_be_is_refused(blocks: Sequence[Block], channels: int, page_size: int) -> None:
    """Given blocks, channels or a page size that cannot be, when a destination is made, then it says what is wrong."""
    with pytest.raises(ValueError, match="must be"):
        Destination(blocks, channels, page_size=page_size)
