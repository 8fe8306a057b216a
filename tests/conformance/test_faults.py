"""Drawn faults: none does harm, every kind is felt, and harm would be noticed."""

import random
from typing import Final

import pytest

from colofd.conformance import faults
from colofd.conformance.fault_kinds import Kind
from colofd.conformance.fault_script import PAGE, PAGES, Script, draw_script
from colofd.conformance.fault_sweeps import SWEPT, cut_everywhere, moments, sweep
from colofd.conformance.faults import Reached, run_fault
from colofd.impl.colo import Secondary
from colofd.impl.trace import PageNumbers
from colofd.spec.constants import Step

SLICE: Final = range(120)
"""A part of the thousand that `colofd stress` runs."""

KILLED_IN_A_FLUSH: Final = (207, 428, 534, 760, 902, 993)
INTERRUPTED_IN_A_JOIN: Final = (43, 421)


def test_faults_do_no_harm() -> None:
    """Given drawn migrations, when something fails in each, then all calls return, and the guest has one whole commit."""
    reached = Reached()
    wrong = {seed: found for seed in (*SLICE, *KILLED_IN_A_FLUSH, *INTERRUPTED_IN_A_JOIN) if (found := run_fault(seed, reached))}
    assert wrong == {}
    assert set(reached.felt) == set(Kind)
    assert len(reached.ends) >= 25
    assert reached.commits >= 100


def test_a_thread_may_die_before_and_after_each_micro_step() -> None:
    """Given a migration in COLO, when threads, memory or the caller fail at each of their moments, one by one, then no harm is done."""
    reached = Reached()
    wrong = [why for fault in moments() for why in sweep(SWEPT[2], fault, reached)]
    assert wrong == []
    assert reached.felt[Kind.KILL] >= 100
    assert reached.felt[Kind.INTERRUPT] >= 40
    assert {step for kind, step, _ in reached.ends if kind is Kind.KILL} >= {
        Step.START,
        Step.PREPARE,
        Step.READ_PAGE,
        Step.PAYLOAD_COMPLETE,
        Step.MIRROR,
        Step.PACKET_DONE,
        Step.PARK,
        Step.RELEASE,
        Step.CHECKPOINT_BEGIN,
        Step.COMMIT,
    }


def test_a_connection_may_end_anywhere() -> None:
    """Given a migration in COLO, when a connection is cut in and between all pieces of what is said on it, then no harm is done."""
    reached = Reached()
    assert cut_everywhere(SWEPT[3], reached) == []
    assert reached.felt[Kind.CUT] >= 150
    assert len({reason for _, _, reason in reached.ends}) >= 4


def test_a_flush_that_is_not_ended_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: given a receiver whose flush ends with the thread that is killed in it, then that is noticed."""
    flush = Secondary._flush
    flushed: list[int] = []

    def once(self: Secondary, written: PageNumbers, device_state: bytes) -> None:
        flushed.append(self._reception.commit)
        if flushed.count(self._reception.commit) == 1:
            flush(self, written, device_state)

    monkeypatch.setattr(Secondary, "_flush", once)
    found = []
    for seed in KILLED_IN_A_FLUSH:
        flushed.clear()
        found.append(run_fault(seed, Reached()))
    # Some are killed just after the commit.
    assert sum(map(bool, found)) >= 3


def test_other_ram_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: given commits that should differ in one byte, then nearly every run is wrong."""

    def draw_wrongly(chance: random.Random, *, length: int = PAGES * PAGE) -> Script:
        script = draw_script(chance, length=length)
        script.commits[:] = [bytes([commit[0] ^ 1]) + commit[1:] for commit in script.commits]
        return script

    monkeypatch.setattr(faults, "draw_script", draw_wrongly)
    wrong = [found for seed in range(20) if (found := run_fault(seed, Reached()))]
    assert len(wrong) > 5
    assert all("RAM is not commit" in found[0] for found in wrong)


def test_a_descriptor_that_is_left_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: given a source that leaves its channels open, then that is noticed."""
    closed: list[faults.Source] = []
    close = faults.Source.close

    def leave_open(source: faults.Source) -> None:
        closed.append(source)

    monkeypatch.setattr(faults.Source, "close", leave_open)
    assert any("more descriptors" in wrong for wrong in run_fault(0, Reached()))
    close(closed[0])
