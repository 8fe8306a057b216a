"""Profiles: every deviation names what is there, and loses what its control breaks."""

import pytest

from colofd.conformance.black_box_streams import conversations, violations
from colofd.model.controls import HARMLESS, WRONG, control
from colofd.model.proof_obligations import Kind
from colofd.spec.profiles import DEVIATIONS, PROFILES, STRICT, Deviation, Evidence, deviations_of
from colofd.spec.protocol import BOTH_SIDES
from colofd.spec.wire import CHECKS

WHOLE_STREAMS = {case.check_id for case in violations(conversations())}
GUARANTEES = {clause.id for clause in BOTH_SIDES.clauses} | set(Kind)


@pytest.mark.parametrize("deviation", DEVIATIONS, ids=lambda each: each.id)
def test_a_deviation_names_only_what_there_is(deviation: Deviation) -> None:
    """Given a deviation, then its profiles, its control, its clauses and its wire checks exist, and it has a source."""
    assert deviation.instead
    assert deviation.source
    assert deviation.evidence.keys() <= PROFILES.keys()
    assert set(deviation.unchecked) <= CHECKS.keys() | WHOLE_STREAMS
    assert set(deviation.loses) <= GUARANTEES
    assert not deviation.change or deviation.change in {each.name for each in (*WRONG, *HARMLESS)}


@pytest.mark.parametrize("deviation", [each for each in DEVIATIONS if each.change], ids=lambda each: each.id)
def test_a_deviation_loses_what_its_control_breaks(deviation: Deviation) -> None:
    """Given a deviation that changes a text, then what it loses is what the shortest run breaks, or an obligation of that clause fails."""
    change = control(deviation.change)
    if not change.is_wrong:
        assert deviation.loses == ()
        return
    assert change.shows is not None
    (lost,) = deviation.loses
    assert lost == change.shows.breaks or any(name.endswith(f"keeps {lost}") for name in change.must_fail)


def test_ids_are_unique_and_strict_has_no_deviation() -> None:
    """Given all deviations, then ids are unique, and what strict has it has as specified; nothing else is known of it."""
    assert len({each.id for each in DEVIATIONS}) == len(DEVIATIONS)
    assert {each.evidence[STRICT] for each in deviations_of(STRICT)} == {Evidence.AS_SPECIFIED}
    assert not any(each.is_known_of(STRICT) for each in DEVIATIONS)
    with pytest.raises(KeyError):
        deviations_of("qemu-0")


def test_the_latch_is_known_of_11_1_only() -> None:
    """Given the deviation of the latch, then it was observed on 11.1, and is not one of versions without multifd and COLO together."""
    (latch,) = (each for each in DEVIATIONS if each.id == "mirror.decided-again")
    assert latch.evidence == {"qemu-11.1": Evidence.OBSERVED}
    assert [profile for profile in PROFILES if latch.is_known_of(profile)] == ["qemu-11.1"]
