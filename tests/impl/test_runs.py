"""Runs of page records: many at once end as one after the other does."""

import contextlib
import random
import socket
import threading

import pytest

from colofd.conformance import stream
from colofd.impl import Block, Destination, Event
from colofd.spec.constants import RecordFlag, SectionType
from colofd.spec.reasons import Reason, Rejected

PAGE = 4096
PAGES = 64
BLOCKS = [Block("ram", PAGES * PAGE), Block("vga", 8 * PAGE)]
SECONDS = 10.0
DEVICE = b"state"


def record(chosen: random.Random, *, is_damaged: bool) -> bytes:
    """Return a record that most likely continues a block; a damaged one has one of the mistakes that a record can have."""
    at = chosen.randrange(8) * PAGE
    is_zero = chosen.random() < 0.4
    flags = (RecordFlag.ZERO if is_zero else RecordFlag.PAGE) | RecordFlag.CONTINUE
    name, fill = b"", b"\0"
    if is_damaged:
        kind = chosen.choice(["range", "far", "flags", "fill"])
        at = {"range": PAGES * PAGE, "far": (1 << 64) - PAGE}.get(kind, at)
        flags |= RecordFlag.XBZRLE if kind == "flags" else 0
        fill = b"\1" if kind == "fill" else fill
    elif chosen.random() < 0.1:
        flags &= ~RecordFlag.CONTINUE
        name = stream.counted(chosen.choice(["ram", "vga"]))
    return stream.be64(at | flags) + name + (fill if is_zero else bytes([chosen.randrange(256)]) * PAGE)


def precopy(seed: int) -> bytes:
    """Return a whole main channel, or one with a mistake in it or that ends too early."""
    chosen = random.Random(seed)  # noqa: S311  # nothing is secret here
    damaged = chosen.randrange(200) if seed % 3 == 1 else -1
    records = [stream.page_record("ram", 0, bytes([1]) * PAGE)]
    records += [record(chosen, is_damaged=number == damaged) for number in range(200)]
    head = stream.stream_header("none") + stream.ram_start([(block.name, block.length) for block in BLOCKS]) + stream.ram_close()
    middle = stream.ram_continue(SectionType.END) + b"".join(records)
    whole = head + middle + stream.ram_close() + stream.device_sections(DEVICE) + stream.description(len(DEVICE), PAGE)
    return whole[: len(head) + chosen.randrange(len(middle))] if seed % 3 == 2 else whole


def received(content: bytes, *, colo: bool, is_watched: bool) -> tuple[object, ...]:
    """Return the error and RAM after the main channel; runs are decoded at once only where nobody watches."""
    events: list[Event] = []
    with Destination(BLOCKS, 0, colo=colo, trace=events.append if is_watched else None) as destination:
        near, far = socket.socketpair()
        destination.attach(far)
        with near:
            writer = threading.Thread(target=_write, args=(near, content))
            writer.start()
            error = None
            try:
                destination.wait(SECONDS)
            except Rejected as rejected:
                error = rejected.reason, rejected.offset, rejected.read, rejected.expected
            writer.join()
        ram = [destination.guest(block.name).tobytes() for block in BLOCKS]
        cache = [destination.cache(block.name).tobytes() for block in BLOCKS] if colo else []
        maps = [destination.received(block.name).tobytes() for block in BLOCKS]
    assert bool(events) == is_watched
    return error, ram, cache, maps


def _write(near: socket.socket, content: bytes) -> None:
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):
        near.sendall(content)
        near.shutdown(socket.SHUT_WR)


@pytest.mark.parametrize("colo", [False, True])
@pytest.mark.parametrize("seed", range(9))
def test_a_run_is_what_its_records_are(seed: int, colo: bool) -> None:
    """Given records of all kinds, right, damaged, or cut, when they come at once and one by one, then error and memory are the same."""
    content = precopy(seed)
    one_by_one, at_once = (received(content, colo=colo, is_watched=is_watched) for is_watched in (True, False))
    assert at_once[0] == one_by_one[0]
    assert at_once == one_by_one


def test_the_mistakes_are_found() -> None:
    """Given the damaged streams of that test (control), then each one is refused, and for more than one reason."""
    errors = [received(precopy(seed), colo=False, is_watched=False)[0] for seed in range(1, 40, 3)]
    assert None not in errors
    reasons = {error[0] for error in errors if isinstance(error, tuple)}
    assert {Reason.PAGE_RANGE, Reason.RECORD_FLAGS, Reason.ZERO_FILL} & reasons
    assert len(reasons) > 1
