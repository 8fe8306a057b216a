"""Holds the built-in receiver to the wire tables: every wire case, over sockets, with a well-behaved source around it.

For each case the receiver must give the verdict of the tables: accept all bytes, or refuse with the same reason, on the same channel, at
the same byte. Guest RAM must then hold what stood before that byte and nothing else, and no thread of the receiver may be left.
"""

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt

from colofd.conformance import stream
from colofd.conformance.rulings import Outcome, Ruling
from colofd.conformance.wire_cases import WireCase, wire_cases
from colofd.conformance.wire_streams import BLOCKS, DEVICE, MACHINE
from colofd.impl import Block, Deadlines, Destination
from colofd.model.decode import Item, decode_main, decode_multifd
from colofd.model.sent import Layout, packet_rounds, page_records
from colofd.model.trace import Sent
from colofd.spec.constants import MAIN_CHANNEL, TARGET_PAGE_SIZE, Compression, SectionType, channel_name
from colofd.spec.reasons import Reason, Rejected
from colofd.spec.wire import colo as colo_tables
from colofd.spec.wire import main_channel

SECONDS: Final = 10.0
"""How long a case may take: only a receiver that hangs gets there."""

DEADLINES: Final = Deadlines(connect=5.0, progress=5.0, idle=5.0, lease=5.0)

ROUNDS: Final = {"main": 3, "multifd": 2}
"""How many rounds the cases of each kind have: that many the channels beside them must end."""

_HELLO_ID: Final = 24
_SYNC: Final = stream.PacketWriter(Compression.NONE, TARGET_PAGE_SIZE).sync()


@dataclass(frozen=True)
class Finding:
    """The outcome of one case, and why it is not `holds`."""

    outcome: Outcome
    why: str = ""


def check_wire() -> dict[str, Ruling]:
    """Return a ruling for each check of the wire tables, and for each rule about whole streams. Takes a few seconds."""
    cases = [*wire_cases(), *cases_with_cache()]
    findings = {case.id: try_case(case) for case in cases}
    about: dict[str, list[str]] = {}
    for case in cases:
        # A refusal says something about a check only if the same stream without the violation is accepted.
        about.setdefault(case.check_id, []).extend(name for name in (case.id, case.twin) if name)
    return {check: ruling({name: findings[name] for name in names}) for check, names in about.items()}


def cases_with_cache() -> list[WireCase]:
    """Return the refused multifd channels once more, for a receiver with COLO: what is in guest RAM then must be in the cache, too."""
    refused = [case for case in wire_cases() if case.kind == "multifd" and case.expected is not None]
    return [replace(case, id=f"{case.id} with a cache", context=replace(case.context, colo=True), twin="") for case in refused]


def ruling(findings: Mapping[str, Finding]) -> Ruling:
    """Return what the findings of some cases, by their id, say together: the worst of them."""
    played = {name: finding for name, finding in findings.items() if finding.outcome is not Outcome.SKIPPED}
    evidence: dict[str, int | list[str]] = {"cases": len(played)}
    if not played:
        return Ruling(Outcome.SKIPPED, next(iter(findings.values())).why, evidence)
    for outcome in (Outcome.VIOLATED, Outcome.ERRORED):
        texts = [f"{name}: {finding.why}" for name, finding in played.items() if finding.outcome is outcome]
        if texts:
            return Ruling(outcome, texts[0], evidence | {"others": texts[1:]})
    return Ruling(Outcome.HOLDS, "verdict, guest RAM and threads were as the tables say", evidence)


def try_case(case: WireCase) -> Finding:
    """Put one case to a receiver of its own."""
    if why := why_not_played(case):
        return Finding(Outcome.SKIPPED, why)
    before = set(threading.enumerate())
    try:
        why = _play(as_played(case))
    except Exception as error:  # noqa: BLE001  # a receiver may fail in any way; the other cases are still tried
        return Finding(Outcome.ERRORED, f"{type(error).__name__}: {error}")
    left = sorted(thread.name for thread in set(threading.enumerate()) - before)
    if left and not why:
        why = f"threads are left: {', '.join(left)}"
    return Finding(Outcome.VIOLATED if why else Outcome.HOLDS, why)


