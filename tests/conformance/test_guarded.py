"""Guard mode: the receiver's threads have guest RAM read-only in COLO, and a receiver that touches it is stopped."""

from typing import Final

import pytest

from colofd.conformance.guarded import PROGRAM, RULE, check_guarded
from colofd.conformance.rulings import Outcome
from colofd.conformance.schedules import DIRECTED
from colofd.spec.protocol import BOTH_SIDES

INTO_THE_GUEST: Final = """
from colofd.impl.channel import MultifdChannel
from colofd.impl.sockets import Places
right = MultifdChannel._read_in_place
def wrong(self, packet):
    if self._reception.phase == "receiving":
        self._buffer, self._places = self._guest, Places(128, self._guest.address, 4096)
    right(self, packet)
MultifdChannel._read_in_place = wrong
"""
"""A packet of a checkpoint is read into guest RAM: the kernel writes there for the thread."""

MIRRORED_ALWAYS: Final = "from colofd.impl import decisions\ndecisions.is_mirrored = lambda colo, precopy, deferred: colo"
"""A packet of a checkpoint is copied to guest RAM: the thread writes there itself."""


def test_no_thread_touches_the_guest_in_colo() -> None:
    """Given guest RAM read-only for the receive threads, when the directed schedules run, then none is stopped by that."""
    ruling = check_guarded()
    assert (ruling.outcome, ruling.evidence) == (Outcome.HOLDS, {"cases": 2 * len(DIRECTED), "failed": []})
    assert RULE in {clause.id for clause in BOTH_SIDES.clauses}


@pytest.mark.parametrize(("change", "how"), [(INTO_THE_GUEST, "Bad address"), (MIRRORED_ALWAYS, "Segmentation fault")])
def test_a_thread_that_touches_the_guest_is_stopped(change: str, how: str) -> None:
    """Control: given a receiver whose threads write guest RAM in a checkpoint, then it is stopped by the kernel or the processor."""
    ruling = check_guarded(f"{change}\n{PROGRAM}")
    assert ruling.outcome is Outcome.VIOLATED
    assert ruling.why.endswith(how)


def test_a_process_that_fails_is_an_error() -> None:
    """Control: given a process that ends for another reason, then that is an error and not a verdict."""
    ruling = check_guarded("raise SystemExit('no')")
    assert ruling.outcome is Outcome.ERRORED
    assert "no" in ruling.why
