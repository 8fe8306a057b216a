"""Wire cases for a receiver seen from outside: the built-in one keeps all, one with a mistake does not, and real QEMUs are known."""

from typing import Final

import pytest

from colofd.conformance.black_box import PROGRESS, Version
from colofd.conformance.black_box_built_in import BuiltInFromOutside as BuiltIn
from colofd.conformance.black_box_streams import conversations, violations
from colofd.conformance.black_box_wire import State, Verdict, check_black_box_wire, play
from colofd.conformance.check_black_box import version_of
from colofd.conformance.known_deviations import Known
from colofd.conformance.qemu.provision import VERSIONS, Qemu, QemuUnavailable, get
from colofd.conformance.qemu.subject import QemuReceiver
from colofd.conformance.rulings import Outcome
from colofd.conformance.violation import Violation
from colofd.spec.profiles import Evidence
from colofd.spec.wire import CHECKS

CASES: Final = {case.id: case for case in [*conversations(), *violations(conversations())]}
MAGIC: Final = CASES["wire.packet.magic.violated in precopy-none"]


class Credulous(BuiltIn):
    """Says that it has completed, whatever came."""

    def look(self) -> tuple[State, str]:
        """Return that all is well."""
        return State.COMPLETED, ""


class Mute(BuiltIn):
    """Does not answer, and has complained before."""

    def look(self) -> tuple[State, str]:
        """Return nothing but a complaint."""
        return State.SILENT, "bad packet"


@pytest.fixture(params=VERSIONS)
def qemu(request: pytest.FixtureRequest) -> Qemu:
    try:
        return get(request.param)
    except QemuUnavailable as unavailable:
        pytest.skip(f"no QEMU {request.param} here: {unavailable}")


def test_the_built_in_receiver_keeps_every_check_that_it_is_shown() -> None:
    """Given the built-in receiver, when all wire cases are put to it from outside, then it keeps all, but what needs another set-up."""
    found = check_black_box_wire(BuiltIn, Version(), lambda _what: None)
    assert {check: ruling.why for check, ruling in found.rulings.items() if ruling.outcome is Outcome.VIOLATED} == {}
    assert {check for check, ruling in found.rulings.items() if ruling.outcome is not Outcome.HOLDS} == {
        "wire.configuration.capability-count",
        "wire.configuration.capability",
        "wire.configuration.uuid",
        "wire.return-path.message",
        "wire.return-path.postcopy",
        "wire.return-path.length",
    }
    assert found.rulings.keys() >= CHECKS.keys()
    assert found.hangs == []


def test_what_is_accepted_is_a_violation() -> None:
    """Control: given a receiver that says it has completed, then a packet with a wrong magic was accepted, and its pages are missing."""
    seen = play(Credulous, MAGIC)
    assert (seen.verdict, str(seen)) == (Verdict.ACCEPTED, "accepted; RAM is not as it should be at pages [0, 1]")


def test_who_hangs_breaks_progress() -> None:
    """Control: given a receiver that complains and falls silent, then its check is not broken, but it hangs."""
    seen = play(Mute, MAGIC)
    assert (seen.verdict, seen.words) == (Verdict.HUNG, "bad packet")


def test_a_real_qemu_does_what_its_profile_says(qemu: Qemu) -> None:
    """Given a real QEMU, when all wire cases are put to it, then what it does not refuse is known of its version, as are its hangs."""
    profile = f"qemu-{'.'.join(qemu.version.split('.')[:2])}"
    known = Known(profile)
    found = check_black_box_wire(lambda options: QemuReceiver(qemu, options), version_of(known), lambda _what: None)
    rulings = {check: known.ruling(check, ruling) for check, ruling in found.rulings.items()}
    assert {check: ruling.why for check, ruling in rulings.items() if ruling.outcome is Outcome.VIOLATED} == {}
    broken = {check for check, ruling in rulings.items() if ruling.outcome is Outcome.KNOWN_DEVIATION}
    unchecked = [each for each in known.deviations if each.unchecked]
    seen_now = {each.id for each in unchecked if set(each.unchecked) & broken}
    observed = {each.id for each in unchecked if each.evidence[profile] is Evidence.OBSERVED}
    assert seen_now == observed, "what a profile calls observed must be seen, and nothing else"
    assert found.hangs
    assert all(known.shown_by(Violation(PROGRESS, "", ()), name) for name, _ in found.hangs)
