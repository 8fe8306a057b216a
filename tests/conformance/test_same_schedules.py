"""Neither the codec nor the number of RAM blocks makes a difference: the same schedule takes the same steps, to the same memory."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colofd.conformance.schedules import (
    DIRECTED,
    SHAPES,
    Directed,
    closed_between_checkpoints,
    main_channel_pages,
    run_directed,
    run_shape,
    zero_after_normal_in_precopy,
)
from colofd.conformance.stream import PacketWriter
from colofd.conformance.subjects import BuiltIn, Observed, Options
from colofd.conformance.violation import Violation
from colofd.impl import payload as impl_payload
from colofd.model.payload import PayloadReader
from colofd.spec.constants import Compression, packet_size
from colofd.spec.language import Sort, sort_name
from colofd.spec.protocol import BOTH_SIDES
from colofd.spec.reasons import Rejected
from tests.conformance.fakes import Said, recording, showing

PAGE: Final = 4096
CODECS: Final = tuple(Compression)
WHOLE: Final = tuple(each for each in DIRECTED if "cut" not in each.__name__)
"""Schedules that do not cut a channel in the middle of a payload: where that is in its pages depends on the codec."""


def said_by(schedule: Directed, options: Options) -> list[Said]:
    """Return the events of a receiver in a schedule, with the digests that it read back from memory, in the order of each thread."""
    events: list[Said] = []
    run_directed(recording(events), schedule, options)
    return sorted(events, key=lambda event: event.channel)


@pytest.mark.parametrize("schedule", WHOLE, ids=lambda schedule: schedule.__name__)
def test_the_codec_makes_no_difference(schedule: Directed) -> None:
    """Given a schedule, When it runs under each codec, Then every thread takes the same steps, with the same digests."""
    first, *others = (said_by(schedule, Options(compression=codec)) for codec in CODECS)
    assert any(event.digests for event in first)
    assert all(other == first for other in others)


def test_a_codec_that_mixes_pages_up_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: given a receiver whose zlib swaps two pages of a packet, When a schedule runs, Then it is refused where it reads them."""
    inflate = impl_payload.ZlibInflater.inflate

    def mixed(self: impl_payload.ZlibInflater, payload: bytes, size: int) -> memoryview:
        pages = bytes(inflate(self, payload, size))
        return memoryview(pages[PAGE:] + pages[:PAGE])

    monkeypatch.setattr(impl_payload.ZlibInflater, "inflate", mixed)
    run_directed(BuiltIn, closed_between_checkpoints, Options())
    with pytest.raises(Violation) as caught:
        run_directed(BuiltIn, closed_between_checkpoints, Options(compression=Compression.ZLIB))
    assert caught.value.rule == "receive.read-page"


def written(codec: Compression, packets: Sequence[Sequence[bytes]]) -> list[bytes]:
    """Return the payloads of the packets of one channel."""
    writer = PacketWriter(codec, PAGE)
    return [writer.pages("ram", [(at * PAGE, page) for at, page in enumerate(pages)], [])[packet_size(PAGE) :] for pages in packets]


PAGES: Final = st.builds(
    lambda seed, count: (seed * PAGE)[: PAGE - count] + bytes(count), st.binary(min_size=1, max_size=9), st.integers(0, PAGE)
)


@pytest.mark.parametrize("codec", CODECS)
@given(packets=st.lists(st.lists(PAGES, min_size=1, max_size=3), max_size=4))
@settings(max_examples=30, deadline=None)
def test_what_a_codec_must_guarantee(codec: Compression, packets: list[list[bytes]]) -> None:
    """Given any packets of a channel, When they are read in order, Then their pages are as packed, for the model and for the receiver."""
    reader = PayloadReader(codec)
    inflater = impl_payload.inflater(codec)
    for pages, payload in zip(packets, written(codec, packets), strict=True):
        assert reader.pages(payload, len(pages), PAGE) == pages
        content = payload if inflater is None else bytes(inflater.inflate(payload, len(pages) * PAGE))
        assert content == b"".join(pages)


@pytest.mark.parametrize("codec", [Compression.ZLIB, Compression.ZSTD])
def test_a_codec_is_a_stream(codec: Compression) -> None:
    """Control: given a channel whose first packet is lost, When the second one is read, Then it is refused."""
    _, second = written(codec, [[b"a" * PAGE], [b"a" * PAGE]])
    with pytest.raises(Rejected):
        PayloadReader(codec).pages(second, 1, PAGE)


def test_no_rule_knows_of_codecs_or_blocks() -> None:
    """Given all cells and parameters, Then their sorts are these: no codec, no block, no byte of a page."""
    sorts: set[Sort] = {sort for cell in BOTH_SIDES.state.cells() for sort in (*cell.key, cell.to)}
    sorts |= {parameter.sort for rule in BOTH_SIDES.rules for parameter in rule.parameters}
    unbounded = {"Page", "Channel", "Value", "DeviceState"}
    assert {sort_name(sort) for sort in sorts} - {"bool"} == unbounded | {"Phase", "At", "Carried", "PrimaryAt", "Message"}


@pytest.mark.parametrize("schedule", DIRECTED, ids=lambda schedule: schedule.__name__)
def test_the_number_of_blocks_makes_no_difference(schedule: Directed) -> None:
    """Given a schedule, When RAM is in three blocks, Then it goes through, step by step as the same model says."""
    in_blocks = run_directed(BuiltIn, schedule, Options(blocks=3))
    as_one = run_directed(BuiltIn, schedule, Options())
    assert (in_blocks.reached.checkpoints, in_blocks.reached.is_taken_over) == (as_one.reached.checkpoints, as_one.reached.is_taken_over)


@pytest.mark.parametrize("schedule", [main_channel_pages, zero_after_normal_in_precopy])
def test_a_receiver_that_takes_blocks_for_one_another_is_noticed(schedule: Directed) -> None:
    """Control: given a receiver that has the last block's pages in the first one, When a schedule runs, Then it is refused."""
    options = Options(blocks=3)
    last = options.pages_of_blocks["ram2"].start * options.page_size

    def turned(seen: Observed) -> Observed:
        return replace(seen, guest=seen.guest[last:] + seen.guest[:last])

    with pytest.raises(Violation) as caught:
        run_directed(showing(turned), schedule, options)
    assert caught.value.rule == "isolation.guest"


def test_set_ups_with_several_blocks_are_checked() -> None:
    """Given the set-ups of every check, Then some have several blocks, and go through."""
    several = [options for options in SHAPES if options.blocks > 1]
    assert {options.channels for options in several} == {0, 2}
    assert all(run_shape(BuiltIn, options).reached.checkpoints == 1 for options in several)