def why_not_played(case: WireCase) -> str:
    """Return why a case cannot be put to the built-in receiver; empty if it can."""
    if case.kind == "reverse":
        return "the receiver writes this direction, and does not read it"
    if case.context.capabilities:
        return f"the receiver does not have the capability {', '.join(sorted(case.context.capabilities))}"
    return ""


def as_played(case: WireCase) -> WireCase:
    """Return a case as it is put to a receiver, which knows more than one channel."""
    if case.expected is Reason.STREAM_MAGIC:
        # With another magic it is not the main channel that is wrong: it is not known which channel this is.
        return replace(case, expected=Reason.CHANNEL_MAGIC)
    return case


def _play(case: WireCase) -> str:
    """Feed a case to a new receiver; return what is wrong with what it made of it, empty if nothing is."""
    context, layout = case.context, layout_of(case)
    destination = Destination(
        [Block(name, length) for name, length in layout.blocks],
        context.channels,
        colo=context.colo,
        compression=context.compression,
        page_size=context.page_size,
        machine=context.machine,
        uuid=context.uuid,
        deadlines=DEADLINES,
    )
    wanted = expected_ram(case)
    goes_on = context.colo and case.expected is None
    # The destination is closed before our ends of its channels are.
    with ExitStack() as ends, destination:
        for data in channels_of(case).values():
            ends.enter_context(_feed(data, destination, is_whole=not goes_on))
        rejected = _outcome(destination, wanted.commits if goes_on else None)
        return (
            _wrong_verdict(case, rejected, destination)
            or _wrong_ram(layout, wanted, destination)
            or _wrong_cache(case, wanted, destination)
        )


def layout_of(case: WireCase) -> Layout:
    """Return the RAM of the receiver that a case is put to."""
    blocks = BLOCKS if case.context.blocks is None else case.context.blocks
    return Layout(tuple(blocks.items()), case.context.page_size)


def own_channel(case: WireCase) -> str:
    """Return the channel of a case; of a multifd channel, what its hello says."""
    return MAIN_CHANNEL if case.kind == "main" else channel_name(case.data[_HELLO_ID])


def channels_of(case: WireCase) -> dict[str, bytes]:
    """Return what each channel says: the case, and what a source says beside it. The case connects last."""
    numbers = list(range(case.context.channels))
    if case.kind == "multifd":
        # A case that claims a number out of range stands for the last channel.
        numbers.remove(min(case.data[_HELLO_ID], numbers[-1]))
    beside = {channel_name(number): stream.hello(number) + ROUNDS[case.kind] * _SYNC for number in numbers}
    main = {MAIN_CHANNEL: _main_beside(case)} if case.kind == "multifd" else {}
    return main | beside | {own_channel(case): case.data}


def _main_beside(case: WireCase) -> bytes:
    """Return a main channel that lists the blocks, and ends as many rounds as a multifd case has: the list, and all pages."""
    return (
        stream.stream_header(MACHINE)
        + stream.ram_start(layout_of(case).blocks)
        + stream.flush()
        + stream.ram_close()
        + stream.ram_continue(SectionType.END)
        + stream.flush()
        + stream.ram_close()
        + stream.device_sections(DEVICE)
        + stream.description(len(DEVICE), case.context.page_size)
    )


def _feed(data: bytes, destination: Destination, *, is_whole: bool) -> socket.socket:
    """Connect a channel that says this, and ends there if it is whole."""
    near, far = socket.socketpair()
    near.sendall(data)
    if is_whole:
        near.shutdown(socket.SHUT_WR)
    destination.attach(far)
    return near


def _outcome(destination: Destination, commits: int | None) -> Rejected | None:
    """Wait for the end or, as COLO has none of its own, for so many commits; return what was refused. Raises TimeoutError."""
    try:
        if commits is None:
            destination.wait(SECONDS)
        else:
            destination.wait_checkpoint(commits - 1, SECONDS)
    except Rejected as rejected:
        return rejected
    return None


