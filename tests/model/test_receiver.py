"""The model reads whole recordings: each byte of a page counts, and a stream that no source may send is refused."""

import hashlib
from functools import cache
from typing import Final

import pytest

from colofd.conformance import captures, stream
from colofd.conformance.captures import Capture
from colofd.conformance.wire_streams import BLOCKS, checkpoint, packets, precopy
from colofd.model.decode import Context, decode_multifd
from colofd.model.receiver import Reading, receive
from colofd.model.sent import read_recording
from colofd.spec.constants import HELLO_SIZE, MAIN_CHANNEL, Command, Compression, SectionType, channel_name, packet_size
from colofd.spec.reasons import Reason, Rejected

PAGE: Final = 4096
BLOCK: Final = "ram"
CHANNELS: Final = 2
PACKET: Final = packet_size(PAGE)


def content(number: int) -> bytes:
    """Return page content `number`; 0 is zeros."""
    return bytes([number]) * PAGE


def main_channel(*, flushes: int = 2) -> bytes:
    """Return a main channel with this many marks of the end of a round, one of them after the block list."""
    return (
        stream.stream_header("none")
        + stream.ram_start([(BLOCK, 4 * PAGE)])
        + stream.flush()
        + stream.ram_close()
        + stream.ram_continue(SectionType.END)
        + stream.flush() * (flushes - 1)
        + stream.ram_close()
        + stream.device_sections(b"device")
        + stream.description(6, PAGE)
    )


def multifd_channel(number: int, *, syncs: int = 2, more: tuple[int, ...] = ()) -> bytes:
    """Return channel `number` of two: its half of the four pages between two SYNCs, and perhaps some pages once more."""
    writer = stream.PacketWriter(Compression.NONE, PAGE)
    first, second = 2 * number, 2 * number + 1
    begin = stream.hello(number) + writer.sync()
    pages = writer.pages(BLOCK, [(first * PAGE, content(first + 1))], [second * PAGE])
    again = b"".join(writer.pages(BLOCK, [(page * PAGE, content(9))], []) for page in more)
    return begin + pages + again + b"".join(writer.sync() for _ in range(syncs - 1))


def read(streams: dict[str, bytes]) -> Reading:
    """Let the model receive a migration without COLO."""
    return receive(streams, channels=CHANNELS, compression=Compression.NONE, colo=False, page_size=PAGE)


def whole() -> dict[str, bytes]:
    """Return a correct migration."""
    return {MAIN_CHANNEL: main_channel()} | {channel_name(number): multifd_channel(number) for number in range(CHANNELS)}


def test_a_migration_is_received() -> None:
    """Given a correct migration, then guest RAM is what was sent, and every byte of every channel was read."""
    reading = read(whole())
    ram = content(1) + content(0) + content(3) + content(0)
    assert reading.final == {BLOCK: hashlib.sha256(ram).hexdigest()}
    assert reading.consumed == {name: len(data) for name, data in whole().items()}
    assert reading.checkpoints == []


@pytest.mark.parametrize(
    ("changed", "reason", "channel"),
    [
        ({"mfd1": multifd_channel(1, syncs=1)}, Reason.CHANNEL_LOST, "mfd1"),
        ({"mfd0": multifd_channel(0, syncs=1)}, Reason.CHANNEL_LOST, "mfd0"),
        ({MAIN_CHANNEL: main_channel(flushes=1)}, Reason.FLUSH_MISSING, "main"),
        ({"mfd1": multifd_channel(1, more=(3,))}, Reason.PACKET_OUT_OF_PHASE, "main"),
        ({"mfd0": multifd_channel(0, more=(2,))}, Reason.PACKET_OUT_OF_PHASE, "main"),
        ({"mfd1": multifd_channel(1) + multifd_channel(1)[HELLO_SIZE + PACKET :]}, Reason.FLUSH_MISSING, "mfd1"),
        ({"mfd1": stream.hello(1) + 2 * stream.PacketWriter(Compression.NONE, PAGE).sync()}, Reason.FLUSH_MISSING, "main"),
    ],
    ids=[
        "no SYNC",
        "no SYNC on the first",
        "no FLUSH",
        "a page twice",
        "a page on two channels",
        "pages after the last",
        "pages never sent",
    ],
)
def test_what_no_source_may_send_is_refused(changed: dict[str, bytes], reason: Reason, channel: str) -> None:
    """Control: given a migration that breaks an obligation of the source, then it is refused with a reason, and nothing else is raised."""
    with pytest.raises(Rejected) as caught:
        read(whole() | changed)
    assert (caught.value.reason, caught.value.channel) == (reason, channel), caught.value


