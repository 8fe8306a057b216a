"""CrossHair compares the receiver's checks of a packet header with the wire table's, as plain Python on unbounded ints.

What the solvers prove is a trace; this reads the running code itself. "No difference" is a proof only where all paths were exhausted.
"""

import subprocess
import sys
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Final

import pytest

from colofd.impl import Block, decisions, packet
from colofd.impl.memory import Layout
from colofd.impl.packet import PacketReader
from colofd.spec.constants import COMPRESSION_FLAGS, Compression, pages_per_packet
from colofd.spec.reasons import Reason, Rejected
from colofd.spec.wire.expressions import Value
from colofd.spec.wire.multifd import OFFSET_FITS, OFFSET_IS_ALIGNED, PACKET

PAGE_SIZE: Final = 4096
WRAP_64: Final = 1 << 64
WRAP_32: Final = 1 << 32
COUNTS: Final = ("pages_alloc", "normal_pages", "next_packet_size", "zero_pages")
BUDGET: Final = 4.0
"""Seconds of processor time for each comparison."""
LIMIT: Final = 90
"""Seconds of any time for each comparison."""


class Element:
    """One element of an array of np.uint64 or np.bool_, as a Python int that CrossHair can follow."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __and__(self, other: "Element") -> "Element":
        return Element(self.value & other.value)

    def __sub__(self, other: "Element") -> "Element":
        return Element((self.value - other.value) % WRAP_64)

    def __le__(self, other: "Element") -> "Element":
        return Element(self.value <= other.value)


class Given:
    """What a packed header is said to hold: stands for a struct.Struct, in which CrossHair would lose its numbers."""

    def __init__(self, *numbers: int) -> None:
        self._numbers = numbers

    def unpack_from(self, _header: bytes, _offset: int = 0) -> tuple[int, ...]:
        """Return the numbers."""
        return self._numbers


class CountsReader(PacketReader):
    """The receiver's reader of headers up to the block name, which is not looked at, after a SYNC."""

    def _find_block(self, _name: object, _at: int) -> None:
        return

    def _make_room(self, _count: int) -> None:
        return

    def _rejected(self, reason: Reason, _offset: int, _read: object, _expected: object) -> Rejected:
        return Rejected(reason)


READERS: Final = {method: CountsReader("mfd0", Layout([Block("ram", PAGE_SIZE)], PAGE_SIZE), method) for method in Compression}
for reader in READERS.values():
    reader.has_synced = True
CHECKS: Final = [check for field in PACKET.fields if field.name in COUNTS for check in field.checks]


def received(method: Compression, pages_alloc: int, normal: int, size: int, zero: int) -> str:
    """Return the reason for which the receiver refuses a header with these counts; nothing if it takes it."""
    flags = COMPRESSION_FLAGS[method]
    # Only ever in a process of CrossHair's.
    vars(packet).update(FIXED=Given(0, 0, flags, pages_alloc, normal, size, 0, zero, 0))
    try:
        READERS[method].counts(0)
    except Rejected as rejected:
        return str(rejected.reason)
    return ""


def as_the_table_says(method: Compression, pages_alloc: int, normal: int, size: int, zero: int) -> str:
    """Return the reason of the first check of the wire table that these counts break; nothing if there is none."""
    flags = COMPRESSION_FLAGS[method]
    values: Mapping[str, Value] = {
        "flags": flags,
        "pages_alloc": pages_alloc,
        "normal_pages": normal,
        "next_packet_size": size,
        "zero_pages": zero,
        "page_size": PAGE_SIZE,
        "page_count": pages_per_packet(PAGE_SIZE),
        "compression": flags,
    }
    return next((str(check.reason) for check in CHECKS if not check.condition.evaluate(values)), "")


def are_within(limit: int, *numbers: int) -> bool:
    return all(0 <= number < limit for number in numbers)


# The twins: CrossHair calls two of them with the same numbers and looks for different answers.


def range_received(offset: int, length: int, page_size: int) -> bool:
    given = are_within(WRAP_64, offset, length, page_size)
    return given and bool(decisions.fits(Element(offset), Element(length), Element(page_size)).value)


def range_in_table(offset: int, length: int, page_size: int) -> bool:
    values: Mapping[str, Value] = {"element": offset, "page_size": page_size, "blocks": {"ram": length}, "block": "ram"}
    return are_within(WRAP_64, offset, length, page_size) and bool(OFFSET_FITS.condition.evaluate(values))


def range_of_32_bits(offset: int, length: int, page_size: int) -> bool:
    return are_within(WRAP_64, offset, length, page_size) and (offset + page_size) % WRAP_32 <= length


def alignment_received(offset: int) -> bool:
    return are_within(WRAP_64, offset) and bool(decisions.is_aligned(Element(offset), Element(PAGE_SIZE - 1)).value)