def _wrong_verdict(case: WireCase, rejected: Rejected | None, destination: Destination) -> str:
    """Return how the verdict differs from that of the tables; empty if it does not."""
    own = own_channel(case)
    consumed = destination.consumed().get(own, 0)
    if case.expected is None:
        expected = f"all {len(case.data)} bytes accepted on {own}"
    else:
        # Of a connection with an unknown magic nobody knows the channel.
        channel = "" if case.expected is Reason.CHANNEL_MAGIC else own
        expected = _refusal(case.expected, channel, case.offset)
    seen = f"all {consumed} bytes accepted on {own}"
    if rejected is not None:
        seen = _refusal(rejected.reason, rejected.channel, rejected.offset)
    return "" if seen == expected else f"expected {expected}, got {seen}"


def _refusal(reason: Reason, channel: str, offset: int) -> str:
    return f"{reason} on {channel or 'an unknown channel'} at byte {offset}"


def _wrong_ram(layout: Layout, wanted: "ExpectedRam", destination: Destination) -> str:
    """Return how guest RAM differs from what it should hold; empty if it does not. Before the start there is none."""
    different = _differing(layout, wanted.pages, destination.guest)
    return f"guest RAM does not hold what stood before the end at pages {different}" if different else ""


def _wrong_cache(case: WireCase, wanted: "ExpectedRam", destination: Destination) -> str:
    """Return how the cache differs from what it should hold. Where a page is cut, it may hold a part of that, and is not looked at."""
    if not case.context.colo or case.expected is Reason.TRUNCATED:
        return ""
    different = _differing(layout_of(case), wanted.pages | wanted.arriving, destination.cache)
    return f"the cache does not hold what stood before the end at pages {different}" if different else ""


def _differing(layout: Layout, wanted: Mapping[int, bytes], memory: Callable[[str], npt.NDArray[np.uint8]]) -> list[int]:
    try:
        content = b"".join(memory(name).tobytes() for name, _ in layout.blocks)
    except Rejected:
        return []
    size = layout.page_size
    zeros = bytes(size)
    return [page for page in range(layout.pages) if content[page * size : (page + 1) * size] != wanted.get(page, zeros)]


@dataclass
class ExpectedRam:
    """What guest RAM must hold: content by page, zeros where there is none; and the number of commits (without COLO 0).

    `arriving` are the pages of a checkpoint that is not committed, which the cache holds above these.
    """

    pages: dict[int, bytes]
    commits: int = 0
    arriving: dict[int, bytes] = field(default_factory=dict)


def expected_ram(case: WireCase) -> ExpectedRam:
    """Return what the slow decoder finds before the byte that is refused. A checkpoint counts only as a whole."""
    layout, items = layout_of(case), _items_before_refusal(case)
    ram = ExpectedRam({})
    if case.kind == "multifd":
        rounds = packet_rounds(own_channel(case), case.data, items, case.context.compression, layout)
        for sent in (sent for packets in rounds for sent in packets):
            ram.pages |= _contents(sent, layout)
        return ram
    records = page_records(case.data, items, layout)
    for previous, item in pairwise(items):
        if item.offset in records:
            (ram.arriving if ram.commits else ram.pages).update(_contents(records[item.offset], layout))
        if case.context.colo and _is_commit(previous, item, ram.commits):
            ram.pages |= ram.arriving
            ram.commits += 1
            ram.arriving.clear()
    return ram


def _items_before_refusal(case: WireCase) -> list[Item]:
    def decode() -> Iterator[Item]:
        try:
            yield from (decode_main if case.kind == "main" else decode_multifd)(case.data, case.context)
        except Rejected:
            return

    return list(decode())


def _contents(sent: Sent, layout: Layout) -> dict[int, bytes]:
    return dict(zip(sent.pages, sent.contents, strict=True)) | dict.fromkeys(sent.zero_pages, bytes(layout.page_size))


def _is_commit(previous: Item, item: Item, commits: int) -> bool:
    """Return whether all of a commit is there with this item: the end of precopy, or the device state of a checkpoint."""
    ends_sections = previous.name == main_channel.DEVICE_SECTION.name and item.name == main_channel.SECTION_TYPE.name
    return item.name in (main_channel.DESCRIPTION.name, colo_tables.DEVICE_STATE.name) or (ends_sections and commits > 0)
