"""The fast receiver gives the verdict of the wire tables, on the streams that are computed from them."""

import socket
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import pytest

from colofd.conformance import stream
from colofd.conformance.wire_cases import WireCase, wire_cases
from colofd.conformance.wire_streams import BLOCKS, DEVICE, MACHINE, PAGE
from colofd.impl import Block, Destination, Phase
from colofd.spec.constants import HELLO_SIZE, Compression, SectionType
from colofd.spec.reasons import Reason, Rejected
from tests.impl.source import SECONDS, receive_threads

ROUND: Final = stream.PacketWriter(Compression.NONE, PAGE).sync()
"""What every multifd channel says before its first page, for the block list to be read first."""

SHARED: Final = "x-ignore-shared"


def cases() -> Iterator[WireCase]:
    """Yield the cases that a receiver without the capability x-ignore-shared can be given."""
    for case in wire_cases():
        if case.kind == "reverse" or SHARED in case.context.capabilities:
            continue
        if case.check_id == "wire.payload":
            data = case.data[:HELLO_SIZE] + ROUND + case.data[HELLO_SIZE:]
            yield replace(case, data=data, offset=case.offset + len(ROUND))
        elif case.expected is Reason.STREAM_MAGIC:
            # With another magic it is not the main channel that is wrong: it is not known which channel this is.
            yield replace(case, expected=Reason.CHANNEL_MAGIC)
        elif case.expected is None and case.context.colo:
            # COLO has no end of its own.
            yield replace(case, expected=Reason.CHANNEL_LOST, offset=len(case.data))
        else:
            yield case


def destination_for(case: WireCase) -> Destination:
    context = case.context
    blocks = [Block(name, length) for name, length in (context.blocks or BLOCKS).items()]
    return Destination(
        blocks,
        context.channels,
        colo=context.colo,
        compression=context.compression,
        machine=context.machine,
        uuid=context.uuid,
    )


def channels_of(case: WireCase) -> list[bytes]:
    """Return what every channel says: the case, and what a source says beside it."""
    if case.kind == "main":
        return [*(stream.hello(number) + 3 * ROUND for number in range(case.context.channels)), case.data]
    other = 1 - case.data[24] % 2
    return [main_channel(case), stream.hello(other) + 2 * ROUND, case.data]


def feed(content: bytes, destination: Destination) -> socket.socket:
    """Attach a channel that says this and no more."""
    near, far = socket.socketpair()
    near.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    near.sendall(content)
    near.shutdown(socket.SHUT_WR)
    destination.attach(far)
    return near


def main_channel(case: WireCase) -> bytes:
    blocks = tuple((case.context.blocks or BLOCKS).items())
    return (
        stream.stream_header(MACHINE)
        + stream.ram_start(blocks)
        + stream.flush()
        + stream.ram_close()
        + stream.ram_continue(SectionType.END)
        + stream.flush()
        + stream.ram_close()
        + stream.device_sections(DEVICE)
        + stream.description(len(DEVICE), PAGE)
    )


@pytest.mark.parametrize("case", list(cases()), ids=lambda case: case.id)
def test_the_verdict_is_that_of_the_tables(case: WireCase) -> None:
    """Given a stream that keeps or breaks one rule, when it is received, then reason and offset are theirs."""
    destination = destination_for(case)
    ends = [feed(content, destination) for content in channels_of(case)]
    verdict: tuple[Reason, int] | None = None
    try:
        assert destination.wait(SECONDS).phase is Phase.COMPLETED
    except Rejected as error:
        verdict = error.reason, error.offset
    destination.close()
    for end in ends:
        end.close()
    assert verdict == (None if case.expected is None else (case.expected, case.offset))
    assert not receive_threads()