def alignment_in_table(offset: int) -> bool:
    return are_within(WRAP_64, offset) and bool(OFFSET_IS_ALIGNED.condition.evaluate({"element": offset, "page_size": PAGE_SIZE}))


def alignment_to_half_pages(offset: int) -> bool:
    return are_within(WRAP_64, offset) and offset % (PAGE_SIZE // 2) == 0


def counts_received(pages_alloc: int, normal: int, zero: int) -> str:
    return (
        received(Compression.NONE, pages_alloc, normal, normal * PAGE_SIZE, zero) if are_within(WRAP_32, pages_alloc, normal, zero) else ""
    )


def counts_in_table(pages_alloc: int, normal: int, zero: int) -> str:
    size = normal * PAGE_SIZE
    return as_the_table_says(Compression.NONE, pages_alloc, normal, size, zero) if are_within(WRAP_32, pages_alloc, normal, zero) else ""


def counts_of_32_bits(pages_alloc: int, normal: int, zero: int) -> str:
    if (normal + zero) % WRAP_32 <= pages_alloc <= pages_per_packet(PAGE_SIZE):
        return ""
    return counts_received(pages_alloc, normal, zero)


def payload_received(normal: int, size: int) -> str:
    return received(Compression.ZLIB, 128, normal, size, 0) if are_within(WRAP_32, normal, size) else ""


def payload_in_table(normal: int, size: int) -> str:
    return as_the_table_says(Compression.ZLIB, 128, normal, size, 0) if are_within(WRAP_32, normal, size) else ""


def payload_of_16_bits(normal: int, size: int) -> str:
    return payload_received(normal, size % (1 << 16)) if are_within(WRAP_32, normal, size) else ""


class Outcome(StrEnum):
    """What CrossHair found out about two functions."""

    CONFIRMED = "confirmed"
    """All paths were followed to their end, and there is no difference."""
    NO_COUNTEREXAMPLE = "no counterexample"
    """No difference was met within the budget."""
    REFUTED = "refuted"
    """There are numbers for which they differ."""
    NOT_ANALYSED = "not analysed"
    """It could not be run."""


def compared(first: str, second: str) -> tuple[Outcome, str]:
    """Return what CrossHair says about two functions of this module, and its words; skipped if it stalls, as it does on a busy machine."""
    module = Path(__file__)
    command = [str(Path(sys.executable).parent / "crosshair"), "diffbehavior", f"{module.stem}.{first}", f"{module.stem}.{second}"]
    command += ["--per_condition_timeout", str(BUDGET)]
    try:
        done = subprocess.run(command, cwd=module.parent, capture_output=True, text=True, check=False, timeout=LIMIT)  # noqa: S603  # our own command
    except subprocess.TimeoutExpired:
        pytest.skip(f"{Outcome.NOT_ANALYSED}: {first} and {second}, within {LIMIT} s")
    words = done.stdout + done.stderr
    if done.returncode == 1 and "Given: " in words:
        return Outcome.REFUTED, words
    if done.returncode or "No differences found" not in words:
        return Outcome.NOT_ANALYSED, words
    return (Outcome.CONFIRMED if "All paths exhausted" in words else Outcome.NO_COUNTEREXAMPLE), words


@pytest.mark.parametrize(
    ("check", "expected"),
    [
        ("range", {Outcome.CONFIRMED}),
        ("alignment", {Outcome.CONFIRMED}),
        # Whether all paths are exhausted within the budget is a matter of the machine here.
        ("counts", {Outcome.NO_COUNTEREXAMPLE, Outcome.CONFIRMED}),
        ("payload", {Outcome.NO_COUNTEREXAMPLE, Outcome.CONFIRMED}),
    ],
)
def test_the_receiver_checks_what_the_table_says(check: str, expected: set[Outcome]) -> None:
    """Given a check of the receiver and the table's, when CrossHair compares them, then they do not differ; which is proved for some."""
    outcome, words = compared(f"{check}_received", f"{check}_in_table")
    assert outcome in expected, words


@pytest.mark.parametrize(
    ("check", "wrong"),
    [
        ("range", "range_of_32_bits"),
        ("alignment", "alignment_to_half_pages"),
        ("counts", "counts_of_32_bits"),
        ("payload", "payload_of_16_bits"),
    ],
)
def test_a_wrong_check_is_found(check: str, wrong: str) -> None:
    """Control: given a check that wraps around, or asks for less, when CrossHair compares it, then it shows where they differ."""
    outcome, words = compared(f"{check}_received", wrong)
    assert outcome is Outcome.REFUTED, words


def test_what_cannot_be_analysed_is_no_success() -> None:
    """Control: given a function that does not exist, then it is not analysed, which is neither confirmed nor without counterexample."""
    outcome, words = compared("range_received", "nothing_of_this_name")
    assert outcome is Outcome.NOT_ANALYSED, words