def colo_reading(*, device: bytes = b"state", checkpoints: int = 1) -> Reading:
    """Let the model receive a migration without multifd, and checkpoints."""
    main = precopy_of_everything() + checkpoint(device=device) * checkpoints
    return receive({MAIN_CHANNEL: main}, channels=0, compression=Compression.NONE, colo=True, page_size=PAGE)


def precopy_of_everything() -> bytes:
    """Return a precopy that sends each page of the blocks that `checkpoint` knows."""
    records = b"".join(stream.zero_record(name, at) for name, length in BLOCKS.items() for at in range(0, length, PAGE))
    whole_precopy = precopy()
    part = stream.ram_continue(SectionType.PART)
    end = stream.ram_close() + stream.command(Command.SWITCHOVER_START)
    start = whole_precopy.index(part) + len(part)
    return whole_precopy[:start] + records + whole_precopy[whole_precopy.index(end) :]


def test_checkpoints_are_committed_one_by_one() -> None:
    """Given COLO with two checkpoints, then there is a reading for its beginning and for each of them."""
    empty = {name: hashlib.sha256(bytes(length)).hexdigest() for name, length in BLOCKS.items()}
    written = empty | {"ram1": hashlib.sha256(bytes(PAGE) + content(5)).hexdigest()}
    reading = colo_reading(checkpoints=2)
    assert reading.checkpoints == [empty, written, written]
    assert reading.final == written


@cache
def capture() -> Capture:
    """Return a recorded migration of real QEMU, not compressed."""
    return captures.load(captures.find("precopy-mfd2-none-v10.0"))


def recorded(streams: dict[str, bytes]) -> Reading:
    """Let the model receive a recording, or what was made of it."""
    taken = capture()
    return receive(streams, channels=taken.channels, compression=taken.compression, colo=False, page_size=taken.page_size)


def test_a_recording_has_the_digest_of_its_source() -> None:
    """Given a recording of QEMU, then guest RAM has the digest that the source had."""
    assert recorded(dict(capture().streams)).final[capture().ram_block] == capture().final_sha256


@pytest.mark.parametrize("channel", ["mfd0", "mfd1"])
@pytest.mark.parametrize("where", [0, -1], ids=["first byte", "last byte"])
def test_every_byte_of_a_page_counts(channel: str, where: int) -> None:
    """Control: given a recording with one byte of a page flipped, then guest RAM has other digests."""
    streams = dict(capture().streams)
    payloads = [
        (int(str(item.fields["payload_offset"])), int(str(item.fields["payload_size"])))
        for item in decode_multifd(streams[channel], Context(channels=capture().channels))
        if item.fields.get("payload_size")
    ]
    # The last packet: pages of earlier ones may be sent again.
    offset, size = payloads[-1]
    data = bytearray(streams[channel])
    data[offset + where % size] ^= 1
    streams[channel] = bytes(data)
    assert recorded(streams).final != recorded(dict(capture().streams)).final


def test_packets_are_grouped_by_their_rounds() -> None:
    """Given channels with three SYNCs or fewer, then their packets stand in the rounds that these end, with pages over all blocks."""
    streams = {MAIN_CHANNEL: precopy(rounds=True), "mfd0": stream.hello(0), "mfd1": packets(Compression.ZLIB)}
    recording = read_recording(streams, channels=2, compression=Compression.ZLIB, colo=False, page_size=PAGE)
    assert recording.layout.blocks == tuple(BLOCKS.items())
    assert recording.rounds["mfd0"] == ((),)
    before, between, after = recording.rounds["mfd1"]
    assert (before, after) == ((), ())
    assert [(sent.pages, sent.zero_pages) for sent in between] == [((1, 0), (2, 3)), ((), (4, 5))]
    assert [len(page) for page in between[0].contents] == [PAGE, PAGE]
