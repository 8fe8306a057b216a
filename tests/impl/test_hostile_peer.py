"""A hostile peer: connections nobody needs, and descriptions made to cost time, memory or an exception."""

import contextlib
import json
import socket
import time
from typing import Final

import pytest

from colofd.conformance import stream
from colofd.impl import Deadlines, Destination, Phase
from colofd.spec.constants import MAIN_CHANNEL, ColoMessage, SectionType, Step
from colofd.spec.reasons import Reason, Rejected
from tests.impl.source import BLOCK, BLOCKS, PAGE, SECONDS, Hold, Source, content, in_colo, receive_threads

PRECOPY: Final = {0: 1}
SHORT: Final = 0.3


def test_a_silent_connection_too_many_does_not_end_checkpoints() -> None:
    """Given one connection too many that says nothing, when the time to connect is over, then COLO goes on."""
    with Destination(BLOCKS, 1, colo=True, deadlines=Deadlines(connect=SHORT)) as destination:
        near, far = socket.socketpair()
        near.settimeout(SECONDS)
        destination.attach(far)
        source = Source(destination, 1)
        in_colo(source, PRECOPY)
        # It is turned away as soon as all channels are there.
        assert not near.recv(1)
        with pytest.raises(TimeoutError):
            destination.wait(2 * SHORT)
        source.begin_checkpoint()
        source.end_checkpoint()
        source.expect(ColoMessage.VMSTATE_RECEIVED, ColoMessage.VMSTATE_LOADED)
        near.close()
        source.close()


def test_a_silent_connection_too_many_does_not_hold_up_the_end() -> None:
    """Given one connection too many that says nothing, when precopy completes, then wait returns without waiting for it."""
    with Destination(BLOCKS, 1, deadlines=Deadlines(progress=SHORT)) as destination:
        near, far = socket.socketpair()
        destination.attach(far)
        source = Source(destination, 1)
        source.begin()
        source.end_precopy()
        assert destination.wait(SECONDS).phase is Phase.COMPLETED
        assert not receive_threads()
        near.close()
        source.close()


def refusal(*after_pages: bytes) -> Rejected:
    """Return how a main channel is refused that says this where device sections belong, and then ends."""
    with Destination(BLOCKS, 0) as destination:
        source = Source(destination, 0)
        source.begin()
        source.main(stream.ram_close(), stream.ram_continue(SectionType.END), stream.ram_close(), *after_pages)
        source.close()
        with pytest.raises(Rejected) as caught:
            destination.wait(SECONDS)
    return caught.value


def description(text: object) -> bytes:
    encoded = json.dumps(text).encode()
    return bytes([SectionType.EOF, SectionType.VMDESCRIPTION]) + stream.be32(len(encoded)) + encoded


DEVICE: Final = {"name": "device", "instance_id": 0, "version": 1}

DESCRIPTIONS: Final[dict[str, object]] = {
    "a size of too many digits to print": {"devices": [{**DEVICE, "fields": [{"size": 10**4200, "array_len": 10**4200}]}]},
    "a page size that is a long text": {"page_size": "4" * 100_000, "devices": []},
    "a name that is a long text": {"devices": [{**DEVICE, "name": "☃" * 100_000, "fields": []}]},
}


@pytest.mark.parametrize("text", DESCRIPTIONS.values(), ids=DESCRIPTIONS.keys())
def test_a_description_out_of_all_proportion_is_a_mismatch(text: object) -> None:
    """Given a description with a value out of all proportion, when it is read, then it is refused with a text of some length."""
    error = refusal(b"\4state", description(text))
    assert error.reason is Reason.DESCRIPTION_MISMATCH
    assert error.channel == "main"
    assert len(str(error)) < 500


def test_descriptions_that_never_come_are_not_waited_for() -> None:
    """Given device bytes full of places where a long description might begin, when they are read, then soon no more are waited for."""
    head = bytes([SectionType.EOF, SectionType.VMDESCRIPTION, 0x00, 0xFF, 0xFF, 0xFF]) + b"{"
    error = refusal(b"\4", head * 500)
    assert (error.reason, error.read) == (Reason.DESCRIPTION_MISSING, "256 texts that could be one")


def test_a_few_false_beginnings_are_no_harm() -> None:
    """Given two places where a description might begin (control), when the real one comes, then precopy completes."""
    false = bytes([SectionType.EOF, SectionType.VMDESCRIPTION, 0x00, 0x00, 0x00, 0x09]) + b"{"
    state = 2 * false
    with Destination(BLOCKS, 0) as destination:
        source = Source(destination, 0)
        source.begin()
        source.main(stream.ram_close(), stream.ram_continue(SectionType.END), stream.ram_close())
        source.main(stream.device_sections(state), stream.description(len(state), PAGE))
        assert destination.wait(SECONDS).phase is Phase.COMPLETED
        source.close()


def test_a_channel_that_ends_while_it_is_needed_is_named_with_its_offset() -> None:
    """Given a channel that ends before its SYNC, when MULTIFD_FLUSH comes, then it is lost at the byte where it ended."""
    with Destination(BLOCKS, 1) as destination:
        source = Source(destination, 1)
        source.begin()
        source.ends["mfd0"].close()
        source.main(stream.flush())
        with pytest.raises(Rejected) as caught:
            destination.wait(SECONDS)
        error = caught.value
        assert (error.reason, error.channel, error.offset) == (Reason.CHANNEL_LOST, "mfd0", 64 + 1344)
        source.close()


def test_a_primary_that_reads_no_answer_does_not_hold_up_failover() -> None:
    """Given a primary that leaves all replies unread until no more fit, when failover comes at the answer, then it need not wait for it."""
    hold = Hold(Step.ANSWER, MAIN_CHANNEL)
    with Destination(BLOCKS, 1, colo=True, deadlines=Deadlines(progress=SECONDS), gate=hold) as destination:
        source = Source(destination, 1)
        in_colo(source, PRECOPY)
        source.begin_checkpoint()
        source.put("mfd0", source.pages("mfd0", {0: 7}))
        source.end_checkpoint()
        hold.wait()
        replies = destination._reception.sockets[MAIN_CHANNEL].socket
        with contextlib.suppress(BlockingIOError):
            while True:
                replies.send(b"\0", socket.MSG_DONTWAIT)
        hold.go.set()
        destination.wait_checkpoint(1, SECONDS / 2)
        since = time.monotonic()
        destination.failover(SECONDS)
        assert time.monotonic() - since < SECONDS / 2
        assert content(destination.guest(BLOCK))[0] == 7
        source.close()
