"""A violation is a known deviation only if the version's own text allows just that: not another one of the same rule."""

from pathlib import Path
from typing import Final

import pytest

from colofd.conformance.check import Campaign, Profile
from colofd.conformance.known_deviations import Known, deviating
from colofd.conformance.mutants_known import FAULTS
from colofd.conformance.mutants_tree import mutated_tree
from colofd.conformance.rulings import Outcome, Ruling
from colofd.conformance.subjects import BuiltIn
from colofd.conformance.violation import Violation
from colofd.spec.constants import Step
from colofd.spec.language import Spec
from colofd.spec.profiles import DEVIATIONS, PROFILES, Evidence
from colofd.spec.protocol import BOTH_SIDES
from tests.conformance.test_mutants import campaign

LATCH: Final = "latch.decided-again"
Q111: Final = "qemu-11.1"


@pytest.mark.parametrize(
    ("name", "against", "violated", "known"),
    [
        (LATCH, Q111, [], {Step.MIRROR: ["mirror.decided-again"]}),
        (LATCH, "qemu-10.0", [Step.MIRROR], {}),
        ("latch.before-payload", Q111, [Step.MIRROR], {}),
    ],
)
def test_a_mutant_with_a_deviation(name: str, against: str, violated: list[str], known: dict[str, list[str]], tmp_path: Path) -> None:
    """Given a receiver with the latch of 11.1, then 11.1's profile knows it; another profile does not, nor 11.1's another mistake there."""
    (fault,) = (fault for fault in FAULTS if fault.id == name)
    found = campaign(mutated_tree(tmp_path, fault.edits), fault.edits, against)
    assert list(found["violations"]) == violated, found
    assert found["known"] == known
    assert found["errors"] == []


def _never(_spec: Spec) -> None:
    raise Violation("a.rule", "still wrong", ())


def _allowed(_spec: Spec) -> None:
    """Goes through."""


def test_a_stall_is_known_only_where_it_was_seen() -> None:
    """Given a stall, then 11.1 explains it in the schedule where a SYNC is missing, and in no other."""
    stall = Violation("progress", "nothing moved", ())
    (waits,) = Known(Q111).explaining(stall, "failover_with_one_sync_missing", _never)
    assert waits.id == "failover.waits-for-sync"
    assert Known(Q111).explaining(stall, "own_write_is_undone", _never) == ()
    assert Known("strict").explaining(stall, "failover_with_one_sync_missing", _allowed) == ()


def test_what_nobody_has_checked_excuses_nothing() -> None:
    """Given profiles, then what is not checked is not among what is known; and strict knows nothing."""
    assert Known("strict").deviations == ()
    for profile in PROFILES:
        assert all(each.evidence[profile] is not Evidence.NOT_CHECKED for each in Known(profile).deviations)
    bad = Ruling(Outcome.VIOLATED, "accepted")
    assert Known("qemu-10.0").ruling("wire.hello.id", bad).outcome is Outcome.KNOWN_DEVIATION
    assert Known(Q111).ruling("wire.hello.id", bad) == bad
    assert Known(Q111).ruling("wire.packet.magic", bad) == bad
    fine = Ruling(Outcome.HOLDS, "refused")
    assert Known(Q111).ruling("wire.packet.offset-alignment", fine) == fine


def test_a_deviating_specification_changes_only_the_texts_of_the_deviations() -> None:
    """Given deviations of a rule of either kind, then their rules differ from both sides, keep what the layer adds, and no other does."""
    by_id = {each.id: each for each in DEVIATIONS}
    spec = deviating((by_id["mirror.decided-again"], by_id["failover.drops-answered"], by_id["colo.uninvited"]))
    changed = {new.id for new, old in zip(spec.rules, BOTH_SIDES.rules, strict=True) if new is not old}
    assert changed == {Step.MIRROR, Step.TAKE_OVER, Step.ENTER_COLO}
    assert {update.cell.name for update in spec.rule(Step.ENTER_COLO).updates} == {
        update.cell.name for update in BOTH_SIDES.rule(Step.ENTER_COLO).updates
    }


def test_a_rerun_that_fails_otherwise_explains_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Control: given a subject that cannot be run again, then its violation stays one, and the failure is said."""

    def violated(*_arguments: object, spec: Spec = BOTH_SIDES, **_options: object) -> None:
        if spec is BOTH_SIDES:
            raise Violation(str(Step.MIRROR), "wrong", ())
        raise RuntimeError("cannot be run twice")

    monkeypatch.setattr("colofd.conformance.check.run_directed", violated)
    monkeypatch.setattr("colofd.conformance.check.run_shape", violated)
    monkeypatch.setattr("colofd.conformance.check.run_drawn", violated)
    checked = Campaign(BuiltIn, 1, lambda _what: None, against=Q111)
    checked.run(Profile(drawn=1, variants=1))
    assert set(checked.found.violations) == {Step.MIRROR}
    assert not checked.found.known
    assert any("run again: RuntimeError" in error for error in checked.found.errors)
    assert checked.rulings()[Step.MIRROR].outcome is Outcome.VIOLATED
