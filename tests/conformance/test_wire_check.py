"""Every wire case is put to the receiver; and a receiver that is wrong in any respect that is looked at is found."""

import pickle
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt
import pytest

from colofd.conformance import wire_check
from colofd.conformance.rulings import Outcome
from colofd.conformance.wire_cases import WireCase, wire_cases
from colofd.conformance.wire_check import Finding, cases_with_cache, check_wire, ruling, try_case
from colofd.impl import Destination
from colofd.impl import Outcome as End
from colofd.impl.interface import Ownership
from colofd.spec.reasons import Reason
from colofd.spec.wire import CHECKS

CASES: Final = {case.id: case for case in wire_cases()}
PRECOPY: Final = CASES["wire.valid.precopy"]
RANGE: Final = CASES["wire.page.range.violated"]

NOT_RECEIVED: Final = {
    "wire.configuration.capability-count",
    "wire.configuration.capability",
    "wire.capabilities",
    "wire.return-path.message",
    "wire.return-path.postcopy",
    "wire.return-path.length",
}


def test_the_receiver_keeps_every_check() -> None:
    """Given all wire cases, when the receiver is fed them, then every check holds, but those on what it does not receive."""
    rulings = check_wire()
    assert {check: found for check, found in rulings.items() if found.outcome not in {Outcome.HOLDS, Outcome.SKIPPED}} == {}
    assert {check for check, found in rulings.items() if found.outcome is Outcome.SKIPPED} == NOT_RECEIVED
    assert rulings.keys() >= CHECKS.keys()
    assert all(found.evidence["cases"] for check, found in rulings.items() if check not in NOT_RECEIVED)
    assert pickle.loads(pickle.dumps(rulings)) == rulings  # noqa: S301  # our own bytes


@pytest.mark.parametrize(
    ("case", "expected", "seen"),
    [
        (replace(RANGE, expected=Reason.PAGE_ALIGNMENT), "page-alignment on main at byte 100", "page-range on main at byte 100"),
        (replace(RANGE, offset=101), "page-range on main at byte 101", "page-range on main at byte 100"),
        (replace(RANGE, expected=None, offset=-1), "all 8590 bytes accepted on main", "page-range on main at byte 100"),
        (replace(PRECOPY, expected=Reason.TRAILING, offset=9), "trailing on main at byte 9", "all 8590 bytes accepted on main"),
    ],
    ids=["reason", "offset", "refused", "accepted"],
)
def test_another_verdict_is_a_violation(case: WireCase, expected: str, seen: str) -> None:
    """Control: given a case that asks for another verdict than the receiver's, then it is violated, and both are named."""
    assert try_case(case) == Finding(Outcome.VIOLATED, f"expected {expected}, got {seen}")


class _WrongRam(Destination):
    """Shows another byte in page 2 of the first block than it has received."""

    def guest(self, block: str) -> npt.NDArray[np.uint8]:
        """Return a copy of guest RAM with one other byte."""
        shown = super().guest(block).copy()
        if block == "ram0":
            shown[2 * 4096] ^= 1
        return shown


@pytest.mark.parametrize(
    "name", ["wire.valid.checkpoints", "wire.truncated.checkpoints", "wire.zero.fill.violated", "wire.payload.long-zlib"]
)
def test_other_ram_is_a_violation(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: given a receiver whose guest RAM differs in one byte, then it is violated, and the page is named."""
    assert try_case(CASES[name]) == Finding(Outcome.HOLDS)
    monkeypatch.setattr(wire_check, "Destination", _WrongRam)
    assert try_case(CASES[name]) == Finding(Outcome.VIOLATED, "guest RAM does not hold what stood before the end at pages [2]")


class _WrongCache(Destination):
    """Mirrors into another cache than it shows: page 2 of the first block differs in one byte."""

    def cache(self, block: str) -> npt.NDArray[np.uint8]:
        """Return a copy of the cache with one other byte."""
        shown = super().cache(block).copy()
        if block == "ram0":
            shown[2 * 4096] ^= 1
        return shown


@pytest.mark.parametrize(
    "name", ["wire.valid.checkpoints", "wire.colo.message.violated", "wire.packet.offset-repeated.violated with a cache"]
)
def test_another_cache_is_a_violation(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: given a receiver with COLO whose cache differs in one byte, as after a page in both lists, then it is violated."""
    case = (CASES | {case.id: case for case in cases_with_cache()})[name]
    assert try_case(case) == Finding(Outcome.HOLDS)
    monkeypatch.setattr(wire_check, "Destination", _WrongCache)
    assert try_case(case) == Finding(Outcome.VIOLATED, "the cache does not hold what stood before the end at pages [2]")


@pytest.fixture
def leaking(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let every receiver leave a thread, which ends with the test."""
    may_end = threading.Event()
    left: list[threading.Thread] = []

    class Leaking(Destination):
        def close(self, timeout: float = 30.0) -> Ownership:
            left.append(threading.Thread(target=may_end.wait, name="forgotten"))
            left[-1].start()
            return super().close(timeout)

    monkeypatch.setattr(wire_check, "Destination", Leaking)
    yield
    may_end.set()
    for thread in left:
        thread.join()


@pytest.mark.usefixtures("leaking")
def test_a_thread_that_is_left_is_a_violation() -> None:
    """Control: given a receiver that leaves a thread behind, then it is violated, and the thread is named."""
    assert try_case(RANGE) == Finding(Outcome.VIOLATED, "threads are left: forgotten")


class _Hanging(Destination):
    """Never comes to an end."""

    def wait(self, timeout: float | None = None) -> End:
        """Find that it takes too long."""
        raise TimeoutError(f"nothing after {timeout} s")


def test_a_receiver_that_hangs_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: given a receiver that comes to no end in time, then the case is an error and not a verdict."""
    monkeypatch.setattr(wire_check, "Destination", _Hanging)
    assert try_case(RANGE) == Finding(Outcome.ERRORED, "TimeoutError: nothing after 10.0 s")


def test_the_worst_finding_rules() -> None:
    """Given several cases of one check, then a violation comes before an error, an error before what holds, and skips count for nothing."""
    held, skipped = Finding(Outcome.HOLDS), Finding(Outcome.SKIPPED, "why")
    violated, errored = Finding(Outcome.VIOLATED, "this"), Finding(Outcome.ERRORED, "that")
    found = ruling({"a": held, "b": errored, "c": violated, "d": violated, "e": skipped})
    assert (found.outcome, found.why, found.evidence) == (Outcome.VIOLATED, "c: this", {"cases": 4, "others": ["d: this"]})
    assert ruling({"a": held, "b": errored}).outcome is Outcome.ERRORED
    assert (ruling({"a": held, "b": skipped}).outcome, ruling({"a": held, "b": skipped}).evidence) == (Outcome.HOLDS, {"cases": 1})
    assert (ruling({"a": skipped}).outcome, ruling({"a": skipped}).why) == (Outcome.SKIPPED, "why")
