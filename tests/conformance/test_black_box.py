"""Schedules that look at guest RAM only: the built-in receiver passes, those with a known mistake do not, and a real QEMU has two."""

from collections import Counter
from typing import Final

import pytest

from colofd.conformance.black_box import NotObservable
from colofd.conformance.black_box_built_in import BuiltInFromOutside as BuiltIn
from colofd.conformance.black_box_cases import FULL_FLOW, failover_in_full_flow
from colofd.conformance.black_box_schedules import Findings, run_all_directed, run_all_drawn, run_race, run_schedule
from colofd.conformance.drawn import HANGS, Search
from colofd.conformance.known_deviations import Known
from colofd.conformance.qemu.provision import Qemu, QemuUnavailable, get
from colofd.conformance.qemu.subject import QemuReceiver
from colofd.conformance.schedules import failover_with_one_sync_missing, own_write_is_undone
from colofd.conformance.subjects import BLOCK, Options
from colofd.conformance.violation import Violation

SECONDS: Final = 5.0


class Leaky(BuiltIn):
    """Guest RAM is shown as if a page of the cache had come through after failover."""

    def failover(self) -> None:
        """Take over."""
        cache = self.destination.cache(BLOCK).copy()
        super().failover()
        self.destination.guest(BLOCK)[: cache.size // 2] = cache[: cache.size // 2]


class Deaf(BuiltIn):
    """Failover never completes."""

    def failover(self) -> None:
        """Take over."""
        raise TimeoutError("no answer")


@pytest.fixture
def qemu() -> Qemu:
    try:
        return get("11.1")
    except QemuUnavailable as unavailable:
        pytest.skip(f"no QEMU 11.1 here: {unavailable}")


def test_the_built_in_receiver_passes_all() -> None:
    """Given the built-in receiver, when all schedules are run from outside, then nothing is broken, and a pinned number cannot be seen."""
    findings = Findings()
    run_all_directed(BuiltIn, findings, SECONDS, lambda _name: None)
    run_all_drawn(BuiltIn, findings, 40, 1, SECONDS)
    run_race(BuiltIn, findings, 5, SECONDS)
    assert (findings.violations, findings.errors) == ({}, [])
    assert set(findings.held) == {
        "phase.enter-colo",
        "checkpoint.commit",
        "isolation.guest",
        "failover.take-over",
        "phase.give-up",
        "phase.complete",
    }
    assert set(findings.not_observable.values()) == {
        "a flush cannot be held",
        "threads cannot be held: there is no hold",
        "threads cannot be held: there is no owed",
    }


def test_a_leak_is_seen() -> None:
    """Given a receiver whose guest gets pages of the cache after failover, when it is raced, then isolation is broken, with the pages."""
    with pytest.raises(Violation, match=r"isolation\.guest: pages .*-.* of guest RAM are not what was committed last"):
        run_schedule(Leaky, FULL_FLOW, failover_in_full_flow, SECONDS)


def test_a_failover_that_never_completes_is_seen() -> None:
    """Given a receiver whose failover does not answer, when one SYNC is missing, then progress is broken."""
    with pytest.raises(Violation, match="progress: failover does not complete"):
        run_schedule(Deaf, Options(), failover_with_one_sync_missing, SECONDS)  # type: ignore[arg-type]  # has the moves that it needs


def test_it_is_not_waited_for_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a receiver that hangs in every failover, when schedules are drawn, then each end is tried three times, and the rest counted."""
    monkeypatch.setattr(Search, "has_hung", lambda _search: True)
    findings = Findings()
    run_all_drawn(Deaf, findings, 60, 1, SECONDS)
    broken = Counter(name for name, _ in findings.violations["progress"])
    assert {end: broken[end] for end in +findings.not_run} == dict.fromkeys(+findings.not_run, HANGS)
    assert findings.not_run.total() >= 10


def test_what_cannot_be_seen_is_no_pass() -> None:
    """Given a schedule in which the guest writes, when it is run from outside, then it says that this cannot be done."""

    class WithoutGuest(BuiltIn):
        write_guest = None  # type: ignore[assignment]  # that it is missing is what the test is about

    with pytest.raises(NotObservable, match="cannot be made to write"):
        run_schedule(WithoutGuest, Options(), own_write_is_undone, SECONDS)  # type: ignore[arg-type]  # ends before it needs more


def test_a_real_qemu_passes_drawn_schedules(qemu: Qemu) -> None:
    """Given QEMU 11.1, when drawn schedules are run, then guest RAM is what the spec says, but where its profile says otherwise."""
    findings = Findings()
    run_all_drawn(lambda options: QemuReceiver(qemu, options), findings, 30, 1, SECONDS)
    known = Known("qemu-11.1")
    found = [(name, violation) for broken in findings.violations.values() for name, violation in broken]
    assert [str(violation) for name, violation in found if not known.shown_by(violation, name)] == []
    assert findings.errors == []
    assert findings.held["checkpoint.commit"] > 10


def test_a_real_qemu_deadlocks_without_one_sync(qemu: Qemu) -> None:
    """Given QEMU 11.1, when one channel's SYNC never comes, then failover does not complete: a known deviation."""
    with pytest.raises(Violation, match="progress: failover does not complete"):
        run_schedule(lambda options: QemuReceiver(qemu, options), Options(), failover_with_one_sync_missing, SECONDS)  # type: ignore[arg-type]


def test_a_real_qemu_breaks_isolation_in_a_failover(qemu: Qemu) -> None:
    """Given QEMU 11.1, when it takes over while pages flow, in at most 60 tries, then guest RAM is mixed in one: the latch."""
    findings = Findings()
    for _ in range(60):
        if "isolation.guest" not in findings.violations:
            run_race(lambda options: QemuReceiver(qemu, options), findings, 1, SECONDS)
    assert "isolation.guest" in findings.violations
